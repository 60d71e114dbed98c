package mesh

import (
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// A swarm is a mesh without rumours in virtual time: Views drive exchanges that take no time and
// fail now and then, or always across a split.
type swarm struct {
	t        *testing.T
	rng      *rand.Rand
	now      time.Time
	views    []*View
	indexes  []*Index
	failures float64
	half     int  // routers below are on one side of the split
	split    bool // whether exchanges across fail
	rejoin   bool // whether gossip follows a Rejoin
	due      dueHeap
	starts   int
}

type due struct {
	at time.Time
	i  int
}

type dueHeap []due

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(due)) }
func (h *dueHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

func router(i int) tables.RouterID { return tables.RouterID(i + 1) }

func newSwarm(t *testing.T, n int, failures float64) *swarm {
	s := &swarm{t: t, rng: rand.New(rand.NewPCG(7, 7)), now: noon, failures: failures, half: n / 2}
	for i := range n {
		s.indexes = append(s.indexes, &Index{})
		s.views = append(s.views, NewView(noon, router(i), rand.New(rand.NewPCG(uint64(i), 1))))
	}
	for i := range n {
		for j := range n {
			s.tell(i, MemberUp{router(j)})
		}
	}
	return s
}

func (s *swarm) put(i int, d tables.Digest) {
	s.indexes[i].Put(d)
	s.tell(i, OwnRoot{s.indexes[i].Root()})
}

// tell gives view i an event and does what it asks for.
func (s *swarm) tell(i int, ev Event) { s.act(i, s.views[i].Handle(s.now, ev)) }

func (s *swarm) act(i int, actions []Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case StartExchange:
			s.starts++
			j := int(a.Peer) - 1
			across := (i < s.half) != (j < s.half)
			if s.split && across || s.rng.Float64() < s.failures {
				s.tell(i, ExchangeEnded{Peer: a.Peer})
				continue
			}
			c := meet(s.t, s.indexes[i], s.indexes[j], 0)
			s.tell(i, OwnRoot{s.indexes[i].Root()})
			s.tell(j, OwnRoot{s.indexes[j].Root()})
			s.tell(i, ExchangeEnded{Peer: a.Peer, OK: true, Moved: c.docs})
		case Rejoin:
			if s.rejoin {
				for x := range s.views {
					for y := range s.views {
						s.tell(x, MemberUp{router(y)})
					}
				}
			}
		}
	}
	heap.Push(&s.due, due{s.views[i].Next(), i})
}

// run lets time pass until end or until stop says so. Every second some views hear a root when
// acks is set.
func (s *swarm) run(end time.Time, acks bool, stop func() bool) {
	tick := s.now
	for s.now.Before(end) && !stop() {
		for len(s.due) > 0 && !s.due[0].at.After(tick) {
			d := heap.Pop(&s.due).(due)
			if d.at.Before(s.views[d.i].Next()) {
				continue // told anew since
			}
			s.now = latest(s.now, d.at)
			s.act(d.i, s.views[d.i].Advance(s.now))
		}
		s.now = tick
		tick = tick.Add(time.Second)
		if acks {
			for i := range s.views {
				j := s.rng.IntN(len(s.views))
				if i != j && !(s.split && (i < s.half) != (j < s.half)) {
					s.tell(i, RootHeard{router(j), s.indexes[j].Root()})
				}
			}
		}
	}
}

func (s *swarm) equal() bool {
	root := s.indexes[0].Root()
	for _, x := range s.indexes[1:] {
		if x.Root() != root {
			return false
		}
	}
	return true
}

// TestConvergesWithoutRumours: 50 routers, 5 % of exchanges fail, each has something to tell.
func TestConvergesWithoutRumours(t *testing.T) {
	for _, c := range []struct {
		name   string
		acks   bool
		within time.Duration
	}{
		{"roots in acks", true, time.Minute},
		{"random exchanges only", false, 10 * time.Minute},
	} {
		s := newSwarm(t, 50, 0.05)
		s.run(noon.Add(5*time.Minute), c.acks, func() bool { return false })
		for i := range 50 {
			s.put(i, record(i, 1))
		}
		from, before := s.now, s.starts
		s.run(from.Add(time.Hour), c.acks, s.equal)
		t.Logf("%s: all equal after %v and %d exchanges", c.name, s.now.Sub(from), s.starts-before)
		if !s.equal() || s.now.Sub(from) > c.within {
			t.Errorf("%s: equal %v after %v, want within %v", c.name, s.equal(), s.now.Sub(from), c.within)
		}
	}
}

// TestSplitHeals: after 30 hours apart the halves find each other again, with no help from gossip.
func TestSplitHeals(t *testing.T) {
	never := func() bool { return false }
	for _, rejoin := range []bool{true, false} {
		s := newSwarm(t, 50, 0.05)
		s.rejoin = rejoin
		s.run(noon.Add(5*time.Minute), true, never)
		s.split = true
		for i := range s.views {
			for j := range s.views {
				if (i < s.half) != (j < s.half) {
					s.tell(i, MemberDown{router(j)})
				}
			}
		}
		for i := range 50 {
			s.put(i, record(i, 1))
		}
		s.run(s.now.Add(30*time.Hour), false, never)
		if s.equal() {
			t.Fatal("the split is none")
		}
		s.split = false
		from := s.now
		s.run(from.Add(3*time.Hour), true, s.equal)
		t.Logf("gossip follows %v: equal again %v after the end of the split", rejoin, s.now.Sub(from))
		if !s.equal() || s.now.Sub(from) > 15*time.Minute {
			t.Errorf("equal %v after %v", s.equal(), s.now.Sub(from))
		}
	}
}
