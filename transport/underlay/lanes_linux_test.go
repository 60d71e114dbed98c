package underlay

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// beside opens count sockets on one port, in the families of at.
func beside(t *testing.T, at string, count int) []*UDP {
	t.Helper()
	first, err := ListenUDP(netip.MustParseAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	list := []*UDP{first.(*UDP)}
	more, err := list[0].Beside(count - 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range more {
		list = append(list, m.(*UDP))
	}
	t.Cleanup(func() {
		for _, s := range list {
			s.Close()
		}
	})
	return list
}

// TestBeside: each lane's data comes to the socket of that lane, and everything else to the first, whoever sends it.
func TestBeside(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0"} {
		t.Run(at, func(t *testing.T) {
			for _, count := range []int{2, 3, 4, 16} {
				sockets := beside(t, at, count)
				if !sockets[0].Spread() {
					t.Fatal("the kernel takes no program")
				}
				to := sockets[0].LocalAddr()
				if to.Addr().IsUnspecified() {
					to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), to.Port())
				}
				any := netip.AddrPortFrom(to.Addr(), 0)
				for _, s := range sockets {
					if s.LocalAddr() != sockets[0].LocalAddr() {
						t.Fatalf("socket on %v beside one on %v", s.LocalAddr(), sockets[0].LocalAddr())
					}
				}
				for range 3 { // other ports, so other hashes
					from, err := ListenUDP(any)
					if err != nil {
						t.Fatal(err)
					}
					defer from.Close()
					for lane := range 16 {
						// The upper bits of the byte are the index's.
						expect(t, from, sockets, lane%count, to, []byte{1, 0, 0, 0, 9, 9, 9, 0xa0 | byte(lane), 1, 2})
					}
					for kind := range 16 {
						if kind != 1 {
							expect(t, from, sockets, 0, to, []byte{byte(kind), 0, 0, 0, 9, 9, 9, 0xff})
						}
					}
					expect(t, from, sockets, 0, to, []byte{1, 2, 3}) // too short to name a lane
				}
			}
		})
	}
}

// expect sends b and fails if another socket than the one has it.
func expect(t *testing.T, from Socket, sockets []*UDP, want int, to netip.AddrPort, b []byte) {
	t.Helper()
	if n, err := from.WriteBatch([]Datagram{{Buf: b, N: len(b), Addr: to}}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	in := []Datagram{{Buf: make([]byte, 100)}}
	for until := time.Now().Add(5 * time.Second); ; {
		for i, s := range sockets {
			n, err := s.TryReadBatch(in)
			if err != nil {
				t.Fatal(err)
			}
			if n == 1 {
				if i != want {
					t.Errorf("% x came to socket %d of %d, want %d", b, i, len(sockets), want)
				}
				return
			}
		}
		if time.Now().After(until) {
			t.Fatalf("% x was lost", b)
		}
	}
}

// TestBesideIsAlone: what has the port already is not joined, and nobody who does not know of the others gets it.
func TestBesideIsAlone(t *testing.T) {
	sockets := beside(t, "127.0.0.1:0", 3)
	if s, err := ListenUDP(sockets[0].LocalAddr()); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a second program listens there: %v, %v", s, err)
	}
	alone := beside(t, "127.0.0.1:0", 1)
	alone[0].set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 0)
	if _, err := listenWith(reusePort, "udp4", alone[0].LocalAddr(), familyV4); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("joined one that shares with nobody: %v", err)
	}
	closed := beside(t, "127.0.0.1:0", 1)
	closed[0].Close()
	if _, err := closed[0].Beside(2); err == nil {
		t.Error("beside a closed one")
	}
}

// TestHopLimits: datagrams of different lanes differ in their hop limit.
func TestHopLimits(t *testing.T) {
	sockets := beside(t, "[::]:0", 4)
	for i, s := range sockets {
		for _, o := range [][2]int{{unix.IPPROTO_IP, unix.IP_TTL}, {unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS}} {
			get := func(s *UDP) (limit int) {
				s.fd.Use(func(fd uintptr) {
					var err error
					if limit, err = unix.GetsockoptInt(int(fd), o[0], o[1]); err != nil {
						t.Error(os.NewSyscallError("getsockopt", err))
					}
				})
				return limit
			}
			if first, own := get(sockets[0]), get(s); own != first-i {
				t.Errorf("hop limit %d of socket %d, %d of the first", own, i, first)
			}
		}
	}
}
