package secure

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// gateOf returns the gate of c, and an init for it that is stamped without a cookie.
func gateOf(t testing.TB, c *Config) *Gate {
	t.Helper()
	g, err := NewGate(c.Static.Public(), start, source(99))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func stampedInit(t testing.TB, a *Config, peer tables.LinkKey, client *CookieClient) []byte {
	t.Helper()
	i, err := NewInitiator(a, peer, 100, Order{1, 1}, []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	client.Stamp(start, i.Datagram())
	return i.Datagram()
}

func TestGateByType(t *testing.T) {
	a, b := router(1, true), router(2, true)
	g := gateOf(t, b)
	g.SetJoinable(true)
	client := NewCookieClient(b.Static.Public())
	init := stampedInit(t, a, b.Static.Public(), client)
	response := frame.Response{Noise: make([]byte, 51)}.Append(nil)
	client.Stamp(start, response)
	for _, test := range []struct {
		name string
		d    []byte
		want Verdict
	}{
		{"empty", nil, DropLength},
		{"zero", make([]byte, frame.HandshakeLen), DropType},
		{"relay", relayJunk(100), Pass},
		{"relay, bare", relayJunk(frame.RelayOverhead), Pass},
		{"relay, short", relayJunk(frame.RelayOverhead)[:frame.RelayOverhead-1], DropLength},
		{"relay, other size", append(relayJunk(100), 0), DropLength},
		{"relay, role", flip(relayJunk(100), 8+1), DropReserved},
		{"relay, state", flip(relayJunk(100), 8*2), DropReserved},
		{"relay, reserved", flip(relayJunk(100), 8*3), DropReserved},
		{"relay, reserved too", flip(relayJunk(100), 8*19), DropReserved},
		{"unknown", bytes.Repeat([]byte{200}, 99), DropType},
		{"data", frame.DataHeader{}.Append(nil), DropLength},
		{"data", append(frame.DataHeader{}.Append(nil), make([]byte, 16)...), Pass},
		{"control", frame.ControlHeader{}.Append(nil), DropLength},
		{"control", append(frame.ControlHeader{}.Append(nil), make([]byte, 16)...), Pass},
		{"gossip", append(frame.Gossip{Pieces: 1}.Append(nil), make([]byte, 16)...), Pass},
		{"gossip", append(frame.Gossip{Pieces: 0}.Append(nil), make([]byte, 16)...), DropReserved},
		{"gossip", frame.Gossip{Pieces: 1}.Append(nil), DropLength},
		{"init", init, Pass},
		{"init, short", init[:frame.HandshakeLen-1], DropLength},
		{"init, long", append(bytes.Clone(init), 0), DropLength},
		{"init, reserved", flip(init, 8), DropReserved},
		{"init, index", flip(init, 8*4), DropMAC1},
		{"init, ephemeral", flip(init, 8*8), DropMAC1},
		{"init, static", flip(init, 8*87), DropMAC1},
		{"init, MAC1", flip(init, 8*(frame.HandshakeLen-17)), DropMAC1},
		{"response", response, Pass},
		{"response, MAC1", flip(response, 8*20), DropMAC1},
		{"response, short", response[:91], DropLength},
		{"cookie", frame.Cookie{}.Append(nil), Pass},
		{"cookie, long", append(frame.Cookie{}.Append(nil), 0), DropLength},
		{"join hello", frame.JoinHello{}.Append(nil), Cookie},
		{"join hello, padding", flip(frame.JoinHello{}.Append(nil), 8*600), DropReserved},
		{"join hello, short", frame.JoinHello{}.Append(nil)[:frame.HandshakeLen-100], DropLength},
		{"join cookie", frame.JoinCookie{}.Append(nil), Pass},
		{"join reply", frame.JoinReply{Noise: make([]byte, 96)}.Append(nil), Pass},
		{"join reply, long", frame.JoinReply{Noise: make([]byte, frame.HandshakeLen-11)}.Append(nil), DropLength},
		{"join finish", frame.JoinFinish{Noise: make([]byte, 64)}.Append(nil), Pass},
		{"join finish, short", frame.JoinFinish{Noise: make([]byte, 63)}.Append(nil), DropLength},
	} {
		got := g.Check(start, addr4, test.d)
		if test.name == "empty" {
			if !got.Dropped() {
				t.Errorf("empty: %v", got)
			}
			continue
		}
		if got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
	for v := range Verdicts {
		if Verdict(v).String() == "unknown" {
			t.Errorf("verdict %d has no name", v)
		}
	}
}

// relayJunk returns a relay datagram of n bytes that no hop sealed.
func relayJunk(n int) []byte {
	return append(frame.Relay{Index: 0x40, VN: vn, Source: alice, Destination: bob}.Append(nil, n), make([]byte, n-frame.RelayHeaderLen)...)
}

// TestRelayLeavesTheGateAlone: relay datagrams of nobody, from one address and by the thousand, get no
// answer, and use up nothing that a handshake from that address needs.
func TestRelayLeavesTheGateAlone(t *testing.T) {
	a, b := router(1, true), router(2, true)
	g := gateOf(t, b)
	d := relayJunk(1400)
	for _, load := range []bool{false, true} {
		g.SetUnderLoad(load)
		for range 5000 {
			if v := g.Check(start, addr4, d); v != Pass {
				t.Fatalf("verdict %v: the hop tag decides", v)
			}
		}
	}
	counted := func() bool {
		for _, l := range []*limiter{&g.claimed, &g.proven, &g.joins} {
			for i := range l.hosts {
				if l.hosts[i].Load() != 0 {
					return true
				}
			}
		}
		return false
	}
	if counted() {
		t.Error("relay datagrams count in a limiter")
	}
	g.SetUnderLoad(false)
	if v := g.Check(start, addr4, stampedInit(t, a, b.Static.Public(), NewCookieClient(b.Static.Public()))); v != Pass || !counted() {
		t.Errorf("an init after them: %v, counted %v", v, counted())
	}
}

// TestSilence: nothing that does not know our public key gets an answer, with joining off.
func TestSilence(t *testing.T) {
	a, b, other := router(1, true), router(2, true), router(3, true)
	g := gateOf(t, b)
	g.SetUnderLoad(true)
	wrong := stampedInit(t, a, b.Static.Public(), NewCookieClient(other.Static.Public()))
	if v := g.Check(start, addr4, wrong); v != DropMAC1 {
		t.Errorf("MAC1 under another key: %v", v)
	}
	if v := g.Check(start, addr4, frame.JoinHello{}.Append(nil)); v != DropNotJoinable {
		t.Errorf("join hello: %v", v)
	}
	random := source(7)
	for n := range 1500 {
		d := make([]byte, n)
		_, _ = random.Read(d)
		for typ := range byte(13) {
			if n > 3 {
				d[0], d[1], d[2], d[3] = typ, 0, 0, 0
			}
			if v := g.Check(start, addr4, d); v == Cookie {
				t.Fatalf("%d bytes of junk of type %d get an answer", n, typ)
			}
		}
	}
}

// TestCookie: under load an init needs a cookie of its own address, and a cookie ends.
func TestCookie(t *testing.T) {
	for _, from := range []netip.AddrPort{addr4, addr6} {
		a, b := router(1, true), router(2, true)
		g := gateOf(t, b)
		g.SetUnderLoad(true)
		client := NewCookieClient(b.Static.Public())
		d := stampedInit(t, a, b.Static.Public(), client)
		if v := g.Check(start, from, d); v != Cookie {
			t.Fatalf("without a cookie: %v", v)
		}
		reply, err := g.AppendCookie(nil, start, from, d, source(1))
		if err != nil || len(reply) > len(d) {
			t.Fatalf("cookie of %d bytes, %v", len(reply), err)
		}
		for bit := range len(reply) * 8 {
			if bit/8 >= 4 && bit/8 < 8 {
				continue // the receiver's index: the caller finds the client by it
			}
			if err := client.ReadCookie(start, flip(reply, bit)); err == nil {
				t.Fatalf("bit %d turned, and the cookie is taken", bit)
			}
		}
		if err := client.ReadCookie(start, reply); err != nil {
			t.Fatal(err)
		}
		if err := client.ReadCookie(start, reply); err != ErrOpen {
			t.Errorf("cookie again: %v", err)
		}
		client.Stamp(start, d)
		if v := g.Check(start, from, d); v != Pass {
			t.Errorf("with the cookie: %v", v)
		}
		elsewhere := netip.AddrPortFrom(from.Addr(), from.Port()+1)
		if v := g.Check(start, elsewhere, d); v != Cookie {
			t.Errorf("with the cookie of another port: %v", v)
		}
		elsewhere = netip.AddrPortFrom(from.Addr().Next(), from.Port())
		if v := g.Check(start, elsewhere, d); v != Cookie {
			t.Errorf("with the cookie of another address: %v", v)
		}
		if v := g.Check(start, from, flip(d, 8*(frame.HandshakeLen-1))); v != Cookie {
			t.Errorf("with a damaged MAC2: %v", v)
		}
		// The cookie is taken until its secret has been out of use for 120 s.
		if v := g.Check(start.Add(239*time.Second), from, d); v != Pass {
			t.Errorf("after 239 s: %v", v)
		}
		if v := g.Check(start.Add(240*time.Second), from, d); v != Cookie {
			t.Errorf("after 240 s: %v", v)
		}
		client.Stamp(start.Add(120*time.Second), d)
		if mac2In(d) != (mac{}) {
			t.Error("the client uses a cookie of 120 s ago")
		}
	}
}

func TestCookieOfAnotherRouter(t *testing.T) {
	a, b, eve := router(1, true), router(2, true), router(3, true)
	client := NewCookieClient(b.Static.Public())
	d := stampedInit(t, a, b.Static.Public(), client)
	reply, err := gateOf(t, eve).AppendCookie(nil, start, addr4, d, source(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := client.ReadCookie(start, reply); err != ErrOpen {
		t.Errorf("a cookie that another router sealed: %v", err)
	}
	if _, err := gateOf(t, b).AppendCookie(nil, start, addr4, d, iotest.ErrReader(fmt.Errorf("dry"))); err == nil {
		t.Error("a cookie without a nonce")
	}
}

func TestJoinCookie(t *testing.T) {
	a, b := router(1, true), router(2, true)
	g := gateOf(t, b)
	g.SetJoinable(true)
	j, err := NewJoiner(a, 100)
	if err != nil {
		t.Fatal(err)
	}
	if v := g.Check(start, addr4, j.Datagram()); v != Cookie {
		t.Fatalf("without a cookie: %v", v)
	}
	reply, err := g.AppendCookie(nil, start, addr4, j.Datagram(), nil)
	if err != nil || len(reply) != frame.JoinCookieLen {
		t.Fatalf("%d bytes, %v", len(reply), err)
	}
	if err := j.ReadCookie(flip(reply, 8*4)); err != ErrHandshake {
		t.Errorf("for another joiner: %v", err)
	}
	if err := j.ReadCookie(reply); err != nil {
		t.Fatal(err)
	}
	d := j.Datagram()
	if v := g.Check(start, addr6, d); v != Cookie {
		t.Errorf("from elsewhere: %v", v)
	}
	if v := g.Check(start, addr4, d); v != Pass {
		t.Errorf("with the cookie: %v", v)
	}
	if v := g.Check(start.Add(240*time.Second), addr4, d); v != Cookie {
		t.Errorf("with an old cookie: %v", v)
	}
	// A join cookie travels in the clear: it must be no cookie for MAC2.
	join, _ := frame.ParseJoinCookie(reply)
	init := stampedInit(t, a, b.Static.Public(), NewCookieClient(b.Static.Public()))
	m := mac2Of(join.Cookie, init)
	copy(init[len(init)-16:], m[:])
	g.SetUnderLoad(true)
	if v := g.Check(start, addr4, init); v != Cookie {
		t.Errorf("a join cookie as MAC2: %v", v)
	}
	// The join rate: 5 at once, then one each half second.
	passed := 1
	for range 20 {
		if g.Check(start, addr4, d) == Pass {
			passed++
		}
	}
	if passed != int(joinHostRate.burst) {
		t.Errorf("%d joins passed at once", passed)
	}
	if v := g.Check(start.Add(joinHostRate.interval), addr4, d); v != Pass {
		t.Errorf("after the interval: %v", v)
	}
}

// TestLimiter: a host is held to its rate, its network to a larger one, and others are not affected.
func TestLimiter(t *testing.T) {
	newLimiter := func() *limiter {
		return &limiter{key: [2]uint64{1, 2}, start: start, host: rate{time.Second, 4}, net: rate{100 * time.Millisecond, 10}}
	}
	count := func(l *limiter, now time.Time, n int, from func(i int) netip.Addr) (passed int) {
		for i := range n {
			if l.allow(now, from(i)) {
				passed++
			}
		}
		return passed
	}
	host := func(s string) func(int) netip.Addr { return func(int) netip.Addr { return netip.MustParseAddr(s) } }
	l := newLimiter()
	if n := count(l, start, 100, host("192.0.2.1")); n != 4 {
		t.Errorf("one host: %d", n)
	}
	if n := count(l, start, 100, host("::ffff:192.0.2.1")); n != 0 {
		t.Errorf("the same, IPv4-mapped: %d", n)
	}
	if n := count(l, start, 100, host("192.0.2.2")); n != 4 {
		t.Errorf("its neighbour: %d", n)
	}
	if n := count(l, start, 100, host("192.0.2.3")); n != 2 {
		t.Errorf("the third of the network: %d", n)
	}
	if n := count(l, start, 100, host("198.51.100.1")); n != 4 {
		t.Errorf("another network: %d", n)
	}
	if n := count(l, start.Add(2*time.Second), 100, host("192.0.2.1")); n != 2 {
		t.Errorf("after 2 s: %d", n)
	}
	l = newLimiter()
	if n := count(l, start, 100, func(i int) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)}) // one /64
	}); n != 4 {
		t.Errorf("one /64: %d", n)
	}
	l = newLimiter()
	if n := count(l, start, 100, func(i int) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 7: byte(i)}) // one /48, many /64
	}); n != 10 {
		t.Errorf("one /48: %d", n)
	}
	if n := count(l, start, 100, func(i int) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 5: byte(i + 1)}) // many /48
	}); n < 95 {
		t.Errorf("many /48: %d of 100", n)
	}
}

// TestForgedSourcesDoNotLockOut: who sends valid inits with the forged source of a peer uses up the rate of that
// prefix; the peer then proves its address, and is let in.
func TestForgedSourcesDoNotLockOut(t *testing.T) {
	a, b := router(1, true), router(2, true)
	g := gateOf(t, b)
	client := NewCookieClient(b.Static.Public())
	d := stampedInit(t, a, b.Static.Public(), client)
	passed := 0
	for range 1000 {
		if g.Check(start, addr4, d) == Pass {
			passed++
		}
	}
	if passed != int(initHostRate.burst) {
		t.Errorf("%d of 1000 forged inits passed", passed)
	}
	if v := g.Check(start, addr4, d); v != Cookie {
		t.Fatalf("the peer: %v", v)
	}
	reply, err := g.AppendCookie(nil, start, addr4, d, source(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := client.ReadCookie(start, reply); err != nil {
		t.Fatal(err)
	}
	client.Stamp(start, d)
	if v := g.Check(start, addr4, d); v != Pass {
		t.Errorf("the peer with its cookie: %v", v)
	}
	for range 1000 {
		g.Check(start, addr4, d)
	}
	if v := g.Check(start, addr4, d); v != DropLimited {
		t.Errorf("a proven sender over its rate: %v", v)
	}
}

// junk returns datagrams that look like inits or join hellos as far as that costs nothing.
func junk(n int) []byte {
	d := make([]byte, n)
	_, _ = source(uint64(n)).Read(d)
	copy(d, []byte{byte(frame.TypeInit), 0, 0, 0})
	return d
}

func TestGateDoesNotAllocate(t *testing.T) {
	a, b := router(1, true), router(2, true)
	g := gateOf(t, b)
	g.SetJoinable(true)
	client := NewCookieClient(b.Static.Public())
	init := stampedInit(t, a, b.Static.Public(), client)
	reply, err := g.AppendCookie(nil, start, addr4, init, source(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := client.ReadCookie(start, reply); err != nil {
		t.Fatal(err)
	}
	proven := bytes.Clone(init)
	client.Stamp(start, proven)
	hello := frame.JoinHello{Cookie: [16]byte{1}}.Append(nil)
	all := [][]byte{init, proven, hello, junk(64), junk(frame.HandshakeLen), junk(1400), relayJunk(1400), append(frame.DataHeader{}.Append(nil), make([]byte, 99)...)}
	var address [4]byte
	n := uint32(0)
	if got := testing.AllocsPerRun(2000, func() {
		n++
		binary.BigEndian.PutUint32(address[:], n*2654435761)
		from := netip.AddrPortFrom(netip.AddrFrom4(address), 1)
		for _, d := range all {
			g.Check(start, from, d)
			g.Check(start, addr4, d)
		}
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// TestGateIsConcurrent: with the race detector it shows that lanes may share the gate; without it, that
// the rate holds for all of them together.
func TestGateIsConcurrent(t *testing.T) {
	a, b := router(1, true), router(2, true)
	g := gateOf(t, b)
	d := stampedInit(t, a, b.Static.Public(), NewCookieClient(b.Static.Public()))
	var passed [4]int
	var wait sync.WaitGroup
	for lane := range passed {
		wait.Go(func() {
			for range 200 {
				if g.Check(start, addr4, d) == Pass {
					passed[lane]++
				}
			}
		})
	}
	wait.Wait()
	if sum := passed[0] + passed[1] + passed[2] + passed[3]; sum != int(initHostRate.burst) {
		t.Errorf("%d passed, want %d", sum, initHostRate.burst)
	}
}

// The reference vector of SipHash-2-4 (Aumasson and Bernstein, appendix A) has a message of 15 bytes;
// ours has 16, and key bytes 00..0f: the 17th of their list of outputs.
func TestSipHash(t *testing.T) {
	key := [2]uint64{0x0706050403020100, 0x0f0e0d0c0b0a0908}
	if got := sipHash(key, 0x0706050403020100, 0x0f0e0d0c0b0a0908); got != 0x3f2acc7f57c29bdb {
		t.Errorf("sipHash = %#x", got)
	}
}

func FuzzGate(f *testing.F) {
	a, b := router(1, true), router(2, true)
	g := gateOf(f, b)
	g.SetJoinable(true)
	f.Add(stampedInit(f, a, b.Static.Public(), NewCookieClient(b.Static.Public())))
	f.Add(frame.JoinHello{}.Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, d []byte) {
		if g.Check(start, addr4, d) != Cookie {
			return
		}
		reply, err := g.AppendCookie(nil, start, addr4, d, source(1))
		if err != nil || len(reply) > len(d) {
			t.Errorf("%d bytes answered with %d, %v", len(d), len(reply), err)
		}
	})
}

func BenchmarkGateJunk(b *testing.B) {
	g := gateOf(b, router(2, true))
	g.SetUnderLoad(true)
	for _, n := range []int{64, frame.HandshakeLen, 1400} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d := junk(n)
			b.ReportAllocs()
			for b.Loop() {
				if !g.Check(start, addr4, d).Dropped() {
					b.Fatal("not dropped")
				}
			}
		})
	}
	b.Run("join-hello", func(b *testing.B) {
		g.SetJoinable(true)
		d := frame.JoinHello{Cookie: [16]byte{1}}.Append(nil)
		b.ReportAllocs()
		for b.Loop() {
			if g.Check(start, addr4, d) != Cookie {
				b.Fatal("no cookie")
			}
		}
	})
	b.Run("bad-MAC2", func(b *testing.B) {
		a := router(1, true)
		peer := router(2, true).Static.Public()
		d := stampedInit(b, a, peer, NewCookieClient(peer))
		d[frame.HandshakeLen-1] = 1
		b.ReportAllocs()
		for b.Loop() {
			if g.Check(start, addr4, d) != Cookie {
				b.Fatal("no cookie")
			}
		}
	})
}
