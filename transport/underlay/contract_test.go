package underlay_test

import (
	"net/netip"
	"testing"

	"github.com/vine-mesh/vine/transport/transporttest"
	"github.com/vine-mesh/vine/transport/underlay"
)

// open opens a socket, or skips the test when the host lacks the address family.
func open(t testing.TB, bind string) underlay.Socket {
	t.Helper()
	s, err := underlay.ListenUDP(netip.MustParseAddrPort(bind))
	if err != nil {
		t.Skipf("no socket on %s: %v", bind, err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// deadPort returns an address on which nobody listens.
func deadPort(t testing.TB, ip netip.Addr) netip.AddrPort {
	t.Helper()
	s := open(t, netip.AddrPortFrom(ip, 0).String())
	defer s.Close()
	return s.LocalAddr()
}

func TestContract(t *testing.T) {
	for _, tt := range []struct{ name, bindA, bindB, ip string }{
		{"v4", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1"},
		{"v4 wildcard", "0.0.0.0:0", "0.0.0.0:0", "127.0.0.1"},
		{"v6", "[::1]:0", "[::1]:0", "::1"},
		{"dual v4", "[::]:0", "[::]:0", "127.0.0.1"},
		{"dual v6", "[::]:0", "[::]:0", "::1"},
		{"dual to v4", "[::]:0", "127.0.0.1:0", "127.0.0.1"},
		{"v4 to dual", "127.0.0.1:0", "[::]:0", "127.0.0.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ip := netip.MustParseAddr(tt.ip)
			if ip.Is6() {
				open(t, "[::1]:0").Close()
			}
			a, b := open(t, tt.bindA), open(t, tt.bindB)
			at := func(s underlay.Socket) netip.AddrPort { return netip.AddrPortFrom(ip, s.LocalAddr().Port()) }
			transporttest.CheckSocket(t, a, b, at(a), at(b), deadPort(t, ip))
		})
	}
}
