package bench

import (
	"slices"
	"testing"
	"time"
)

func all() Options {
	o := Options{Regimes: Regimes, Parties: []string{Kernel, Vine, "nebula", "tinc"}, Length: 5 * time.Second, Rounds: 4}
	for _, m := range Measures {
		if !slices.Contains(o.Measures, m.Option()) {
			o.Measures = append(o.Measures, m.Option())
		}
	}
	return o
}

// TestPlanIsWhole: every measure is made once in every round and regime at every party it is for, and all parties of
// one measure and round follow each other.
func TestPlanIsWhole(t *testing.T) {
	o := all()
	type key struct {
		Regime
		round   int
		measure string
		party   string
	}
	seen := map[key]int{}
	var estimate time.Duration
	for _, s := range Plan(o) {
		estimate += s.Estimate(o.Length)
		for i, r := range s.Runs {
			seen[key{s.Regime, r.Round, r.Measure.Name, r.Party}]++
			if i > 0 && s.Runs[i-1].Measure.Name != r.Measure.Name && !r.Measure.OursOnly && len(s.Runs[i:]) >= len(o.Parties) {
				var parties []string
				for _, next := range s.Runs[i : i+len(o.Parties)] {
					if next.Measure.Name != r.Measure.Name || next.Round != r.Round {
						t.Fatalf("%s is interrupted by %s", r.Measure.Name, next.Measure.Name)
					}
					parties = append(parties, next.Party)
				}
				slices.Sort(parties)
				if len(slices.Compact(parties)) != len(o.Parties) {
					t.Fatalf("%s is at %v", r.Measure.Name, parties)
				}
			}
			if !slices.Contains(s.Labs(), Place{r.Party, r.Measure.Topology}) {
				t.Fatalf("nothing is set up for %+v", r)
			}
		}
	}
	want := 0
	for _, m := range Measures {
		parties := len(o.Parties)
		if m.OursOnly {
			parties = 1
		}
		for _, regime := range o.Regimes {
			if m.in(regime) {
				want += parties * o.Rounds
			}
		}
	}
	if len(seen) != want {
		t.Errorf("%d different runs planned, want %d", len(seen), want)
	}
	for k, n := range seen {
		if n != 1 {
			t.Errorf("%v is planned %d times", k, n)
		}
	}
	if estimate < time.Duration(want)*o.Length || estimate > 5*time.Duration(want)*o.Length {
		t.Errorf("%d runs of %v take %v by the estimate", want, o.Length, estimate)
	}
}

// TestPlanTurns: no party is always the first, nor always after the same other.
func TestPlanTurns(t *testing.T) {
	o := all()
	first, after := map[string]bool{}, map[[2]string]bool{}
	for _, s := range Plan(o) {
		for i, r := range s.Runs {
			if i == 0 || s.Runs[i-1].Measure.Name != r.Measure.Name {
				first[r.Party] = true
			} else if r.Party == Vine {
				after[[2]string{s.Runs[i-1].Party, r.Party}] = true
			}
		}
	}
	if len(first) != len(o.Parties) || len(after) < 2 {
		t.Errorf("first: %v, before ours: %v", first, after)
	}
}

func TestPlanOfRelay(t *testing.T) {
	o := Options{Regimes: []Regime{NIC}, Measures: []string{"relay"}, Parties: []string{Kernel, Vine, "vine:old", "tinc"}, Rounds: 1}
	stages := Plan(o)
	if len(stages) != 1 {
		t.Fatalf("%d stages", len(stages))
	}
	want := []Place{{Vine, Relayed}, {"vine:old", Relayed}, {Vine, Direct}, {"vine:old", Direct}}
	got := stages[0].Labs()
	for _, p := range want {
		if !slices.Contains(got, p) {
			t.Errorf("no %v in %v", p, got)
		}
	}
	if len(got) != len(want) || len(stages[0].Runs) != len(want) {
		t.Errorf("%d labs for %d runs", len(got), len(stages[0].Runs))
	}
}

func TestOptionsCheck(t *testing.T) {
	if err := all().Check(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(o *Options){
		"no regime":   func(o *Options) { o.Regimes = nil },
		"no measure":  func(o *Options) { o.Measures = nil },
		"no party":    func(o *Options) { o.Parties = nil },
		"no round":    func(o *Options) { o.Rounds = 0 },
		"too short":   func(o *Options) { o.Length = 0 },
		"no wait":     func(o *Options) { o.Wait = -1 },
		"twice":       func(o *Options) { o.Regimes = append(o.Regimes, NIC) },
		"twice too":   func(o *Options) { o.Parties = append(o.Parties, Vine) },
		"wrong word":  func(o *Options) { o.Measures = []string{"tcp"} },
		"wrong word2": func(o *Options) { o.Regimes = []Regime{"fast"} },
	} {
		o := all()
		if spoil(&o); o.Check() == nil {
			t.Errorf("%s: nothing is said", name)
		}
	}
}

func TestOurs(t *testing.T) {
	for name, want := range map[string]bool{"vine": true, "vine:old": true, "vine:": false, "vines": false, "kernel": false} {
		if Ours(name) != want {
			t.Errorf("Ours(%q) = %v", name, !want)
		}
	}
}
