package sim

import (
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

func TestIdle(t *testing.T) {
	r := run(t, plain(1000), 1)
	t.Log(r.Events, r.Trace, r.Broken)
	for _, s := range r.Series {
		t.Log(s)
	}
	for _, d := range r.Distributions {
		t.Log(d.Name, d.Count, quant(d))
	}
}

func quant(d result.Distribution) []int64 {
	if len(d.Values) == 0 {
		return nil
	}
	n := len(d.Values)
	return []int64{d.Values[0], d.Values[n/2], d.Values[n*99/100], d.Values[n-1]}
}
