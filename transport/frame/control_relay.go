package frame

import (
	"encoding/binary"
	"net/netip"

	"github.com/vine-mesh/vine/tables"
)

// Control frames between a limited VR and its queue-VR, and those of dial-back, by which a VR finds out
// whether it is limited.

// Modes of Attach.
const (
	AttachChannel uint8 = 0 // pass everything on at once: the path to the limited VR is open
	AttachPoll    uint8 = 1 // keep what comes until a Poll asks for it
	AttachLeave   uint8 = 2 // serve no more
)

// An Attach asks the peer to be this router's queue-VR, or tells that it still is one. Of several in one
// session the one with the highest order counts. Body: order 4, mode 1, interval 2.
type Attach struct {
	Order    uint32
	Mode     uint8  // AttachChannel or AttachPoll
	Interval uint16 // milliseconds between polls; for AttachChannel between signs of life
}

// Append appends the control frame to b.
func (a Attach) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(appendFrame(b, KindAttach, 7), a.Order)
	return binary.BigEndian.AppendUint16(append(b, a.Mode), a.Interval)
}

// ParseAttach parses the body of an attach. It fails with ErrLength, or ErrValue for an unknown mode.
func ParseAttach(body []byte) (Attach, error) {
	if len(body) != 7 {
		return Attach{}, ErrLength
	}
	if body[4] > AttachLeave {
		return Attach{}, ErrValue
	}
	return Attach{
		Order:    binary.BigEndian.Uint32(body),
		Mode:     body[4],
		Interval: binary.BigEndian.Uint16(body[5:]),
	}, nil
}

// An Attached answers an Attach. Body: order 4, accepted 1.
type Attached struct {
	Order    uint32 // of the attach
	Accepted bool   // false: not now, look for another queue-VR
}

// Append appends the control frame to b.
func (a Attached) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(appendFrame(b, KindAttached, 5), a.Order)
	var accepted byte
	if a.Accepted {
		accepted = 1
	}
	return append(b, accepted)
}

// ParseAttached parses the body of an attached. It fails with ErrLength, or ErrValue if accepted is
// neither 0 nor 1.
func ParseAttached(body []byte) (Attached, error) {
	if len(body) != 5 {
		return Attached{}, ErrLength
	}
	if body[4] > 1 {
		return Attached{}, ErrValue
	}
	return Attached{Order: binary.BigEndian.Uint32(body), Accepted: body[4] == 1}, nil
}

// A Poll fetches what its queue-VR keeps for this router: the "get from queue" of the dissertation's
// table 3-7. What is kept comes back by the path that the poll came by. Body: order 4.
type Poll struct {
	Order uint32 // rises with every poll of a session; a lower one fetches nothing
}

// Append appends the control frame to b.
func (p Poll) Append(b []byte) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, KindPoll, 4), p.Order)
}

// ParsePoll parses the body of a poll. It fails with ErrLength.
func ParsePoll(body []byte) (Poll, error) {
	if len(body) != 4 {
		return Poll{}, ErrLength
	}
	return Poll{Order: binary.BigEndian.Uint32(body)}, nil
}

// tokenLen is the length of a dial-back token: a blind guess is right with 2^-64.
const tokenLen = 8

// A DialBack asks the peer to have a third router, the helper, send one datagram to the endpoint at which
// the peer sees this router: if it arrives, strangers can reach this router. Body: token 8, helper 4.
type DialBack struct {
	Token  [tokenLen]byte  // random; comes in the helper's datagram
	Helper tables.RouterID // who is to dial; 0: the peer chooses
}

// Append appends the control frame to b.
func (d DialBack) Append(b []byte) []byte {
	b = append(appendFrame(b, KindDialBack, tokenLen+4), d.Token[:]...)
	return binary.BigEndian.AppendUint32(b, uint32(d.Helper))
}

// ParseDialBack parses the body of a dial back. It fails with ErrLength.
func ParseDialBack(body []byte) (DialBack, error) {
	if len(body) != tokenLen+4 {
		return DialBack{}, ErrLength
	}
	return DialBack{
		Token:  [tokenLen]byte(body),
		Helper: tables.RouterID(binary.BigEndian.Uint32(body[tokenLen:])),
	}, nil
}

// A DialFor asks the helper to send that datagram, a gossip datagram with the token (see
// AppendGossipDialBack). Body: token 8, router 4, endpoint 18.
type DialFor struct {
	Token    [tokenLen]byte
	Router   tables.RouterID // who wants to be dialled; not zero
	Endpoint netip.AddrPort  // where
}

// Append appends the control frame to b. A zone is not sent.
func (d DialFor) Append(b []byte) []byte {
	b = append(appendFrame(b, KindDialFor, tokenLen+4+endpointLen), d.Token[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(d.Router))
	return appendEndpoint(b, d.Endpoint)
}

// ParseDialFor parses the body of a dial for. It fails with ErrLength, or ErrValue if router is zero.
func ParseDialFor(body []byte) (DialFor, error) {
	if len(body) != tokenLen+4+endpointLen {
		return DialFor{}, ErrLength
	}
	d := DialFor{
		Token:    [tokenLen]byte(body),
		Router:   tables.RouterID(binary.BigEndian.Uint32(body[tokenLen:])),
		Endpoint: parseEndpoint(body[tokenLen+4:]),
	}
	if d.Router == 0 {
		return DialFor{}, ErrValue
	}
	return d, nil
}

// A Dialled tells who asked by DialBack which helper was asked to dial. Only now does silence mean
// something. Body: token 8, helper 4.
type Dialled struct {
	Token  [tokenLen]byte
	Helper tables.RouterID // 0: nobody could be asked
}

// Append appends the control frame to b.
func (d Dialled) Append(b []byte) []byte {
	b = append(appendFrame(b, KindDialled, tokenLen+4), d.Token[:]...)
	return binary.BigEndian.AppendUint32(b, uint32(d.Helper))
}

// ParseDialled parses the body of a dialled. It fails with ErrLength.
func ParseDialled(body []byte) (Dialled, error) {
	if len(body) != tokenLen+4 {
		return Dialled{}, ErrLength
	}
	return Dialled{
		Token:  [tokenLen]byte(body),
		Helper: tables.RouterID(binary.BigEndian.Uint32(body[tokenLen:])),
	}, nil
}
