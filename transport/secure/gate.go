package secure

import (
	"crypto/cipher"
	"encoding/binary"
	"io"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// A Verdict is what the gate says of a datagram.
type Verdict uint8

// Verdicts. Everything above Cookie is a drop: say nothing, keep nothing, count it.
const (
	Pass            Verdict = iota // hand it on
	Cookie                         // answer with what AppendCookie gives, and forget it
	DropType                       // no type we know
	DropLength                     // too short or too long for its type
	DropReserved                   // a byte that must be zero is not, or an impossible piece number or role
	DropMAC1                       // its sender does not know our public key
	DropLimited                    // its prefix is over its rate
	DropNotJoinable                // a join hello, and newcomers are not welcome here
)

// Verdicts is the number of verdicts: the size of a table of counters.
const Verdicts = int(DropNotJoinable) + 1

// String returns the name of the counter.
func (v Verdict) String() string {
	switch v {
	case Pass:
		return "pass"
	case Cookie:
		return "cookie"
	case DropType:
		return "drop-type"
	case DropLength:
		return "drop-length"
	case DropReserved:
		return "drop-reserved"
	case DropMAC1:
		return "drop-mac1"
	case DropLimited:
		return "drop-limited"
	case DropNotJoinable:
		return "drop-not-joinable"
	}
	return "unknown"
}

// Dropped reports whether the datagram gets neither a way in nor an answer.
func (v Verdict) Dropped() bool { return v > Cookie }

// Rates of handshakes. A peer starts one every 120 s and repeats a lost one after some seconds; one
// that restarts in a loop, or a site of several routers behind one address, stays below these.
// A handshake costs us four X25519, about 0.4 ms.
var (
	initHostRate = rate{interval: 100 * time.Millisecond, burst: 20}
	initNetRate  = rate{interval: 20 * time.Millisecond, burst: 100}
	joinHostRate = rate{interval: 500 * time.Millisecond, burst: 5}
	joinNetRate  = rate{interval: 100 * time.Millisecond, burst: 20}
)

// A Gate stands between the socket and everything that takes memory or public-key work: it looks
// at each datagram by type and length, checks MAC1, asks for a cookie when there is need, and limits what is left by
// prefix. It allocates nothing and remembers nothing but its fixed tables.
//
//	type          must have                       then
//	data          length                          pass: the session's AEAD decides
//	init          1,028 bytes, MAC1               under load, or over the rate: MAC2, else Cookie;
//	                                              with MAC2: its own rate, else drop
//	response      length, MAC1                    pass: the handshake's index decides
//	cookie        64 bytes                        pass
//	join hello    1,028 bytes, joinable           join cookie, else Cookie; then the join rate
//	join cookie   24 bytes                        pass
//	join reply    length                          pass: the index decides
//	join finish   length                          pass: the index decides
//	control       length                          pass: the session's AEAD decides
//	gossip        length, piece numbers           pass: the pairwise key decides
//	relay         its own length, zeroes, role    pass: the hop tag decides
//
// A sender whose prefix is over its rate can show by MAC2 that it really is there, and then counts
// in a table of its own: who forges the addresses of a prefix cannot lock it out.
//
// Any number of goroutines may use a Gate.
type Gate struct {
	mac1Key   [32]byte
	aead      cipher.AEAD
	cookies   cookieChecker
	underLoad atomic.Bool
	joinable  atomic.Bool
	claimed   limiter // inits without MAC2
	proven    limiter // inits with MAC2
	joins     limiter // join hellos with a cookie
}

// NewGate returns the gate of the router with the public key self. Random gives the cookie secret
// and the hash keys; start is the zero of the gate's time, and now must never be before it. The gate
// starts not under load and not joinable.
func NewGate(self tables.LinkKey, start time.Time, random io.Reader) (*Gate, error) {
	var seed [32 + 16]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return nil, err
	}
	g := &Gate{
		mac1Key: labelKey(labelMAC1, self),
		aead:    cookieAEAD(self),
		cookies: cookieChecker{master: [32]byte(seed[:]), start: start},
	}
	key := [2]uint64{binary.BigEndian.Uint64(seed[32:]), binary.BigEndian.Uint64(seed[40:])}
	for i, l := range []*limiter{&g.claimed, &g.proven, &g.joins} {
		l.key, l.start = [2]uint64{key[0], key[1] ^ uint64(i)}, start
		l.host, l.net = initHostRate, initNetRate
	}
	g.joins.host, g.joins.net = joinHostRate, joinNetRate
	return g, nil
}

// SetUnderLoad says whether every init must bring a cookie. The caller sets it while its queue of
// passed handshakes is more than part full.
func (g *Gate) SetUnderLoad(on bool) { g.underLoad.Store(on) }

// SetJoinable says whether join hellos get an answer.
func (g *Gate) SetJoinable(on bool) { g.joinable.Store(on) }

// Check returns the verdict on a datagram that came from an address at now.
func (g *Gate) Check(now time.Time, from netip.AddrPort, datagram []byte) Verdict {
	n := len(datagram)
	var least, most int
	switch frame.TypeOf(datagram) {
	case frame.TypeData:
		return within(n, frame.DataHeaderLen+frame.TagLen, n)
	case frame.TypeGossip:
		_, _, err := frame.ParseGossip(datagram)
		return verdictOf(err)
	case frame.TypeRelay:
		_, _, err := frame.ParseRelay(datagram)
		return verdictOf(err)
	case frame.TypeInit:
		least, most = frame.HandshakeLen, frame.HandshakeLen
	case frame.TypeResponse:
		least, most = frame.ResponseMin, frame.HandshakeLen
	case frame.TypeCookie:
		least, most = frame.CookieLen, frame.CookieLen
	case frame.TypeJoinHello:
		least, most = frame.HandshakeLen, frame.HandshakeLen
	case frame.TypeJoinCookie:
		least, most = frame.JoinCookieLen, frame.JoinCookieLen
	case frame.TypeJoinReply:
		least, most = frame.JoinReplyMin, frame.HandshakeLen
	case frame.TypeJoinFinish:
		least, most = frame.JoinFinishMin, frame.HandshakeLen
	case frame.TypeControl:
		least, most = frame.ControlHeaderLen+frame.TagLen, n
	default:
		return DropType
	}
	if within(n, least, most) != Pass {
		return DropLength
	}
	if datagram[1]|datagram[2]|datagram[3] != 0 {
		return DropReserved
	}
	switch frame.Type(datagram[0]) {
	case frame.TypeInit:
		return g.checkInit(now, from, datagram)
	case frame.TypeResponse:
		return g.checkMAC1(datagram)
	case frame.TypeJoinHello:
		return g.checkJoinHello(now, from, datagram)
	}
	return Pass
}

func (g *Gate) checkMAC1(datagram []byte) Verdict {
	if !mac1In(datagram).equal(mac1Of(&g.mac1Key, datagram)) {
		return DropMAC1
	}
	return Pass
}

func (g *Gate) checkInit(now time.Time, from netip.AddrPort, datagram []byte) Verdict {
	if v := g.checkMAC1(datagram); v != Pass {
		return v
	}
	switch {
	case g.cookies.checkMAC2(now, from, datagram):
		if !g.proven.allow(now, from.Addr()) {
			return DropLimited
		}
		return Pass
	case g.underLoad.Load(), !g.claimed.allow(now, from.Addr()):
		return Cookie
	}
	return Pass
}

func (g *Gate) checkJoinHello(now time.Time, from netip.AddrPort, datagram []byte) Verdict {
	if !g.joinable.Load() {
		return DropNotJoinable
	}
	hello, err := frame.ParseJoinHello(datagram)
	switch {
	case err != nil:
		return verdictOf(err)
	case !g.cookies.checkJoin(now, from, hello.Cookie):
		return Cookie
	case !g.joins.allow(now, from.Addr()):
		return DropLimited
	}
	return Pass
}

// AppendCookie appends the answer to a datagram on which Check said Cookie: a cookie, or a join cookie.
// It is never longer than the datagram. It fails only if random does, and then appends nothing.
func (g *Gate) AppendCookie(dst []byte, now time.Time, from netip.AddrPort, datagram []byte, random io.Reader) ([]byte, error) {
	period := g.cookies.period(now)
	if frame.TypeOf(datagram) == frame.TypeJoinHello {
		return frame.JoinCookie{
			Receiver: binary.BigEndian.Uint32(datagram[4:]),
			Cookie:   g.cookies.cookie(cookieForJoin, from, period),
		}.Append(dst), nil
	}
	return appendCookie(dst, g.aead, g.cookies.cookie(cookieForMAC2, from, period), datagram, random)
}

func within(n, least, most int) Verdict {
	if n < least || n > most {
		return DropLength
	}
	return Pass
}

func verdictOf(err error) Verdict {
	switch err {
	case nil:
		return Pass
	case frame.ErrShort, frame.ErrLength:
		return DropLength
	case frame.ErrType:
		return DropType
	}
	return DropReserved
}
