package secure

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// start is the time at which tests begin. No clock is read.
var start = time.Unix(1_700_000_000, 0)

// source returns a reproducible random source.
func source(seed uint64) *rand.ChaCha8 {
	var s [32]byte
	binary.BigEndian.PutUint64(s[:], seed)
	return rand.NewChaCha8(s)
}

// router returns the Config of a test router; fast says whether it has fast AES.
func router(seed uint64, fast bool) *Config {
	r := source(seed)
	var key [32]byte
	_, _ = r.Read(key[:])
	return &Config{Static: NewStaticKey(key), Federation: tables.Hash{1, 2, 3}, FastAES: fast, Rand: r}
}

const (
	alice tables.RouterID = 11
	bob   tables.RouterID = 12
	vn    tables.VNID     = 7
)

// link runs an IK handshake and returns both sessions, bound.
func link(t testing.TB, suite Suite) (a, b *Session) {
	t.Helper()
	fast := suite == SuiteAES128GCM
	a, b, err := handshake(router(1, fast), router(2, true), nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.Suite != suite || b.Suite != suite {
		t.Fatalf("suites %v and %v, want %v", a.Suite, b.Suite, suite)
	}
	a.Bind(alice, bob)
	b.Bind(bob, alice)
	return a, b
}

// handshake runs an IK handshake. Between, if not nil, is called with the machines before the
// response is delivered.
func handshake(a, b *Config, between func(i *Initiator, response []byte)) (sa, sb *Session, err error) {
	i, err := NewInitiator(a, b.Static.Public(), 100, Order{1, 1}, []byte("hello of a"))
	if err != nil {
		return nil, nil, err
	}
	r, err := ReadInit(b, i.Datagram())
	if err != nil {
		return nil, nil, err
	}
	response, sb, err := r.Respond(start, 200, []byte("hello of b"))
	if err != nil {
		return nil, nil, err
	}
	if between != nil {
		between(i, response)
	}
	sa, _, err = i.ReadResponse(start, response)
	return sa, sb, err
}

// flip returns b with one bit turned.
func flip(b []byte, bit int) []byte {
	c := append([]byte(nil), b...)
	c[bit/8] ^= 1 << (bit % 8)
	return c
}

// spoil returns b with 8 bytes changed: a seed for fuzzing from which no small mutation leads back to
// the authentic message.
func spoil(b []byte, at int) []byte {
	c := append([]byte(nil), b...)
	for i := range 8 {
		c[at+i] ^= 0x5a + byte(i)
	}
	return c
}

var (
	addr4 = netip.MustParseAddrPort("192.0.2.1:8463")
	addr6 = netip.MustParseAddrPort("[2001:db8::1]:8463")
)

var suites = []Suite{SuiteChaCha20Poly1305, SuiteAES128GCM}

// buffer returns an empty slice with room for a datagram of n payload bytes.
func buffer(n int) []byte {
	return make([]byte, 0, frame.DataHeaderLen+n+frame.TagLen+SealScratch)
}
