package transporttest

import (
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/vine-mesh/vine/transport/underlay"
)

func listen(t testing.TB, h *Host, port uint16) underlay.Socket {
	t.Helper()
	s, err := h.Listen(port)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func endpoint(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func checkContract(t *testing.T) {
	for _, pair := range [][3]string{
		{"192.0.2.1", "192.0.2.2", "192.0.2.3:9"},
		{"2001:db8::1", "2001:db8::2", "[2001:db8::2]:9"},
	} {
		in := Start(t, 1)
		a := listen(t, in.Host("a", addr(pair[0])), 0)
		b := listen(t, in.Host("b", addr(pair[1])), 8463)
		CheckSocket(t, a, b, a.LocalAddr(), b.LocalAddr(), endpoint(pair[2]))
	}
}

func TestContractInBubble(t *testing.T)   { synctest.Test(t, checkContract) }
func TestContractInRealTime(t *testing.T) { checkContract(t) }
