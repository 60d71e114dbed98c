package frame

import (
	"encoding/binary"

	"github.com/vine-mesh/vine/tables"
)

// ControlHeaderLen is the length of a control header.
const ControlHeaderLen = 16

// A ControlHeader starts every control datagram. All 16 bytes are additional data of the AEAD;
// the plaintext is a sequence of control frames. Control datagrams have a key pair and a counter
// of their own.
//
//	+---------------+-----------------------------------------------+
//	|   type = 9    |                     zero                      |
//	+---------------+-----------------------------------------------+
//	|                    receiver's session index                   |
//	+---------------------------------------------------------------+
//	|                          counter (8)                          |
//	+---------------------------------------------------------------+
//	|               sealed control frames, then tag 16              |
type ControlHeader struct {
	Receiver uint32
	Counter  uint64
}

// Append appends the header to b.
func (h ControlHeader) Append(b []byte) []byte {
	b = append(b, byte(TypeControl), 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, h.Receiver)
	return binary.BigEndian.AppendUint64(b, h.Counter)
}

// ParseControlHeader parses the header of a control datagram; rest is what is sealed, with its
// tag. It fails with ErrShort, ErrType or ErrReserved.
func ParseControlHeader(b []byte) (h ControlHeader, rest []byte, err error) {
	if err := checkStart(b, TypeControl, ControlHeaderLen+TagLen); err != nil {
		return ControlHeader{}, nil, err
	}
	h.Receiver = binary.BigEndian.Uint32(b[4:])
	h.Counter = binary.BigEndian.Uint64(b[8:])
	return h, b[ControlHeaderLen:], nil
}

// Sizes of gossip datagrams.
const (
	GossipHeaderLen = 16

	// GossipPiecesMax is how many pieces one gossip packet may have: 8 pieces carry memberlist's
	// packets of 7,900 bytes, and bound what a receiver keeps while it waits for the rest.
	GossipPiecesMax = 8

	// GossipPieceMax is the most payload in one piece.
	GossipPieceMax = MessageMax - GossipHeaderLen - TagLen
)

// A Gossip is the header of one piece of a gossip packet, sealed between two routers without a
// session. All 16 bytes are additional data of the AEAD.
//
//	+---------------+---------------+---------------+---------------+
//	|   type = 10   |    piece      |    pieces     |     zero      |
//	+---------------+---------------+---------------+---------------+
//	|                        sender router ID                       |
//	+---------------------------------------------------------------+
//	|       boot count (24 bits)    |   counter of the boot (40)    |
//	|                              ...                              |
//	+---------------------------------------------------------------+
//	|                      sealed payload, tag 16                   |
//
// Invariant: Piece < Pieces, 1 <= Pieces <= GossipPiecesMax. The pieces of one packet have
// consecutive counters, so piece p belongs to the packet that starts at Counter-p.
type Gossip struct {
	Piece, Pieces uint8
	Sender        tables.RouterID
	Counter       uint64
}

// Append appends the header to b.
func (h Gossip) Append(b []byte) []byte {
	b = append(b, byte(TypeGossip), h.Piece, h.Pieces, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(h.Sender))
	return binary.BigEndian.AppendUint64(b, h.Counter)
}

// ParseGossip parses the header of a gossip datagram; rest is what is sealed, with its tag.
// It fails with ErrShort, ErrType, ErrReserved, or ErrValue for impossible piece numbers.
func ParseGossip(b []byte) (h Gossip, rest []byte, err error) {
	if len(b) < GossipHeaderLen+TagLen {
		return Gossip{}, nil, ErrShort
	}
	if Type(b[0]) != TypeGossip {
		return Gossip{}, nil, ErrType
	}
	if b[3] != 0 {
		return Gossip{}, nil, ErrReserved
	}
	h.Piece, h.Pieces = b[1], b[2]
	if h.Pieces == 0 || h.Pieces > GossipPiecesMax || h.Piece >= h.Pieces {
		return Gossip{}, nil, ErrValue
	}
	h.Sender = tables.RouterID(binary.BigEndian.Uint32(b[4:]))
	h.Counter = binary.BigEndian.Uint64(b[8:])
	return h, b[GossipHeaderLen:], nil
}

// checkStart checks what all datagrams but data and gossip share: at least n bytes, the type, and
// three zero bytes after it.
func checkStart(b []byte, t Type, n int) error {
	switch {
	case len(b) < n:
		return ErrShort
	case Type(b[0]) != t:
		return ErrType
	case b[1]|b[2]|b[3] != 0:
		return ErrReserved
	}
	return nil
}
