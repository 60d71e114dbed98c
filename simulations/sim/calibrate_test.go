package sim

import (
	"os"
	"testing"
	"time"

	"github.com/vine-mesh/vine/simulations/scenario"
)

// TestDetection compares the model with real memberlist in virtual time (10 % of the members killed at once): the median and the
// 99th percentile of the time until each survivor held each victim for dead, and how many packets of gossip each sent a second until
// the last did.
func TestDetection(t *testing.T) {
	for _, c := range []struct {
		n, seeds    int
		median, p99 time.Duration
		packets     float64
	}{
		{50, 12, 9000 * time.Millisecond, 10300 * time.Millisecond, 10.6},
		{200, 6, 11310 * time.Millisecond, 15400 * time.Millisecond, 13.3},
		{500, 3, 13000 * time.Millisecond, 18400 * time.Millisecond, 13.1},
		{1000, 2, 14000 * time.Millisecond, 18400 * time.Millisecond, 15.6},
	} {
		if os.Getenv("VINE_NIGHT") == "" {
			c.seeds = (c.seeds + 1) / 2
		}
		var medians, p99s time.Duration
		var packets float64
		for seed := range c.seeds {
			s := plain(c.n)
			s.Duration = time.Minute
			s.VNs = nil
			s.Events = []scenario.Event{{At: time.Second, Do: "kill", Count: c.n / 10}}
			e, err := New(s, uint64(seed))
			if err != nil {
				t.Fatal(err)
			}
			e.police = false // the figures are of memberlist alone
			kill := e.warm + int64(time.Second)
			for e.now < kill {
				e.step()
			}
			before, all := e.gossiped, int64(c.n-c.n/10)*int64(c.n/10)
			for e.detectAll.count < all && e.step() {
			}
			if e.detectAll.count != all {
				t.Fatalf("%d of %d deaths were seen", e.detectAll.count, all)
			}
			packets += float64(e.gossiped-before) / float64(c.n-c.n/10) / (float64(e.now-kill) / 1e9)
			medians += time.Duration(e.detectAll.at(500))
			p99s += time.Duration(e.detectAll.at(990))
		}
		median, p99 := medians/time.Duration(c.seeds), p99s/time.Duration(c.seeds)
		packets /= float64(c.seeds)
		t.Logf("%d VRs: median %v (memberlist %v), p99 %v (%v), %.1f packets a second (%.1f)", c.n, median, c.median, p99, c.p99, packets, c.packets)
		if off := median - c.median; max(off, -off) > c.median/20 {
			t.Errorf("%d VRs: the median is off by %v, more than 5 %%", c.n, off)
		}
		if off := packets - c.packets; max(off, -off) > c.packets/4 {
			t.Errorf("%d VRs: %.1f packets a second, memberlist %.1f: more than 25 %% off", c.n, packets, c.packets)
		}
		if off := p99 - c.p99; max(off, -off) > c.p99/4 {
			t.Errorf("%d VRs: the 99th percentile is off by %v, more than 25 %%", c.n, off)
		}
	}
}
