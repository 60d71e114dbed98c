package secure

import (
	"crypto/cipher"
	"errors"
	"sync/atomic"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

const (
	labelGossip = "vine gossip v1"

	// gossipCountBits is how much of a gossip counter counts within one boot; the 24 bits above
	// it are the boot count. 2^40 datagrams are 34 years at 1,000 a second, 2^24 boots 31 years
	// of a crash every minute.
	gossipCountBits = 40
	gossipBootMax   = 1<<(64-gossipCountBits) - 1
)

// ErrSpent: a gossip counter has run out, by boots or by datagrams: the link key must change.
var ErrSpent = errors.New("secure: gossip counter spent")

// ErrPayload: a payload is empty or does not fit in frame.GossipPiecesMax pieces.
var ErrPayload = errors.New("secure: gossip payload length")

// A GossipCounter numbers all gossip datagrams of this router, whoever they go to. The pairwise keys
// are the same after a restart and after a box was dropped from a cache, so the counter
// must outlive every box: one per router and boot, no second one with the same boot count. Any number of
// goroutines may use it.
type GossipCounter struct {
	boot uint64
	next atomic.Uint64
}

// NewGossipCounter returns the counter of a boot. The boot count comes from disk and was raised and
// written before this call. It fails with ErrSpent from boot 2^24 on.
func NewGossipCounter(boot uint64) (*GossipCounter, error) {
	if boot > gossipBootMax {
		return nil, ErrSpent
	}
	return &GossipCounter{boot: boot << gossipCountBits}, nil
}

func (c *GossipCounter) reserve(n uint64) (uint64, bool) {
	end := c.next.Add(n)
	return c.boot | end - n, end < 1<<gossipCountBits
}

// A GossipBox seals and opens gossip datagrams between this router and one other, without a session:
//
//	key || IV = HKDF-SHA256(X25519(static, static), federation hash, label || source ID 4 ||
//	            destination ID 4 || source key 32 || destination key 32)
//
// one for each direction, always ChaCha20-Poly1305. There is no forward secrecy: gossip carries
// hints and signed documents, nothing secret of a VN. A datagram recorded before this router
// restarted opens once more afterwards, unless the caller kept HighWater and gives it to SetFloor.
//
// One goroutine at a time may use a GossipBox.
type GossipBox struct {
	self, peer tables.RouterID
	counter    *GossipCounter
	send, open cipher.AEAD
	sendIV     [nonceLen]byte
	openIV     [nonceLen]byte
	seen       window
}

// NewGossipBox returns the box of this router and a peer, whose link key comes from its link record.
// It costs one X25519, about 0.1 ms: callers keep the box. It fails for a key of low order.
func NewGossipBox(static StaticKey, federation tables.Hash, self, peer tables.RouterID, peerKey tables.LinkKey, counter *GossipCounter) (*GossipBox, error) {
	secret, err := static.shared(peerKey)
	if err != nil {
		return nil, err
	}
	b := &GossipBox{self: self, peer: peer, counter: counter, seen: newWindow(gossipBlocks)}
	ours := static.Public()
	b.send, b.sendIV = gossipKey(secret, federation, idsOf(self, peer), ours, peerKey)
	b.open, b.openIV = gossipKey(secret, federation, idsOf(peer, self), peerKey, ours)
	return b, nil
}

func gossipKey(secret []byte, federation tables.Hash, ids [8]byte, from, to tables.LinkKey) (cipher.AEAD, [nonceLen]byte) {
	info := labelGossip + string(ids[:]) + string(from[:]) + string(to[:])
	n := SuiteChaCha20Poly1305.keyBytes()
	key := derive(secret, federation[:], info, n+nonceLen)
	return SuiteChaCha20Poly1305.newAEAD(key[:n]), [nonceLen]byte(key[n:])
}

// Seal returns the datagrams that carry payload: one for each frame.GossipPieceMax bytes begun. It
// fails with ErrPayload if payload is empty or longer than frame.GossipPiecesMax pieces, and with
// ErrSpent.
func (b *GossipBox) Seal(payload []byte) ([][]byte, error) {
	pieces := (len(payload) + frame.GossipPieceMax - 1) / frame.GossipPieceMax
	if pieces == 0 || pieces > frame.GossipPiecesMax {
		return nil, ErrPayload
	}
	counter, ok := b.counter.reserve(uint64(pieces))
	if !ok {
		return nil, ErrSpent
	}
	datagrams := make([][]byte, 0, pieces)
	for p := range pieces {
		part := payload[:min(len(payload), frame.GossipPieceMax)]
		payload = payload[len(part):]
		h := frame.Gossip{Piece: uint8(p), Pieces: uint8(pieces), Sender: b.self, Counter: counter + uint64(p)}
		d := h.Append(make([]byte, 0, frame.GossipHeaderLen+len(part)+frame.TagLen))
		nonce := nonceOf(&b.sendIV, h.Counter)
		datagrams = append(datagrams, b.send.Seal(d, nonce[:], part, d))
	}
	return datagrams, nil
}

// Open checks a gossip datagram of the peer and appends the payload of the piece to dst. The
// caller puts pieces together: piece p of a packet has the packet's first counter plus p. It
// fails with ErrOpen, ErrReplay or an error of package frame; then the box is as it was. It must
// not work in place.
func (b *GossipBox) Open(dst, datagram []byte) (frame.Gossip, []byte, error) {
	h, sealed, err := frame.ParseGossip(datagram)
	if err != nil {
		return frame.Gossip{}, dst, err
	}
	if h.Sender != b.peer {
		return frame.Gossip{}, dst, ErrOpen
	}
	nonce := nonceOf(&b.openIV, h.Counter)
	out, err := b.open.Open(dst, nonce[:], sealed, datagram[:frame.GossipHeaderLen])
	if err != nil {
		return frame.Gossip{}, dst, ErrOpen
	}
	if !b.seen.accept(h.Counter) {
		return frame.Gossip{}, dst, ErrReplay
	}
	return h, out, nil
}

// HighWater returns the highest counter opened plus one; zero: none yet. A caller that drops a box
// keeps this number and gives it to SetFloor of the next one.
func (b *GossipBox) HighWater() uint64 { return b.seen.top }

// SetFloor makes every counter below floor count as seen.
func (b *GossipBox) SetFloor(floor uint64) { b.seen.raise(floor) }
