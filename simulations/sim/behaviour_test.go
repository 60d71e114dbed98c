package sim

import (
	"os"
	"testing"
	"time"

	"github.com/vine-mesh/vine/simulations/result"
	"github.com/vine-mesh/vine/simulations/scenario"
)

func quantile(r result.Run, name string, thousandths int) int64 {
	v := values(r, name)
	if len(v) == 0 {
		return -1
	}
	return v[(len(v)-1)*thousandths/1000]
}

func count(r result.Run, name string) int64 {
	for _, d := range r.Distributions {
		if d.Name == name {
			return d.Count
		}
	}
	return 0
}

// TestConverge: with 5 % loss a change of a VN, and a revocation, is at 99 % of 1,000 VRs within 5 s, and at all of them at last.
func TestConverge(t *testing.T) {
	s := plain(1000)
	s.Network.Loss = 50_000
	s.Bounds.Converge = 30 * time.Second
	for i := range 6 {
		s.Events = append(s.Events, scenario.Event{At: time.Duration(1+10*i) * time.Second, Do: "vn-update", VN: "lab"},
			scenario.Event{At: time.Duration(6+10*i) * time.Second, Do: "revoke", Count: 1})
	}
	r := run(t, s, 1)
	if r.Broken != nil {
		t.Fatal(r.Broken)
	}
	for _, name := range []string{result.Converge, result.Revoke} {
		n, p99 := count(r, name), time.Duration(quantile(r, name, 990))
		t.Logf("%s: %d, median %v, p99 %v, last %v", name, n, time.Duration(quantile(r, name, 500)), p99, time.Duration(quantile(r, name, 1000)))
		if n < 5900 || p99 > 5*time.Second {
			t.Errorf("%s: %d of 6,000, the 99th percentile is %v", name, n, p99)
		}
	}
}

// TestIdle: nothing happens, and at 1,000 members a VR sends at most 1 kB/s.
func TestIdle(t *testing.T) {
	r := run(t, plain(1000), 1)
	most := int64(0)
	for _, s := range r.Series {
		for _, x := range s.Values {
			switch s.Name {
			case result.ControlRate:
				most = max(most, x)
			case result.ViewRight, result.Reachable:
				if x != 1e6 {
					t.Errorf("%s is %d", s.Name, x)
				}
			}
		}
	}
	t.Logf("at most %d bytes a second and VR", most)
	if most > 1000 || most < 200 {
		t.Errorf("%d bytes a second and VR", most)
	}
	if n := count(r, result.DetectAll) + count(r, result.FalseDead); n != 0 {
		t.Errorf("%d deaths were seen", n)
	}
}

// TestFirstDetection: SWIM's claim: how long it takes until somebody sees a death does not grow with the group beyond the
// suspicion, which grows with its logarithm; and a healthy VR is not held for dead with 5 % loss.
func TestFirstDetection(t *testing.T) {
	for _, n := range []int{50, 1000} {
		s := plain(n)
		s.Network.Loss = 50_000
		for i := range 8 {
			s.Events = append(s.Events, scenario.Event{At: time.Duration(5+10*i) * time.Second, Do: "kill", Count: 1})
		}
		e, err := New(s, 1)
		if err != nil {
			t.Fatal(err)
		}
		r := e.Run(nil, nil)
		least := time.Duration(e.suspicion(1, 2, 2))
		first := time.Duration(quantile(r, result.DetectFirst, 500))
		t.Logf("%d VRs: %v, of which suspicion %v; all within %v", n, first, least, time.Duration(quantile(r, result.DetectAll, 1000)))
		if first < least || first > least+3500*time.Millisecond {
			t.Errorf("%d VRs: %v, the suspicion is %v", n, first, least)
		}
		if r.Counts[result.Crashes] != 8 || count(r, result.FalseDead) != 0 {
			t.Errorf("%d crashes, %d times a living VR was held for dead", r.Counts[result.Crashes], count(r, result.FalseDead))
		}
	}
}

// TestQueueVRsDie: limited VRs whose queue-VRs die one after the other have others, and each pair goes on.
func TestQueueVRsDie(t *testing.T) {
	s := plain(60)
	s.Groups = []scenario.Group{{Name: "core", Count: 12, NAT: "none", Queue: true, Up: 1e9}, {Name: "home", Count: 48, NAT: "symmetric", Up: 5e7}}
	s.VNs[0].Groups = []string{"home"}
	s.Duration = 10 * time.Minute
	for i := range 8 {
		s.Events = append(s.Events, scenario.Event{At: time.Duration(10+60*i) * time.Second, Do: "kill", Groups: []string{"core"}, Count: 1})
	}
	s.Bounds = scenario.Bounds{Reach: 30 * time.Second, Relay: 45 * time.Second}
	r := run(t, s, 1)
	if r.Broken != nil {
		t.Fatal(r.Broken)
	}
	last := func(name string) int64 {
		for _, s := range r.Series {
			if s.Name == name {
				return s.Values[len(s.Values)-1]
			}
		}
		return -1
	}
	if last(result.Reachable) != 1e6 || last(result.Relayed) == 0 || last(result.QueueLoadMax) < 24 {
		t.Errorf("reachable %d, relayed %d, fullest %d", last(result.Reachable), last(result.Relayed), last(result.QueueLoadMax))
	}
}

// TestBraggarts: queue-VRs that claim a thousand times their bandwidth get no more clients than their line is worth. Where their
// claims are believed they do.
func TestBraggarts(t *testing.T) {
	share := func(believed bool) (percent int64) {
		s := plain(120)
		s.Duration, s.VNs = 30*time.Minute, nil
		s.Groups = []scenario.Group{
			{Name: "core", Count: 12, NAT: "none", Queue: true, Up: 4e8},
			{Name: "braggart", Count: 4, NAT: "none", Queue: true, Up: 2e7, Liar: "capacity"},
			{Name: "home", Count: 104, NAT: "symmetric"},
		}
		e, err := New(s, 1)
		if err != nil {
			t.Fatal(err)
		}
		e.defects.believesClaims = believed
		e.Run(nil, nil)
		first, all := int64(0), int64(0)
		for _, v := range e.limitedVRs {
			if q := e.vrs[v].limited.list[0]; q >= 0 {
				all++
				first += int64(b2i(e.liar(q) == liarCapacity))
			}
		}
		return first * 100 / max(all, 1)
	}
	honest, believed := share(false), share(true)
	t.Logf("braggarts, a quarter of the queue-VRs, are the first of %d %% of the limited VRs; believed, of %d %%", honest, believed)
	if honest > 20 || believed < 2*honest+20 {
		t.Errorf("braggarts are the first of %d %%, believed of %d %%", honest, believed)
	}
}

// TestPartition: two halves for ten minutes, with a change on one of them. After the heal everybody sees everybody and holds the change
// soon; while it lasts, each sees only its own.
func TestPartition(t *testing.T) {
	n := 60
	if os.Getenv("VINE_NIGHT") != "" {
		n = 400
	}
	s := plain(n)
	s.Groups = []scenario.Group{{Name: "east", Count: n / 2, NAT: "none"}, {Name: "west", Count: n / 2, NAT: "none"}}
	s.VNs[0].Groups = []string{"east", "west"}
	s.Duration = 20 * time.Minute
	s.Events = []scenario.Event{
		{At: time.Minute, Do: "partition", Parts: [][]string{{"west"}}},
		{At: 5 * time.Minute, Do: "vn-update", VN: "lab"},
		{At: 11 * time.Minute, Do: "heal"},
	}
	s.Bounds = scenario.Bounds{Reach: 30 * time.Second, Converge: time.Minute}
	r := run(t, s, 1)
	if r.Broken != nil {
		t.Fatal(r.Broken)
	}
	for _, x := range r.Series {
		if x.Name == result.ViewRight {
			if split, after := x.Values[59], x.Values[len(x.Values)-1]; split > 510_000 || split < 480_000 || after != 1e6 {
				t.Errorf("views right: %d in the split, %d at the end", split, after)
			}
		}
	}
	repair := time.Duration(quantile(r, result.Repair, 1000))
	t.Logf("%d VRs: repaired %v after the heal", n, repair)
	if repair <= 0 || repair > 20*time.Second {
		t.Errorf("repaired %v after the heal", repair)
	}
}

// TestAuthorityAway: what is asked of the authority while it is away is done when it is back, and nothing else is disturbed.
func TestAuthorityAway(t *testing.T) {
	s := plain(50)
	s.Events = []scenario.Event{
		{At: 10 * time.Second, Do: "authority-away", For: time.Minute},
		{At: 20 * time.Second, Do: "vn-update", VN: "lab"},
	}
	e, err := New(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	var versions [2]int
	e.Run(func() bool { return false }, nil)
	versions[0] = len(e.vns[0].members)
	signed := time.Duration(e.vns[0].signed[1] - e.warm)
	if versions[0] != 2 || signed != 70*time.Second {
		t.Errorf("%d versions, the last signed at %v", versions[0], signed)
	}
	for v, version := range e.vns[0].installed {
		if version != 2 {
			t.Errorf("%s uses version %d", e.name(int32(v)), version)
		}
	}
}

// TestPaused: a VR that stands still for 40 s is held for dead, and lives again for all soon after.
func TestPaused(t *testing.T) {
	s := plain(100)
	s.Duration = 4 * time.Minute
	s.Events = []scenario.Event{{At: 10 * time.Second, Do: "pause", Count: 3, For: 40 * time.Second}}
	r := run(t, s, 1)
	for _, x := range r.Series {
		if x.Name != result.ViewRight {
			continue
		}
		if x.Values[3] > 985_000 || x.Values[len(x.Values)-1] != 1e6 {
			t.Errorf("views right: %v", x.Values)
		}
	}
	if r.Counts[result.Crashes] != 0 || r.Counts[result.Withdrawn] != 0 {
		t.Error(r.Counts)
	}
}

// TestFlashCrowd: as many again come within ten seconds; all know all within a minute.
func TestFlashCrowd(t *testing.T) {
	s := plain(100)
	s.Groups = append(s.Groups, scenario.Group{Name: "crowd", Count: 100, NAT: "none", Churn: scenario.Churn{Kind: "flash", At: 20 * time.Second, Within: 10 * time.Second}})
	r := run(t, s, 1)
	for _, x := range r.Series {
		switch end := x.Values[8]; {
		case x.Name == result.Up && (x.Values[0] != 100 || end != 200):
			t.Errorf("up: %v", x.Values)
		case x.Name == result.ViewRight && end != 1e6:
			t.Errorf("views right: %v", x.Values)
		}
	}
	if r.Counts[result.Restarts] != 100 {
		t.Error(r.Counts)
	}
}

// TestTrace does what the lines of a churn trace say.
func TestChurnTrace(t *testing.T) {
	s := plain(20)
	s.Groups[0].Churn = scenario.Churn{Kind: "trace", Trace: []scenario.Change{
		{At: 10 * time.Second, VR: "site-3", What: "down"}, {At: 20 * time.Second, VR: "site-4", What: "leave"},
		{At: 30 * time.Second, VR: "site-5", What: "down"}, {At: 40 * time.Second, VR: "site-3", What: "up"},
	}}
	e, err := New(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	r := e.Run(nil, nil)
	if !e.vrs[2].up || e.vrs[3].up || e.vrs[4].up || e.up != 18 {
		t.Errorf("%d run", e.up)
	}
	if r.Counts[result.Crashes] != 2 || r.Counts[result.Leaves] != 1 || r.Counts[result.Restarts] != 1 {
		t.Error(r.Counts)
	}
	for v := range e.vrs {
		if !e.vrs[v].up {
			continue
		}
		for s := range e.vrs {
			if s != v && (e.look(int32(v), int32(s)).state <= suspect) != e.vrs[s].up {
				t.Errorf("%s believes %v of %s", e.name(int32(v)), e.look(int32(v), int32(s)), e.name(int32(s)))
			}
		}
	}
}

// TestInterrupted leaves what there is when it is interrupted.
func TestInterrupted(t *testing.T) {
	e, err := New(plain(1000), 1)
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	r := e.Run(func() bool { return told >= 2 }, func(time.Duration, uint64) { told++ })
	if r.Whole || told != 2 || r.Events != 2*65536 || r.Virtual <= 0 {
		t.Errorf("whole %v, told %d times, %d events, %v", r.Whole, told, r.Events, r.Virtual)
	}
}

// TestRefused: what cannot run is refused.
func TestRefused(t *testing.T) {
	for _, s := range []*scenario.Scenario{
		{Duration: time.Second},
		{Duration: time.Second, Groups: []scenario.Group{{Name: "a", Count: VRsMax + 1}}},
		{Groups: []scenario.Group{{Name: "a", Count: 1}}},
		{Duration: time.Second, Groups: []scenario.Group{{Name: "a", Count: 1, NAT: "moat"}}},
		{Duration: time.Second, Groups: []scenario.Group{{Name: "a", Count: 1, Liar: "politely"}}},
	} {
		if _, err := New(s, 1); err == nil {
			t.Errorf("%+v is not refused", s.Groups)
		}
	}
}

// TestDroppers: queue-VRs that take packets and drop them are left, and pairs go on.
func TestDroppers(t *testing.T) {
	s := plain(60)
	s.Duration = 40 * time.Minute
	s.Groups = []scenario.Group{
		{Name: "core", Count: 8, NAT: "none", Queue: true, Up: 1e9},
		{Name: "dropper", Count: 4, NAT: "none", Queue: true, Up: 1e9, Liar: "drops"},
		{Name: "home", Count: 48, NAT: "symmetric", Up: 5e7},
	}
	s.VNs[0].Groups = []string{"home"}
	e, err := New(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	r := e.Run(nil, nil)
	first, only := 0, 0
	for _, v := range e.limitedVRs {
		l := e.vrs[v].limited
		if l.list[0] >= 0 && e.liar(l.list[0]) == liarDrops {
			first++
			if l.list[1] < 0 || e.liar(l.list[1]) == liarDrops {
				only++
			}
		}
	}
	reach := int64(0)
	for _, x := range r.Series {
		if x.Name == result.Reachable {
			reach = x.Values[len(x.Values)-1]
		}
	}
	t.Logf("droppers are the first of %d of 48 limited VRs, and both of %d; %d ppm of the pairs reach each other", first, only, reach)
	if first > 4 || reach < 990_000 {
		t.Errorf("droppers are the first of %d, %d ppm reach each other", first, reach)
	}
}

// TestDiurnal: more run at the best hour of a day than at the worst.
func TestDiurnal(t *testing.T) {
	s := plain(80)
	s.Warmup, s.Duration, s.Every = time.Minute, 4*time.Hour, 5*time.Minute
	s.Groups[0].Churn = scenario.Churn{Kind: "diurnal", Session: 10 * time.Minute, Away: 5 * time.Minute, Period: 2 * time.Hour}
	for _, x := range run(t, s, 1).Series {
		if x.Name != result.Up {
			continue
		}
		// The best hour is the middle of the period; who is away comes back some time after it.
		var best, worst int64
		for i := range 6 {
			best += x.Values[36+i]
			worst += x.Values[24+i]
		}
		if best < worst*6/5 {
			t.Errorf("%d run at the best hour, %d at the worst: %v", best, worst, x.Values)
		}
	}
}

// TestSlow: VRs whose packets take eight seconds are held for dead by others, and not for long after they are fast again.
func TestSlow(t *testing.T) {
	s := plain(50)
	s.Duration = 4 * time.Minute
	s.Events = []scenario.Event{{At: 10 * time.Second, Do: "slow", Count: 5, For: time.Minute, Latency: 8 * time.Second}}
	r := run(t, s, 1)
	if count(r, result.FalseDead) == 0 {
		t.Error("nobody was held for dead")
	}
	for _, x := range r.Series {
		if x.Name == result.ViewRight && x.Values[len(x.Values)-1] != 1e6 {
			t.Errorf("views right: %v", x.Values)
		}
	}
}

// TestHeavyChurn: half of all stay for less than 84 seconds, queue-VRs too, most of them leave without a word, and 2 % of the packets are
// lost. Tables are right all the same.
func TestHeavyChurn(t *testing.T) {
	seeds := 3
	if os.Getenv("VINE_NIGHT") != "" {
		seeds = 100
	}
	for seed := range seeds {
		s := plain(100)
		s.Duration, s.Network.Loss = 20*time.Minute, 20_000
		c := scenario.Churn{Kind: "weibull", Session: 84 * time.Second, Away: 21 * time.Second, ShapeThousands: 600, Graceful: 300_000}
		s.Groups = []scenario.Group{
			{Name: "core", Count: 20, NAT: "none", Queue: true, Up: 1e9, Churn: c}, {Name: "open", Count: 20, NAT: "full-cone", Churn: c},
			{Name: "port", Count: 40, NAT: "port-restricted", Up: 5e7, Churn: c}, {Name: "sym", Count: 20, NAT: "symmetric", Up: 5e7, Churn: c},
		}
		s.VNs = []scenario.VN{{Name: "lab", Groups: []string{"core", "open", "port", "sym"}}}
		for i := range 6 {
			s.Events = append(s.Events, scenario.Event{At: time.Duration(1+3*i) * time.Minute, Do: "vn-update", VN: "lab"})
		}
		s.Bounds = scenario.Bounds{Reach: 20 * time.Second, Relay: 40 * time.Second, Converge: 20 * time.Second}
		if r := run(t, s, uint64(seed)); r.Broken != nil || r.Counts[result.Crashes] < 200 {
			show(t, r)
			t.Fatalf("seed %d", seed)
		}
	}
}
