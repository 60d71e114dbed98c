package frame

import (
	"bytes"
	"encoding/binary"
)

// A JoinHello is the first message of a newcomer that knows nothing but an address: message 1 of
// Noise XX (e). It is always HandshakeLen bytes long.
//
//	+---------------+-----------------------------------------------+
//	|   type = 5    |                     zero                      |
//	+---------------+-----------------------------------------------+
//	|                         sender's index                        |
//	+---------------------------------------------------------------+
//	|                     Noise message 1: e (32)                   |
//	+---------------------------------------------------------------+
//	|                          zero (972)                           |
//	+---------------------------------------------------------------+
//	|              join cookie (16), zero at first                  |
//	+---------------------------------------------------------------+
type JoinHello struct {
	Sender    uint32
	Ephemeral [KeyLen]byte
	Cookie    [MACLen]byte
}

// joinHelloZeroes is what a join hello is padded with; never written to.
var joinHelloZeroes [HandshakeLen - 8 - KeyLen - MACLen]byte

// Append appends the datagram to b.
func (m JoinHello) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, byte(TypeJoinHello), 0, 0, 0), m.Sender)
	b = append(b, m.Ephemeral[:]...)
	b = append(b, joinHelloZeroes[:]...)
	return append(b, m.Cookie[:]...)
}

// ParseJoinHello parses a join hello. It fails with ErrShort, ErrLength, ErrType, or ErrReserved
// if a byte that must be zero is not.
func ParseJoinHello(b []byte) (JoinHello, error) {
	if err := checkStart(b, TypeJoinHello, HandshakeLen); err != nil {
		return JoinHello{}, err
	}
	if len(b) != HandshakeLen {
		return JoinHello{}, ErrLength
	}
	if !bytes.Equal(b[8+KeyLen:HandshakeLen-MACLen], joinHelloZeroes[:]) {
		return JoinHello{}, ErrReserved
	}
	return JoinHello{
		Sender:    binary.BigEndian.Uint32(b[4:]),
		Ephemeral: [KeyLen]byte(b[8:]),
		Cookie:    [MACLen]byte(b[HandshakeLen-MACLen:]),
	}, nil
}

// A JoinCookie answers a join hello that brought no good cookie. Sending it takes no state.
//
//	+---------------+-----------------------------------------------+
//	|   type = 6    |                     zero                      |
//	+---------------+-----------------------------------------------+
//	|              receiver's index (from the join hello)           |
//	+---------------------------------------------------------------+
//	|                          cookie (16)                          |
//	+---------------------------------------------------------------+
type JoinCookie struct {
	Receiver uint32
	Cookie   [MACLen]byte
}

// Append appends the datagram to b.
func (m JoinCookie) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, byte(TypeJoinCookie), 0, 0, 0), m.Receiver)
	return append(b, m.Cookie[:]...)
}

// ParseJoinCookie parses a join cookie. It fails with ErrShort, ErrLength, ErrType or ErrReserved.
func ParseJoinCookie(b []byte) (JoinCookie, error) {
	if err := checkStart(b, TypeJoinCookie, JoinCookieLen); err != nil {
		return JoinCookie{}, err
	}
	if len(b) != JoinCookieLen {
		return JoinCookie{}, ErrLength
	}
	return JoinCookie{Receiver: binary.BigEndian.Uint32(b[4:]), Cookie: [MACLen]byte(b[8:])}, nil
}

// A JoinReply is message 2 of Noise XX (e, ee, s, es). It is at most HandshakeLen bytes long.
//
//	+---------------+-----------------------------------------------+
//	|   type = 7    |                     zero                      |
//	+---------------+-----------------------------------------------+
//	|                         sender's index                        |
//	+---------------------------------------------------------------+
//	|              receiver's index (from the join hello)           |
//	+---------------------------------------------------------------+
//	|  Noise message 2: e 32, sealed static key 48, sealed payload  |
//	+---------------------------------------------------------------+
type JoinReply struct {
	Sender   uint32
	Receiver uint32
	Noise    []byte
}

// Append appends the datagram to b.
func (m JoinReply) Append(b []byte) []byte {
	return append(appendIndices(b, TypeJoinReply, m.Sender, m.Receiver), m.Noise...)
}

// ParseJoinReply parses a join reply. It fails with ErrShort, ErrLength, ErrType or ErrReserved.
func ParseJoinReply(b []byte) (JoinReply, error) {
	if err := checkStart(b, TypeJoinReply, JoinReplyMin); err != nil {
		return JoinReply{}, err
	}
	if len(b) > HandshakeLen {
		return JoinReply{}, ErrLength
	}
	return JoinReply{
		Sender:   binary.BigEndian.Uint32(b[4:]),
		Receiver: binary.BigEndian.Uint32(b[8:]),
		Noise:    b[12:],
	}, nil
}

// A JoinFinish is message 3 of Noise XX (s, se). It is at most HandshakeLen bytes long.
//
//	+---------------+-----------------------------------------------+
//	|   type = 8    |                     zero                      |
//	+---------------+-----------------------------------------------+
//	|              receiver's index (from the join reply)           |
//	+---------------------------------------------------------------+
//	|     Noise message 3: sealed static key 48, sealed payload     |
//	+---------------------------------------------------------------+
type JoinFinish struct {
	Receiver uint32
	Noise    []byte
}

// Append appends the datagram to b.
func (m JoinFinish) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, byte(TypeJoinFinish), 0, 0, 0), m.Receiver)
	return append(b, m.Noise...)
}

// ParseJoinFinish parses a join finish. It fails with ErrShort, ErrLength, ErrType or ErrReserved.
func ParseJoinFinish(b []byte) (JoinFinish, error) {
	if err := checkStart(b, TypeJoinFinish, JoinFinishMin); err != nil {
		return JoinFinish{}, err
	}
	if len(b) > HandshakeLen {
		return JoinFinish{}, ErrLength
	}
	return JoinFinish{Receiver: binary.BigEndian.Uint32(b[4:]), Noise: b[8:]}, nil
}
