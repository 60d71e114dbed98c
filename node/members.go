package node

import (
	"slices"
	"time"

	"github.com/vine-mesh/vine/node/forward"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport"
)

// The VRs of a delivery set share the flows to its prefixes. Which of them can have some, links alone say: one that has given us
// a channel, and does not leave us without an answer.

// membersEvery is how often the VRs of a delivery set that have no link are dialled while another one of the set has: so one
// that comes back gets new flows, also where it does not dial us itself.
const membersEvery = 15 * time.Second

// shared calls f with every delivery set of others that has several routers, by VN.
func (l *loop) shared(f func(vn tables.VNID, routers []tables.RouterID)) {
	for _, vn := range l.installed {
		for _, set := range vn.Sets {
			if len(set.Routers) > 1 && !slices.Contains(set.Routers, l.n.self.Router) {
				f(vn.VN.ID, set.Routers)
			}
		}
	}
}

// sharers returns the routers of all such sets; nil: there are none.
func (l *loop) sharers() (list map[tables.RouterID]struct{}) {
	l.shared(func(_ tables.VNID, routers []tables.RouterID) {
		if list == nil {
			list = map[tables.RouterID]struct{}{}
		}
		for _, id := range routers {
			list[id] = struct{}{}
		}
	})
	return list
}

// ready reports whether packets of the VN can go to a router now, and are likely to arrive.
func (l *loop) ready(vn tables.VNID, id tables.RouterID) bool {
	p := l.peers[id]
	return p != nil && p.send != nil && p.send.index[vn] != 0 && !p.silent
}

// avoided returns who is left out of its delivery set: who is not ready, as long as another one is. nil: nobody.
func (l *loop) avoided() map[forward.Member]struct{} {
	var list map[forward.Member]struct{}
	l.shared(func(vn tables.VNID, routers []tables.RouterID) {
		if !slices.ContainsFunc(routers, func(id tables.RouterID) bool { return l.ready(vn, id) }) {
			return
		}
		for _, id := range routers {
			if l.ready(vn, id) {
				continue
			}
			if list == nil {
				list = map[forward.Member]struct{}{}
			}
			list[forward.Member{VN: vn, Router: id}] = struct{}{}
		}
	})
	return list
}

// silent takes note that a router does not answer, or does again.
func (l *loop) silent(a transport.Silent) {
	p := l.peerOf(a.Router)
	if p.silent == a.On {
		return
	}
	p.silent = a.On
	if l.sharesSet(a.Router) {
		l.publishPeers()
	}
}

// sharesSet reports whether a router is in a delivery set with others.
func (l *loop) sharesSet(id tables.RouterID) (shares bool) {
	l.shared(func(_ tables.VNID, routers []tables.RouterID) { shares = shares || slices.Contains(routers, id) })
	return shares
}

// dialMembers dials the VRs of delivery sets that have no link, where another one of the set has.
func (l *loop) dialMembers(now time.Time) {
	var list []tables.RouterID
	l.shared(func(vn tables.VNID, routers []tables.RouterID) {
		if slices.ContainsFunc(routers, func(id tables.RouterID) bool { return l.ready(vn, id) }) {
			list = append(list, routers...)
		}
	})
	slices.Sort(list)
	for _, id := range slices.Compact(list) {
		if _, up := l.links.Conn(id); !up {
			l.do(now, l.links.Dial(now, id))
		}
	}
}

// dialSet dials the others of a delivery set, since a packet waits for one of it: whoever answers gets what comes next.
func (l *loop) dialSet(now time.Time, d forward.Decision) {
	l.shared(func(vn tables.VNID, routers []tables.RouterID) {
		if vn != d.VN || !slices.Contains(routers, d.To) {
			return
		}
		for _, id := range routers {
			if _, up := l.links.Conn(id); id != d.To && !up {
				l.do(now, l.links.Dial(now, id))
			}
		}
	})
}
