package transport

import (
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/path"
)

// A WayStatus describes one path of a link.
type WayStatus struct {
	Path      netip.AddrPort
	InUse     bool
	Validated bool
	Asked     bool         // it was asked and has not answered yet
	Heard     time.Time    // its last answer; zero: none yet
	Measure   path.Measure // of what we send
	Chosen    path.Measure // of the direction that carries more: the choice goes by it
}

// Ways describes the paths of the link with a router, the one in use first, and the leader's last
// decision about them; leads says whether that is us.
func (l *Links) Ways(now time.Time, router tables.RouterID) (list []WayStatus, choice path.Decision, leads bool) {
	k := l.links[router]
	if k == nil || k.conn == nil {
		return nil, path.Decision{}, false
	}
	c := k.conn
	for _, w := range c.paths.list {
		s := WayStatus{
			Path: w.addr, InUse: w.addr == c.endpoint, Validated: w.validated(), Asked: w.tries+w.rounds > 0, Heard: w.heard,
			Measure: w.there.Measure(now), Chosen: w.measured(now, c.paths.back),
		}
		if s.InUse {
			s.Validated, s.Heard = true, c.liveness.heardAt
		}
		list = append(list, s)
	}
	slices.SortStableFunc(list, func(a, b WayStatus) int {
		switch {
		case a.InUse != b.InUse:
			if a.InUse {
				return -1
			}
			return 1
		case a.Validated != b.Validated:
			if a.Validated {
				return -1
			}
			return 1
		}
		return a.Path.Compare(b.Path)
	})
	return list, c.paths.choice, c.leads()
}

// Established returns the routers that there is a link with, sorted.
func (l *Links) Established() []tables.RouterID {
	var list []tables.RouterID
	for id, k := range l.links {
		if k.conn != nil {
			list = append(list, id)
		}
	}
	slices.Sort(list)
	return list
}

// Endpoint returns the path in use of the link with a router.
func (l *Links) Endpoint(router tables.RouterID) (netip.AddrPort, bool) {
	if k := l.links[router]; k != nil && k.conn != nil {
		return k.conn.endpoint, true
	}
	return netip.AddrPort{}, false
}
