package node

import (
	"context"
	"slices"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/vr"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// drainEvery is how often clients that are still here are asked again to leave, and how often we look
// whether anything is relayed: a frame may be lost.
const drainEvery = time.Second

// emptying is what a VR that is emptied keeps track of. It ends with the process: a VR that starts serves.
type emptying struct {
	since   time.Time // zero: not draining
	relayed uint64    // data packets relayed, when last looked at
	moved   time.Time // when that number was last seen to grow
}

// Drain implements control.Router.
func (a api) Drain(ctx context.Context, begin bool) (out control.Drain, err error) {
	err = a.n.call(ctx, func(now time.Time, l *loop) {
		l.drain(now, begin)
		out = l.describeDrain(now)
	})
	return out, err
}

// Drained implements control.Router.
func (a api) Drained(ctx context.Context) (out control.Drain, err error) {
	err = a.n.call(ctx, func(now time.Time, l *loop) { out = l.describeDrain(now) })
	return out, err
}

// drain begins to empty this VR, or takes that back. What is relayed still goes on: those who leave have
// another queue-VR before they do.
func (l *loop) drain(now time.Time, begin bool) {
	if begin == l.drains {
		return
	}
	l.drains = begin
	l.self.handle(now, vr.Draining{Draining: begin})
	l.due(now, choreRecord, 0)
	l.n.log.Info("draining", "begin", begin, "clients", len(l.queues.clients))
	if begin {
		l.emptying = emptying{since: now, relayed: l.n.carried.Load(), moved: now}
		l.keepDraining(now, now)
		return
	}
	l.emptying = emptying{}
	for id, c := range l.queues.clients { // they are welcome again
		l.do(now, l.links.Tell(now, id, frame.Attached{Order: c.order, Accepted: true}.Append(nil)))
	}
}

// keepDraining asks those who are still here to leave, until the drain that began at since ends.
func (l *loop) keepDraining(now, since time.Time) {
	if !l.drains || l.emptying.since != since {
		return
	}
	l.queues.drain(now)
	l.watchRelayed(now)
	l.after(now, drainEvery, func(now time.Time) { l.keepDraining(now, since) })
}

// watchRelayed takes note of whether data is relayed. Probes of paths do not count: they go on as long as
// anybody knows us.
func (l *loop) watchRelayed(now time.Time) {
	if n := l.n.carried.Load(); n != l.emptying.relayed {
		l.emptying.relayed, l.emptying.moved = n, now
	}
}

func (l *loop) describeDrain(now time.Time) control.Drain {
	d := control.Drain{
		Draining: l.drains, Serves: l.relays(), Why: l.whyNoRelay(), Clients: []string{}, Relayed: l.n.carried.Load(),
	}
	for id := range l.queues.clients {
		d.Clients = append(d.Clients, l.name(id))
	}
	slices.Sort(d.Clients)
	if l.drains {
		l.watchRelayed(now)
		since := l.emptying.since.UTC()
		d.Since, d.Quiet = &since, now.Sub(l.emptying.moved).Seconds()
	}
	return d
}

// leave says that we have left a queue-VR that still counts us among those it serves. It is told once when we
// detach, and that may be lost.
func (q *queues) leave(now time.Time, id tables.RouterID) {
	q.order++
	q.l.do(now, q.l.links.Tell(now, id, frame.Attach{Order: q.order, Mode: frame.AttachLeave}.Append(nil)))
}
