package secure

import (
	"crypto/cipher"
	"encoding/binary"
	"io"
	"net/netip"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// cookieLife is how long one cookie is handed out to an address. It is taken in that period and in
// the next, so for 120 to 240 s (WireGuard white paper, Section 5.4.7: the secret changes every two
// minutes).
const cookieLife = 120 * time.Second

// What a cookie is good for. A join cookie travels in the clear, so it must be no MAC2 cookie.
const (
	cookieForMAC2 = 1
	cookieForJoin = 2
)

// A cookieChecker makes and checks cookies without any state per sender: a cookie is a MAC over the
// sender's address and the current period of cookieLife, so it changes with the period as if the
// secret did. A cookieChecker never changes, so any number of goroutines may use it.
type cookieChecker struct {
	master [32]byte
	start  time.Time
}

func (c *cookieChecker) period(now time.Time) int64 { return int64(now.Sub(c.start) / cookieLife) }

// cookie returns the cookie of an address in a period: one BLAKE2s block, since everybody can
// make us compute it.
func (c *cookieChecker) cookie(use byte, from netip.AddrPort, period int64) mac {
	var in [8 + 1 + 16 + 2]byte
	binary.BigEndian.PutUint64(in[:], uint64(period))
	in[8] = use
	address := from.Addr().As16()
	copy(in[9:], address[:])
	binary.BigEndian.PutUint16(in[25:], from.Port())
	return sumMAC(&c.master, in[:])
}

// checkMAC2 reports whether MAC2 of the datagram shows that its sender receives at from.
func (c *cookieChecker) checkMAC2(now time.Time, from netip.AddrPort, datagram []byte) bool {
	got := mac2In(datagram)
	if got == (mac{}) {
		return false
	}
	p := c.period(now)
	return got.equal(mac2Of(c.cookie(cookieForMAC2, from, p), datagram)) ||
		got.equal(mac2Of(c.cookie(cookieForMAC2, from, p-1), datagram))
}

// checkJoin reports whether got is a join cookie of from.
func (c *cookieChecker) checkJoin(now time.Time, from netip.AddrPort, got mac) bool {
	if got == (mac{}) {
		return false
	}
	p := c.period(now)
	return got.equal(c.cookie(cookieForJoin, from, p)) || got.equal(c.cookie(cookieForJoin, from, p-1))
}

// cookieAEAD seals the cookies that the owner of a public key hands out: whoever does not know
// that key cannot read them.
func cookieAEAD(owner tables.LinkKey) cipher.AEAD {
	key := labelKey(labelCookie, owner)
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		panic("secure: internal error: wrong key length")
	}
	return aead
}

// appendCookie appends a cookie datagram that answers an init or response.
func appendCookie(dst []byte, aead cipher.AEAD, cookie mac, datagram []byte, random io.Reader) ([]byte, error) {
	reply := frame.Cookie{Receiver: binary.BigEndian.Uint32(datagram[4:])}
	if _, err := io.ReadFull(random, reply.Nonce[:]); err != nil {
		return dst, err
	}
	covered := mac1In(datagram)
	aead.Seal(reply.Sealed[:0], reply.Nonce[:], cookie[:], covered[:])
	return reply.Append(dst), nil
}

// A CookieClient puts the MACs on what we send to one peer, and keeps the cookie that it gave us.
// One goroutine at a time may use it.
type CookieClient struct {
	key    [32]byte // of MAC1
	aead   cipher.AEAD
	sent   mac // MAC1 of the last datagram stamped; the next cookie must answer it
	cookie mac
	got    time.Time // when the cookie came; the zero Time: we have none
}

// NewCookieClient returns a client for messages to the owner of the public key peer.
func NewCookieClient(peer tables.LinkKey) *CookieClient {
	return &CookieClient{key: labelKey(labelMAC1, peer), aead: cookieAEAD(peer)}
}

// Stamp writes MAC1 into an init or response datagram, and MAC2 if a cookie not older than 120 s is
// there; otherwise MAC2 is zero. The datagram must come from an Initiator or Responder.
func (c *CookieClient) Stamp(now time.Time, datagram []byte) {
	n := len(datagram)
	c.sent = mac1Of(&c.key, datagram)
	copy(datagram[n-macsLen:], c.sent[:])
	var m mac
	if !c.got.IsZero() && now.Sub(c.got) < cookieLife {
		m = mac2Of(c.cookie, datagram)
	}
	copy(datagram[n-frame.MACLen:], m[:])
}

// ReadCookie takes a cookie datagram that answers the last datagram stamped. It fails with ErrOpen
// for one that does not, or with an error of package frame; then nothing changes. An answer is taken
// once, so that it cannot be replayed later.
func (c *CookieClient) ReadCookie(now time.Time, datagram []byte) error {
	reply, err := frame.ParseCookie(datagram)
	if err != nil {
		return err
	}
	if c.sent == (mac{}) {
		return ErrOpen
	}
	cookie, err := c.aead.Open(nil, reply.Nonce[:], reply.Sealed[:], c.sent[:])
	if err != nil {
		return ErrOpen
	}
	c.cookie, c.got, c.sent = mac(cookie), now, mac{}
	return nil
}
