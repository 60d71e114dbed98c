package sim

import (
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/vine-mesh/vine/simulations/scenario"
)

// big is a federation of n VRs of which seven in ten are limited, with sessions of a day, a VN change now and then and 1 % loss.
func big(n int, duration time.Duration) *scenario.Scenario {
	s := plain(n)
	s.Name, s.Duration, s.Every = "big", duration, 30*time.Second
	s.Network.Loss = 10_000
	day := scenario.Churn{Kind: "weibull", Session: 24 * time.Hour, Away: 10 * time.Minute, ShapeThousands: 700, Graceful: 500_000}
	s.Groups = []scenario.Group{
		{Name: "core", Count: n / 10, NAT: "none", Queue: true, Up: 1e9, Down: 1e9},
		{Name: "open", Count: n / 5, NAT: "full-cone", Up: 1e8, Down: 1e8, Churn: day},
		{Name: "home", Count: n - n/10 - n/5, NAT: "port-restricted", Up: 5e7, Down: 5e7, Churn: day},
	}
	s.VNs = []scenario.VN{{Name: "lab", Groups: []string{"core", "open", "home"}, Sample: 500}}
	for at := time.Minute; at < duration; at += 5 * time.Minute {
		s.Events = append(s.Events, scenario.Event{At: at, Do: "vn-update", VN: "lab"})
	}
	return s
}

// TestScale runs a size named in the environment: VINE_SIM_VRS=10000 VINE_SIM_MINUTES=60, with VINE_SIM_REGULAR=1 without limited VRs.
func TestScale(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("VINE_SIM_VRS"))
	if n == 0 {
		t.Skip("VINE_SIM_VRS is not set")
	}
	minutes, _ := strconv.Atoi(os.Getenv("VINE_SIM_MINUTES"))
	began := time.Now()
	s := big(n, time.Duration(minutes)*time.Minute)
	if os.Getenv("VINE_SIM_REGULAR") != "" {
		s.Groups[2].NAT = "none"
	}
	r := run(t, s, 1)
	took := time.Since(began)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	show(t, r)
	t.Logf("%d VRs, %d minutes: %v, %.1f million events a second, %d MB from the system, %d allocations", n, minutes, took.Round(time.Millisecond),
		float64(r.Events)/took.Seconds()/1e6, m.Sys>>20, m.Mallocs)
}

// BenchmarkEvents is one event of 1,000 VRs, of which one dies now and then.
func BenchmarkEvents(b *testing.B) {
	s := plain(1000)
	s.Duration = 1000 * time.Hour
	s.Groups[0].Churn = scenario.Churn{Kind: "exponential", Session: 5 * time.Hour, Away: 10 * time.Minute}
	e, err := New(s, 1)
	if err != nil {
		b.Fatal(err)
	}
	for e.now < e.warm {
		e.step()
	}
	b.ReportAllocs()
	for b.Loop() {
		e.step()
	}
}

// TestEventsDoNotAllocate: in 100,000 events of 300 VRs of which some come and go there are few allocations, those of
// production's state machines.
func TestEventsDoNotAllocate(t *testing.T) {
	s := plain(300)
	s.Duration = 1000 * time.Hour
	s.Groups[0].Churn = scenario.Churn{Kind: "exponential", Session: 2 * time.Hour, Away: 10 * time.Minute}
	e, err := New(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	for e.now < e.warm+int64(time.Minute) {
		e.step()
	}
	const events = 100_000
	n := testing.AllocsPerRun(1, func() {
		for range events {
			e.step()
		}
	})
	t.Logf("%.3f allocations an event", n/events)
	if n > events/20 {
		t.Errorf("%v allocations in %d events", n, events)
	}
}
