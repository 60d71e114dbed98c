package node

import (
	"context"
	"time"

	"github.com/vine-mesh/vine/node/forward"
	"github.com/vine-mesh/vine/node/relay"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport"
	"github.com/vine-mesh/vine/transport/frame"
)

// Mute keeps a Node that does not run yet from rumouring.
func (n *Node) Mute() { n.rumours.mute = true }

// TrustPeers takes the check of arriving packets out of a Node that does not run yet.
func (n *Node) TrustPeers() {
	n.arrived = func(*forward.Snapshot, tables.RouterID, tables.VNID, []byte) (int, forward.Drop) {
		return 0, forward.DropNone
	}
}

// A Channel is what one channel index that the VR issued stands for.
type Channel struct {
	Router   tables.RouterID
	VN       tables.VNID
	Endpoint string
}

// A Holding is all that gossip must never change: what lanes decide by, whom the VR is linked with
// and since when, and in which VNs it sends to and takes from whom. Session keys and channel
// indexes are left out: they change by themselves every two minutes.
type Holding struct {
	Documents [16]byte // root of the index
	Tables    *forward.Snapshot
	Links     map[tables.RouterID]transport.Conn // one number from link up to link down
	Endpoints map[tables.RouterID]string
	Keys      map[tables.RouterID]tables.LinkKey // static link keys in use
	Sends     map[tables.RouterID]map[tables.VNID]bool
	Takes     map[Channel]bool
}

// Holding returns what a running Node holds.
func (n *Node) Holding(ctx context.Context) (h Holding, err error) {
	err = n.call(ctx, func(now time.Time, l *loop) {
		h = Holding{
			Links: map[tables.RouterID]transport.Conn{}, Endpoints: map[tables.RouterID]string{},
			Keys: map[tables.RouterID]tables.LinkKey{}, Sends: map[tables.RouterID]map[tables.VNID]bool{}, Takes: map[Channel]bool{},
		}
		h.Documents = l.gossip.index.Root()
		snap := n.snapshot.Load()
		h.Tables = snap.forward
		for id, p := range snap.peers {
			h.Sends[id] = map[tables.VNID]bool{}
			for vn := range p.index {
				h.Sends[id][vn] = true
			}
			h.Endpoints[id] = p.endpoint.String()
			h.Links[id], _ = l.links.Conn(id)
			r, _ := l.store.LinkRecord(id)
			h.Keys[id] = r.Link
		}
		for _, g := range *n.grants.Load() {
			h.Takes[Channel{g.router, g.vn, g.endpoint.String()}] = true
		}
	})
	return h, err
}

// LinkWith returns the number of the connection with a router, zero for none.
func (n *Node) LinkWith(ctx context.Context, id tables.RouterID) (c transport.Conn) {
	_ = n.call(ctx, func(_ time.Time, l *loop) { c, _ = l.links.Conn(id) })
	return c
}

// GossipDrops returns what the policing of gossip has dropped, by reason.
func (n *Node) GossipDrops() map[string]uint64 { return n.gossip.Drops() }

// GossipNotOpened returns how many gossip datagrams did not open.
func (n *Node) GossipNotOpened() uint64 { return n.gossiped.Load() }

// Judged returns how many datagrams have been dropped without an answer.
func (n *Node) Judged() uint64 {
	return n.junk.Load() + n.gated.Load() + n.gossiped.Load() + n.busy.Load() + n.crowded.Load() + n.unknown.Load()
}

// DearHandshakes makes every first message cost a Node that does not run yet the time d, as on a
// slow machine.
func (n *Node) DearHandshakes(d time.Duration) {
	shake := n.shake
	n.shake = func(l *loop, now time.Time, a arrival) {
		time.Sleep(d)
		shake(l, now, a)
	}
}

// NoCookies keeps a Node that does not run yet from asking for cookies when it is under load.
func (n *Node) NoCookies() {
	n.underLoad = func(bool, int, int, time.Duration) bool { return false }
}

// Revoked reports whether the VR knows that a router is not enrolled.
func (n *Node) Revoked(ctx context.Context, id tables.RouterID) (revoked bool) {
	_ = n.call(ctx, func(_ time.Time, l *loop) {
		_, ok := l.store.Enrolment(id)
		revoked = !ok
	})
	return revoked
}

// Inside has the control loop of a running Node call f; while it does, the loop does nothing else.
func (n *Node) Inside(f func(l Loop)) {
	_ = n.call(context.Background(), func(now time.Time, l *loop) { f(Loop{l, now}) })
}

// A Loop is the control loop of a Node while f of Inside runs, and the time of that event.
type Loop struct {
	l   *loop
	now time.Time
}

// FillCommands leaves no room for another command.
func (x Loop) FillCommands() {
	for {
		select {
		case x.l.n.commands <- func(time.Time, *loop) {}:
		default:
			return
		}
	}
}

// GossipOpened has the loop take a gossip stream that a router has just opened. No link knows it.
func (x Loop) GossipOpened(id tables.RouterID, number int) {
	x.l.streamOpened(x.now, transport.StreamOpened{Router: id, Stream: transport.Stream(1<<40 + number), Kind: streamGossip})
}

// Streams returns how many streams there are.
func (x Loop) Streams() int { return len(x.l.streams) }

// DropCommand takes one command out of the queue, so that a loop that waits for room goes on.
func (n *Node) DropCommand() { <-n.commands }

// Queued returns how many commands wait for the control loop, and how much of what gossip heard.
func (n *Node) Queued() (commands, hearsay int) { return len(n.commands), len(n.hearsay) }

// bytes returns how many bytes wait.
func (h *held) bytes() (sum int) {
	for _, status := range []func() ([]relay.ClientStatus, uint64){h.poll.Status, h.queue.Status} {
		list, _ := status()
		for _, c := range list {
			sum += c.Bytes
		}
	}
	return sum
}

// CommandsMax is how many commands can wait.
const CommandsMax = commandsMax

// Relaying has what a Node that does not run yet is to relay given to f instead. pass sends a payload on under a
// header, tagged as the Node's own hop, to a router that it has a link with; any goroutine may call it.
func (n *Node) Relaying(f func(r frame.Relay, payload []byte, pass func(to tables.RouterID, r frame.Relay, payload []byte))) {
	pass := func(to tables.RouterID, r frame.Relay, payload []byte) {
		next := n.snapshot.Load().hops[to]
		if next == nil {
			return
		}
		whole, ok := next.sender.Wrap(append(make([]byte, frame.RelayHeaderLen), payload...), frame.RelayForward, r.VN, r.Source, r.Destination)
		if ok {
			n.write(datagrams(next.endpoint, whole))
		}
	}
	n.hostile = func(r frame.Relay, payload []byte) { f(r, payload, pass) }
}

// CarryAnyGossip takes what bounds the carrying of gossip out of a Node that does not run yet.
func (n *Node) CarryAnyGossip() { n.anyGossip, n.unmetered = true, true }

// Refused returns how many relay datagrams and relayed gossip packets broke a rule.
func (n *Node) Refused() uint64 { return n.refused.Load() }

// Queues returns the queue-VRs that the VR is attached to.
func (x Loop) Queues() []tables.RouterID { return x.l.queues.list }

// Boast has the VR's link record say that it has that capacity.
func (x Loop) Boast(bits int64) {
	x.l.settings.Capacity = bits
	x.l.due(x.now, choreRecord, 0)
}

// Record returns the link record of a router that the VR holds.
func (x Loop) Record(id tables.RouterID) tables.LinkRecord {
	r, _ := x.l.store.LinkRecord(id)
	return r
}

// Give has a running Node receive documents, as if another router had sent them.
func (n *Node) Give(raw ...[]byte) {
	n.command(func(_ time.Time, l *loop) { l.receive(raw, 0) })
}
