package node

import (
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// A client is a limited VR attached to this queue-VR.
type client struct {
	since  time.Time
	order  uint32
	mode   uint8
	polled uint32         // order of its last poll
	from   netip.AddrPort // where an unanswered poll came from, which has yet to prove itself; invalid: there is none
}

// attach serves a limited VR, or says that we do not.
func (q *queues) attach(now time.Time, id tables.RouterID, f frame.Attach) {
	l := q.l
	c := q.clients[id]
	if left, gone := q.gone[id]; c != nil && f.Order < c.order || gone && f.Order <= left {
		return
	}
	if f.Mode == frame.AttachLeave {
		q.dropClient(id)
		q.gone[id] = f.Order
		return
	}
	accepted := l.relays() && !l.drains && (c != nil || len(q.clients) < clientsMax)
	switch {
	case accepted:
		if c == nil {
			c = &client{since: now}
			q.clients[id] = c
			if now.Sub(q.named[id]) >= nameEvery {
				q.named[id] = now
				l.n.log.Info("serving limited VR", "peer", l.name(id))
			}
		}
		before := c.mode
		c.order, c.mode = f.Order, f.Mode
		l.publishPeers()
		if before == frame.AttachPoll && c.mode != before {
			l.n.letGo(id)
		}
	case c != nil && l.drains:
		c.order = f.Order // it has not left yet
	default:
		q.dropClient(id)
	}
	l.do(now, l.links.Tell(now, id, frame.Attached{Order: f.Order, Accepted: accepted}.Append(nil)))
}

// drain asks every client to leave.
func (q *queues) drain(now time.Time) {
	l := q.l
	for id, c := range q.clients {
		l.do(now, l.links.Tell(now, id, frame.Attached{Order: c.order, Accepted: false}.Append(nil)))
	}
}
