package frame

import (
	"encoding/binary"

	"github.com/vine-mesh/vine/tables"
)

// Sizes of relay datagrams.
const (
	RelayHeaderLen = 32

	// RelayOverhead is what a hop through a queue-VR adds to a datagram: header and hop tag.
	RelayOverhead = RelayHeaderLen + TagLen

	// relayMax is the longest relay datagram: its size field has two bytes.
	relayMax = 1<<16 - 1
)

// A RelayRole says what the receiver of a relay datagram is to do with it. It is the field Type of
// the dissertation's table 3-7, less the values that are datagrams or control frames of their own here
// (2, get from queue: Poll; 3, null: Ping).
type RelayRole uint8

// Roles of a relay datagram.
const (
	RelayForward RelayRole = 0 // the receiver is the destination
	RelayQueue   RelayRole = 1 // the receiver is a queue-VR and passes it on to the destination
)

// A Relay is the header of a relay datagram: a whole datagram on one of the two hops between two routers
// that talk through a queue-VR. It spells out the fields of the dissertation's table 3-7.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+---------------+---------------+---------------+
//	|   type = 11   |     role      |     state     |     zero      |
//	+---------------+---------------+---------------+---------------+
//	|                    receiver's session index                   |
//	+---------------------------------------------------------------+
//	|                        hop counter (8)                        |
//	+-------------------------------+-------------------------------+
//	|             size              |             zero              |
//	+-------------------------------+-------------------------------+
//	|                             VN ID                             |
//	+---------------------------------------------------------------+
//	|                        source router ID                       |
//	+---------------------------------------------------------------+
//	|                     destination router ID                     |
//	+---------------------------------------------------------------+
//	|               payload: a whole datagram of another type       |
//	+---------------------------------------------------------------+
//	|                         hop tag (16)                          |
//	+---------------------------------------------------------------+
//
// Source and destination are the two ends and stay the same on both hops. Everything else is of the
// hop: index, counter and tag belong to the session of the two routers that the hop joins. All bytes
// before the tag are its additional data.
type Relay struct {
	Role        RelayRole
	State       uint8       // zero: no bit has a meaning yet
	Index       uint32      // the receiver's session index, as in control datagrams
	Counter     uint64      // of this hop and direction
	VN          tables.VNID // of the data packet inside; 0: what is inside is of the two routers, not of a VN
	Source      tables.RouterID
	Destination tables.RouterID
}

// Append appends the header to b. Size is the length of the whole datagram in bytes, with the tag. It
// panics if size is below RelayOverhead or does not fit in two bytes.
func (r Relay) Append(b []byte, size int) []byte {
	if size < RelayOverhead || size > relayMax {
		panic("frame: internal error: size of a relay datagram")
	}
	b = append(b, byte(TypeRelay), byte(r.Role), r.State, 0)
	b = binary.BigEndian.AppendUint32(b, r.Index)
	b = binary.BigEndian.AppendUint64(b, r.Counter)
	b = append(b, byte(size>>8), byte(size), 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(r.VN))
	b = binary.BigEndian.AppendUint32(b, uint32(r.Source))
	return binary.BigEndian.AppendUint32(b, uint32(r.Destination))
}

// ParseRelay parses a relay datagram; payload is what lies between header and tag. It fails with
// ErrShort, ErrType, ErrLength if size is not the length of b, ErrReserved for state and zero bytes, or
// ErrValue for an unknown role. What the payload is it does not look at: see Carries.
func ParseRelay(b []byte) (r Relay, payload []byte, err error) {
	switch {
	case len(b) < RelayOverhead:
		return Relay{}, nil, ErrShort
	case Type(b[0]) != TypeRelay:
		return Relay{}, nil, ErrType
	case int(binary.BigEndian.Uint16(b[16:])) != len(b):
		return Relay{}, nil, ErrLength
	case b[2]|b[3]|b[18]|b[19] != 0:
		return Relay{}, nil, ErrReserved
	case RelayRole(b[1]) > RelayQueue:
		return Relay{}, nil, ErrValue
	}
	r = Relay{
		Role:        RelayRole(b[1]),
		Index:       binary.BigEndian.Uint32(b[4:]),
		Counter:     binary.BigEndian.Uint64(b[8:]),
		VN:          tables.VNID(binary.BigEndian.Uint32(b[20:])),
		Source:      tables.RouterID(binary.BigEndian.Uint32(b[24:])),
		Destination: tables.RouterID(binary.BigEndian.Uint32(b[28:])),
	}
	return r, b[RelayHeaderLen : len(b)-TagLen], nil
}

// Carries reports whether a payload may travel under this header: a data packet under the ID of a VN;
// an init, response, cookie, control or gossip datagram under none. Never a join message, whose
// sender nobody vouches for, and never a relay datagram: paths have one queue-VR.
func (r Relay) Carries(payload []byte) bool {
	switch TypeOf(payload) {
	case TypeData:
		return r.VN != 0
	case TypeInit, TypeResponse, TypeCookie, TypeControl, TypeGossip:
		return r.VN == 0
	}
	return false
}
