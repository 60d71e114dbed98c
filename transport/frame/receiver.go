package frame

import "encoding/binary"

// ReceiverOf returns the index by which a datagram names what its receiver issued: a session, or a
// handshake under way. ok is false for types without one (first messages, data, whose index is a
// channel's, and gossip), and for a datagram too short to have it. The index of a relay datagram is a
// session's: what is inside has one of its own.
func ReceiverOf(b []byte) (index uint32, ok bool) {
	at := 4
	switch TypeOf(b) {
	case TypeResponse, TypeJoinReply:
		at = 8 // behind the sender's index
	case TypeCookie, TypeJoinCookie, TypeJoinFinish, TypeControl, TypeRelay:
	default:
		return 0, false
	}
	if len(b) < at+4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(b[at:]), true
}
