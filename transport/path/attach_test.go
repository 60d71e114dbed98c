package path

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
	"pgregory.net/rapid"
)

// TestAttachInvariants feeds Attachments with anything: channels that come and go, lists that change,
// scores that are no numbers, clocks that jump. What must hold all the same: the actions fit
// together, the limits are kept, and nothing is left without need before something else is there.
func TestAttachInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		count := rapid.IntRange(1, 3).Draw(t, "count")
		a := NewAttachments(99, count)
		now := time.Unix(1e9, 0)
		world := make([]QueueMeasure, rapid.IntRange(1, 7).Draw(t, "queues"))
		for i := range world {
			world[i] = QueueMeasure{Router: tables.RouterID(i + 1), Site: string(rune('a' + random.IntN(3)))}
		}
		open := map[tables.RouterID]bool{}
		var announced []tables.RouterID
		steps := rapid.IntRange(1, 200).Draw(t, "steps")
		for range steps {
			now = now.Add([]time.Duration{time.Second, time.Second, 5 * time.Second, time.Minute, time.Hour, -time.Hour}[random.IntN(6)])
			for i := range world {
				disturb(random, &world[i], now, open)
			}
			list := slices.Clone(world)
			random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			list = list[:random.IntN(len(list)+1)]
			list = append(list, QueueMeasure{Router: 99, Linked: true}, QueueMeasure{}, world[0])
			trials := 0
			for _, action := range a.Decide(now, list, random.Uint64) {
				switch action := action.(type) {
				case Attach:
					open[action.Router] = true
				case Try:
					if open[action.Router] {
						t.Fatalf("try %v, to which there is a channel", action.Router)
					}
					if trials++; trials > 1 {
						t.Fatal("two trials begin at once")
					}
					open[action.Router] = true
				case Detach:
					if !open[action.Router] {
						t.Fatalf("detach %v, to which there is no channel", action.Router)
					}
					delete(open, action.Router)
				case Announce:
					if slices.Equal(action.Queues, announced) {
						t.Fatal("announced again")
					}
					announced = action.Queues
				}
			}
			check(t, a, open, announced, list, count)
		}
	})
}

func disturb(random *rand.Rand, m *QueueMeasure, now time.Time, open map[tables.RouterID]bool) {
	m.Linked = open[m.Router] && random.IntN(8) > 0
	m.Draining = m.Draining != (random.IntN(30) == 0)
	if random.IntN(20) == 0 {
		m.Refused = now
	}
	switch random.IntN(6) {
	case 0:
		m.Score = []float64{math.NaN(), math.Inf(1), -1, 0, 1e-300, 1e300}[random.IntN(6)]
		m.ScoreAt = now
	case 1, 2, 3:
		m.Score, m.ScoreAt = math.Exp(random.NormFloat64())*1e7, now
	}
	m.LowerBound = random.IntN(3) == 0
	m.RTT = time.Duration(random.IntN(300)-1) * time.Millisecond
}

func check(t *rapid.T, a *Attachments, open map[tables.RouterID]bool, announced []tables.RouterID, list []QueueMeasure, count int) {
	used, seeking, trials := 0, 0, 0
	for _, q := range a.book {
		if q.state != queueIdle {
			used++
			if !open[q.measure.Router] {
				t.Fatalf("%v is %v without a channel", q.measure.Router, q.state)
			}
		}
		switch q.state {
		case queueSeeking:
			seeking++
		case queueTrial:
			trials++
		}
		if q.measure.Router == 99 || q.measure.Router == 0 {
			t.Fatalf("%v is in the book", q.measure.Router)
		}
	}
	if used != len(open) {
		t.Fatalf("%d channels, %d in use", len(open), used)
	}
	current := a.Current()
	if len(current) > count || seeking > count+seekExtra || trials > 1 || len(a.book) > bookMax+len(list) {
		t.Fatalf("%d attached, %d seeking, %d trials, %d in the book", len(current), seeking, trials, len(a.book))
	}
	var routers []tables.RouterID
	for _, at := range current {
		routers = append(routers, at.Router)
		i := slices.IndexFunc(list, func(m QueueMeasure) bool { return m.Router == at.Router })
		if i < 0 || !list[i].Linked {
			t.Fatalf("attached to %v, which is not there", at.Router)
		}
		if at.RunnerUp == at.Router || at.RunnerUpScore < 0 || math.IsInf(at.RunnerUpScore, 0) {
			t.Fatalf("runner-up of %v is %v with %v", at.Router, at.RunnerUp, at.RunnerUpScore)
		}
	}
	if !slices.Equal(routers, announced) {
		t.Fatalf("attached to %v, announced %v", routers, announced)
	}
}

// TestDrainLeavesNoGap: at no moment of a drain peers are told of nobody.
func TestDrainLeavesNoGap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		n := rapid.IntRange(2, 6).Draw(t, "queues")
		a := NewAttachments(99, 2)
		now := time.Unix(1e9, 0)
		world := make([]QueueMeasure, n)
		for i := range world {
			world[i] = QueueMeasure{Router: tables.RouterID(i + 1), Site: string(rune('a' + random.IntN(2)))}
		}
		open := map[tables.RouterID]bool{}
		var announced []tables.RouterID
		for second := range 300 {
			for i := range world {
				world[i].Linked = open[world[i].Router]
				world[i].Draining = second >= 60 && i < n-1
			}
			for _, action := range a.Decide(now, world, random.Uint64) {
				switch action := action.(type) {
				case Attach:
					open[action.Router] = true
				case Try:
					open[action.Router] = true
				case Detach:
					delete(open, action.Router)
					if slices.Contains(announced, action.Router) && len(announced) == 1 {
						t.Fatalf("second %d: detach from %v, the only one", second, action.Router)
					}
				case Announce:
					announced = action.Queues
					if len(announced) == 0 {
						t.Fatalf("second %d: nobody announced", second)
					}
				}
			}
			now = now.Add(time.Second)
		}
		if len(open) != 1 || !open[tables.RouterID(n)] {
			t.Fatalf("after the drain there are channels to %v, want vr%d only", open, n)
		}
	})
}

// TestDecideDoesNotAllocateMuch: the control loop calls it at every measurement.
func TestDecideDoesNotAllocateMuch(t *testing.T) {
	a := NewAttachments(99, 2)
	now := time.Unix(1e9, 0)
	list := []QueueMeasure{{Router: 1, Site: "a"}, {Router: 2, Site: "b"}}
	random := rand.New(rand.NewPCG(1, 1))
	a.Decide(now, list, random.Uint64)
	list[0].Linked, list[1].Linked = true, true
	a.Decide(now, list, random.Uint64)
	if n := testing.AllocsPerRun(100, func() {
		now = now.Add(time.Second)
		a.Decide(now, list, random.Uint64)
	}); n > 2 {
		t.Errorf("%v allocations when there is nothing to do", n)
	}
}

// TestAdvantage: bandwidth decides where it is known, round trips where it is not, or is none of the
// path's making.
func TestAdvantage(t *testing.T) {
	now := time.Unix(1e9, 0)
	measure := func(mbps float64, bound bool, rtt time.Duration) QueueMeasure {
		return QueueMeasure{Score: mbps, LowerBound: bound, ScoreAt: now, RTT: rtt}
	}
	near, far := 10*time.Millisecond, 90*time.Millisecond // five times, with the floor
	for _, c := range []struct {
		name string
		c, a QueueMeasure
		want float64 // as a factor; 0: not known
	}{
		{"more bandwidth", measure(40, false, far), measure(20, false, near), 2},
		{"less bandwidth, nearer", measure(10, false, near), measure(20, false, far), 0.5},
		{"as much, nearer", measure(20, false, near), measure(20, false, far), 5},
		{"as much, farther", measure(20, false, far), measure(20, false, near), 1},
		{"at least as much, of one that is slower", measure(40, true, far), measure(20, false, near), 2},
		{"more than the application sends", measure(40, false, far), measure(1, true, near), 0.2},
		{"less than the application sends", measure(1, false, near), measure(2, true, far), 0.5},
		{"both more than the application sends", measure(1, true, near), measure(2, true, far), 5},
		{"both idle", measure(0, false, near), measure(0, false, far), 5},
		{"unmeasured and near", measure(0, false, near), measure(1, false, far), 0},
		{"nothing known", measure(0, false, 0), measure(0, false, far), 0},
	} {
		got, known := advantage(now, c.c, c.a)
		if known != (c.want != 0) || known && math.Abs(math.Exp(got)-c.want) > 1e-9 {
			t.Errorf("%s: %v, %v; want %v", c.name, math.Exp(got), known, c.want)
		}
	}
	old := measure(100, false, far)
	old.ScoreAt = now.Add(-scoreFresh - 1)
	if _, known := advantage(now, old, measure(1, false, near)); known {
		t.Error("an old score counts")
	}
}
