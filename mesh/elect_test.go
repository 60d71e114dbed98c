package mesh

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
	"pgregory.net/rapid"
)

// drawCandidates returns candidates at some sites, most of them eligible and alive.
func drawCandidates(t *rapid.T, most int) []QueueCandidate {
	random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	sites := rapid.IntRange(1, 20).Draw(t, "sites")
	list := make([]QueueCandidate, rapid.IntRange(0, most).Draw(t, "candidates"))
	for i, id := range random.Perm(3*len(list) + 1)[:len(list)] {
		list[i] = QueueCandidate{
			Router: tables.RouterID(id + 1), Site: fmt.Sprint("site", random.IntN(sites)),
			MayQueue: random.IntN(8) > 0, Regular: random.IntN(8) > 0,
			Draining: random.IntN(8) == 0, Full: random.IntN(8) == 0, Alive: random.IntN(8) > 0,
		}
	}
	return list
}

func shuffled(seed uint64, list []QueueCandidate) []QueueCandidate {
	list = slices.Clone(list)
	rand.New(rand.NewPCG(seed, 1)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// changed returns how many are in one list only.
func changed(a, b []tables.RouterID) (n int) {
	for _, r := range a {
		if !slices.Contains(b, r) {
			n++
		}
	}
	for _, r := range b {
		if !slices.Contains(a, r) {
			n++
		}
	}
	return n
}

func TestElect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := drawCandidates(t, 300)
		elected := Elect(list)
		if again := Elect(shuffled(rapid.Uint64().Draw(t, "order"), append(list, list...))); !slices.Equal(elected, again) {
			t.Fatalf("elected %v, from another order %v", elected, again)
		}
		eligible := map[tables.RouterID]QueueCandidate{}
		sites := map[string]int{}
		for _, c := range list {
			if c.eligible() {
				eligible[c.Router] = c
				sites[c.Site] = 0
			}
		}
		if !slices.IsSorted(elected) || len(elected) != min(len(eligible), electedMax) {
			t.Fatalf("%d of %d elected: %v", len(elected), len(eligible), elected)
		}
		dead, aliveLeft := false, false
		for _, r := range elected {
			c, ok := eligible[r]
			if !ok {
				t.Fatalf("%v is elected and not eligible", r)
			}
			dead = dead || !c.Alive
			sites[c.Site]++
			delete(eligible, r)
		}
		for _, c := range eligible { // those not elected
			aliveLeft = aliveLeft || c.Alive
			if c.Alive && sites[c.Site] == 0 {
				t.Fatalf("%s has no seat with %d sites", c.Site, len(sites))
			}
		}
		if dead && aliveLeft {
			t.Fatal("a dead one is elected instead of one alive")
		}
	})
}

// TestElectStable: one that comes, goes, or changes its mind moves four members at most.
func TestElectStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := drawCandidates(t, 300)
		if len(list) == 0 {
			return
		}
		before := Elect(list)
		i := rapid.IntRange(0, len(list)-1).Draw(t, "which")
		after := slices.Clone(list)
		switch rapid.IntRange(0, 3).Draw(t, "what") {
		case 0:
			after = slices.Delete(after, i, i+1)
		case 1:
			after[i].Alive = !after[i].Alive
		case 2:
			after[i].Draining = !after[i].Draining
		case 3:
			after = append(after, QueueCandidate{Router: 1 << 20, Site: list[i].Site, MayQueue: true, Regular: true, Alive: true})
		}
		if n := changed(before, Elect(after)); n > 4 {
			t.Fatalf("%d of %d members changed", n, len(before))
		}
	})
}

func TestElectRules(t *testing.T) {
	good := QueueCandidate{Router: 1, Site: "a", MayQueue: true, Regular: true, Alive: true}
	bad := map[string]QueueCandidate{}
	for name, change := range map[string]func(*QueueCandidate){
		"no router": func(c *QueueCandidate) { c.Router = 0 }, "may not": func(c *QueueCandidate) { c.MayQueue = false },
		"limited": func(c *QueueCandidate) { c.Regular = false }, "drains": func(c *QueueCandidate) { c.Draining = true },
		"full": func(c *QueueCandidate) { c.Full = true },
	} {
		c := good
		change(&c)
		bad[name] = c
	}
	for name, c := range bad {
		if got := Elect([]QueueCandidate{c}); len(got) != 0 {
			t.Errorf("%s: elected %v", name, got)
		}
	}
	// Gossip calls it dead: a hint, and it has its seat.
	dead := good
	dead.Alive = false
	if got := Elect([]QueueCandidate{dead}); !slices.Equal(got, []tables.RouterID{1}) {
		t.Errorf("called dead: elected %v", got)
	}
}

// place is a VR in a plane whose distances are round trips.
type place struct{ x, y float64 }

func (p place) distance(q place) time.Duration {
	return time.Duration(math.Hypot(p.x-q.x, p.y-q.y) * float64(time.Millisecond))
}

// drawElected returns elected queue-VRs somewhere within 200 ms of each other.
func drawElected(t *rapid.T) (list []QueueCandidate, places map[tables.RouterID]place) {
	random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "places"), 0))
	sites := rapid.IntRange(1, 12).Draw(t, "sites")
	places = map[tables.RouterID]place{}
	for i := range rapid.IntRange(1, electedMax).Draw(t, "elected") {
		c := QueueCandidate{Router: tables.RouterID(i + 1), Site: fmt.Sprint("site", random.IntN(sites)), MayQueue: true, Regular: true, Alive: random.IntN(10) > 0}
		list = append(list, c)
		places[c.Router] = place{200 * random.Float64(), 200 * random.Float64()}
	}
	return list, places
}

func TestShortlist(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list, places := drawElected(t)
		limited := tables.RouterID(rapid.IntRange(1, 2000).Draw(t, "limited")) // perhaps one of them
		n := rapid.IntRange(-1, 12).Draw(t, "n")
		here := place{100, 100}
		distance := func(r tables.RouterID) (time.Duration, bool) { return here.distance(places[r]), r%7 != 0 }
		got := Shortlist(list, limited, "site0", distance, n)
		again := Shortlist(shuffled(rapid.Uint64().Draw(t, "order"), append(list, list...)), limited, "site0", distance, n)
		if !slices.Equal(got, again) {
			t.Fatalf("%v, from another order %v", got, again)
		}
		sites, sitesThere, others := map[string]bool{}, map[string]bool{}, 0
		for _, c := range list {
			if c.Router != limited {
				others++
				sitesThere[c.Site] = true
				sites[c.Site] = sites[c.Site] || slices.Contains(got, c.Router)
			}
		}
		if want := max(min(n, others), 0); len(got) != want || slices.Contains(got, limited) {
			t.Fatalf("%v for %v has %d members, want %d", got, limited, len(got), want)
		}
		if n >= 2 && len(sitesThere) >= 2 && count(sites) < 2 {
			t.Fatalf("%v is of one site, of %d", got, len(sitesThere))
		}
		slices.Sort(again)
		if len(slices.Compact(again)) != len(got) {
			t.Fatalf("%v has one twice", got)
		}
	})
}

func count(sites map[string]bool) (n int) {
	for _, in := range sites {
		if in {
			n++
		}
	}
	return n
}

// TestShortlistStable: one queue-VR more or less changes four members at most.
func TestShortlistStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list, places := drawElected(t)
		distance := func(r tables.RouterID) (time.Duration, bool) { return place{}.distance(places[r]), true }
		before := Shortlist(list, 5000, "home", distance, ShortlistLen)
		i := rapid.IntRange(0, len(list)-1).Draw(t, "goes")
		after := Shortlist(slices.Delete(slices.Clone(list), i, i+1), 5000, "home", distance, ShortlistLen)
		if n := changed(before, after); n > 4 {
			t.Fatalf("%v, without vr%d %v", before, i+1, after)
		}
	})
}

// TestShortlistNoise: coordinates that err by 15 % change nothing while no candidate crosses a band's
// border, and no more than the crossing ones and as many others when some do.
func TestShortlistNoise(t *testing.T) {
	still := 0
	rapid.Check(t, func(t *rapid.T) {
		list, places := drawElected(t)
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "noise"), 0))
		exact := func(r tables.RouterID) (time.Duration, bool) { return place{}.distance(places[r]), true }
		noisy := map[tables.RouterID]time.Duration{}
		crossing := 0
		for r := range tables.RouterID(len(list)) {
			d, _ := exact(r + 1)
			noisy[r+1] = time.Duration(float64(d) * (0.85 + 0.3*random.Float64()))
			if band(noisy[r+1]) != band(d) {
				crossing++
			}
		}
		before := Shortlist(list, 5000, "home", exact, ShortlistLen)
		after := Shortlist(list, 5000, "home", func(r tables.RouterID) (time.Duration, bool) { return noisy[r], true }, ShortlistLen)
		if crossing == 0 {
			still++
			if !slices.Equal(before, after) {
				t.Fatalf("%v became %v", before, after)
			}
		}
		if n := changed(before, after); n > 2*crossing {
			t.Fatalf("%d crossed, %d changed", crossing, n)
		}
	})
	if still == 0 {
		t.Error("in no case all stayed in their bands: the test shows nothing")
	}
}

// TestShortlistLiar: whatever a queue-VR says of where it is, and whatever it makes gossip say of the
// life of others, half of every list and of the first two places is what hashing alone gives, and
// whom hashing has not put into the window stays out.
func TestShortlistLiar(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list, places := drawElected(t)
		n := rapid.IntRange(2, 12).Draw(t, "n")
		liars := tables.RouterID(rapid.IntRange(1, len(list)).Draw(t, "liars"))
		for i := range list {
			list[i].Site = fmt.Sprint(i) // or two sites are wanted, and may take the last place
			list[i].Alive = true
		}
		order := slices.Clone(list)
		slices.SortFunc(order, func(a, b QueueCandidate) int {
			if mix(mix(5000)+uint64(a.Router)) > mix(mix(5000)+uint64(b.Router)) {
				return -1
			}
			return 1
		})
		lied := slices.Clone(list)
		for i := range lied {
			lied[i].Alive = lied[i].Router <= liars
		}
		got := Shortlist(lied, 5000, "home", func(r tables.RouterID) (time.Duration, bool) {
			if r <= liars {
				return 0, true
			}
			return place{}.distance(places[r]), true
		}, n)
		if len(got) != min(n, len(list)) {
			t.Fatalf("%d of %d", len(got), n)
		}
		for i, c := range order {
			switch in := slices.Contains(got, c.Router); {
			case i < (len(got)+1)/2 && !in:
				t.Fatalf("%v, which hashing puts at place %d, is not in %v", c.Router, i, got)
			case i >= shortlistWindow*len(got) && in:
				t.Fatalf("%v, which hashing puts at place %d, is in %v", c.Router, i, got)
			}
		}
		if len(got) > 1 && got[0] != order[0].Router && got[1] != order[0].Router {
			t.Fatalf("%v, the first by hashing, is not among the first two of %v", order[0].Router, got)
		}
	})
}

// TestShortlistNear: of queue-VRs all over the world every limited VR has some near ones in its list, and
// the first is near.
func TestShortlistNear(t *testing.T) {
	var list []QueueCandidate
	for i := range electedMax {
		list = append(list, QueueCandidate{Router: tables.RouterID(i + 1), Site: fmt.Sprint("site", i), Alive: true})
	}
	near := func(r tables.RouterID) bool { return r%4 == 0 }
	distance := func(r tables.RouterID) (time.Duration, bool) {
		if near(r) {
			return 5 * time.Millisecond, true
		}
		return 200 * time.Millisecond, true
	}
	first := 0
	for limited := range tables.RouterID(1000) {
		if got := Shortlist(list, 1000+limited, "home", distance, ShortlistLen); near(got[0]) {
			first++
		}
	}
	if first < 990 {
		t.Errorf("the first of the list is near for %d of 1,000", first)
	}
	for i := range list {
		list[i].Alive = !near(list[i].Router) // gossip calls all the near ones dead
	}
	for limited := range tables.RouterID(100) {
		if got := Shortlist(list, 1000+limited, "home", distance, ShortlistLen); near(got[0]) {
			t.Errorf("the first of %v is called dead", got)
		}
	}
	own := Shortlist([]QueueCandidate{{Router: 1, Site: "x", Alive: true}, {Router: 2, Site: "y", Alive: true}, {Router: 3, Site: "home", Alive: true}, {Router: 4, Site: "z", Alive: true}},
		1000, "home", distance, 4)
	if own[0] != 3 && own[1] != 3 {
		t.Errorf("the one of the own site is not among the first two of %v", own)
	}
}

// TestShortlistBalance: 10,000 limited VRs spread over 64 queue-VRs as if by chance.
func TestShortlistBalance(t *testing.T) {
	var list []QueueCandidate
	for i := range electedMax {
		list = append(list, QueueCandidate{Router: tables.RouterID(i*13 + 1), Site: fmt.Sprint("site", i%9), Alive: true})
	}
	unknown := func(tables.RouterID) (time.Duration, bool) { return 0, false }
	const vrs = 10000
	listed, first := map[tables.RouterID]int{}, map[tables.RouterID]int{}
	for i := range vrs {
		got := Shortlist(list, tables.RouterID(1000+i), "home", unknown, ShortlistLen)
		first[got[0]]++
		for _, r := range got {
			listed[r]++
		}
	}
	// 63 degrees of freedom: above 103.4 with a chance of 1 in 1,000.
	if x := chiSquare(first, list, vrs); x > 103.4 {
		t.Errorf("first places: chi square %.1f", x)
	}
	mean := float64(vrs*ShortlistLen) / float64(len(list))
	for r, n := range listed {
		if math.Abs(float64(n)-mean) > 0.15*mean {
			t.Errorf("%v is in %d lists, the mean is %.0f", r, n, mean)
		}
	}
	t.Logf("first places: chi square %.1f of 63", chiSquare(first, list, vrs))
}

func chiSquare(got map[tables.RouterID]int, list []QueueCandidate, total int) (x float64) {
	want := float64(total) / float64(len(list))
	for _, c := range list {
		d := float64(got[c.Router]) - want
		x += d * d / want
	}
	return x
}

// TestElectionKnown pins the hashes: all VRs of a federation have to agree, of whatever version.
func TestElectionKnown(t *testing.T) {
	var list []QueueCandidate
	for i := range 200 {
		list = append(list, QueueCandidate{Router: tables.RouterID(i + 1), Site: fmt.Sprint("site", i%30), MayQueue: true, Regular: true, Alive: true})
	}
	elected := Elect(list)
	var members []QueueCandidate
	for _, r := range elected {
		members = append(members, list[r-1])
	}
	short := Shortlist(members, 1000, "site3", func(r tables.RouterID) (time.Duration, bool) { return time.Duration(r) * time.Millisecond, true }, 4)
	if got, want := fmt.Sprint(len(elected), elected[:6], short), "64 [vr6 vr19 vr22 vr23 vr25 vr27] [vr64 vr108 vr94 vr86]"; got != want {
		t.Errorf("elected and listed %s, want %s", got, want)
	}
}

func BenchmarkElect(b *testing.B) {
	var list []QueueCandidate
	for i := range 10000 {
		list = append(list, QueueCandidate{Router: tables.RouterID(i + 1), Site: fmt.Sprint("site", i%3000), MayQueue: true, Regular: true, Alive: true})
	}
	b.ReportAllocs()
	for b.Loop() {
		Elect(list)
	}
}
