package frame

import (
	"encoding/binary"

	"github.com/vine-mesh/vine/tables"
)

// A GossipPayload says whose the payload of a gossip packet is. The first byte decides. A packet of memberlist
// (v0.7.0, net.go) begins with its message type: 0 (ping) to 13 (error), or 244 (label). serf's
// messages, and our rumours with their 0xD1, stand behind memberlist's type 8 (user).
type GossipPayload uint8

// Payloads of gossip packets.
const (
	GossipMemberlist GossipPayload = 0    // memberlist's, by all first bytes but the two below
	GossipDialBack   GossipPayload = 0xD2 // a helper's datagram: see DialFor
	GossipRelay      GossipPayload = 0xD3 // another gossip datagram, to be passed on
)

const gossipRelayFixedLen = 5

// GossipKind returns whose payload is; GossipMemberlist for an empty one.
func GossipKind(payload []byte) GossipPayload {
	if len(payload) == 0 {
		return GossipMemberlist
	}
	switch k := GossipPayload(payload[0]); k {
	case GossipDialBack, GossipRelay:
		return k
	}
	return GossipMemberlist
}

// AppendGossipDialBack appends the payload by which a helper dials back: kind 1, token 8.
func AppendGossipDialBack(b []byte, token [tokenLen]byte) []byte {
	return append(append(b, byte(GossipDialBack)), token[:]...)
}

// ParseGossipDialBack parses a payload of kind GossipDialBack. It fails with ErrLength or ErrType.
func ParseGossipDialBack(payload []byte) (token [tokenLen]byte, err error) {
	switch {
	case len(payload) != 1+tokenLen:
		return token, ErrLength
	case GossipKind(payload) != GossipDialBack:
		return token, ErrType
	}
	return [tokenLen]byte(payload[1:]), nil
}

// AppendGossipRelay appends the payload that asks its receiver to send a whole gossip datagram on to
// destination: kind 1, destination router 4, datagram. A datagram of more than GossipPieceMax-5 bytes
// makes a payload of two pieces.
func AppendGossipRelay(b []byte, destination tables.RouterID, datagram []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, byte(GossipRelay)), uint32(destination))
	return append(b, datagram...)
}

// ParseGossipRelay parses a payload of kind GossipRelay; datagram aliases it. It fails with ErrLength,
// ErrType, ErrValue if destination is zero, or as ParseGossip does if datagram is no gossip datagram.
// A receiver still must compare the Sender of the datagram with who sealed the payload, so that nobody
// has a router send in the name of another.
func ParseGossipRelay(payload []byte) (destination tables.RouterID, datagram []byte, err error) {
	switch {
	case len(payload) < gossipRelayFixedLen:
		return 0, nil, ErrLength
	case GossipKind(payload) != GossipRelay:
		return 0, nil, ErrType
	}
	destination = tables.RouterID(binary.BigEndian.Uint32(payload[1:]))
	if destination == 0 {
		return 0, nil, ErrValue
	}
	datagram = payload[gossipRelayFixedLen:]
	if _, _, err := ParseGossip(datagram); err != nil {
		return 0, nil, err
	}
	return destination, datagram, nil
}
