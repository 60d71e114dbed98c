package secure

import "math"

const (
	blockBits = 64

	// sessionBlocks gives sessions a window of 8,128 counters: at 1,250,000 packets a second that
	// is 6.5 ms of reordering, more than parallel lanes or paths cause on purpose.
	sessionBlocks = 128

	// gossipBlocks gives gossip a window of 1,984 counters: a sender has one gossip counter for all
	// its peers, so one pair sees it jump.
	gossipBlocks = 32
)

// A window remembers which counters were seen, in the way of RFC 6479: the bits are a ring of
// blocks and the window moves by whole blocks, so that moving it clears words instead of
// shifting bits. Counters more than (blocks-1)*64 below the highest one count as seen.
//
// Make one with newWindow. One goroutine at a time may use a window. Call accept only with a
// counter that was authenticated: a forged one would close the window for the real packets.
type window struct {
	top  uint64   // highest accepted counter plus one; 0: none yet
	ring []uint64 // bit c%64 of block (c/64)%len is set if c was seen. Invariant: len is a power of two
}

func newWindow(blocks int) window { return window{ring: make([]uint64, blocks)} }

// accept reports whether c was not seen before, and remembers it. It refuses the highest uint64.
func (w *window) accept(c uint64) bool {
	if c == math.MaxUint64 {
		return false
	}
	mask := uint64(len(w.ring) - 1)
	block := c / blockBits
	if c >= w.top {
		// All blocks between the old top and the new one are out of use: clear them.
		var old uint64
		if w.top > 0 {
			old = (w.top - 1) / blockBits
		}
		for n := min(block-old, uint64(len(w.ring))); n > 0; n-- {
			old++
			w.ring[old&mask] = 0
		}
		w.top = c + 1
	} else if w.top-1-c > mask*blockBits {
		return false
	}
	bit := uint64(1) << (c % blockBits)
	if w.ring[block&mask]&bit != 0 {
		return false
	}
	w.ring[block&mask] |= bit
	return true
}

// raise makes every counter below floor count as seen.
func (w *window) raise(floor uint64) {
	if floor <= w.top {
		return
	}
	for i := range w.ring {
		w.ring[i] = math.MaxUint64
	}
	// The block of the floor itself is new from the floor on.
	w.top = floor
	mask := uint64(len(w.ring) - 1)
	if floor%blockBits != 0 {
		w.ring[floor/blockBits&mask] = 1<<(floor%blockBits) - 1
	}
}
