//go:build linux

package netnstest

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

// TestTranslator: each translator does what its fields say, for the port that it maps to another one and
// for one that it keeps.
func TestTranslator(t *testing.T) {
	for _, tr := range []Translator{
		{Filtering: EndpointIndependent},
		{Filtering: AddressDependent},
		{Filtering: AddressAndPortDependent},
		{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent},
	} {
		t.Run(fmt.Sprintf("mapping %v, filtering %v", tr.Mapping, tr.Filtering), func(t *testing.T) {
			core, gw, one, two := NewCore(t), New(t), New(t), New(t)
			wan := core.Attach(t, gw, "wan0")
			at := [2]netip.Addr{core.Attach(t, one, "wan0").V4, core.Attach(t, two, "wan0").V4}
			lan := NewLAN(t, gw, "lan0", 7, 1)
			tr.Outside, tr.Host = "wan0", netip.MustParseAddr("192.168.7.11")
			gw.Translate(t, tr)
			gw.Guard(t, Firewall{Inside: "lan0", Outside: "wan0", Out: []string{""}})
			host := lan.Hosts[0]
			host.Run(t, "ip route add default via "+lan.V4.String())
			for port, outside := range map[uint16]uint16{InsidePort: MappedPort, 4242: 4242} {
				m := MeasureUDP(t, host, port, [2]*Namespace{one, two}, at)
				if !m.Passes || m.Mapping != tr.Mapping || m.Filtering != tr.Filtering {
					t.Errorf("port %d: measured %+v", port, m)
				}
				if slices.ContainsFunc(m.Seen[:], func(a netip.AddrPort) bool { return a.Addr() != wan.V4 }) {
					t.Errorf("port %d: the outside sees %v, want the gateway's %v", port, m.Seen, wan.V4)
				}
				if tr.Mapping == EndpointIndependent && m.Seen[0].Port() != outside {
					t.Errorf("port %d is %d outside, want %d", port, m.Seen[0].Port(), outside)
				}
			}
		})
	}
}
