package secure

import (
	"crypto/cipher"
	"encoding/binary"
	"slices"
	"sync/atomic"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

const (
	nonceLen  = 12 // of both suites
	vnAndIDs  = 4 + 8
	sealedAAD = frame.DataHeaderLen + vnAndIDs
)

// SealScratch is the capacity that Seal needs behind the datagram, for additional data and nonce:
// they lie in the caller's buffer so that goroutines may share a Sender and nothing is allocated.
// The bytes there are overwritten.
const SealScratch = sealedAAD + nonceLen

// A sealer is one sending key and its counter.
type sealer struct {
	aead  cipher.AEAD
	iv    [nonceLen]byte
	limit uint64
	next  *atomic.Uint64 // the next counter; grows past limit by refused calls, and then seals no more
}

// reserve takes n consecutive counters and returns the first. It returns false when the key is spent.
func (s *sealer) reserve(n uint64) (uint64, bool) {
	end := s.next.Add(n)
	return end - n, end <= s.limit
}

// An opener is one receiving key and its replay window.
type opener struct {
	aead  cipher.AEAD
	iv    [nonceLen]byte
	limit uint64
	seen  window
}

func nonceOf(iv *[nonceLen]byte, counter uint64) [nonceLen]byte {
	nonce := *iv
	tail := nonce[nonceLen-8:]
	binary.BigEndian.PutUint64(tail, binary.BigEndian.Uint64(tail)^counter)
	return nonce
}

// idsOf returns source and destination router as they stand in the additional data.
func idsOf(from, to tables.RouterID) (ids [8]byte) {
	binary.BigEndian.PutUint32(ids[:], uint32(from))
	binary.BigEndian.PutUint32(ids[4:], uint32(to))
	return ids
}

// appendIDs appends what is authenticated and not sent.
func appendIDs(b []byte, vn tables.VNID, ids *[8]byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(vn)), ids[:]...)
}

// A Sender seals the data packets of one lane to one peer. Any number of goroutines may use it.
//
// Additional data of a sealed packet:
//
//	header 16 || VN ID 4 || source router 4 || destination router 4
//
// With frame.MetaAuthOnly the payload is sent as it is, and authenticated:
//
//	header 16 || payload || VN ID 4 || source router 4 || destination router 4
//
// The bit is in the header, so the two can never be taken for one another.
type Sender struct {
	sealer
	ids   [8]byte
	lane  uint8
	lanes *lanes
}

// On returns the Sender of another lane of the session, the same one every time. It panics if lane is not below
// frame.LanesMax.
func (s *Sender) On(lane uint8) *Sender {
	if lane == s.lane {
		return s
	}
	return s.lanes.sender(lane)
}

// Counter returns how many counters were used: the next packet's.
func (s *Sender) Counter() uint64 { return min(s.next.Load(), s.limit) }

// Seal appends the whole datagram for the packet inner to dst: frame.DataHeaderLen + len(inner) +
// frame.TagLen bytes. The low frame.LaneBits of index are replaced by the lane. It returns false, and
// dst as it was, when the counter is spent: then only a new session helps.
//
// It allocates nothing if dst has SealScratch bytes of capacity behind the datagram. In place: inner
// may lie where its ciphertext will, at dst[len(dst)+frame.DataHeaderLen:]; any other overlap of inner with
// dst's capacity is an error of the caller.
func (s *Sender) Seal(dst []byte, index uint32, meta [3]byte, vn tables.VNID, inner []byte) ([]byte, bool) {
	counter, ok := s.reserve(1)
	if !ok {
		return dst, false
	}
	return s.seal(dst, counter, index, meta, vn, inner), true
}

// SealSplit seals a packet too big for the path as two datagrams with consecutive counters, appended to
// first and second: inner[:cut] and inner[cut:]. The split bits of meta are set here. Both buffers
// must not overlap inner. Otherwise it is like Seal. It panics if cut is out of range.
func (s *Sender) SealSplit(first, second []byte, index uint32, meta [3]byte, vn tables.VNID, inner []byte, cut int) ([]byte, []byte, bool) {
	counter, ok := s.reserve(2)
	if !ok {
		return first, second, false
	}
	meta[0] = meta[0]&^frame.MetaSplitLast | frame.MetaSplit
	first = s.seal(first, counter, index, meta, vn, inner[:cut])
	meta[0] |= frame.MetaSplitLast
	second = s.seal(second, counter+1, index, meta, vn, inner[cut:])
	return first, second, true
}

// A SendRun is consecutive counters of a Sender, each good for one packet.
type SendRun struct {
	sender    *Sender
	next, end uint64
}

// Run takes n counters. It returns false when the counter is spent.
func (s *Sender) Run(n int) (SendRun, bool) {
	counter, ok := s.reserve(uint64(n))
	return SendRun{s, counter, counter + uint64(n)}, ok
}

// Seal is Sender.Seal with the next counter of the run. It returns false when there is none left.
func (r *SendRun) Seal(dst []byte, index uint32, meta [3]byte, vn tables.VNID, inner []byte) ([]byte, bool) {
	if r.next >= r.end {
		return dst, false
	}
	r.next++
	return r.sender.seal(dst, r.next-1, index, meta, vn, inner), true
}

func (s *Sender) seal(dst []byte, counter uint64, index uint32, meta [3]byte, vn tables.VNID, inner []byte) []byte {
	off, n := len(dst), len(inner)
	size := frame.DataHeaderLen + n + frame.TagLen
	dst = slices.Grow(dst, size+SealScratch)[:off+size]
	b := dst[off : off+size+SealScratch]
	header := frame.DataHeader{Meta: meta, Index: index&^(frame.LanesMax-1) | uint32(s.lane), Counter: counter}
	header.Append(b[:0])
	scratch := b[size:]
	iv := nonceOf(&s.iv, counter)
	nonce := append(scratch[sealedAAD:sealedAAD], iv[:]...)

	if meta[0]&frame.MetaAuthOnly == 0 {
		aad := appendIDs(append(scratch[:0], b[:frame.DataHeaderLen]...), vn, &s.ids)
		s.aead.Seal(b[frame.DataHeaderLen:frame.DataHeaderLen:size], nonce, inner, aad)
		return dst
	}
	// The IDs stand in the place of the tag while the tag is made.
	end := frame.DataHeaderLen + n
	copy(b[frame.DataHeaderLen:], inner)
	aad := appendIDs(b[:end:size], vn, &s.ids)
	tag := s.aead.Seal(scratch[:0:frame.TagLen], nonce, nil, aad)
	copy(b[end:], tag)
	return dst
}

// A Receiver opens the data packets of one lane from one peer. One goroutine at a time may call
// Open: whoever lets several sockets receive for one lane holds a lock around it. Report may be
// called by any goroutine at any time.
type Receiver struct {
	opener
	ids     [8]byte
	lanes   *lanes
	scratch [sealedAAD + nonceLen + frame.TagLen]byte
	highest atomic.Uint64 // the window's top, for Report; written by Open only
	packets atomic.Uint64
	bytes   atomic.Uint64 // of the packets' plaintext
}

// On returns the Receiver of a lane of the session, the same one every time. It panics if lane is not below
// frame.LanesMax. It may be called by any goroutine at any time.
func (r *Receiver) On(lane uint8) *Receiver { return r.lanes.receiver(lane) }

// Open checks a datagram that came for the VN vn and appends the inner packet to dst. The caller
// found vn and this Receiver by the datagram's index; a sender that sealed for another VN, or
// between other routers, gives ErrOpen. It fails with ErrOpen, ErrReplay or an error of package frame;
// then dst is returned as it was and neither window nor report has changed.
//
// The AEAD is checked first, then the window: only a packet of the peer may move it.
// Whether a packet with frame.MetaAuthOnly is good enough for the VN is the caller's decision.
//
// It allocates nothing if dst has the capacity. In place: dst may be
// datagram[frame.DataHeaderLen:frame.DataHeaderLen]. A datagram that does not open is destroyed by that.
func (r *Receiver) Open(dst, datagram []byte, vn tables.VNID) ([]byte, error) {
	h, sealed, err := frame.ParseDataHeader(datagram)
	if err != nil {
		return dst, err
	}
	if h.Counter >= r.limit {
		return dst, ErrOpen
	}
	iv := nonceOf(&r.iv, h.Counter)
	nonce := r.scratch[sealedAAD : sealedAAD+nonceLen]
	copy(nonce, iv[:])

	var out []byte
	if h.Meta[0]&frame.MetaAuthOnly == 0 {
		aad := appendIDs(append(r.scratch[:0], datagram[:frame.DataHeaderLen]...), vn, &r.ids)
		out, err = r.aead.Open(dst, nonce, sealed, aad)
	} else {
		out, err = r.openAuthOnly(dst, datagram, nonce, vn)
	}
	if err != nil {
		return dst, ErrOpen
	}
	if !r.seen.accept(h.Counter) {
		return dst, ErrReplay
	}
	r.highest.Store(r.seen.top)
	r.packets.Store(r.packets.Load() + 1)
	r.bytes.Store(r.bytes.Load() + uint64(len(out)-len(dst)))
	return out, nil
}

// openAuthOnly is Open for a payload that is not encrypted. For the time of the check the IDs stand
// in the place of the tag; the datagram is whole again when it returns.
func (r *Receiver) openAuthOnly(dst, datagram, nonce []byte, vn tables.VNID) ([]byte, error) {
	end := len(datagram) - frame.TagLen
	tag := r.scratch[sealedAAD+nonceLen:]
	copy(tag, datagram[end:])
	aad := appendIDs(datagram[:end], vn, &r.ids)
	_, err := r.aead.Open(nil, nonce, tag, aad)
	copy(datagram[end:], tag)
	if err != nil {
		return dst, ErrOpen
	}
	return append(dst, datagram[frame.DataHeaderLen:end]...), nil
}

// Report returns what arrived on this lane.
func (r *Receiver) Report() frame.Report {
	return frame.Report{Highest: r.highest.Load(), Packets: r.packets.Load()}
}
