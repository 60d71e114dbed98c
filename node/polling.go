package node

import (
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
)

// The poll modes of dissertation table 3-3. A limited VR whose network forgets idle channels has its queue-VRs
// keep what they relay to it, and comes for it. Each poll opens the way for what it fetches.

const (
	// pollIdle is the pause between polls while no data flows. relay.Poll keeps what comes for three times as
	// long.
	pollIdle = time.Second
	// pollBusy is how long after the last data polls are sent at the interval that the operator chose.
	pollBusy = 2 * time.Second
)

// attachFrame asks a queue-VR to serve us in the way that the operator chose.
func (q *queues) attachFrame() frame.Attach {
	s := q.l.settings
	f := frame.Attach{Order: q.order, Mode: frame.AttachChannel}
	if s.Poll != PollNone {
		f.Mode, f.Interval = frame.AttachPoll, uint16(min(s.Interval, pollIdle).Milliseconds())
	}
	return f
}

// askAgain tells all queue-VRs that the operator has changed the mode.
func (q *queues) askAgain(now time.Time) {
	for _, a := range q.state.Current() {
		delete(q.accepted, a.Router)
		q.ask(now, a.Router)
	}
	q.l.due(now, chorePoll, 0)
}

// pause returns the pause between polls.
func (q *queues) pause(now time.Time) time.Duration {
	if now.Sub(q.flow) < pollBusy {
		return min(q.l.settings.Interval, pollIdle)
	}
	return pollIdle
}

// flowed takes note that data went through a relay.
func (q *queues) flowed(now time.Time) {
	q.flow = now
	if q.l.settings.Poll != PollNone {
		q.l.due(now, chorePoll, max(0, q.polled.Add(q.pause(now)).Sub(now)))
	}
}

// poll fetches what our queue-VRs keep for us.
func (q *queues) poll(now time.Time) {
	l := q.l
	if l.settings.Poll == PollNone {
		return
	}
	q.polls++
	q.polled = now
	polls := 0
	for _, a := range q.state.Current() {
		if q.accepted[a.Router] {
			polls++
			l.do(now, l.links.Tell(now, a.Router, frame.Poll{Order: q.polls}.Append(nil)))
			if l.overTCP() {
				l.streaming.renew(now, a.Router)
			}
		}
	}
	if polls > 0 { // else attached begins again
		l.due(now, chorePoll, q.pause(now))
	}
}

// polledBy gives a client what was kept for it. It has to come by the link's own path: what comes from elsewhere may
// be a copy that somebody else sent. If the client has a new address, the link finds out, and until then
// everything is kept.
func (q *queues) polledBy(now time.Time, id tables.RouterID, from netip.AddrPort, f frame.Poll) {
	l := q.l
	c := q.clients[id]
	if c == nil || c.mode != frame.AttachPoll || f.Order <= c.polled || path.KindOf(from) == path.Relayed {
		return
	}
	c.polled = f.Order
	if at, _ := l.links.Endpoint(id); at != from {
		c.from = from
		return
	}
	q.serve(now, id, c)
}

// moved gives a client that polled from a new address what was kept for it.
func (q *queues) moved(now time.Time, id tables.RouterID, to netip.AddrPort) {
	if c := q.clients[id]; c != nil && c.from == to {
		q.serve(now, id, c)
	}
}

func (q *queues) serve(now time.Time, id tables.RouterID, c *client) {
	l := q.l
	c.from = netip.AddrPort{}
	l.do(now, l.links.Reply(now, id, frame.Attached{Order: c.order, Accepted: true}.Append(nil)))
	l.n.held.release(id)
}

// dropClient ends the service for a limited VR. It comes no more, so that what waits for it goes now.
func (q *queues) dropClient(id tables.RouterID) {
	c := q.clients[id]
	if c == nil {
		return
	}
	delete(q.clients, id)
	q.l.publishPeers()
	if c.mode == frame.AttachPoll {
		q.l.n.letGo(id)
	}
}

// letGo sends what waits for a client of which the published snapshot says that it polls no more. No lane that goes by
// an older one keeps anything afterwards.
func (n *Node) letGo(client tables.RouterID) {
	n.receiving.Lock()
	defer n.receiving.Unlock()
	n.held.release(client)
}

// restarted forgets a client whose process is a new one, which counts from the beginning.
func (q *queues) restarted(now time.Time, id tables.RouterID) {
	q.dropClient(id)
	if q.attachedTo(id) {
		delete(q.accepted, id)
		q.ask(now, id)
	}
}

// tidy drops what nobody came for, and counts what was dropped.
func (q *queues) tidy(time.Time) {
	l := q.l
	for id, count := range l.n.held.tally() {
		if count == 0 {
			continue
		}
		l.n.unqueued.Add(count)
		if p := l.peers[id]; p != nil {
			p.served.dropped.Add(count)
		}
	}
}

// overTCP reports whether the operator wants polls by TCP. Then this VR dials no router by UDP.
//
// Dissertation table 3-3 has no connection between two polls. Here the next one is made before the last one is given up,
// after streamFresh at the latest, so that links always have a path: what they carry need not wait for the next
// poll, and their silence means something.
func (l *loop) overTCP() bool {
	return l.settings.Poll == PollTCP && l.settings.Kind != "regular" && l.n.streams != nil
}

// renew has the link with a queue-VR go over a fresh stream connection, if the one that it goes over is old.
func (s *streaming) renew(now time.Time, router tables.RouterID) {
	at, _ := s.l.links.Endpoint(router)
	if m := s.made[at]; m != nil && now.Sub(m.born) >= streamFresh && now.After(s.renewing[router]) {
		s.renewing[router] = now.Add(streamPatience + streamProof + streamGrace)
		s.round(router, s.renewed)
	}
}

func (s *streaming) renewed(now time.Time, router tables.RouterID, o streamOutcome) {
	l := s.l
	old, _ := l.links.Endpoint(router)
	if o.err != nil || s.made[old] == nil {
		l.n.log.Debug("stream connection not renewed", "peer", l.name(router), "err", o.err)
		if o.err == nil {
			l.n.streams.Hangup(o.at)
		}
		delete(s.renewing, router)
		return
	}
	s.made[o.at] = &streamMade{router: router, born: now, used: now}
	l.do(now, l.links.Offer(now, router, o.at))
	s.replace(now, router, old, o.at, now.Add(streamProof))
}

// replace has the link leave an old connection for a fresh one, once the router has answered over that.
func (s *streaming) replace(now time.Time, router tables.RouterID, old, fresh netip.AddrPort, until time.Time) {
	l := s.l
	switch {
	case s.made[old] == nil || s.made[fresh] == nil: // one has ended: the link looks for itself
		delete(s.renewing, router)
	case l.validated(now, router, fresh):
		s.leave(now, router, old, now.Add(streamGrace))
	case now.Before(until):
		l.after(now, streamStep, func(now time.Time) { s.replace(now, router, old, fresh, until) })
	default:
		l.n.streams.Hangup(fresh)
		delete(s.renewing, router)
	}
}

// leave has the link not use a connection any more, and closes it after a while: until then it carries what is under way, and
// what is sent before the link has moved.
func (s *streaming) leave(now time.Time, router tables.RouterID, old netip.AddrPort, until time.Time) {
	l := s.l
	if !now.Before(until) {
		l.n.streams.Hangup(old)
		delete(s.renewing, router)
		return
	}
	l.do(now, l.links.Lost(now, old)) // again and again, for questions of the peer make it known again
	l.after(now, streamStep, func(now time.Time) { s.leave(now, router, old, until) })
}

// validated reports whether a router has answered over a path of its link.
func (l *loop) validated(now time.Time, router tables.RouterID, at netip.AddrPort) bool {
	for _, w := range first(l.links.Ways(now, router)) {
		if w.Path == at {
			return w.Validated
		}
	}
	return false
}
