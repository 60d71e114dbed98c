package mesh

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vine-mesh/vine/tables"
)

func newView(self tables.RouterID) *View {
	return NewView(noon, self, rand.New(rand.NewPCG(1, uint64(self))))
}

// until advances v to its deadlines up to end and returns the actions with their times.
func until(v *View, end time.Time) (actions []Action, at []time.Time) {
	for now := v.Next(); !now.IsZero() && !now.After(end); now = v.Next() {
		for _, a := range v.Advance(now) {
			actions, at = append(actions, a), append(at, now)
		}
		if !v.Next().After(now) {
			panic("Advance does not get past " + now.String())
		}
	}
	return actions, at
}

func TestViewDifferingRoot(t *testing.T) {
	root := func(n byte) (r [16]byte) { r[0] = n; return r }
	for _, c := range []struct {
		name string
		then func(v *View) // 2 s after peer 2 told root 9
		want bool
	}{
		{"goes on differing", func(v *View) {}, true},
		{"still another root", func(v *View) { v.Handle(noon.Add(2*time.Second), RootHeard{2, root(8)}) }, true},
		{"we get there", func(v *View) { v.Handle(noon.Add(2*time.Second), OwnRoot{root(9)}) }, false},
		{"we go through it", func(v *View) {
			v.Handle(noon.Add(2*time.Second), OwnRoot{root(9)})
			v.Handle(noon.Add(3*time.Second), OwnRoot{root(10)})
		}, false},
		{"it comes to ours", func(v *View) { v.Handle(noon.Add(2*time.Second), RootHeard{2, root(1)}) }, false},
		{"it dies", func(v *View) { v.Handle(noon.Add(2*time.Second), MemberDown{2}) }, false},
	} {
		v := newView(1)
		v.Handle(noon, OwnRoot{root(1)})
		v.Handle(noon, MemberUp{2})
		v.randomAt, v.goneAt = noon.Add(time.Hour), noon.Add(time.Hour)
		v.Handle(noon, RootHeard{2, root(9)})
		c.then(v)
		actions, at := until(v, noon.Add(time.Minute))
		if (len(actions) == 1) != c.want || c.want && at[0].Sub(noon) != differMin {
			t.Errorf("%s: %v at %v", c.name, actions, at)
		}
	}
}

// TestViewHopelessDifference: one side refuses a document of the other. That must not cost an
// exchange every few seconds.
func TestViewHopelessDifference(t *testing.T) {
	for _, moved := range []int{0, 1} { // nothing, or the same evidence every time
		v := newView(1)
		v.Handle(noon, MemberUp{2})
		n := 0
		for now := noon; now.Before(noon.Add(time.Hour)); now = now.Add(time.Second) {
			for _, a := range v.Handle(now, RootHeard{2, [16]byte{9}}) {
				if s, ok := a.(StartExchange); ok {
					n++
					v.Handle(now, ExchangeEnded{Peer: s.Peer, OK: true, Moved: moved})
				}
			}
		}
		if n < 45 || n > 85 {
			t.Errorf("%d exchanges in an hour, want the unconditional ones", n)
		}
	}
}

// TestViewLiar: a peer that tells another root every second gets no more exchanges than if they
// all found nothing.
func TestViewLiar(t *testing.T) {
	v := newView(1)
	v.Handle(noon, MemberUp{2})
	n := 0
	for i := range 3600 {
		now := noon.Add(time.Duration(i) * time.Second)
		for _, a := range v.Handle(now, RootHeard{2, [16]byte{byte(i), byte(i >> 8), 1}}) {
			n++
			v.Handle(now, ExchangeEnded{Peer: a.(StartExchange).Peer, OK: true})
		}
	}
	if n > 150 {
		t.Errorf("%d exchanges in an hour for a liar", n)
	}
}

func TestViewBacksOff(t *testing.T) {
	v := newView(1)
	v.Handle(noon, MemberUp{2})
	var starts []time.Time
	for now := noon; now.Before(noon.Add(3 * time.Hour)); now = v.Next() {
		for _, a := range v.Advance(now) {
			starts = append(starts, now)
			v.Handle(now, ExchangeEnded{Peer: a.(StartExchange).Peer})
		}
	}
	if n := len(starts); n < 12 || n > 60 {
		t.Errorf("%d tries in 3 hours with a peer that never answers", n)
	}
	v.Handle(noon.Add(3*time.Hour), MemberUp{2})
	if v.resting(noon.Add(3*time.Hour), 2) {
		t.Error("still left alone after it came up")
	}
}

func TestViewTwoUnderWay(t *testing.T) {
	v := newView(1)
	for id := range tables.RouterID(20) {
		v.Handle(noon, MemberUp{id + 2})
		v.Handle(noon, RootHeard{id + 2, [16]byte{byte(id + 1)}})
	}
	actions, _ := until(v, noon.Add(14*time.Minute))
	if len(actions) != exchangesMax || actions[0] == actions[1] {
		t.Errorf("%v under way at once", actions)
	}
	// Ends that are never reported must not stop anti-entropy for good.
	actions, _ = until(v, noon.Add(40*time.Minute))
	if len(actions) == 0 {
		t.Error("stopped for good")
	}
}

func TestViewPulls(t *testing.T) {
	key := func(i int) tables.DocKey { return record(i, 0).Key }
	v := newView(1)
	if a := v.Handle(noon, PullWanted{5, key(0), 1}); len(a) != 1 || a[0].(Pull).Peer != 5 {
		t.Fatalf("first: %v", a)
	}
	if a := v.Handle(noon, PullWanted{6, key(0), 1}); len(a) != 0 {
		t.Fatalf("the same document twice: %v", a)
	}
	for i := range 70 { // while 5 is busy
		if a := v.Handle(noon, PullWanted{5, key(1 + i), 1}); len(a) != 0 {
			t.Fatalf("a second pull from one holder: %v", a)
		}
	}
	a := v.Handle(noon, PullEnded{Peer: 5})
	if len(a) != 1 || a[0].(Pull).Peer != 6 || !slices.Equal(a[0].(Pull).Keys, []tables.DocKey{key(0)}) {
		t.Fatalf("after a failure, not the other holder: %v", a)
	}
	a, _ = until(v, noon.Add(time.Minute))
	if i := slices.IndexFunc(a, func(a Action) bool { p, ok := a.(Pull); return ok && p.Peer == 5 && len(p.Keys) == wantWindow }); i < 0 {
		t.Fatalf("the rest was not asked of 5 after its rest: %v", a)
	}
	a = v.Handle(noon.Add(time.Minute), PullEnded{Peer: 5, OK: true})
	if len(a) != 1 || len(a[0].(Pull).Keys) != 70-wantWindow {
		t.Fatalf("what did not fit: %v", a)
	}
	before := v.PullsDropped()
	v.Handle(noon.Add(time.Minute), PullEnded{Peer: 5})
	if v.PullsDropped() != before+70-wantWindow || v.randomAt.After(noon.Add(time.Minute+2*retryAfter)) {
		t.Errorf("%d left to anti-entropy, which comes at %v", v.PullsDropped(), v.randomAt)
	}
}

func TestViewPullsBounded(t *testing.T) {
	v := newView(1)
	for i := range 5000 {
		v.Handle(noon, PullWanted{tables.RouterID(2 + i), record(i, 0).Key, 1})
	}
	if n := len(v.pulls.queued); n != pullsQueuedMax || len(v.pulls.underWay) != pullsMax || v.PullsDropped() != 5000-pullsQueuedMax-pullsMax {
		t.Errorf("%d queued, %d dropped", n, v.PullsDropped())
	}
}

// TestViewRandomEvents: the same events and random source give the same actions, whatever they
// are, and Next never stands still.
func TestViewRandomEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := newView(1), newView(1)
		now := noon
		for range rapid.IntRange(0, 200).Draw(t, "n") {
			id := tables.RouterID(rapid.IntRange(0, 6).Draw(t, "id"))
			root := [16]byte{byte(rapid.IntRange(0, 3).Draw(t, "root"))}
			ev := rapid.SampledFrom([]Event{
				MemberUp{id}, MemberDown{id}, MemberRemoved{id}, OwnRoot{root}, RootHeard{id, root},
				Anchors{[]tables.RouterID{id}}, ExchangeEnded{id, root[0] > 1, int(root[0])},
				PullWanted{id, record(int(root[0]), 0).Key, 1}, PullEnded{id, root[0] > 1},
			}).Draw(t, "event")
			now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "seconds")) * time.Second)
			if x, y := fmt.Sprint(a.Handle(now, ev)), fmt.Sprint(b.Handle(now, ev)); x != y {
				t.Fatalf("%T: %s and %s", ev, x, y)
			}
			if next := a.Next(); !next.After(now) {
				t.Fatalf("after %T at %v the next deadline is %v", ev, now, next)
			}
			if len(a.underWay) > exchangesMax || slices.Contains(a.live, 1) || slices.Contains(a.gone, 1) {
				t.Fatal("an invariant is broken")
			}
		}
	})
}

func TestChooseAnchors(t *testing.T) {
	var all []Candidate
	for i := range 30 {
		site := "big"
		if i >= 25 {
			site = fmt.Sprint("small", i%2)
		}
		all = append(all, Candidate{Router: tables.RouterID(i + 1), Site: site, Direct: i%3 > 0, Met: noon.Add(-time.Duration(i) * time.Minute)})
	}
	got := ChooseAnchors(noon, all)
	sites := make(map[string]int)
	for _, id := range got {
		sites[all[id-1].Site]++
	}
	if len(got) != AnchorsMax || len(sites) != 3 || sites["small0"] < 2 || sites["small1"] < 2 {
		t.Errorf("%v at sites %v", got, sites)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if again := ChooseAnchors(noon, all); !slices.Equal(got, again) {
		t.Errorf("the order of candidates matters: %v, %v", got, again)
	}
	for i := range all {
		all[i].Anchor = slices.Contains(got, all[i].Router)
		all[i].Met = noon.Add(-time.Duration(i) * time.Minute)
	}
	later := ChooseAnchors(noon.Add(time.Hour), all)
	slices.Sort(later)
	slices.Sort(got)
	if !slices.Equal(later, got) {
		t.Errorf("anchors changed without need: %v, then %v", got, later)
	}
	if got := ChooseAnchors(noon, nil); len(got) != 0 {
		t.Errorf("%v of nobody", got)
	}
}

// TestViewPeerReturns: after a split, links with the other half come up one after the other. The first is met at once, and
// gossip joins there; the next one only if gossip has still not seen it some seconds later.
func TestViewPeerReturns(t *testing.T) {
	v := newView(1)
	now := noon
	expect := func(what string, got []Action, want ...Action) {
		t.Helper()
		v.randomAt, v.goneAt = now.Add(time.Hour), now.Add(time.Hour)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	expect("a member", v.Handle(now, MemberUp{2}))
	for id := range tables.RouterID(4) {
		expect("one that is gone", v.Handle(now, MemberDown{3 + id}))
	}
	expect("a link with a live one", v.Handle(now, PeerLinked{2}))
	expect("a link with ourselves", v.Handle(now, PeerLinked{1}))
	expect("a link with one that is gone", v.Handle(now, PeerLinked{3}), StartExchange{3})
	expect("with another", v.Handle(now, PeerLinked{4}))
	expect("with a third", v.Handle(now, PeerLinked{5}))
	now = now.Add(time.Second)
	expect("the first is met", v.Handle(now, ExchangeEnded{Peer: 3, OK: true}), Rejoin{3})
	expect("gossip has it back", v.Handle(now, MemberUp{3}))
	expect("and the other", v.Handle(now, MemberUp{4}))
	actions, at := until(v, now.Add(time.Minute))
	if expect("the third is met later", actions, StartExchange{5}); len(at) == 1 && at[0].Sub(now) > returnedGap*5/4 {
		t.Errorf("only after %v", at[0].Sub(now))
	}
	now = now.Add(time.Minute)
	expect("it fails", v.Handle(now, ExchangeEnded{Peer: 5}))
	expect("its next link is believed again", v.Handle(now, PeerLinked{5}), StartExchange{5})

	v = newView(1)
	expect("where nobody is live, gossip does not wait for the exchange", v.Handle(now, PeerLinked{3}), StartExchange{3}, Rejoin{3})
}
