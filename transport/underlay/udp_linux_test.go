package underlay

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		family      family
		write, read string
	}{
		{familyV4, "192.0.2.1:8463", "192.0.2.1:8463"},
		{familyV4, "[::ffff:192.0.2.1]:8463", "192.0.2.1:8463"},
		{familyDual, "192.0.2.1:8463", "192.0.2.1:8463"},
		{familyDual, "[::ffff:192.0.2.1]:258", "192.0.2.1:258"},
		{familyV6, "[2001:db8::1]:65535", "[2001:db8::1]:65535"},
		{familyDual, "[fe80::1%7]:8463", "[fe80::1%7]:8463"},
		{familyDual, "[fe80::1%300]:8463", "[fe80::1%300]:8463"},
		{familyV6, "[fe80::1%no-such-interface]:1", "[fe80::1]:1"},
	} {
		var sa unix.RawSockaddrInet6
		writeName(&sa, tt.family, netip.MustParseAddrPort(tt.write))
		if got := readName(&sa); got != netip.MustParseAddrPort(tt.read) {
			t.Errorf("%s is read back as %v", tt.write, got)
		}
	}
}

func TestZoneByName(t *testing.T) {
	lo, err := net.InterfaceByIndex(1)
	if err != nil {
		t.Skip(err)
	}
	if got := scope(lo.Name); got != 1 {
		t.Errorf("scope(%q) = %d, want 1", lo.Name, got)
	}
}

// TestProbing reads back the options that make a packet leave with DF whatever the kernel knows of
// the path.
func TestProbing(t *testing.T) {
	for _, bind := range []string{"127.0.0.1:0", "[::]:0"} {
		s, err := ListenUDP(netip.MustParseAddrPort(bind))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		u := s.(*UDP)
		if !u.Settings().Probing {
			t.Logf("%s: the system refuses IP_PMTUDISC_PROBE", bind)
			continue
		}
		u.fd.Use(func(fd uintptr) {
			if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER); err != nil || got != unix.IP_PMTUDISC_PROBE {
				t.Errorf("%s: IP_MTU_DISCOVER = %d, %v", bind, got, err)
			}
			if u.family == familyV4 {
				return
			}
			if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER); err != nil || got != unix.IPV6_PMTUDISC_PROBE {
				t.Errorf("%s: IPV6_MTU_DISCOVER = %d, %v", bind, got, err)
			}
		})
	}
}

// TestErrorsOnReadAreNotFatal has the kernel report ICMP errors to the socket, as it does when asked to
// with IP_RECVERR or on a connected socket; a reader must not see them.
func TestErrorsOnReadAreNotFatal(t *testing.T) {
	s, err := ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	u := s.(*UDP)
	u.fd.Use(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1) })
	if err != nil {
		t.Skip(err)
	}
	gone, err := ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	send := func(to netip.AddrPort) {
		if _, err := s.WriteBatch([]Datagram{{Buf: []byte("x"), N: 1, Addr: to}}); err != nil {
			t.Fatal(err)
		}
	}
	in := []Datagram{{Buf: make([]byte, 16)}}
	for range 10 {
		send(gone.LocalAddr()) // the error of this one is met by the write or the read that follows
	}
	// A write that meets the error is lost and counted as refused, so write until one gets through.
	for before := u.Counters().Sent; u.Counters().Sent == before; {
		send(s.LocalAddr())
	}
	if n, err := s.ReadBatch(in); n != 1 || err != nil || in[0].Addr != s.LocalAddr() {
		t.Errorf("ReadBatch = %d, %v from %v", n, err, in[0].Addr)
	}
	if c := u.Counters(); c.ReadErrors+c.Refused == 0 {
		t.Errorf("no error was counted, so the test tested nothing: %+v", c)
	}
}

// TestConcurrentUse has more writers than idle batches, and closes the socket under them.
func TestConcurrentUse(t *testing.T) {
	s, err := ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	const writers, batches = 2 * idleBatches, 50
	var writing, all sync.WaitGroup
	for range writers {
		writing.Go(func() {
			dgs := []Datagram{{Buf: []byte("abc"), N: 3, Addr: s.LocalAddr()}, {Buf: []byte("d"), N: 1, Addr: s.LocalAddr()}}
			for range batches {
				if n, err := s.WriteBatch(dgs); n != 2 || err != nil {
					t.Errorf("WriteBatch = %d, %v", n, err)
				}
			}
		})
	}
	for range 3 {
		all.Go(func() {
			dgs := []Datagram{{Buf: make([]byte, 16)}, {Buf: make([]byte, 16)}, {Buf: make([]byte, 16)}}
			for {
				n, err := s.ReadBatch(dgs)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err != nil {
					t.Errorf("ReadBatch: %v", err)
					return
				}
				for _, d := range dgs[:n] {
					if got := string(d.Buf[:d.N]); got != "abc" && got != "d" {
						t.Errorf("read %q", got)
					}
				}
			}
		})
	}
	writing.Wait()
	s.Close()
	all.Wait()
	if c := s.(*UDP).Counters(); c.Sent != writers*batches*2 {
		t.Errorf("sent %d, want %d", c.Sent, writers*batches*2)
	}
}

// TestECN: what datagrams say of congestion crosses with each of them, whatever they are sent and read together with.
func TestECN(t *testing.T) {
	for _, tt := range []struct{ a, b, ip string }{
		{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1"}, {"[::1]:0", "[::1]:0", "::1"},
		{"[::]:0", "[::]:0", "127.0.0.1"}, {"[::]:0", "[::]:0", "::1"}, {"[::]:0", "127.0.0.1:0", "127.0.0.1"},
	} {
		for _, offload := range []bool{false, true} {
			a, errA := ListenUDP(netip.MustParseAddrPort(tt.a))
			b, errB := ListenUDP(netip.MustParseAddrPort(tt.b))
			if errA != nil || errB != nil {
				t.Fatal(errA, errB)
			}
			defer a.Close()
			defer b.Close()
			if offload {
				for _, s := range []Socket{a, b} {
					if able, err := s.Offload(); err != nil || !able.Send || !able.Receive {
						t.Fatalf("Offload() = %+v, %v", able, err)
					}
				}
			}
			to := netip.AddrPortFrom(netip.MustParseAddr(tt.ip), b.LocalAddr().Port())
			codes := []uint8{0, 0, 0, 3, 3, 1, 2, 2, 2, 3, 0, 2}
			var out []Datagram
			for i, ecn := range codes {
				buf := make([]byte, 100)
				buf[0] = byte(i)
				out = append(out, Datagram{Buf: buf, N: len(buf), Addr: to, ECN: ecn})
			}
			if n, err := a.WriteBatch(out); n != len(out) || err != nil {
				t.Fatalf("WriteBatch = %d, %v", n, err)
			}
			in := []Datagram{{Buf: make([]byte, OffloadBytes)}, {Buf: make([]byte, OffloadBytes)}}
			for next := 0; next < len(codes); {
				n, err := b.ReadBatch(in)
				if err != nil {
					t.Fatal(err)
				}
				for i := range in[:n] {
					for p := range in[i].All() {
						if int(p[0]) != next || in[i].ECN != codes[next] {
							t.Errorf("%v, offload %v: datagram %d, codepoint %d; want %d, %d", tt, offload, p[0], in[i].ECN, next, codes[next])
						}
						next++
					}
				}
			}
		}
	}
}
