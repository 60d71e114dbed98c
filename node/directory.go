package node

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/vine-mesh/vine/mesh"
	"github.com/vine-mesh/vine/mesh/gossip"
	"github.com/vine-mesh/vine/tables"
)

// A directory is who is enrolled and where they are, for goroutines other than the control loop.
// It is immutable once published.
type directory struct {
	view *tables.View
	// links has the validated endpoint of every router that we have a link with.
	links map[tables.RouterID]netip.AddrPort
}

// ByName implements gossip.Directory.
func (n *Node) ByName(name string) (tables.RouterID, bool) {
	e, ok := n.directory.Load().view.EnrolmentByName(name)
	return e.Router, ok
}

// Name implements gossip.Directory.
func (n *Node) Name(id tables.RouterID) (string, bool) {
	e, ok := n.directory.Load().view.Enrolment(id)
	return e.Name, ok
}

func (d *directory) endpoint(id tables.RouterID, recorded []netip.AddrPort) (netip.AddrPort, bool) {
	if at, ok := d.links[id]; ok {
		return at, true
	}
	if len(recorded) == 0 {
		return netip.AddrPort{}, false
	}
	return recorded[0], true
}

// publishDirectory gives the other goroutines the present documents and links.
func (l *loop) publishDirectory() {
	d := &directory{view: l.store.Snapshot(), links: map[tables.RouterID]netip.AddrPort{}}
	for id, p := range l.peers {
		if p.endpoint.IsValid() {
			d.links[id] = p.endpoint
		}
	}
	l.n.directory.Store(d)
}

// newGossip makes the VR's gossip. What it hears comes to the control loop as hints; when that
// is behind, they are dropped, and anti-entropy does without.
func newGossip(n *Node) (*gossip.Gossip, error) {
	hint := func(f func(now time.Time, l *loop)) {
		select {
		case n.hearsay <- f:
		default:
			n.busy.Add(1)
		}
	}
	member := func(ev func(id tables.RouterID) mesh.Event) func(tables.RouterID) {
		return func(id tables.RouterID) {
			hint(func(now time.Time, l *loop) { l.gossip.tell(now, ev(id)) })
		}
	}
	// A damaged note costs only time: see gossip.Config.
	note, _ := n.options.State.Note(incarnationNote)
	incarnation, _ := strconv.ParseUint(note, 10, 32)
	return gossip.New(gossip.Config{
		Incarnation: uint32(incarnation),
		Self:        gossip.Self{Router: n.self.Router, Name: n.self.Name},
		Tags:        map[string]string{"id": n.self.Router.String()},
		Send:        n.pouch.send,
		Dial:        n.dial,
		Directory:   n,
		Rumours:     n.rumours,
		Log:         n.log,
		Events: gossip.Events{
			Up:     member(func(id tables.RouterID) mesh.Event { return mesh.MemberUp{Peer: id} }),
			Failed: member(func(id tables.RouterID) mesh.Event { return mesh.MemberDown{Peer: id} }),
			Left:   member(func(id tables.RouterID) mesh.Event { return mesh.MemberDown{Peer: id} }),
			Root: func(from tables.RouterID, root [gossip.RootLen]byte) {
				hint(func(now time.Time, l *loop) { l.gossip.tell(now, mesh.RootHeard{Peer: from, Root: root}) })
			},
			Rumour: func(from tables.RouterID, message []byte) {
				hint(func(now time.Time, l *loop) { l.gossip.heard(now, from, message) })
			},
		},
	})
}
