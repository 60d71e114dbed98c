//go:build linux

package netns_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tests/netns"
)

// TestPollModes: two limited sites that fetch from their queue-VRs what is relayed to them, by each way of
// dissertation table 3-3 that polls, exchange pings through a queue-VR: none is lost, also while stream connections are
// renewed, and none waits much longer than the interval.
func TestPollModes(t *testing.T) {
	waits(t)
	const interval = 100 * time.Millisecond
	const tables = "[authority]\nauto_admit = \"open\"\n[queue]\nmode = %q\ninterval = \"100ms\"\n"
	for _, mode := range []struct {
		name      string
		kinds     [2]netns.Kind
		transport []string
	}{
		{"udp-poll", [2]netns.Kind{netns.Symmetric, netns.Symmetric}, []string{"udp"}},
		{"tcp-poll", [2]netns.Kind{netns.Symmetric, netns.UDPBlocked}, []string{"tls", "tcp"}},
	} {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			f := netns.New(t)
			for range 2 {
				enrol(t, f, netns.SiteOption{Tables: netns.Streams})
			}
			var limited [2]*netns.Site
			var hosts string
			for i, k := range mode.kinds {
				s := f.AddSite(t, netns.SiteOption{Kind: k, Tables: fmt.Sprintf(tables, mode.name)})
				s.Join(t, f.Sites[0].SeedFor(s))
				s.Up(t)
				limited[i] = s
				hosts += "," + s.Addr4(t, 0).String()
			}
			createVN(t, f, "blue", hosts[1:])
			for _, s := range limited {
				s.SetUpHost(t, 0, s.Addr4(t, 0))
			}
			a, b := limited[0], limited[1]
			took := netns.AwaitPing(t, a.LAN.Hosts[0], b.Addr4(t, 0), 60*time.Second)
			t.Logf("NUMBER %s: first ping after %s", mode.name, inSeconds(took))
			netns.Await(t, "pings wait for polls", 30*time.Second, func() bool {
				return netns.PingMany(t, a.LAN.Hosts[0], b.Addr4(t, 0), 5, interval).Avg > interval/4
			})
			p := netns.PingMany(t, a.LAN.Hosts[0], b.Addr4(t, 0), 150, 200*time.Millisecond)
			t.Logf("NUMBER %s: %+v", mode.name, p)
			if p.Received != p.Sent {
				t.Errorf("%d of %d pings answered", p.Received, p.Sent)
			}
			if p.Avg < interval/4 {
				t.Errorf("a ping takes %v: nothing waits for a poll", p.Avg)
			}
			if moved := strings.Count(a.VR.Output(), "peer moved"); mode.name == "tcp-poll" && moved < 3 {
				t.Errorf("%d connections in half a minute:\n%s", moved, a.VR.Output())
			}
			l := links(t, a)[b.Name]
			t.Logf("NUMBER %s: %v by %s", mode.name, l, l.Via)
			ok := false
			for _, transport := range mode.transport {
				ok = ok || l.Transport == transport
			}
			if l.Path != "relayed" || !ok {
				t.Errorf("the path is %v", l)
			}
		})
	}
}
