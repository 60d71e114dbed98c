package secure

import (
	"slices"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// HopScratch is the capacity that Wrap needs behind the datagram, for the nonce: it lies in the
// caller's buffer so that goroutines may share a HopSender and nothing is allocated. What was there is put
// back, for it may be the next datagram that came with this one.
const HopScratch = nonceLen

type hop struct {
	sender   HopSender
	receiver HopReceiver
}

// Hop returns the sender and receiver of relay datagrams between the two routers of the session, the
// same ones every time: a second sender would use its nonces again. Their keys are made by the first
// call. It needs no Bind: the routers that a relay datagram names are its two ends, and not, or not both,
// those of the hop.
func (s *Session) Hop() (*HopSender, *HopReceiver) {
	if s.hop == nil {
		s.hop = &hop{
			sender:   HopSender{sealer: s.newSealer(labelRelay, 0), index: s.Remote},
			receiver: HopReceiver{opener: s.newOpener(labelRelay, 0), index: s.Local},
		}
	}
	return &s.hop.sender, &s.hop.receiver
}

// A HopSender puts header and hop tag around datagrams that go through the peer, or on to it. Any
// number of goroutines may use it.
//
// The hop tag is the tag of the session's AEAD over an empty plaintext. Its additional data is the
// whole datagram before the tag, so VN, source and destination cannot be relabelled on the way and the payload
// cannot be exchanged for another. What is inside is sealed between the two ends: the tag is there so
// that a queue-VR carries nothing for strangers and nothing twice.
type HopSender struct {
	sealer
	index uint32
}

// Counter returns how many counters were used.
func (h *HopSender) Counter() uint64 { return min(h.next.Load(), h.limit) }

// Wrap makes a relay datagram of b in place and returns the whole of it, frame.TagLen bytes longer. The
// first frame.RelayHeaderLen bytes of b are room for the header; behind them is the payload, a whole
// datagram. It returns false, and b with what was in it, when the counter is spent or the datagram would
// be longer than the 65,535 bytes that its size field can say.
//
// It allocates nothing if b has capacity for frame.TagLen and HopScratch behind its length. It panics if b
// has no room for the header.
func (h *HopSender) Wrap(b []byte, role frame.RelayRole, vn tables.VNID, source, destination tables.RouterID) ([]byte, bool) {
	end := len(b)
	size := end + frame.TagLen
	if size > hopMax {
		return b, false
	}
	counter, ok := h.reserve(1)
	if !ok {
		return b, false
	}
	b = slices.Grow(b, frame.TagLen+HopScratch)
	frame.Relay{
		Role: role, Index: h.index, Counter: counter,
		VN: vn, Source: source, Destination: destination,
	}.Append(b[:0:frame.RelayHeaderLen], size)
	iv := nonceOf(&h.iv, counter)
	scratch := b[size : size+HopScratch]
	behind := [HopScratch]byte(scratch)
	copy(scratch, iv[:])
	h.aead.Seal(b[:end:size], scratch, nil, b[:end])
	copy(scratch, behind[:])
	return b[:size:size], true
}

// hopMax is the longest relay datagram.
const hopMax = 1<<16 - 1

// A HopReceiver checks the relay datagrams that come from the peer. One goroutine at a time may call
// Open: whoever lets several sockets receive for one session holds a lock around it.
type HopReceiver struct {
	opener
	index uint32
	nonce [nonceLen]byte
}

// Open checks a relay datagram and returns its header and payload, which is a slice of b. It fails with
// ErrOpen, ErrReplay or an error of package frame; then the receiver is as it was. It changes nothing in
// b, and allocates nothing.
//
// The tag is checked first, then the window: only a datagram of the peer may move it. What the caller
// must check still: that the peer may speak for source or destination, the VN, and the payload's type
// (frame.Relay.Carries).
func (h *HopReceiver) Open(b []byte) (frame.Relay, []byte, error) {
	r, payload, err := frame.ParseRelay(b)
	if err != nil {
		return frame.Relay{}, nil, err
	}
	if r.Index != h.index || r.Counter >= h.limit {
		return frame.Relay{}, nil, ErrOpen
	}
	h.nonce = nonceOf(&h.iv, r.Counter)
	end := len(b) - frame.TagLen
	if _, err := h.aead.Open(nil, h.nonce[:], b[end:], b[:end]); err != nil {
		return frame.Relay{}, nil, ErrOpen
	}
	if !h.seen.accept(r.Counter) {
		return frame.Relay{}, nil, ErrReplay
	}
	return r, payload, nil
}
