package gossip

import (
	"sync"
	"time"

	"github.com/hashicorp/serf/serf"

	"github.com/vine-mesh/vine/tables"
)

// eventQueue is how many events of serf wait for pump. pump never waits, and serf queues
// 1,024 more.
const eventQueue = 256

// pump takes serf's events until stop is closed. It must keep up: serf sends them with its
// locks held.
func (g *Gossip) pump(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case e := <-g.events:
			if m, ok := e.(serf.MemberEvent); ok {
				g.members(m)
			}
			g.subs.publish(e)
		}
	}
}

// members tells the police and the caller of changed members.
func (g *Gossip) members(e serf.MemberEvent) {
	var tell func(tables.RouterID)
	gone := time.Now()
	switch e.Type {
	case serf.EventMemberJoin:
		tell, gone = g.config.Events.Up, time.Time{}
	case serf.EventMemberFailed:
		tell = g.config.Events.Failed
	case serf.EventMemberLeave:
		tell = g.config.Events.Left
	case serf.EventMemberUpdate:
		tell, gone = g.config.Events.Updated, time.Time{}
	default:
		return // reaped: it was reported as failed or left long ago
	}
	for _, m := range e.Members {
		g.police.gone(m.Name, gone)
		id, ok := g.config.Directory.ByName(m.Name)
		if ok && tell != nil && id != g.config.Self.Router {
			tell(id)
		}
	}
}

// subscribers are those who watch events, such as clients of the serf RPC.
type subscribers struct {
	mu  sync.Mutex // guards all; held only for sends that do not wait
	all map[*subscriber]struct{}
}

// A subscriber gets events until it is removed.
type subscriber struct {
	events  chan serf.Event // publish drops when it is full
	dropped uint64
}

// subscribersMax bounds the subscribers: the clients of the RPC and their streams.
const subscribersMax = 64

func (s *subscribers) add(buffer int) (*subscriber, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) >= subscribersMax {
		return nil, false
	}
	if s.all == nil {
		s.all = make(map[*subscriber]struct{})
	}
	sub := &subscriber{events: make(chan serf.Event, buffer)}
	s.all[sub] = struct{}{}
	return sub, true
}

func (s *subscribers) remove(sub *subscriber) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.all[sub]; ok {
		delete(s.all, sub)
		close(sub.events)
	}
}

func (s *subscribers) publish(e serf.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.all {
		select {
		case sub.events <- e:
		default:
			sub.dropped++
		}
	}
}
