package frame

import "encoding/binary"

const (
	macsLen         = 2 * MACLen
	initNoiseLen    = HandshakeLen - 8 - macsLen
	cookieNonceLen  = 24 // XChaCha20-Poly1305: long enough to be drawn at random
	cookieSealedLen = MACLen + TagLen

	// noiseIK2Min and the like are the lengths of Noise messages with an empty payload.
	noiseIK2Min = KeyLen + TagLen                   // e, ee, se
	noiseXX2Min = KeyLen + KeyLen + TagLen + TagLen // e, ee, s, es
	noiseXX3Min = KeyLen + TagLen + TagLen          // s, se

	// CookieLen is the length of a cookie datagram.
	CookieLen = 8 + cookieNonceLen + cookieSealedLen
	// JoinCookieLen is the length of a join cookie datagram.
	JoinCookieLen = 8 + MACLen
	// ResponseMin is the length of a response with an empty payload.
	ResponseMin = 12 + noiseIK2Min + macsLen
	// JoinReplyMin is the length of a join reply with an empty payload.
	JoinReplyMin = 12 + noiseXX2Min
	// JoinFinishMin is the length of a join finish with an empty payload.
	JoinFinishMin = 8 + noiseXX3Min
)

// An Init is the first message between enrolled routers: message 1 of Noise IK (e, es, s, ss).
// It is always HandshakeLen bytes long; the padding is inside the encrypted payload.
//
//	+---------------+-----------------------------------------------+
//	|   type = 2    |                     zero                      |
//	+---------------+-----------------------------------------------+
//	|                         sender's index                        |
//	+---------------------------------------------------------------+
//	|   Noise message 1 (988): e 32  , sealed static key 48,        |
//	|   sealed payload                                              |
//	+---------------------------------------------------------------+
//	|                           MAC1 (16)                           |
//	+---------------------------------------------------------------+
//	|                  MAC2 (16), zero without a cookie             |
//	+---------------------------------------------------------------+
type Init struct {
	Sender uint32
	Noise  []byte // Invariant: InitNoiseLen bytes
	MAC1   [MACLen]byte
	MAC2   [MACLen]byte
}

// InitNoiseLen is the length of the Noise message in an Init.
const InitNoiseLen = initNoiseLen

// Append appends the datagram to b.
func (m Init) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, byte(TypeInit), 0, 0, 0), m.Sender)
	b = append(b, m.Noise...)
	return append(append(b, m.MAC1[:]...), m.MAC2[:]...)
}

// ParseInit parses an init datagram. It fails with ErrShort, ErrLength, ErrType or ErrReserved.
func ParseInit(b []byte) (Init, error) {
	if err := checkStart(b, TypeInit, HandshakeLen); err != nil {
		return Init{}, err
	}
	if len(b) != HandshakeLen {
		return Init{}, ErrLength
	}
	return Init{
		Sender: binary.BigEndian.Uint32(b[4:]),
		Noise:  b[8 : 8+initNoiseLen],
		MAC1:   [MACLen]byte(b[HandshakeLen-macsLen:]),
		MAC2:   [MACLen]byte(b[HandshakeLen-MACLen:]),
	}, nil
}

// A Response is the second message between enrolled routers: message 2 of Noise IK (e, ee, se).
// It is at most HandshakeLen bytes long.
//
//	+---------------+-----------------------------------------------+
//	|   type = 3    |                     zero                      |
//	+---------------+-----------------------------------------------+
//	|                         sender's index                        |
//	+---------------------------------------------------------------+
//	|                 receiver's index (from the init)              |
//	+---------------------------------------------------------------+
//	|   Noise message 2: e 32, sealed payload                       |
//	+---------------------------------------------------------------+
//	|                     MAC1 (16), MAC2 (16)                      |
//	+---------------------------------------------------------------+
type Response struct {
	Sender   uint32
	Receiver uint32
	Noise    []byte
	MAC1     [MACLen]byte
	MAC2     [MACLen]byte
}

// Append appends the datagram to b.
func (m Response) Append(b []byte) []byte {
	b = appendIndices(b, TypeResponse, m.Sender, m.Receiver)
	b = append(b, m.Noise...)
	return append(append(b, m.MAC1[:]...), m.MAC2[:]...)
}

// ParseResponse parses a response datagram. It fails with ErrShort, ErrLength, ErrType or
// ErrReserved.
func ParseResponse(b []byte) (Response, error) {
	if err := checkStart(b, TypeResponse, ResponseMin); err != nil {
		return Response{}, err
	}
	if len(b) > HandshakeLen {
		return Response{}, ErrLength
	}
	n := len(b)
	return Response{
		Sender:   binary.BigEndian.Uint32(b[4:]),
		Receiver: binary.BigEndian.Uint32(b[8:]),
		Noise:    b[12 : n-macsLen],
		MAC1:     [MACLen]byte(b[n-macsLen:]),
		MAC2:     [MACLen]byte(b[n-MACLen:]),
	}, nil
}

// A Cookie answers an init or a response whose sender must first prove its address
// (WireGuard white paper, Section 5.4.7).
//
//	+---------------+-----------------------------------------------+
//	|   type = 4    |                     zero                      |
//	+---------------+-----------------------------------------------+
//	|            receiver's index (the sender's of the message)     |
//	+---------------------------------------------------------------+
//	|                           nonce (24)                          |
//	+---------------------------------------------------------------+
//	|                  sealed cookie (16), tag (16)                 |
//	+---------------------------------------------------------------+
type Cookie struct {
	Receiver uint32
	Nonce    [cookieNonceLen]byte
	Sealed   [cookieSealedLen]byte
}

// Append appends the datagram to b.
func (m Cookie) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, byte(TypeCookie), 0, 0, 0), m.Receiver)
	return append(append(b, m.Nonce[:]...), m.Sealed[:]...)
}

// ParseCookie parses a cookie datagram. It fails with ErrShort, ErrLength, ErrType or ErrReserved.
func ParseCookie(b []byte) (Cookie, error) {
	if err := checkStart(b, TypeCookie, CookieLen); err != nil {
		return Cookie{}, err
	}
	if len(b) != CookieLen {
		return Cookie{}, ErrLength
	}
	return Cookie{
		Receiver: binary.BigEndian.Uint32(b[4:]),
		Nonce:    [cookieNonceLen]byte(b[8:]),
		Sealed:   [cookieSealedLen]byte(b[8+cookieNonceLen:]),
	}, nil
}

func appendIndices(b []byte, t Type, sender, receiver uint32) []byte {
	b = binary.BigEndian.AppendUint32(append(b, byte(t), 0, 0, 0), sender)
	return binary.BigEndian.AppendUint32(b, receiver)
}
