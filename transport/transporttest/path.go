package transporttest

import (
	"math/rand/v2"
	"time"
)

// A Path is what happens to packets in one direction between two places. The zero Path carries packets
// of up to 1,500 bytes at once and without loss.
//
// Sizes are those of IP packets: the payload and 28 bytes of headers for IPv4, 48 for IPv6. The order
// of things is: MTU, queue, line, loss, latency.
type Path struct {
	// Latency is the time from the last bit sent to the packet received.
	Latency time.Duration
	// Jitter adds a uniform delay in [0, Jitter) to each packet. Packets keep their order.
	Jitter time.Duration
	// Loss, Duplicate and Reorder are probabilities, independent for every packet. A lost packet has
	// used the line; a duplicate has not.
	Loss, Duplicate, Reorder float64
	// ReorderBy bounds the further delay of a reordered packet, which later ones may overtake:
	// uniform in (0, ReorderBy]. Zero means Latency, or 1 ms if that is zero too.
	ReorderBy time.Duration
	// Bandwidth of the line in bits per second; zero means no line: packets take no time to send.
	// The sending time of a packet is rounded up to a nanosecond.
	Bandwidth int64
	// Queue is how many bytes may wait for the line or be on it; a packet that would make it more is
	// dropped (drop-tail). Zero means 100 ms of Bandwidth, and at least 64 KiB.
	Queue int
	// MTU is the largest IP packet; a larger one is dropped, as if DF were set. Zero means 1,500.
	MTU int
}

// A pipe is a Path in use.
type pipe struct {
	Path
	// free is when the line has sent what it was given. Bytes waiting are (free - now) * Bandwidth / 8.
	free time.Duration
	// last is the latest arrival so far of the packets that keep their order.
	last time.Duration
}

// instant reports whether packets pass the pipe at once and always, so that it can be skipped.
func (l *pipe) instant() bool { return l.Path == Path{} }

// remembers reports whether what happens to a packet depends on the packets before it.
func (p Path) remembers() bool { return p.Bandwidth > 0 || p.Jitter > 0 }

// transit puts a packet of size bytes into the pipe at now and returns when it comes out, whether it
// comes twice, or why it does not come at all. Calls are in the order of now.
func (l *pipe) transit(now time.Duration, size int, rng *rand.Rand) (at time.Duration, twice bool, drop Drop) {
	mtu := l.MTU
	if mtu == 0 {
		mtu = mtuDefault
	}
	if size > mtu {
		return 0, false, DropTooBig
	}
	at = now
	if l.Bandwidth > 0 {
		start, took := max(now, l.free), sendTime(size, l.Bandwidth)
		if start+took-now > sendTime(l.queue(), l.Bandwidth) {
			return 0, false, DropQueue
		}
		l.free = start + took
		at = l.free
	}
	if l.Loss > 0 && rng.Float64() < l.Loss {
		return 0, false, DropLoss
	}
	at += l.Latency
	if l.Jitter > 0 {
		at += time.Duration(rng.Int64N(int64(l.Jitter)))
	}
	if l.Reorder > 0 && rng.Float64() < l.Reorder {
		at += 1 + time.Duration(rng.Int64N(int64(l.reorderBy())))
	} else {
		at = max(at, l.last)
		l.last = at
	}
	return at, l.Duplicate > 0 && rng.Float64() < l.Duplicate, 0
}

// mtuDefault is the MTU of Ethernet (RFC 894).
const mtuDefault = 1500

// sendTime returns how long a line of bps bits a second takes for n bytes, rounded up to a nanosecond.
// It does not overflow below 1 GB.
func sendTime(n int, bps int64) time.Duration {
	return time.Duration((int64(n)*8*int64(time.Second) + bps - 1) / bps)
}

func (p Path) queue() int {
	if p.Queue > 0 {
		return p.Queue
	}
	return max(64<<10, int(p.Bandwidth/80))
}

func (p Path) reorderBy() time.Duration {
	switch {
	case p.ReorderBy > 0:
		return p.ReorderBy
	case p.Latency > 0:
		return p.Latency
	}
	return time.Millisecond
}
