package underlay_test

import (
	"net/netip"
	"testing"

	"github.com/vine-mesh/vine/transport/underlay"
)

func counters(s underlay.Socket) underlay.Counters { return s.(*underlay.UDP).Counters() }

func dgram(to netip.AddrPort, n int) underlay.Datagram {
	return underlay.Datagram{Buf: make([]byte, n), N: n, Addr: to}
}

func TestListenRefusesBadAddresses(t *testing.T) {
	if s, err := underlay.ListenUDP(netip.AddrPort{}); err == nil {
		s.Close()
		t.Error("ListenUDP of no address succeeded")
	}
	for _, bad := range []string{"127.0.0.1:0", "[::ffff:127.0.0.1]:0"} {
		if s, err := underlay.ListenUDP6(netip.MustParseAddrPort(bad)); err == nil {
			s.Close()
			t.Errorf("ListenUDP6(%s) succeeded", bad)
		}
	}
	s := open(t, "127.0.0.1:0")
	if again, err := underlay.ListenUDP(s.LocalAddr()); err == nil {
		again.Close()
		t.Error("a port could be taken twice")
	}
}

// TestFamiliesShareAPort has an IPv4 and an IPv6-only wildcard socket on one port.
func TestFamiliesShareAPort(t *testing.T) {
	s4 := open(t, "0.0.0.0:0")
	s6, err := underlay.ListenUDP6(netip.AddrPortFrom(netip.IPv6Unspecified(), s4.LocalAddr().Port()))
	if err != nil {
		t.Skipf("no IPv6: %v", err)
	}
	defer s6.Close()
	if got := s6.LocalAddr(); got.Addr() != netip.IPv6Unspecified() || got.Port() != s4.LocalAddr().Port() {
		t.Errorf("LocalAddr() = %v", got)
	}
	if s6.(*underlay.UDP).Settings().DualStack {
		t.Error("an IPv6-only socket says that it is dual-stack")
	}
	// Each reaches its own family only, and says so in a counter and in nothing else.
	for s, to := range map[underlay.Socket]string{s4: "[::1]:9", s6: "127.0.0.1:9"} {
		if n, err := s.WriteBatch([]underlay.Datagram{dgram(netip.MustParseAddrPort(to), 1)}); n != 0 || err != nil {
			t.Errorf("WriteBatch to %s = %d, %v, want 0, nil", to, n, err)
		}
		if c := counters(s); c.Unreachable != 1 || c.Sent != 0 {
			t.Errorf("to %s: %+v, want 1 unreachable", to, c)
		}
	}
}

func TestFailuresAreCounted(t *testing.T) {
	a, b := open(t, "127.0.0.1:0"), open(t, "127.0.0.1:0")
	to := b.LocalAddr()
	n, err := a.WriteBatch([]underlay.Datagram{
		dgram(to, 65530), // more than an IPv4 packet can carry
		dgram(to, 1),
		dgram(netip.MustParseAddrPort("255.255.255.255:9"), 1), // broadcast is off
		dgram(to, 2),
		dgram(netip.MustParseAddrPort("[2001:db8::1]:9"), 1), // no such family here
	})
	if n != 2 || err != nil {
		t.Errorf("WriteBatch = %d, %v, want 2, nil", n, err)
	}
	c := counters(a)
	if c.Sent != 2 || c.TooBig != 1 || c.Unreachable+c.Filtered != 2 || c.Other != 0 {
		t.Errorf("%+v, want 2 sent, 1 too big, 2 unreachable or filtered", c)
	}
}

func TestSettings(t *testing.T) {
	s := open(t, "127.0.0.1:0")
	got := s.(*underlay.UDP).Settings()
	t.Logf("%+v", got)
	if got.ReceiveBytes <= 0 || got.SendBytes <= 0 {
		t.Errorf("buffers are not reported: %+v", got)
	}
	if got.Forced && got.ReceiveBytes < 7<<20 {
		t.Errorf("forced, but only %d bytes", got.ReceiveBytes)
	}
}

// TestZeroAllocs holds the packet path to what its comments promise.
func TestZeroAllocs(t *testing.T) {
	eachTraffic(t, func(name string, offload bool, bind string) {
		t.Run(name, func(t *testing.T) {
			a, b, out, in := traffic(t, bind, offload)
			allocs := testing.AllocsPerRun(100, func() { turn(t, a, b, out, in) })
			if allocs != 0 {
				t.Errorf("%v allocations for %d packets there", allocs, len(out))
			}
		})
	})
}

func eachTraffic(t testing.TB, f func(name string, offload bool, bind string)) {
	for _, bind := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0"} {
		f(bind, false, bind)
		f(bind+" offload", true, bind)
	}
}

// traffic opens two sockets on loopback and returns a batch to write and one to read.
func traffic(t testing.TB, bind string, offload bool) (a, b underlay.Socket, out, in []underlay.Datagram) {
	a, b = open(t, bind), open(t, bind)
	ip := netip.MustParseAddrPort(bind).Addr()
	if ip.IsUnspecified() {
		ip = netip.MustParseAddr("127.0.0.1")
	}
	if offload {
		for _, s := range []underlay.Socket{a, b} {
			if _, err := s.Offload(); err != nil {
				t.Skip(err)
			}
		}
	}
	for range 32 {
		out = append(out, dgram(netip.AddrPortFrom(ip, b.LocalAddr().Port()), 1200))
		in = append(in, underlay.Datagram{Buf: make([]byte, underlay.OffloadBytes)})
	}
	return a, b, out, in
}

// turn writes a batch and reads it back.
func turn(t testing.TB, a, b underlay.Socket, out, in []underlay.Datagram) {
	n, err := a.WriteBatch(out)
	if err != nil {
		t.Fatal(err)
	}
	for n > 0 {
		k, err := b.ReadBatch(in)
		if err != nil {
			t.Fatal(err)
		}
		for i := range in[:k] {
			n -= in[i].Count()
		}
	}
}

// BenchmarkLoopback reports the cost of 32 packets of 1,200 bytes written and read.
func BenchmarkLoopback(b *testing.B) {
	eachTraffic(b, func(name string, offload bool, bind string) {
		b.Run(name, func(b *testing.B) {
			s, r, out, in := traffic(b, bind, offload)
			b.ReportAllocs()
			b.SetBytes(int64(len(out) * out[0].N))
			for b.Loop() {
				turn(b, s, r, out, in)
			}
		})
	})
}
