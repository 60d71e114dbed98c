package frame

import (
	"encoding/binary"
	"net/netip"

	"github.com/vine-mesh/vine/tables"
)

// Control frames by which two routers agree on a path and measure it.

const (
	endpointLen         = 18 // address 16, port 2
	candidatesFixedLen  = 1
	trainFixedLen       = 8
	trainReportFixedLen = 14
	deliveredLen        = 32

	// CandidatesMax is how many endpoints, and how many relays, one Candidates frame may name: as many
	// endpoints as a link record has. It bounds the probing that one frame can cause.
	CandidatesMax = 8

	// TrainMin is the length of a train frame without padding, in bytes.
	TrainMin = frameHeaderLen + trainFixedLen
)

// appendEndpoint appends 18 bytes; an IPv4 address stands in its IPv4-mapped form (RFC 4291, Section
// 2.5.5.2). A zone is not sent.
func appendEndpoint(b []byte, e netip.AddrPort) []byte {
	a := e.Addr().As16()
	return binary.BigEndian.AppendUint16(append(b, a[:]...), e.Port())
}

// parseEndpoint parses the first 18 bytes of b, which must be there.
func parseEndpoint(b []byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)).Unmap(), binary.BigEndian.Uint16(b[16:]))
}

// A Use says: I send on the path that this frame came by; do so too. Of several in one session the one
// with the highest order counts, whatever way and in whatever sequence they arrive. Body: order 8.
type Use struct{ Order uint64 }

// Append appends the control frame to b.
func (u Use) Append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(appendFrame(b, KindUse, 8), u.Order)
}

// ParseUse parses the body of a use frame. It fails with ErrLength.
func ParseUse(body []byte) (Use, error) {
	if len(body) != 8 {
		return Use{}, ErrLength
	}
	return Use{Order: binary.BigEndian.Uint64(body)}, nil
}

// A Used acknowledges a Use: the path of this order is in use, or one of a higher order. Body: order 8.
type Used struct{ Order uint64 }

// Append appends the control frame to b.
func (u Used) Append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(appendFrame(b, KindUsed, 8), u.Order)
}

// ParseUsed parses the body of a used frame. It fails with ErrLength.
func ParseUsed(body []byte) (Used, error) {
	if len(body) != 8 {
		return Used{}, ErrLength
	}
	return Used{Order: binary.BigEndian.Uint64(body)}, nil
}

// A Candidates frame tells the peer by which paths this router may be reached now: endpoints, and routers that
// relay for it, best first. It takes the place of the one before. Nothing in it is more than a
// place to try: a path counts when a challenge came back by it.
// Body: number of endpoints 1, then (address 16, port 2) for each, then router ID 4 for each relay.
//
// Invariant: at most CandidatesMax of each; no relay is zero.
type Candidates struct {
	Endpoints []netip.AddrPort
	Relays    []tables.RouterID
}

// Append appends the control frame to b. Of each list only the first CandidatesMax are sent.
func (c Candidates) Append(b []byte) []byte {
	endpoints := c.Endpoints[:min(len(c.Endpoints), CandidatesMax)]
	relays := c.Relays[:min(len(c.Relays), CandidatesMax)]
	b = appendFrame(b, KindCandidates, candidatesFixedLen+len(endpoints)*endpointLen+len(relays)*4)
	b = append(b, byte(len(endpoints)))
	for _, e := range endpoints {
		b = appendEndpoint(b, e)
	}
	for _, r := range relays {
		b = binary.BigEndian.AppendUint32(b, uint32(r))
	}
	return b
}

// ParseCandidates parses the body of a candidates frame. It fails with ErrLength, or with ErrValue for
// more than CandidatesMax of either or a relay that is zero. A list without entries is nil.
func ParseCandidates(body []byte) (Candidates, error) {
	if len(body) < candidatesFixedLen {
		return Candidates{}, ErrLength
	}
	n, rest := int(body[0]), body[candidatesFixedLen:]
	if n > CandidatesMax {
		return Candidates{}, ErrValue
	}
	if len(rest) < n*endpointLen || (len(rest)-n*endpointLen)%4 != 0 {
		return Candidates{}, ErrLength
	}
	relays := (len(rest) - n*endpointLen) / 4
	if relays > CandidatesMax {
		return Candidates{}, ErrValue
	}
	var c Candidates
	for ; n > 0; n-- {
		c.Endpoints = append(c.Endpoints, parseEndpoint(rest))
		rest = rest[endpointLen:]
	}
	for ; relays > 0; relays-- {
		r := tables.RouterID(binary.BigEndian.Uint32(rest))
		if r == 0 {
			return Candidates{}, ErrValue
		}
		c.Relays = append(c.Relays, r)
		rest = rest[4:]
	}
	return c, nil
}

// A Train is one packet of a short row sent back to back, from whose spacing on arrival the far side
// computes what the path carries (Dovrolis, Ramanathan, Moore, "What do packet dispersion techniques
// measure?", 2001). Body: ID 4, index 2, count 2, zeroes.
//
// Invariant: Index < Count.
type Train struct {
	ID    uint32 // of the row; the report names it
	Index uint16 // of this packet in the row, from 0
	Count uint16 // packets in the row
}

// AppendTrain appends a train frame of n bytes in all to b; n below TrainMin gives TrainMin. Index
// must be below count.
func AppendTrain(b []byte, t Train, n int) []byte {
	n = max(n, TrainMin)
	b = appendFrame(b, KindTrain, n-frameHeaderLen)
	b = binary.BigEndian.AppendUint32(b, t.ID)
	b = binary.BigEndian.AppendUint16(b, t.Index)
	b = binary.BigEndian.AppendUint16(b, t.Count)
	return append(b, make([]byte, n-TrainMin)...)
}

// ParseTrain parses the body of a train frame. It fails with ErrLength, ErrValue if index is not below
// count, or ErrReserved if the padding is not zero.
func ParseTrain(body []byte) (Train, error) {
	if len(body) < trainFixedLen {
		return Train{}, ErrLength
	}
	t := Train{
		ID:    binary.BigEndian.Uint32(body),
		Index: binary.BigEndian.Uint16(body[4:]),
		Count: binary.BigEndian.Uint16(body[6:]),
	}
	if t.Index >= t.Count {
		return Train{}, ErrValue
	}
	for _, z := range body[trainFixedLen:] {
		if z != 0 {
			return Train{}, ErrReserved
		}
	}
	return t, nil
}

// A TrainReport says what arrived of a train. Body: ID 4, received 2, bytes 4, span 4.
type TrainReport struct {
	ID       uint32
	Received uint16 // packets of the row that arrived
	Bytes    uint32 // of those packets, as datagrams on the path
	Span     uint32 // microseconds from the first arrival to the last
}

// Append appends the control frame to b.
func (r TrainReport) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(appendFrame(b, KindTrainReport, trainReportFixedLen), r.ID)
	b = binary.BigEndian.AppendUint16(b, r.Received)
	b = binary.BigEndian.AppendUint32(b, r.Bytes)
	return binary.BigEndian.AppendUint32(b, r.Span)
}

// ParseTrainReport parses the body of a train report. It fails with ErrLength.
func ParseTrainReport(body []byte) (TrainReport, error) {
	if len(body) != trainReportFixedLen {
		return TrainReport{}, ErrLength
	}
	return TrainReport{
		ID:       binary.BigEndian.Uint32(body),
		Received: binary.BigEndian.Uint16(body[4:]),
		Bytes:    binary.BigEndian.Uint32(body[6:]),
		Span:     binary.BigEndian.Uint32(body[10:]),
	}, nil
}

// A Delivered says how much data of a session arrived up to a time: two of them give the rate at which the
// path delivers (Cardwell et al., "BBR: congestion-based congestion control", 2016). All sums are over
// all lanes and only grow within a session. Body: bytes 8, packets 8, highest 8, clock 8.
type Delivered struct {
	Bytes   uint64 // inner packets' bytes, each packet once
	Packets uint64 // as in Report
	Highest uint64 // as in Report
	Clock   uint64 // the sender's microseconds at which the sums were read; any origin
}

// Append appends the control frame to b.
func (d Delivered) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(appendFrame(b, KindDelivered, deliveredLen), d.Bytes)
	b = binary.BigEndian.AppendUint64(b, d.Packets)
	b = binary.BigEndian.AppendUint64(b, d.Highest)
	return binary.BigEndian.AppendUint64(b, d.Clock)
}

// ParseDelivered parses the body of a delivered frame. It fails with ErrLength.
func ParseDelivered(body []byte) (Delivered, error) {
	if len(body) != deliveredLen {
		return Delivered{}, ErrLength
	}
	return Delivered{
		Bytes:   binary.BigEndian.Uint64(body),
		Packets: binary.BigEndian.Uint64(body[8:]),
		Highest: binary.BigEndian.Uint64(body[16:]),
		Clock:   binary.BigEndian.Uint64(body[24:]),
	}, nil
}
