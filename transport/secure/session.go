package secure

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// Errors of Open. Besides them Open returns package frame's for a datagram that does not parse.
var (
	// ErrOpen: the datagram does not authenticate under this key for this VN and these routers.
	ErrOpen = errors.New("secure: does not authenticate")
	// ErrReplay: it does, but its counter was seen before or is behind the window.
	ErrReplay = errors.New("secure: replayed or too old")
)

// Deadlines of a session, as WireGuard has them (white paper, Section 6.1).
const (
	// RekeyAfter is the age at which the initiator of a session starts the next one.
	RekeyAfter = 120 * time.Second
	// rekeySlack is how much later the responder does, if the initiator did not: both at once
	// would make two sessions.
	rekeySlack = 15 * time.Second
	// RejectAfter is the age at which a session's keys are used no more, in either direction: it
	// bounds what a stolen key opens.
	RejectAfter = 180 * time.Second
)

// Directions of a session's keys.
const (
	fromInitiator = 0
	fromResponder = 1
)

// Labels of the key derivation. A label ends before the first byte of the fixed-length fields.
const (
	labelLane    = "vine data v1"
	labelControl = "vine control v1"
	labelRelay   = "vine relay v1"
)

// A Session is a finished handshake: the keys of two routers for RejectAfter.
//
// Every lane and direction, the control lane and the hop have a key of their own:
//
//	HKDF-SHA256(secret of the direction, no salt, label || suite 1 || lane 1 || direction 1)
//
// gives key and IV; the secret is the cipher key of the Noise split. The nonce is the IV with the
// counter added (exclusive or) to its last 8 bytes (RFC 8446, Section 5.3).
//
// The session of a responder is unconfirmed: the initiator has shown that it holds its static key, but
// the init may be an old one. Order decides that (see Responder.Order); a caller that wants more waits
// for the first datagram that opens before it drops the session before.
//
// One goroutine at a time may use a Session. The Senders and Receivers that it gives out have rules
// of their own and outlive no deadline: the owner takes them away from the lanes when Expired.
type Session struct {
	Peer      tables.LinkKey
	Initiator bool
	Local     uint32    // our index: control datagrams to us carry it
	Remote    uint32    // the peer's index: control datagrams from us carry it
	Born      time.Time // when this side finished the handshake
	Suite     Suite

	secrets    [2][32]byte // by direction
	bound      bool
	self, peer tables.RouterID
	lanes      *lanes
	send       sealer // of the control lane
	receive    opener
	hop        *hop // nil until Hop
}

func newSession(s Session, secrets [2][32]byte) *Session {
	s.secrets = secrets
	s.lanes = new(lanes)
	s.send = s.newSealer(labelControl, 0)
	s.receive = s.newOpener(labelControl, 0)
	return &s
}

// out returns the direction of what this side sends.
func (s *Session) out() byte {
	if s.Initiator {
		return fromInitiator
	}
	return fromResponder
}

func (s *Session) derive(label string, lane, direction byte) (cipher.AEAD, [nonceLen]byte) {
	return s.Suite.derive(&s.secrets[direction], label, lane, direction)
}

// derive returns key and IV of a lane in a direction, whose secret is given.
func (s Suite) derive(secret *[32]byte, label string, lane, direction byte) (cipher.AEAD, [nonceLen]byte) {
	n := s.keyBytes()
	info := label + string([]byte{byte(s), lane, direction})
	key := derive(secret[:], nil, info, n+nonceLen)
	return s.newAEAD(key[:n]), [nonceLen]byte(key[n:])
}

// derive is HKDF-SHA256 (RFC 5869). It panics if n is more than HKDF can give.
func derive(secret, salt []byte, info string, n int) []byte {
	key, err := hkdf.Key(sha256.New, secret, salt, info, n)
	if err != nil {
		panic("secure: internal error: HKDF refused the key length")
	}
	return key
}

func (s *Session) newSealer(label string, lane byte) sealer {
	aead, iv := s.derive(label, lane, s.out())
	return sealer{aead: aead, iv: iv, limit: s.Suite.counterMax(), next: new(atomic.Uint64)}
}

func (s *Session) newOpener(label string, lane byte) opener {
	aead, iv := s.derive(label, lane, s.out()^1)
	return opener{aead: aead, iv: iv, limit: s.Suite.counterMax(), seen: newWindow(sessionBlocks)}
}

// Bind says which routers the two ends are. Both IDs are authenticated with every data packet. It
// panics if the session is bound to others, or if an ID is zero.
func (s *Session) Bind(self, peer tables.RouterID) {
	if self == 0 || peer == 0 || s.bound && (s.self != self || s.peer != peer) {
		panic("secure: internal error: session bound to another pair of routers")
	}
	s.self, s.peer, s.bound = self, peer, true
}

// Lane returns the Sender and Receiver of lane i, the same ones every time: a second Sender would
// use its nonces again. It panics if i is not below frame.LanesMax or the session is not bound.
func (s *Session) Lane(i uint8) (*Sender, *Receiver) {
	if !s.bound {
		panic("secure: internal error: lane of a session that is not bound")
	}
	s.lanes.begin(s)
	return s.lanes.sender(i), s.lanes.receiver(i)
}

// SealControl appends a control datagram with these control frames to dst. It returns false, and dst
// as it was, when the counter is spent.
func (s *Session) SealControl(dst, frames []byte) ([]byte, bool) {
	counter, ok := s.send.reserve(1)
	if !ok {
		return dst, false
	}
	off := len(dst)
	dst = slices.Grow(dst, frame.ControlHeaderLen+len(frames)+frame.TagLen)
	dst = frame.ControlHeader{Receiver: s.Remote, Counter: counter}.Append(dst)
	nonce := nonceOf(&s.send.iv, counter)
	return s.send.aead.Seal(dst, nonce[:], frames, dst[off:]), true
}

// OpenControl appends the control frames of a control datagram to dst. It fails with ErrOpen,
// ErrReplay or an error of package frame; then the session is as it was. In place: dst may be
// datagram[frame.ControlHeaderLen:frame.ControlHeaderLen]. A datagram that does not open is
// destroyed by that.
func (s *Session) OpenControl(dst, datagram []byte) ([]byte, error) {
	h, sealed, err := frame.ParseControlHeader(datagram)
	if err != nil {
		return dst, err
	}
	if h.Receiver != s.Local || h.Counter >= s.receive.limit {
		return dst, ErrOpen
	}
	nonce := nonceOf(&s.receive.iv, h.Counter)
	out, err := s.receive.aead.Open(dst, nonce[:], sealed, datagram[:frame.ControlHeaderLen])
	if err != nil {
		return dst, ErrOpen
	}
	if !s.receive.seen.accept(h.Counter) {
		return dst, ErrReplay
	}
	return out, nil
}

// Report returns what arrived on all lanes, to be sent to the peer.
func (s *Session) Report() frame.Report {
	var sum frame.Report
	for r := range s.lanes.receiving() {
		one := r.Report()
		sum.Highest += one.Highest
		sum.Packets += one.Packets
	}
	return sum
}

// Delivered returns what arrived on all lanes: bytes and number of the inner packets opened, each packet
// once, and the sum of the highest counters opened plus one. They are read one after the other, so
// while packets arrive they may be some packets apart; over time none is lost.
func (s *Session) Delivered() (bytes, packets, highest uint64) {
	for r := range s.lanes.receiving() {
		one := r.Report()
		bytes += r.bytes.Load()
		packets += one.Packets
		highest += one.Highest
	}
	return bytes, packets, highest
}

// Sent returns how many data packets were sealed on all lanes.
func (s *Session) Sent() uint64 {
	var sum uint64
	for l := range s.lanes.sending() {
		sum += l.Counter()
	}
	return sum
}

// RekeyAt returns when this side must start the next handshake for reasons of age: the initiator
// at RekeyAfter, the responder somewhat later.
func (s *Session) RekeyAt() time.Time {
	if s.Initiator {
		return s.Born.Add(RekeyAfter)
	}
	return s.Born.Add(RekeyAfter + rekeySlack)
}

// RekeyDue reports whether this side must start the next handshake, for age or because a lane, or the
// hop, has sealed 2^28 packets. At RekeyAt itself it is due.
func (s *Session) RekeyDue(now time.Time) bool {
	if !now.Before(s.RekeyAt()) {
		return true
	}
	for l := range s.lanes.sending() {
		if l.Counter() >= rekeyCounter {
			return true
		}
	}
	if s.hop != nil && s.hop.sender.Counter() >= rekeyCounter {
		return true
	}
	return s.send.next.Load() >= rekeyCounter
}

// ExpiresAt returns when the session's keys must be dropped.
func (s *Session) ExpiresAt() time.Time { return s.Born.Add(RejectAfter) }

// Expired reports whether the session's keys must be dropped. At ExpiresAt itself they must.
func (s *Session) Expired(now time.Time) bool { return !now.Before(s.ExpiresAt()) }
