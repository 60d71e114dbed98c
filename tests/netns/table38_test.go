//go:build linux

package netns_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/impair"
	"github.com/vine-mesh/vine/tests/netns"
)

// The sites of the dissertation's figure 3-18, and their pairs in the order of table 3-8.
const (
	uf = iota
	nwu
	pu
)

var siteNames = [3]string{"uf", "nwu", "pu"}

var pairs = [3][2]int{{uf, pu}, {uf, nwu}, {nwu, pu}}

// A figure is the round trip, in milliseconds, and the TCP throughput, in megabits per second, of a pair.
type figure struct{ ms, mbits float64 }

// table38 is the dissertation's table 3-8 (page 84) without case 1a: by case, then by pair.
var table38 = [6][3]figure{
	{{24.1, 20.4}, {27.8, 17.5}, {6.8, 63.1}},
	{{25.5, 19.8}, {29.3, 15.7}, {8.3, 27.7}},
	{{27.0, 15.3}, {29.3, 15.8}, {31.1, 12.0}},
	{{32.5, 14.1}, {29.5, 15.5}, {8.1, 27.1}},
	{{25.6, 19.6}, {29.3, 15.6}, {54.9, 6.5}},
	{{37.5, 11.8}, {29.8, 15.2}, {8.3, 26.9}},
}

// triangle makes the three sites and their lines: case 0.
func triangle(t *testing.T, options [3]netns.SiteOption) (f netns.Triangle) {
	t.Helper()
	f = netns.NewTriangle(t)
	for i, name := range siteNames {
		f.AddSite(t, options[i]).Name = name
	}
	for i, p := range pairs {
		f.Shape(t, f.Sites[p[0]], f.Sites[p[1]], wide(table38[0][i]))
	}
	return f
}

func wide(w figure) impair.Settings {
	return netns.Wide(w.mbits, time.Duration(w.ms*float64(time.Millisecond)))
}

// flowTime is how long a flow is measured.
func flowTime() time.Duration {
	if night() {
		return 20 * time.Second
	}
	return 3 * time.Second
}

// measure returns the figures between two namespaces.
func measure(t *testing.T, from, to *netnstest.Namespace, at netip.Addr) figure {
	t.Helper()
	return figure{ms: roundTrip(t, from, at), mbits: throughput(t, from, to, at, flowTime())}
}

// roundTrip returns what a ping takes on average, in milliseconds.
func roundTrip(t *testing.T, from *netnstest.Namespace, to netip.Addr) float64 {
	t.Helper()
	ping := netns.PingMany(t, from, to, 40, 25*time.Millisecond)
	if ping.Received < ping.Sent*9/10 {
		t.Errorf("%d of %d pings to %v were answered", ping.Received, ping.Sent, to)
	}
	return 1e3 * ping.Avg.Seconds()
}

// TestTable38Case0: the wide-area network of figure 3-18 is what it was, by the kernel's own TCP between the
// sites' gateways. The other cases mean nothing without this one.
func TestTable38Case0(t *testing.T) {
	netnstest.Require(t, "iperf3")
	f := triangle(t, [3]netns.SiteOption{})
	for i, p := range pairs {
		from, to, want := f.Sites[p[0]], f.Sites[p[1]], table38[0][i]
		for _, back := range []bool{false, true} {
			if back && !whole() {
				continue
			}
			if back {
				from, to = to, from
			}
			var got figure
			patiently(func() float64 {
				got = measure(t, from.Namespace, to.Namespace, to.WAN.V4)
				return got.mbits
			}, func(float64) bool { return within(got.mbits, want.mbits, 0.05) && within(got.ms, want.ms, 0.05) })
			t.Logf("NUMBER table 3-8, case 0, %s to %s: %.1f ms, %.1f Mbit/s (the dissertation's: %.1f, %.1f)",
				from.Name, to.Name, got.ms, got.mbits, want.ms, want.mbits)
			if !within(got.mbits, want.mbits, 0.05) || !within(got.ms, want.ms, 0.05) {
				t.Errorf("%s to %s: %+v, want %+v and at most 5 %% more or less", from.Name, to.Name, got, want)
			}
		}
	}
}
