package path

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/vine-mesh/vine/mesh"
	"github.com/vine-mesh/vine/tables"
)

// A crowd is a simulation of limited VRs and the queue-VRs among which they choose: discrete steps,
// no packets. Every limited VR has more to send than it gets. What it gets through its first queue-VR
// is an equal share of that one's capacity, so the choice of each changes what the others measure.
type crowd struct {
	now     time.Time
	mark    time.Time // when the part that is judged begins
	random  *rand.Rand
	queues  []*crowdQueue
	limited []*crowdVR

	scratch []QueueMeasure

	noise    float64       // of each measurement: 0.15 is plus or minus 15 %
	noiseFor time.Duration // how long a deviation stays the same
	believe  bool          // the defence off: what a queue-VR claims is its score
}

type crowdQueue struct {
	router   tables.RouterID
	site     string
	capacity float64
	claim    float64 // what it says its capacity is
	trains   float64 // by what factor it treats trains better than what they stand for
	dead     bool
	serves   int // limited VRs whose first it is
	load     int // the same when the step began: what is measured is as old as that
}

type crowdVR struct {
	router   tables.RouterID
	attach   *Attachments
	list     []*crowdQueue
	measures map[tables.RouterID]*QueueMeasure
	open     map[tables.RouterID]time.Time
	factor   map[tables.RouterID]float64 // noise
	first    tables.RouterID
	announce []tables.RouterID
	changes  []time.Time // of the set or its order, but for the first
}

const crowdStep = 5 * time.Second

func newCrowd(seed uint64, vrs int, off attachDefences, queues ...*crowdQueue) *crowd {
	c := &crowd{now: time.Unix(1e9, 0), random: rand.New(rand.NewPCG(seed, 7)), queues: queues, noise: 0.05, noiseFor: 10 * time.Second}
	var elected []mesh.QueueCandidate
	for i, q := range queues {
		q.router = tables.RouterID(i + 1)
		if q.site == "" {
			q.site = fmt.Sprint("site", i)
		}
		elected = append(elected, mesh.QueueCandidate{Router: q.router, Site: q.site, MayQueue: true, Regular: true, Alive: true})
	}
	for i := range vrs {
		v := &crowdVR{router: tables.RouterID(1000 + i), measures: map[tables.RouterID]*QueueMeasure{}, open: map[tables.RouterID]time.Time{}, factor: map[tables.RouterID]float64{}}
		v.attach = NewAttachments(v.router, 2)
		v.attach.off = off
		unknown := func(tables.RouterID) (time.Duration, bool) { return 0, false }
		for _, r := range mesh.Shortlist(elected, v.router, "home", unknown, mesh.ShortlistLen) {
			q := queues[r-1]
			v.list = append(v.list, q)
			v.measures[r] = &QueueMeasure{Router: r, Site: q.site}
			v.factor[r] = 1
		}
		c.limited = append(c.limited, v)
	}
	return c
}

func (c *crowd) run(d time.Duration) {
	for end := c.now.Add(d); c.now.Before(end); c.now = c.now.Add(crowdStep) {
		for _, q := range c.queues {
			q.load = q.serves
		}
		for _, v := range c.limited {
			c.step(v)
		}
	}
}

func (c *crowd) step(v *crowdVR) {
	list := c.scratch[:0]
	for _, q := range v.list {
		m := v.measures[q.router]
		opened, open := v.open[q.router]
		m.Linked = open && !q.dead && c.now.After(opened)
		if m.Linked {
			c.measure(v, q, m)
		}
		list = append(list, *m)
	}
	c.scratch = list
	before := v.first
	for _, action := range v.attach.Decide(c.now, list, c.random.Uint64) {
		c.do(v, action)
	}
	if v.first != before {
		c.shift(before, -1)
		c.shift(v.first, 1)
	}
}

// measure is what the VR's estimator would say: every step for what carries its traffic, by a train
// every 10 s in a trial and once a minute else.
func (c *crowd) measure(v *crowdVR, q *crowdQueue, m *QueueMeasure) {
	every, rate := 10*time.Second, q.capacity/float64(q.load+1)*max(q.trains, 1)
	switch {
	case v.first == q.router:
		every, rate = crowdStep, q.capacity/float64(max(q.load, 1))
	case slices.Contains(v.announce, q.router):
		every = time.Minute
	case len(v.announce) < 2 || c.now.Sub(v.open[q.router]) < 2*crowdStep:
		return // the channel has just come up
	}
	if c.now.Sub(m.ScoreAt) < every {
		return
	}
	if c.believe {
		rate = max(q.claim, rate)
	}
	if c.now.UnixNano()/int64(c.noiseFor) != m.ScoreAt.UnixNano()/int64(c.noiseFor) {
		v.factor[q.router] = 1 + c.noise*(2*c.random.Float64()-1)
	}
	m.Score, m.ScoreAt = rate*v.factor[q.router], c.now
}

func (c *crowd) do(v *crowdVR, action AttachAction) {
	open := func(r tables.RouterID) {
		if _, ok := v.open[r]; !ok {
			v.open[r] = c.now
		}
	}
	switch action := action.(type) {
	case Attach:
		open(action.Router)
	case Try:
		open(action.Router)
	case Detach:
		delete(v.open, action.Router)
	case Announce:
		if len(v.announce) > 0 && len(action.Queues) > 0 {
			v.changes = append(v.changes, c.now)
		}
		v.announce, v.first = action.Queues, 0
		if len(action.Queues) > 0 {
			v.first = action.Queues[0]
		}
	}
}

func (c *crowd) shift(r tables.RouterID, by int) {
	if r != 0 {
		c.queues[r-1].serves += by
	}
}

// unfairness is the largest deviation of a queue-VR from its fair share of the limited VRs, by
// capacity.
func (c *crowd) unfairness() (worst float64) {
	total := 0.0
	for _, q := range c.queues {
		total += q.capacity
	}
	for _, q := range c.queues {
		fair := q.capacity / total * float64(len(c.limited))
		worst = max(worst, math.Abs(float64(q.serves)-fair)/fair)
	}
	return worst
}

// busiest returns the most changes of one VR, of set and order, within any window of a length after a
// time.
func (c *crowd) busiest(after time.Time, window time.Duration) (most int) {
	for _, v := range c.limited {
		for i, t := range v.changes {
			if t.Before(after) {
				continue
			}
			n := 0
			for _, u := range v.changes[i:] {
				if u.Sub(t) < window {
					n++
				}
			}
			most = max(most, n)
		}
	}
	return most
}

func (c *crowd) loads() (list []int) {
	for _, q := range c.queues {
		list = append(list, q.serves)
	}
	return list
}
