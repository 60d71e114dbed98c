package bench

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// A path carries up to a rate without loss, and beyond that less and less, as a router under overload does.
type path struct {
	limit  float64 // packets per second
	sender float64 // what the sender can send at most
	hiccup func() bool
}

func (p path) try(rate float64) Trial {
	sent := min(rate, p.sender)
	got := sent
	if sent > p.limit {
		got = p.limit * p.limit / sent
	}
	if p.hiccup() {
		got *= 0.9
	}
	return Trial{Asked: rate, Sent: sent, Received: got}
}

func (p path) search(guess float64, sure bool) (rate float64, bound bool, trials int) {
	s := NewSearch(guess, sure)
	for {
		rate, more := s.Next()
		if !more {
			break
		}
		s.Handle(p.try(rate))
		trials++
	}
	rate, bound = s.Result()
	return rate, bound, trials
}

func never() bool { return false }

// TestSearchFindsLimit: whatever the limit and the guess, the result is no rate that loses, and at most the resolution
// below the limit.
func TestSearchFindsLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := path{limit: rapid.Float64Range(500, 5e6).Draw(t, "limit"), sender: 1e12, hiccup: never}
		sure := rapid.Bool().Draw(t, "sure")
		guess := rapid.Float64Range(1000, 2e6).Draw(t, "guess")
		if sure {
			guess = p.limit * rapid.Float64Range(0.8, 1.25).Draw(t, "near")
		}
		rate, bound, trials := p.search(guess, sure)
		if bound {
			t.Fatal("the sender was no limit")
		}
		if rate > p.limit*(1+LossMax) || rate < p.limit/(1+resolution)*(1-LossMax) {
			t.Fatalf("found %.0f of %.0f in %d trials", rate, p.limit, trials)
		}
		if most := map[bool]int{false: 24, true: 12}[sure]; trials > most {
			t.Fatalf("%d trials from %.0f to %.0f", trials, guess, p.limit)
		}
	})
}

func TestSearchSenderIsTheLimit(t *testing.T) {
	rate, bound, trials := path{limit: 1e9, sender: 130_000, hiccup: never}.search(50_000, false)
	if rate != 130_000 || !bound || trials > 6 {
		t.Errorf("found %.0f, sender bound %v, in %d trials", rate, bound, trials)
	}
	// The sender can send more than the path carries, though less than was asked: that is no bound.
	rate, bound, _ = path{limit: 100_000, sender: 130_000, hiccup: never}.search(1_000_000, false)
	if bound || rate < 96_000 || rate > 100_100 {
		t.Errorf("found %.0f of 100,000, sender bound %v", rate, bound)
	}
}

// TestSearchSenderIsLateOnce: a sender that was once not given the processor is no limit.
func TestSearchSenderIsLateOnce(t *testing.T) {
	s := NewSearch(40_000, false)
	s.Handle(Trial{Asked: 40_000, Sent: 15_000, Received: 15_000})
	p := path{limit: 100_000, sender: 1e9, hiccup: never}
	for rate, more := s.Next(); more; rate, more = s.Next() {
		s.Handle(p.try(rate))
	}
	if rate, bound := s.Result(); bound || rate < 96_000 {
		t.Errorf("found %.0f of 100,000, sender bound %v", rate, bound)
	}
}

// TestSearchSurvivesHiccups: when one trial of eight fails for another reason, the limit is found all the same, as a
// rule.
func TestSearchSurvivesHiccups(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	near := 0
	const searches = 200
	for range searches {
		p := path{limit: 80_000, sender: 1e9, hiccup: func() bool { return r.IntN(8) == 0 }}
		if rate, _, _ := p.search(50_000, false); rate > 0.93*p.limit {
			near++
		}
	}
	if near < searches*8/10 {
		t.Errorf("only %d of %d searches came near", near, searches)
	}
}

func TestSearchGivesUp(t *testing.T) {
	for _, p := range []path{{limit: 0, sender: 1e9, hiccup: never}, {limit: 1, sender: 0, hiccup: never}} {
		if rate, bound, trials := p.search(100_000, false); rate != 0 || bound || trials > 24 {
			t.Errorf("%+v: found %.0f, sender bound %v, in %d trials", p.limit, rate, bound, trials)
		}
	}
}
