package node

import (
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/path"
	"github.com/vine-mesh/vine/transport/underlay"
)

// dialable reports whether we have a way to dial a router ourselves: an endpoint of a family that we have, or a
// stream endpoint where UDP leads nowhere.
func (l *loop) dialable(id tables.RouterID) bool {
	if at, up := l.links.Endpoint(id); up && path.KindOf(at) != path.Relayed {
		return true
	}
	r, ok := l.store.LinkRecord(id)
	if !ok {
		return false
	}
	if !l.n.reach.silent.Load() && slices.ContainsFunc(r.Endpoints, func(at netip.AddrPort) bool { return l.n.reaches(at.Addr()) }) {
		return true
	}
	return l.n.streams != nil && slices.ContainsFunc(streamTargets(r.Streams, l.n.options.Proxy), func(t underlay.StreamTarget) bool {
		return t.Proxy != nil || l.n.reaches(t.Endpoint.Addr())
	})
}

// bound returns the queue-VRs that the operator binds this VR to, if he does.
func (l *loop) bound() (list []tables.RouterID, is bool) {
	for _, name := range l.settings.Queues {
		if e, ok := l.store.EnrolmentByName(name); ok && e.Router != l.n.self.Router {
			list = append(list, e.Router)
		}
	}
	return list, len(l.settings.Queues) > 0
}

// mayPass reports whether our packets may go through a relay: any, unless we are limited and the operator
// binds us to some.
func (l *loop) mayPass(relay tables.RouterID) bool {
	list, is := l.bound()
	return !is || !l.limited() || slices.Contains(list, relay)
}

// offerThrough offers the paths through a relay to every link that is not direct.
func (q *queues) offerThrough(now time.Time, relay tables.RouterID) {
	l := q.l
	for _, id := range l.links.Established() {
		at, _ := l.links.Endpoint(id)
		if id != relay && path.KindOf(at) != path.Direct {
			l.do(now, l.links.Offer(now, id, path.Relay(relay, id)))
		}
	}
}

// candidates is what a peer is told of where we may be found: see transport.Config.
func (l *loop) candidates(tables.RouterID) (endpoints []netip.AddrPort, relays []tables.RouterID) {
	if l.settings.Kind != "limited" { // a declared one is not to be asked
		endpoints = l.self.state.Verdict().Endpoints
	}
	relays = slices.Clone(l.queues.list)
	for id := range l.queues.trials {
		relays = append(relays, id)
	}
	slices.Sort(relays[len(l.queues.list):])
	return endpoints[:min(len(endpoints), 8)], relays[:min(len(relays), 8)]
}

// leads reports whether we choose the path of the link with a router: the limited one does, since it is
// whose ways differ; else the lower router ID. Both sides go by the link records.
func (l *loop) leads(id tables.RouterID) bool {
	theirs, _ := l.store.LinkRecord(id)
	if ours, other := l.limited(), theirs.VRKind == "limited"; ours != other {
		return ours
	}
	return l.n.self.Router < id
}

// relayAllowed reports whether a router may be used as a relay: what it says of itself is only a hint, and what is
// sent through it is sealed.
func (l *loop) relayAllowed(now time.Time, id tables.RouterID) bool {
	e, ok := l.store.Enrolment(id)
	r, known := l.store.LinkRecord(id)
	if !ok || !known || id == l.n.self.Router || !l.mayPass(id) {
		return false
	}
	return e.MayQueue && r.VRKind == "regular" && l.store.Admitted(id, now) || l.n.off.anyQueue
}

// offerRelays takes the relays that a peer names: it has links with them, so we need one.
func (l *loop) offerRelays(now time.Time, router tables.RouterID, relays []tables.RouterID) {
	for _, relay := range relays {
		if relay == router || !l.relayAllowed(now, relay) {
			continue
		}
		l.do(now, l.links.Dial(now, relay))
		l.do(now, l.links.Offer(now, router, path.Relay(relay, router)))
	}
}

// degraded offers detours to a link whose path is silent or bad: through routers that we have links with
// already, and that relay (Andersen et al., "Resilient Overlay Networks", 2001: one hop is enough).
func (l *loop) degraded(now time.Time, router tables.RouterID) {
	q := l.queues
	if now.Sub(q.detoured[router]) < detourPause {
		return
	}
	q.detoured[router] = now
	offered := 0
	for i, id := range append(slices.Clone(q.list), l.links.Established()...) {
		if id == router || offered >= detoursMax || !l.relayAllowed(now, id) || i >= len(q.list) && slices.Contains(q.list, id) {
			continue
		}
		if at, up := l.links.Endpoint(id); !up || path.KindOf(at) == path.Relayed {
			continue
		}
		offered++
		l.do(now, l.links.Offer(now, router, path.Relay(id, router)))
	}
}

// draining reports whether a relay asks to be left.
func (l *loop) draining(id tables.RouterID) bool {
	r, _ := l.store.LinkRecord(id)
	return r.Draining || !l.queues.refused[id].IsZero() && l.now.Sub(l.queues.refused[id]) < time.Minute
}
