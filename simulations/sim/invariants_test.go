package sim

import (
	"strconv"
	"testing"
	"time"

	"github.com/vine-mesh/vine/simulations/result"
	"github.com/vine-mesh/vine/simulations/scenario"
)

// TestInvariants plants a defect for each invariant, and wants the run to find it, and to find nothing without it.
func TestInvariants(t *testing.T) {
	limited := func(n int) *scenario.Scenario {
		s := plain(n)
		s.Warmup, s.Duration = 20*time.Second, 5*time.Minute
		s.Network.Loss = 20_000
		s.Groups = []scenario.Group{
			{Name: "core", Count: n / 4, NAT: "none", Queue: true, Up: 1e9},
			{Name: "home", Count: n - n/4, NAT: "symmetric", Up: 5e7},
		}
		s.VNs[0].Groups = []string{"core", "home"}
		return s
	}
	for _, c := range []struct {
		invariant string
		scenario  func() *scenario.Scenario
		defect    func(d *defects)
	}{
		{invariantLoop, func() *scenario.Scenario { return limited(32) }, func(d *defects) { d.relaysPassOn = true }},
		{invariantIsolation, func() *scenario.Scenario {
			s := limited(32)
			s.Network.Latency = scenario.Latency{Kind: "fixed", Least: 400 * time.Millisecond, Most: 400 * time.Millisecond}
			for i := range 8 {
				at := time.Duration(i+1) * 20 * time.Second
				s.Events = append(s.Events,
					scenario.Event{At: at + 600*time.Millisecond, Do: "vn-split", VN: "lab", Groups: []string{"home"}, Into: "other"},
					scenario.Event{At: at + 10*time.Second, Do: "vn-merge", VN: "lab", With: "other", Into: "lab"})
			}
			return s
		}, func(d *defects) { d.takesAll = true }},
		{invariantBack, func() *scenario.Scenario {
			s := limited(32)
			s.Groups = append(s.Groups, scenario.Group{Name: "parrot", Count: 2, NAT: "none", Liar: "stale"})
			s.Events = []scenario.Event{{At: time.Second, Do: "vn-update", VN: "lab"}, {At: time.Minute, Do: "vn-update", VN: "lab"}}
			return s
		}, func(d *defects) { d.rollBack = true }},
		{invariantReach, func() *scenario.Scenario {
			s := limited(32)
			s.Events = []scenario.Event{{At: time.Second, Do: "kill", Groups: []string{"core"}, Count: 4}}
			s.Bounds.Reach = time.Minute
			return s
		}, func(d *defects) { d.keepsDead = true }},
		{invariantConverge, func() *scenario.Scenario {
			s := limited(32)
			s.Network.Loss = 300_000
			for i := range 10 {
				s.Events = append(s.Events, scenario.Event{At: time.Duration(1+10*i) * time.Second, Do: "vn-update", VN: "lab"})
			}
			s.Bounds.Converge = 2 * time.Minute
			return s
		}, func(d *defects) { d.noEntropy = true }},
		{invariantRelay, func() *scenario.Scenario {
			s := limited(32)
			s.Events = []scenario.Event{{At: time.Second, Do: "kill", Groups: []string{"core"}, Count: 6}}
			s.Bounds.Relay = 45 * time.Second
			return s
		}, func(d *defects) { d.keepsDead = true }},
		{invariantMemory, func() *scenario.Scenario {
			s := plain(32)
			s.Duration, s.VNs = 5*time.Minute, nil
			for i := range 50 {
				vn := "lab" + strconv.Itoa(i)
				s.VNs = append(s.VNs, scenario.VN{Name: vn, Groups: []string{"site"}})
				s.Events = append(s.Events, scenario.Event{At: time.Duration(1+5*i) * time.Second, Do: "vn-update", VN: vn})
			}
			s.Bounds.Memory = memoryFixed + 32*(memoryMember+1500) + 50_000
			return s
		}, func(d *defects) { d.keepsRumours = true }},
	} {
		for _, planted := range []bool{false, true} {
			var broken *result.Broken
			seeds := uint64(2)
			if planted {
				seeds = 6
			}
			for seed := uint64(1); seed <= seeds && broken == nil; seed++ {
				e, err := New(c.scenario(), seed)
				if err != nil {
					t.Fatal(err)
				}
				if planted {
					c.defect(&e.defects)
				}
				broken = e.Run(nil, nil).Broken
			}
			switch {
			case !planted && broken != nil:
				t.Errorf("%s: broken without a defect: %s: %s at %v\n%v", c.invariant, broken.Invariant, broken.Detail, broken.At, broken.Last)
			case planted && broken == nil:
				t.Errorf("%s: the defect was not found", c.invariant)
			case planted && broken.Invariant != c.invariant:
				t.Errorf("%s: the defect broke %q: %s", c.invariant, broken.Invariant, broken.Detail)
			case planted && len(broken.Last) == 0:
				t.Errorf("%s: no events are told", c.invariant)
			case planted:
				t.Logf("%s: %s at %v, after %s", c.invariant, broken.Detail, broken.At, broken.Last[len(broken.Last)-1])
			}
		}
	}
}

// TestWithdrawn: what gossip says of a VR that is paused or slandered closes no link; with the defect it does.
func TestWithdrawn(t *testing.T) {
	s := plain(40)
	s.Groups = append(s.Groups, scenario.Group{Name: "liar", Count: 8, NAT: "none", Liar: "suspects"})
	for i := range 6 {
		s.Events = append(s.Events, scenario.Event{At: time.Duration(5000+20_330*i) * time.Millisecond, Do: "pause", Groups: []string{"site"}, Count: 8, For: 18 * time.Second})
	}
	for _, planted := range []bool{false, true} {
		withdrawn := int64(0)
		for seed := range uint64(4) {
			e, err := New(s, seed)
			if err != nil {
				t.Fatal(err)
			}
			e.defects.gossipCloses = planted
			withdrawn += e.Run(nil, nil).Counts[result.Withdrawn]
		}
		if withdrawn > 0 != planted {
			t.Errorf("planted %v: %d routes withdrawn", planted, withdrawn)
		}
	}
}
