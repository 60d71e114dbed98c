package sim

import (
	"os"
	"testing"
	"time"

	"github.com/vine-mesh/vine/simulations/result"
	"github.com/vine-mesh/vine/simulations/scenario"
)

// plain is a scenario of n regular VRs on coordinates.
func plain(n int) *scenario.Scenario {
	return &scenario.Scenario{
		Name: "plain", Warmup: 30 * time.Second, Duration: 2 * time.Minute, Every: 10 * time.Second,
		Network: scenario.Network{
			Latency: scenario.Latency{Kind: "coordinates", Least: 2 * time.Millisecond, Most: 30 * time.Millisecond},
			Jitter:  5 * time.Millisecond,
		},
		Groups: []scenario.Group{{Name: "site", Count: n, NAT: "none", Queue: true}},
		VNs:    []scenario.VN{{Name: "lab", Groups: []string{"site"}}},
	}
}

func run(t testing.TB, s *scenario.Scenario, seed uint64) result.Run {
	t.Helper()
	e, err := New(s, seed)
	if err != nil {
		t.Fatal(err)
	}
	return e.Run(nil, nil)
}

func values(r result.Run, name string) []int64 {
	for _, d := range r.Distributions {
		if d.Name == name {
			return d.Values
		}
	}
	return nil
}

// mixed is a scenario with all there is: limited VRs behind every kind of translator, churn, a partition, pauses, liars and
// operations of the authority.
func mixed(n int) *scenario.Scenario {
	s := plain(n)
	s.Name, s.Duration = "mixed", 10*time.Minute
	s.Network.Loss = 10_000
	few := max(n/20, 2)
	s.Groups = []scenario.Group{
		{Name: "core", Count: 2 * few, NAT: "none", Queue: true, Up: 1e9, Down: 1e9},
		{Name: "cone", Count: few, NAT: "full-cone", Up: 1e8, Down: 1e8},
		{Name: "port", Count: 4 * few, NAT: "port-restricted", Up: 5e7, Down: 5e7, Churn: scenario.Churn{Kind: "weibull", Session: 20 * time.Minute, Away: 2 * time.Minute, ShapeThousands: 600, Graceful: 300_000}},
		{Name: "sym", Count: 2 * few, NAT: "symmetric", Up: 2e7, Down: 2e7, Loss: 5_000},
		{Name: "blocked", Count: few, NAT: "udp-blocked", Churn: scenario.Churn{Kind: "pareto", Session: 10 * time.Minute, Away: time.Minute, ShapeThousands: 1500}},
		{Name: "liar", Count: 2, NAT: "none", Liar: "suspects"},
		{Name: "parrot", Count: 2, NAT: "none", Liar: "stale"},
		{Name: "braggart", Count: 2, NAT: "none", Queue: true, Up: 1e7, Liar: "capacity"},
		{Name: "crowd", Count: few, NAT: "none", Churn: scenario.Churn{Kind: "flash", At: 3 * time.Minute, Within: 10 * time.Second}},
	}
	s.VNs = []scenario.VN{{Name: "lab", Groups: []string{"core", "cone", "port", "sym", "blocked"}}, {Name: "grid", Groups: []string{"core", "sym", "crowd"}}}
	s.Events = []scenario.Event{
		{At: 20 * time.Second, Do: "vn-update", VN: "lab"},
		{At: 40 * time.Second, Do: "kill", Groups: []string{"core"}, Count: max(few/2, 1)},
		{At: 90 * time.Second, Do: "restart", Groups: []string{"core"}},
		{At: 100 * time.Second, Do: "vn-split", VN: "lab", Groups: []string{"sym"}, Into: "sym-lab"},
		{At: 110 * time.Second, Do: "pause", Groups: []string{"cone"}, Count: 2, For: 20 * time.Second},
		{At: 120 * time.Second, Do: "slow", Groups: []string{"sym"}, Count: 3, For: 30 * time.Second, Latency: 300 * time.Millisecond},
		{At: 150 * time.Second, Do: "partition", Parts: [][]string{{"cone", "sym", "crowd"}}},
		{At: 160 * time.Second, Do: "vn-update", VN: "grid"},
		{At: 240 * time.Second, Do: "heal"},
		{At: 300 * time.Second, Do: "authority-away", For: 30 * time.Second},
		{At: 310 * time.Second, Do: "vn-merge", VN: "sym-lab", With: "grid", Into: "both"},
		{At: 320 * time.Second, Do: "loss", Loss: 200_000, For: 20 * time.Second},
		{At: 400 * time.Second, Do: "revoke", Groups: []string{"port"}, Count: 1},
		{At: 420 * time.Second, Do: "leave", Groups: []string{"crowd"}, Count: 1},
		{At: 430 * time.Second, Do: "vn-create", VN: "late", Groups: []string{"core", "cone"}},
		{At: 450 * time.Second, Do: "vn-shutdown", VN: "late"},
	}
	s.Bounds = scenario.Bounds{Reach: 30 * time.Second, Relay: 45 * time.Second, Converge: 30 * time.Second, Memory: 64 << 20}
	return s
}

func show(t testing.TB, r result.Run) {
	t.Logf("%d events, %v, trace %s", r.Events, r.Virtual, r.Trace)
	if r.Broken != nil {
		t.Logf("broken: %s at %v: %s", r.Broken.Invariant, r.Broken.At, r.Broken.Detail)
		for _, l := range r.Broken.Last {
			t.Log("   ", l)
		}
	}
	for _, s := range r.Series {
		t.Log(s.Name, s.Values)
	}
	for _, d := range r.Distributions {
		q := func(k int) int64 {
			if len(d.Values) == 0 {
				return 0
			}
			return d.Values[(len(d.Values)-1)*k/1000]
		}
		if d.Unit == "ns" {
			t.Log(d.Name, d.Count, time.Duration(q(0)), time.Duration(q(500)), time.Duration(q(990)), time.Duration(q(1000)))
		} else {
			t.Log(d.Name, d.Count, q(0), q(500), q(990), q(1000))
		}
	}
	t.Log(r.Counts)
}

// TestMixed runs many seeds of a scenario with all there is; no invariant may break.
func TestMixed(t *testing.T) {
	seeds := 4
	if os.Getenv("VINE_NIGHT") != "" {
		seeds = 500
	}
	for seed := range seeds {
		r := run(t, mixed(60), uint64(seed))
		if r.Broken != nil || !r.Whole {
			show(t, r)
			t.Fatalf("seed %d is broken", seed)
		}
		if seed > 0 {
			continue
		}
		if testing.Verbose() {
			show(t, r)
		}
		for _, d := range r.Distributions {
			if d.Count == 0 {
				t.Errorf("%s: nothing was measured", d.Name)
			}
		}
		for _, s := range r.Series {
			if len(s.Values) != int(r.Virtual/s.Every) {
				t.Errorf("%s has %d values in %v", s.Name, len(s.Values), r.Virtual)
			}
		}
	}
}
