//go:build linux

package netns_test

import (
	"maps"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tests/netns"
)

// TestFigure310 is the example of the dissertation's figure 3-10 with real hosts and in its own
// addresses: VN1 joins hosts of the domains A and B, VN2 hosts of A and C. "If a host in DomainB tries
// to communicate to a host in DomainC, packets will be dropped by VRs, as there is no matching entry
// in GNDT-VN1 and GNDT-VN2."
func TestFigure310(t *testing.T) {
	waits(t)
	f := netns.New(t)
	var domains [3]*netns.Site
	for i := range domains {
		s := f.AddSite(t, netns.SiteOption{Hosts: 2 - i&1}) // A and C have two hosts, B one
		s.Name = "domain-" + string("abc"[i])
		if i == 0 {
			s.Init(t, "--space", "172.16.0.0/12")
		} else {
			s.Join(t, f.Sites[0].Seed())
		}
		s.Up(t)
		domains[i] = s
	}
	a, b, c := domains[0], domains[1], domains[2]
	a.Vine(t, "vn", "create", "vn1", "--prefix", "172.16.0.0/24@domain-a,172.16.10.0/24@domain-b",
		"--host", "172.16.0.10,172.16.10.11")
	a.Vine(t, "vn", "create", "vn2", "--prefix", "172.16.0.0/24@domain-a,172.16.20.0/24@domain-c",
		"--host", "172.16.0.20,172.16.20.11")
	for _, h := range []struct {
		at   *netns.Site
		i    int
		addr string
	}{
		{a, 0, "172.16.0.10"},
		{a, 1, "172.16.0.20"},
		{b, 0, "172.16.10.11"},
		{c, 0, "172.16.20.11"},
		{c, 1, "172.16.20.12"}, // in no VN
	} {
		h.at.SetUpHost(t, h.i, mustAddr(h.addr))
	}
	inVN1, inVN2, ofB, ofC, nobody := a.LAN.Hosts[0], a.LAN.Hosts[1], b.LAN.Hosts[0], c.LAN.Hosts[0], c.LAN.Hosts[1]
	netns.AwaitPing(t, inVN1, mustAddr("172.16.10.11"), 30*time.Second)
	netns.AwaitPing(t, ofB, mustAddr("172.16.0.10"), 30*time.Second)
	netns.AwaitPing(t, inVN2, mustAddr("172.16.20.11"), 30*time.Second)
	netns.AwaitPing(t, ofC, mustAddr("172.16.0.20"), 30*time.Second)

	before := map[*netns.Site]map[string]int{}
	for _, s := range domains {
		before[s] = netns.VineJSON[status](t, s, "status").Packets.Drops
	}
	netns.NoPing(t, ofB, mustAddr("172.16.20.11"))
	netns.NoPing(t, ofC, mustAddr("172.16.10.11"))
	netns.NoPing(t, ofB, mustAddr("172.16.0.20"))    // the VR is the right one, the VN is not
	netns.NoPing(t, inVN1, mustAddr("172.16.20.11")) // the GNDT is on the VR, the source is not in it
	netns.NoPing(t, nobody, mustAddr("172.16.0.20"))

	// A NoPing is three packets, and each is counted where it was dropped.
	want := map[*netns.Site]map[string]int{
		a: {"no-route": 3, "destination-not-member": 3},
		b: {"no-route": 3},
		c: {"no-route": 3, "source-not-local": 3},
	}
	for _, s := range domains {
		got := map[string]int{}
		for reason, n := range netns.VineJSON[status](t, s, "status").Packets.Drops {
			if n -= before[s][reason]; n > 0 {
				got[reason] = n
			}
		}
		if !maps.Equal(got, want[s]) {
			t.Errorf("%s has dropped %v, want %v", s.Name, got, want[s])
		}
	}
}
