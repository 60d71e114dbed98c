package frame

import "errors"

// A Type is the first byte of every datagram.
type Type uint8

// Datagram types. Zero is no type, so that a buffer of zeroes is dropped.
const (
	TypeData       Type = 1  // sealed inner packet
	TypeInit       Type = 2  // first message of a handshake between enrolled routers
	TypeResponse   Type = 3  // second and last message of it
	TypeCookie     Type = 4  // answer to an init or response under load
	TypeJoinHello  Type = 5  // first message of a newcomer
	TypeJoinCookie Type = 6  // stateless answer to a join hello
	TypeJoinReply  Type = 7  // second message of a join
	TypeJoinFinish Type = 8  // third and last message of a join
	TypeControl    Type = 9  // sealed control frames
	TypeGossip     Type = 10 // sealed gossip, without a session
	TypeRelay      Type = 11 // a datagram on its way through a queue-VR
)

// TypeOf returns the type of a datagram; zero for an empty one or a type this version does not
// know.
func TypeOf(b []byte) Type {
	if len(b) == 0 || b[0] > byte(TypeRelay) {
		return 0
	}
	return Type(b[0])
}

// String returns the name used in docs/wire.md.
func (t Type) String() string {
	switch t {
	case TypeData:
		return "data"
	case TypeInit:
		return "init"
	case TypeResponse:
		return "response"
	case TypeCookie:
		return "cookie"
	case TypeJoinHello:
		return "join hello"
	case TypeJoinCookie:
		return "join cookie"
	case TypeJoinReply:
		return "join reply"
	case TypeJoinFinish:
		return "join finish"
	case TypeControl:
		return "control"
	case TypeGossip:
		return "gossip"
	case TypeRelay:
		return "relay"
	}
	return "unknown"
}

// Lengths in bytes.
const (
	// TagLen is the length of the tag of both AEADs (RFC 5116, Section 5.1; RFC 8439, Section 2.8).
	TagLen = 16

	// MACLen is the length of MAC1, MAC2 and cookies: 128 bits, as WireGuard has them.
	MACLen = 16

	// KeyLen is the length of an X25519 public key (RFC 7748, Section 5).
	KeyLen = 32

	// pathMTUMin is the largest IP packet that every path we support carries, as underlay.mtu has it. IPv6 carries 1,280 bytes
	// anywhere (RFC 8200, Section 5), IPv4 through tunnels of others less.
	pathMTUMin = 1124

	// MessageMax bounds every datagram but data and probes of the path MTU: pathMTUMin less 40 for IPv6, 8 for UDP and what a
	// queue-VR adds. So there is no path that we support on which a handshake or a control datagram needs to be fragmented.
	MessageMax = pathMTUMin - 40 - 8 - RelayOverhead

	// HandshakeLen is the length of an init and of a join hello, always: an answer may never be
	// larger than what asked for it, so the first message is as large as any answer.
	HandshakeLen = MessageMax
)

// Errors of the parsers. They are values, not descriptions of the input: callers count them.
var (
	ErrShort    = errors.New("frame: too short")
	ErrLength   = errors.New("frame: wrong length")
	ErrType     = errors.New("frame: not of this type")
	ErrReserved = errors.New("frame: reserved bits set")
	ErrValue    = errors.New("frame: value out of range")
)
