package real

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/simulations/result"
	"github.com/vine-mesh/vine/simulations/scenario"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == ChildCommand {
		Child()
		return
	}
	os.Exit(m.Run())
}

// small is ten VRs, two of them behind translators, one of which crashes while a VN changes.
func small() *scenario.Scenario {
	return &scenario.Scenario{
		Name: "small", Hash: "h", Warmup: 30 * time.Second, Duration: 90 * time.Second, Every: 10 * time.Second,
		Bounds:  scenario.Bounds{Reach: 40 * time.Second, Converge: 40 * time.Second},
		Network: scenario.Network{Latency: scenario.Latency{Kind: "coordinates", Least: 2 * time.Millisecond, Most: 40 * time.Millisecond}, Loss: 5000},
		Groups: []scenario.Group{
			{Name: "home", Count: 2, NAT: "symmetric"}, {Name: "site", Count: 8, NAT: "none", Queue: true},
		},
		VNs: []scenario.VN{{Name: "all"}},
		Events: []scenario.Event{
			{At: 5 * time.Second, Do: "vn-update", VN: "all"},
			{At: 10 * time.Second, Do: "kill", Groups: []string{"site"}, Count: 1},
			{At: 50 * time.Second, Do: "restart"},
			{At: 60 * time.Second, Do: "revoke", Groups: []string{"site"}, Count: 1},
		},
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	told := 0
	r, err := Run(t.Context(), small(), 1, func(time.Duration, uint64) { told++ })
	if err != nil || r.Broken != nil || !r.Whole {
		t.Fatalf("%v, %+v", err, r)
	}
	for _, name := range []string{result.DetectFirst, result.DetectAll, result.Converge, result.Revoke} {
		if d, ok := r.Distribution(name); !ok || d.Count == 0 || d.Quantile(1) <= 0 || d.Quantile(1) > int64(time.Minute) {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if up, _ := r.Over(result.Up); len(up.Values) < 8 || up.Values[1] != 9 {
		t.Errorf("up: %v", up.Values)
	}
	if c, _ := r.Over(result.ControlRate); len(c.Values) == 0 || c.Values[0] < 100 {
		t.Errorf("control bytes: %v", c.Values)
	}
	if r.Counts[result.Crashes] != 1 || r.Counts[result.Restarts] != 1 || told == 0 || len(r.Trace) != 48 {
		t.Errorf("%v, %d words, trace %s", r.Counts, told, r.Trace)
	}
	t.Logf("%d packets, %v", r.Events, r.Cost)
}

// TestBrokenInvariant: two sites are cut off, which the scenario does not say, and the bound of reach is broken.
func TestBrokenInvariant(t *testing.T) {
	t.Parallel()
	s := small()
	s.Events = []scenario.Event{{At: time.Second, Do: "slow", Groups: []string{"site"}, Latency: time.Minute, For: time.Hour}}
	s.Bounds.Reach = 20 * time.Second
	r, err := Run(t.Context(), s, 1, nil)
	if err != nil || r.Broken == nil || r.Broken.Invariant != "reach" || r.Whole || len(r.Broken.Last) == 0 {
		t.Fatalf("%v, %+v", err, r.Broken)
	}
}

// TestInterrupted: what there is when the run is interrupted is given, and is not whole.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	s := small()
	s.Duration, s.Events = 100*time.Hour, nil
	ctx, cancel := context.WithCancel(t.Context())
	r, err := Run(ctx, s, 1, func(virtual time.Duration, _ uint64) {
		if virtual > time.Minute {
			cancel()
		}
	})
	if err != nil || r.Whole || r.Virtual < time.Minute {
		t.Errorf("%v, %+v", err, r)
	}
}

// TestChildFails: a child that ends without a result is an error with what it said.
func TestChildFails(t *testing.T) {
	t.Parallel()
	for _, script := range []string{"echo oh no >&2; exit 3", "echo nonsense >&3"} {
		_, err := run(t.Context(), "sh", []string{"-c", script}, small(), 1, nil)
		if err == nil || !strings.Contains(err.Error(), "oh no") && !strings.Contains(err.Error(), "nonsense") {
			t.Errorf("%s: %v", script, err)
		}
	}
}

func TestCheck(t *testing.T) {
	if err := Check(small()); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*scenario.Scenario){
		func(s *scenario.Scenario) { s.Groups[0].NAT = "udp-blocked" },
		func(s *scenario.Scenario) { s.Groups[0].Liar = "stale" },
		func(s *scenario.Scenario) { s.Groups[0].Count = 5000 },
	} {
		s := small()
		if change(s); Check(s) == nil {
			t.Errorf("%+v is taken", s.Groups)
		}
	}
}
