package sim

import (
	"os"
	"testing"
	"time"

	"github.com/vine-mesh/vine/simulations/scenario"
)

// TestDetection compares the model with real memberlist in virtual time (10 % of the members killed at once): the median and the
// 99th percentile of the time until each survivor held each victim for dead.
func TestDetection(t *testing.T) {
	for _, c := range []struct {
		n, seeds    int
		median, p99 time.Duration
	}{
		{50, 12, 9000 * time.Millisecond, 10300 * time.Millisecond},
		{200, 6, 11310 * time.Millisecond, 15400 * time.Millisecond},
		{500, 3, 13000 * time.Millisecond, 18400 * time.Millisecond},
		{1000, 2, 14000 * time.Millisecond, 18400 * time.Millisecond},
	} {
		if os.Getenv("VINE_NIGHT") == "" {
			c.seeds = (c.seeds + 1) / 2
		}
		var medians, p99s time.Duration
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
			r := e.Run(nil, nil)
			if r.Broken != nil {
				t.Fatal(r.Broken)
			}
			medians += time.Duration(e.detectAll.at(500))
			p99s += time.Duration(e.detectAll.at(990))
		}
		median, p99 := medians/time.Duration(c.seeds), p99s/time.Duration(c.seeds)
		t.Logf("%d VRs: median %v (memberlist %v), p99 %v (%v)", c.n, median, c.median, p99, c.p99)
		if off := median - c.median; max(off, -off) > c.median/20 {
			t.Errorf("%d VRs: the median is off by %v, more than 5 %%", c.n, off)
		}
		if off := p99 - c.p99; max(off, -off) > c.p99/4 {
			t.Errorf("%d VRs: the 99th percentile is off by %v, more than 25 %%", c.n, off)
		}
	}
}
