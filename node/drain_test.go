package node

import (
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
)

// TestDrainIsIdempotent: a drain that is asked for twice begins once and has one round of reminders, and one that is
// taken back and begun again has not two.
func TestDrainIsIdempotent(t *testing.T) {
	withStill(t, func(t *testing.T, s *still) {
		r := s.enrol("beta", "beta")
		order := func(begin bool) { s.l.handle(func(now time.Time) { s.l.drain(now, begin) }) }
		reminders := func() int { return len(s.l.timers) }
		s.wait(time.Minute)
		base := reminders()
		s.l.queues.clients[r.id] = &client{since: time.Now(), order: 1}
		order(true)
		first := s.l.emptying.since
		s.wait(300 * time.Millisecond)
		order(true)
		if s.l.emptying.since != first || reminders() != base+1 {
			t.Errorf("begun at %v and %v, %d timers", first, s.l.emptying.since, reminders()-base)
		}
		order(false)
		order(true)
		s.wait(3 * drainEvery)
		if n := reminders() - base; n != 1 {
			t.Errorf("%d timers", n)
		}
		if r := s.l.desiredRecord(); !r.Draining {
			t.Error("the link record does not say so")
		}
		order(false)
		s.wait(3 * drainEvery)
		if r := s.l.desiredRecord(); r.Draining || reminders() != base {
			t.Errorf("undone: %+v, %d timers", r, reminders()-base)
		}
	})
}

// TestDrainCountsData: what keeps a drain from ending is data that is relayed, seen at any of the looks.
func TestDrainCountsData(t *testing.T) {
	withStill(t, func(t *testing.T, s *still) {
		s.l.handle(func(now time.Time) { s.l.drain(now, true) })
		quiet := func() (d float64) {
			s.l.handle(func(now time.Time) { d = s.l.describeDrain(now).Quiet })
			return d
		}
		s.wait(5 * time.Second)
		if q := quiet(); q < 4.9 {
			t.Errorf("quiet for %v s of 5", q)
		}
		s.l.n.relayed.Add(100) // probes
		if q := quiet(); q < 4.9 {
			t.Errorf("probes count: quiet for %v s", q)
		}
		s.l.n.carried.Add(1)
		if q := quiet(); q != 0 {
			t.Errorf("quiet for %v s while data is relayed", q)
		}
	})
}

// TestLeaveIsRepeated: a queue-VR that has missed that we left, and asks us to leave, is told again; one that we are
// attached to, or about to leave, is not.
func TestLeaveIsRepeated(t *testing.T) {
	withStill(t, func(t *testing.T, s *still) {
		r := s.enrol("beta", "beta")
		q := s.l.queues
		refuse := func() (told bool) {
			before := q.order
			s.l.handle(func(now time.Time) { q.attached(now, r.id, frame.Attached{Order: q.order, Accepted: false}) })
			return q.order != before
		}
		do := func(a path.AttachAction) { s.l.handle(func(now time.Time) { q.do(now, a) }) }
		do(path.Attach{Router: r.id})
		if refuse() {
			t.Error("told that we leave where we are attached")
		}
		do(path.Detach{Router: r.id})
		if !refuse() || !refuse() {
			t.Error("not told again")
		}
		do(path.Attach{Router: r.id})
		if refuse() || slices.Contains(q.list, r.id) {
			t.Error("told that we leave where we are attached again")
		}
	})
}
