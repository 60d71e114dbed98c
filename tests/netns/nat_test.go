//go:build linux

package netns_test

import (
	"testing"
	"time"

	"github.com/vine-mesh/vine/tests/netns"
)

// TestBehindNAT: a VR behind an address translator joins, and carries traffic with one that can be
// reached. Between two that cannot, queue-VRs are needed; that is another issue's.
func TestBehindNAT(t *testing.T) {
	f := netns.New(t)
	a := enrol(t, f, netns.SiteOption{})
	b := enrol(t, f, netns.SiteOption{Kind: netns.PortRestricted})
	c := enrol(t, f, netns.SiteOption{Kind: netns.Symmetric})
	createVN(t, f, "blue", a.Addr4(t, 0).String(), b.Addr4(t, 0).String(), c.Addr4(t, 0).String())
	for _, s := range f.Sites {
		s.SetUpHost(t, 0, s.Addr4(t, 0))
	}
	for _, s := range []*netns.Site{b, c} {
		netns.AwaitPing(t, s.LAN.Hosts[0], a.Addr4(t, 0), 30*time.Second)
		netns.AwaitPing(t, a.LAN.Hosts[0], s.Addr4(t, 0), 30*time.Second)
		var now status
		found := netns.Await(t, s.Name+" knows that it is behind a translator", 30*time.Second, func() bool {
			now = netns.VineJSON[status](t, s, "status")
			return now.Kind == "limited"
		})
		t.Logf("%s finds out that it is %s after %.1f s more, at %v", s.Name, now.Kind, found.Seconds(), now.Endpoints)
		s.Kill()
		s.Up(t)
		back := netns.AwaitPing(t, a.LAN.Hosts[0], s.Addr4(t, 0), 30*time.Second)
		t.Logf("NUMBER first ping to a VR behind a translator restarted after kill -9: %.1f s", back.Seconds())
	}
}
