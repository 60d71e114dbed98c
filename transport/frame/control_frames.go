package frame

import (
	"encoding/binary"
	"net/netip"

	"github.com/vine-mesh/vine/tables"
)

// A Kind is the type of a control frame.
type Kind uint8

// Kinds of control frame.
const (
	KindPadding      Kind = 0 // bytes without meaning: makes a path MTU probe as long as it must be
	KindPing         Kind = 1
	KindPong         Kind = 2
	KindChallenge    Kind = 3
	KindChallenged   Kind = 4 // the answer to a challenge
	KindChannels     Kind = 5
	KindChannelsAck  Kind = 6
	KindObserved     Kind = 7
	KindStreamOpen   Kind = 8
	KindStreamBytes  Kind = 9
	KindStreamAck    Kind = 10
	KindStreamReset  Kind = 11
	KindClose        Kind = 12
	KindUse          Kind = 13
	KindUsed         Kind = 14 // the answer to a use
	KindCandidates   Kind = 15
	KindTrain        Kind = 16
	KindTrainReport  Kind = 17
	KindDelivered    Kind = 18
	KindAttach       Kind = 19
	KindAttached     Kind = 20 // the answer to an attach
	KindPoll         Kind = 21
	KindDialBack     Kind = 22
	KindDialFor      Kind = 23
	KindDialled      Kind = 24 // the answer to a dial back
	KindApart        Kind = 25
	frameHeaderLen        = 3
	reportLen             = 16
	grantLen              = 8
	channelsFixedLen      = 10
	streamBytesFixed      = 13
)

// FrameOverhead is what a control frame adds to its body.
const FrameOverhead = frameHeaderLen

// A Control is one control frame as it stands in the plaintext of a control datagram.
//
//	+---------------+-------------------------------+---------------
//	|     kind      |            length             |   body ...
//	+---------------+-------------------------------+---------------
//
// A receiver MUST skip a frame whose kind it does not know: the length is there for that, so that
// a later version may add kinds. A frame of a known kind with a wrong body length is an error;
// extensions get new kinds, never longer bodies.
type Control struct {
	Kind Kind
	Body []byte
}

// Append appends the frame to b. It panics if the body is longer than 65,535 bytes.
func (c Control) Append(b []byte) []byte {
	b = appendFrame(b, c.Kind, len(c.Body))
	return append(b, c.Body...)
}

// ParseControl parses the first control frame of b. It fails with ErrShort.
func ParseControl(b []byte) (c Control, rest []byte, err error) {
	if len(b) < frameHeaderLen {
		return Control{}, nil, ErrShort
	}
	n := int(binary.BigEndian.Uint16(b[1:]))
	if len(b) < frameHeaderLen+n {
		return Control{}, nil, ErrShort
	}
	return Control{Kind: Kind(b[0]), Body: b[frameHeaderLen : frameHeaderLen+n]}, b[frameHeaderLen+n:], nil
}

func appendFrame(b []byte, k Kind, n int) []byte {
	if n > 0xffff {
		panic("frame: internal error: control frame too long")
	}
	return append(b, byte(k), byte(n>>8), byte(n))
}

// AppendPadding appends a padding frame of n bytes in all; n below FrameOverhead gives
// FrameOverhead.
func AppendPadding(b []byte, n int) []byte {
	n = max(n-frameHeaderLen, 0)
	b = appendFrame(b, KindPadding, n)
	return append(b, make([]byte, n)...)
}

// A Report says what arrived of the data packets of a session: the far side's evidence for loss
// and bandwidth. Both numbers are sums over all lanes and only grow within a session.
type Report struct {
	Highest uint64 // sum over lanes of the highest counter opened plus one; 0: nothing yet
	Packets uint64 // packets opened, each once
}

func (r Report) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, r.Highest)
	return binary.BigEndian.AppendUint64(b, r.Packets)
}

func parseReport(b []byte) Report {
	return Report{Highest: binary.BigEndian.Uint64(b), Packets: binary.BigEndian.Uint64(b[8:])}
}

// A Ping asks for a Pong. Body: token 8, report 16.
type Ping struct {
	Token uint64 // comes back in the pong; the sender's own clock reading or a random number
	Rx    Report
}

// Append appends the control frame to b.
func (p Ping) Append(b []byte) []byte {
	b = appendFrame(b, KindPing, 8+reportLen)
	return p.Rx.append(binary.BigEndian.AppendUint64(b, p.Token))
}

// ParsePing parses the body of a ping. It fails with ErrLength.
func ParsePing(body []byte) (Ping, error) {
	if len(body) != 8+reportLen {
		return Ping{}, ErrLength
	}
	return Ping{Token: binary.BigEndian.Uint64(body), Rx: parseReport(body[8:])}, nil
}

// A Pong answers a Ping. Body: token 8, held 4, report 16.
type Pong struct {
	Token uint64
	Held  uint32 // microseconds between the ping's arrival and this answer
	Rx    Report
}

// Append appends the control frame to b.
func (p Pong) Append(b []byte) []byte {
	b = appendFrame(b, KindPong, 12+reportLen)
	b = binary.BigEndian.AppendUint64(b, p.Token)
	return p.Rx.append(binary.BigEndian.AppendUint32(b, p.Held))
}

// ParsePong parses the body of a pong. It fails with ErrLength.
func ParsePong(body []byte) (Pong, error) {
	if len(body) != 12+reportLen {
		return Pong{}, ErrLength
	}
	return Pong{
		Token: binary.BigEndian.Uint64(body),
		Held:  binary.BigEndian.Uint32(body[8:]),
		Rx:    parseReport(body[12:]),
	}, nil
}

// A Challenge asks whoever is at an endpoint to prove that it is the peer: only a Challenged with
// the same 8 random bytes, from that endpoint, moves traffic there (RFC 9000, Section 8.2).
// 8 bytes keep a blind guess at 2^-64.
type Challenge [8]byte

// Append appends the control frame to b.
func (c Challenge) Append(b []byte) []byte {
	return append(appendFrame(b, KindChallenge, len(c)), c[:]...)
}

// ParseChallenge parses the body of a path challenge. It fails with ErrLength.
func ParseChallenge(body []byte) (Challenge, error) {
	if len(body) != len(Challenge{}) {
		return Challenge{}, ErrLength
	}
	return Challenge(body), nil
}

// A Challenged answers a Challenge with its bytes.
type Challenged [8]byte

// Append appends the control frame to b.
func (c Challenged) Append(b []byte) []byte {
	return append(appendFrame(b, KindChallenged, len(c)), c[:]...)
}

// ParseChallenged parses the body of a path response. It fails with ErrLength.
func ParseChallenged(body []byte) (Challenged, error) {
	if len(body) != len(Challenged{}) {
		return Challenged{}, ErrLength
	}
	return Challenged(body), nil
}

// A Grant lets the peer send packets of one VN under an index. The low LaneBits of the index are
// zero; the sender puts its lane there.
type Grant struct {
	VN    tables.VNID
	Index uint32
}

// ChannelsMax is how many grants fit in one Channels frame of a datagram of MessageMax bytes.
const ChannelsMax = (MessageMax - ControlHeaderLen - TagLen - frameHeaderLen - channelsFixedLen) / grantLen

// A Channels frame says which VNs the sender accepts from the peer, and under which index each.
// A set with a higher version replaces the one before it as a whole. A set that does not fit in one frame
// goes in several parts of one version; it counts when all parts are there.
// Body: version 8, part 1, parts 1, then (VN 4, index 4) for each grant.
//
// Invariant: Part < Parts; grants are in rising order of VN ID, so a set has one encoding.
type Channels struct {
	Version     uint64
	Part, Parts uint8
	grants      []byte
}

// Len returns the number of grants.
func (c Channels) Len() int { return len(c.grants) / grantLen }

// At returns grant i.
func (c Channels) At(i int) Grant {
	g := c.grants[i*grantLen:]
	return Grant{VN: tables.VNID(binary.BigEndian.Uint32(g)), Index: binary.BigEndian.Uint32(g[4:])}
}

// AppendChannels appends a Channels frame to b. Grants must be in rising order of VN ID, part
// below parts, and no index may have lane bits.
func AppendChannels(b []byte, version uint64, part, parts uint8, grants []Grant) []byte {
	b = appendFrame(b, KindChannels, channelsFixedLen+len(grants)*grantLen)
	b = binary.BigEndian.AppendUint64(b, version)
	b = append(b, part, parts)
	for _, g := range grants {
		b = binary.BigEndian.AppendUint32(b, uint32(g.VN))
		b = binary.BigEndian.AppendUint32(b, g.Index)
	}
	return b
}

// Append appends the control frame to b.
func (c Channels) Append(b []byte) []byte {
	b = appendFrame(b, KindChannels, channelsFixedLen+len(c.grants))
	b = binary.BigEndian.AppendUint64(b, c.Version)
	return append(append(b, c.Part, c.Parts), c.grants...)
}

// ParseChannels parses the body of a Channels frame. It fails with ErrLength, or with ErrValue
// when the VN IDs do not rise, a VN ID is zero, an index has lane bits or the part number is
// impossible.
func ParseChannels(body []byte) (Channels, error) {
	if len(body) < channelsFixedLen || (len(body)-channelsFixedLen)%grantLen != 0 {
		return Channels{}, ErrLength
	}
	c := Channels{
		Version: binary.BigEndian.Uint64(body), Part: body[8], Parts: body[9],
		grants: body[channelsFixedLen:],
	}
	if c.Part >= c.Parts {
		return Channels{}, ErrValue
	}
	var last tables.VNID
	for i := range c.Len() {
		g := c.At(i)
		if g.VN <= last || g.Index&(LanesMax-1) != 0 {
			return Channels{}, ErrValue
		}
		last = g.VN
	}
	return c, nil
}

// A ChannelsAck says that the set of this version is in use. Body: version 8.
type ChannelsAck struct{ Version uint64 }

// Append appends the control frame to b.
func (c ChannelsAck) Append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(appendFrame(b, KindChannelsAck, 8), c.Version)
}

// ParseChannelsAck parses the body of a channels-ack. It fails with ErrLength.
func ParseChannelsAck(body []byte) (ChannelsAck, error) {
	if len(body) != 8 {
		return ChannelsAck{}, ErrLength
	}
	return ChannelsAck{Version: binary.BigEndian.Uint64(body)}, nil
}

// An Observed frame tells the peer at which endpoint it is seen. Body: address 16, port 2; an
// IPv4 address stands in its IPv4-mapped form (RFC 4291, Section 2.5.5.2).
type Observed struct{ Endpoint netip.AddrPort }

// Append appends the control frame to b. A zone is not sent.
func (o Observed) Append(b []byte) []byte {
	return appendEndpoint(appendFrame(b, KindObserved, endpointLen), o.Endpoint)
}

// ParseObserved parses the body of an observed-endpoint frame. It fails with ErrLength.
func ParseObserved(body []byte) (Observed, error) {
	if len(body) != endpointLen {
		return Observed{}, ErrLength
	}
	return Observed{parseEndpoint(body)}, nil
}

// A Close ends the session at once. Body: reason 1.
type Close struct{ Reason CloseReason }

// A CloseReason says why a peer ended a session. A receiver treats an unknown one like
// CloseUnspecified.
type CloseReason uint8

// Close reasons.
const (
	CloseUnspecified CloseReason = 0
	CloseIdle        CloseReason = 1 // nothing to exchange any more
	CloseShutdown    CloseReason = 2 // the router stops
	CloseRevoked     CloseReason = 3 // the peer's enrolment is revoked
	CloseReplaced    CloseReason = 4 // a newer session with the same peer took over
)

// Append appends the control frame to b.
func (c Close) Append(b []byte) []byte {
	return append(appendFrame(b, KindClose, 1), byte(c.Reason))
}

// ParseClose parses the body of a close. It fails with ErrLength.
func ParseClose(body []byte) (Close, error) {
	if len(body) != 1 {
		return Close{}, ErrLength
	}
	return Close{Reason: CloseReason(body[0])}, nil
}
