package node

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/vine-mesh/vine/mesh"
	"github.com/vine-mesh/vine/mesh/gossip"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/path"
)

// A directory is who is enrolled and where they are, for goroutines other than the control loop.
// It is immutable once published.
type directory struct {
	view *tables.View // by which datagrams are opened and find their way: at once, without waiting for the disk
	told *tables.View // what the management interface shows: what is on disk
	// links has the path in use of every router that we have a link with.
	links map[tables.RouterID]netip.AddrPort
	// queues are the queue-VRs that we are attached to.
	queues []tables.RouterID
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

// route returns how a gossip datagram goes to a router: a path, or else the queue-VR that is to pass it on;
// neither if there is no way.
func (d *directory) route(n *Node, id tables.RouterID) (at netip.AddrPort, relay tables.RouterID) {
	if at, ok := d.links[id]; ok {
		return at, 0
	}
	record, ok := d.view.LinkRecord(id)
	if !ok {
		return netip.AddrPort{}, 0
	}
	var queues []tables.RouterID
	if record.VRKind == "limited" {
		queues = record.Queues
	}
	for _, q := range queues { // the nearer the better: one that we have a link with
		if at, ok := d.links[q]; ok && path.KindOf(at) != path.Relayed {
			return netip.AddrPort{}, q
		}
	}
	if len(queues) == 0 {
		for _, at := range record.Endpoints {
			if n.reaches(at.Addr()) && !n.reach.silent.Load() {
				return at, 0
			}
		}
	} else if n.reachesAny(d.view, queues[0]) {
		return netip.AddrPort{}, queues[0]
	}
	for _, q := range d.queues {
		if q != id {
			return netip.AddrPort{}, q
		}
	}
	return netip.AddrPort{}, 0
}

// mayQueue reports whether the authority lets a router be a queue-VR.
func (d *directory) mayQueue(id tables.RouterID) bool {
	e, ok := d.view.Enrolment(id)
	return ok && e.MayQueue
}

// reachesAny reports whether we can send to an endpoint of a router.
func (n *Node) reachesAny(view *tables.View, id tables.RouterID) bool {
	record, _ := view.LinkRecord(id)
	return !n.reach.silent.Load() && slices.ContainsFunc(record.Endpoints, func(at netip.AddrPort) bool { return n.reaches(at.Addr()) })
}

// publishDirectory gives the other goroutines the present documents and links.
func (l *loop) publishDirectory() {
	d := &directory{view: l.store.Snapshot(), told: l.backlog.believed(), links: map[tables.RouterID]netip.AddrPort{}, queues: slices.Clone(l.queues.list)}
	for id, p := range l.peers {
		if p.endpoint.IsValid() {
			d.links[id] = p.endpoint
		}
	}
	l.n.tellLinks(l.n.directory.Swap(d), d)
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
	member := func(state string, ev func(id tables.RouterID) mesh.Event) func(tables.RouterID) {
		return func(id tables.RouterID) {
			n.tellMember(id, state)
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
			Up:     member("alive", func(id tables.RouterID) mesh.Event { return mesh.MemberUp{Peer: id} }),
			Failed: member("failed", func(id tables.RouterID) mesh.Event { return mesh.MemberDown{Peer: id} }),
			Left:   member("left", func(id tables.RouterID) mesh.Event { return mesh.MemberDown{Peer: id} }),
			Root: func(from tables.RouterID, root [gossip.RootLen]byte) {
				hint(func(now time.Time, l *loop) { l.gossip.tell(now, mesh.RootHeard{Peer: from, Root: root}) })
			},
			Rumour: func(from tables.RouterID, message []byte) {
				hint(func(now time.Time, l *loop) { l.gossip.heard(now, from, message) })
			},
		},
	})
}
