//go:build linux

package netns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/impair"
)

// A Triangle is a federation of three sites or more whose wide-area network is a line for each pair of sites
// and each direction: what one site sends to two others shares nothing. Lines are perfect until Shape.
type Triangle struct{ *Federation }

// NewTriangle makes one without sites. It skips the test where it cannot run.
func NewTriangle(t testing.TB) Triangle {
	t.Helper()
	netnstest.Require(t, "ethtool")
	f := New(t)
	lines, err := impair.NewSwitch(1)
	if err != nil {
		t.Fatal(err)
	}
	f.lines = lines
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- lines.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the wide-area network: %v", err)
		}
	})
	return Triangle{f}
}

// Wide returns the settings of one direction of a path on which TCP carries mbits millions of payload bits
// per second and a round trip takes rtt. The line counts whole IP packets, of which TCP's payload is
// 1448 bytes in 1500 (20 of IP, 32 of TCP with time stamps), so it is set TCPShare faster. Its queue holds a
// bandwidth-delay product, or 50 ms if that is more, so that one flow fills it.
func Wide(mbits float64, rtt time.Duration) impair.Settings {
	return impair.Settings{Rate: int(mbits * 1e6 / TCPShare), Delay: rtt / 2}
}

// TCPShare is the share of TCP's payload in full-sized IPv4 packets on a path of 1500 bytes.
const TCPShare = 1448.0 / 1500

// Shape changes the lines between two sites, both directions alike, also while packets flow.
func (f Triangle) Shape(t testing.TB, a, b *Site, s impair.Settings) {
	t.Helper()
	for _, pair := range [][2]int{{a.port, b.port}, {b.port, a.port}} {
		if err := f.lines.Set(pair[0], pair[1], s); err != nil {
			t.Fatal(err)
		}
	}
}

// Cut cuts the lines between two sites, or mends them.
func (f Triangle) Cut(a, b *Site, is bool) {
	f.lines.Cut(a.port, b.port, is)
	f.lines.Cut(b.port, a.port, is)
}

// Counts returns what has happened on the line from one site to another.
func (f Triangle) Counts(from, to *Site) impair.Counts { return f.lines.Counts(from.port, to.port) }

// Lost returns how many packets had no destination in the wide-area network, and how many interfaces would not
// take.
func (f Triangle) Lost() (unroutable, undeliverable int) { return f.lines.Lost() }

// Late returns how long the wide-area network stood still at worst since the last call, for want of a processor.
func (f Triangle) Late() time.Duration { return f.lines.Late() }

// ShareUplink has all that the site sends share one line, as behind one modem, and all that it gets too.
// Of the lines that it had before, that from and to other is the one.
func (f Triangle) ShareUplink(s, other *Site) {
	for _, o := range f.Sites {
		if o != s && o != other {
			f.lines.Share(s.port, o.port, [2]int{s.port, other.port})
			f.lines.Share(o.port, s.port, [2]int{other.port, s.port})
		}
	}
}

// attach wires the site's outermost namespace, by its interface "wan0", to the wide-area network.
// inside are prefixes at the site beyond its own address.
func (s *Site) attach(t testing.TB, ns *netnstest.Namespace, inside ...netip.Prefix) netnstest.WAN {
	t.Helper()
	f := s.F
	if f.lines == nil {
		w := f.Core.Attach(t, ns, "wan0")
		for _, p := range inside {
			f.Core.Run(t, fmt.Sprintf("ip route add %v via %v", p, w.V4))
		}
		return w
	}
	w := f.Core.AttachBare(t, ns, "wan0")
	g := impair.Gateway{Interface: w.Far, Prefixes: append(inside, netip.PrefixFrom(w.V4, 32), netip.PrefixFrom(w.V6, 128))}
	err := ns.Do(func() error {
		i, err := net.InterfaceByName("wan0")
		if err == nil {
			copy(g.Peer[:], i.HardwareAddr)
		}
		return err
	})
	if err == nil {
		err = f.Core.Do(func() (err error) { s.port, err = f.lines.Add(g); return err })
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// putBehindFirewall gives the site a router, with an address of TEST-NET-3 (RFC 5737) for the VR.
func (s *Site) putBehindFirewall(t testing.TB) {
	t.Helper()
	inside := netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(4 * s.N)}), 30)
	router := inside.Addr().Next()
	s.Firewall = netnstest.New(t)
	outside := s.attach(t, s.Firewall, inside)
	s.Firewall.Forward(t)
	netnstest.Wire(t, s.Namespace, "wan0", s.Firewall, "in0")
	s.WAN = netnstest.WAN{Interface: "wan0", Far: outside.Far, Core4: outside.Core4, Core6: outside.Core6, V4: router.Next()}
	s.Firewall.Run(t, fmt.Sprintf("ip addr add %v/30 dev in0", router))
	s.Run(t, fmt.Sprintf("ip addr add %v/30 dev wan0\nip route add default via %v", s.WAN.V4, router))
}

// Allow has the firewall of a site that was made with one let connections out to the sites named and to
// nobody else; without sites, to everybody. Nothing comes in but answers. What is not allowed is dropped
// without a word.
func (s *Site) Allow(t testing.TB, sites ...*Site) {
	t.Helper()
	netnstest.Require(t, "nft")
	if s.Firewall == nil {
		t.Fatalf("%s was made without SiteOption.Firewall", s.Name)
	}
	to := ""
	if len(sites) > 0 {
		var list []string
		for _, o := range sites {
			list = append(list, o.WAN.V4.String())
		}
		to = "ip daddr { " + strings.Join(list, ", ") + " }"
	}
	// What is open already is closed too: a flow that the new rules forbid must not live on its past.
	s.Firewall.MustExec(t, "nft", fmt.Sprintf(`table inet firewall
	delete table inet firewall
	table inet firewall {
		chain forward {
			type filter hook forward priority 0; policy drop;
			iifname in0 %s accept
			iifname wan0 ct state established,related accept
		}
	}`, to))
}
