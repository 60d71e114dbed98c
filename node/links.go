package node

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/vine-mesh/vine/mesh"
	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/forward"
	"github.com/vine-mesh/vine/node/vr"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
)

// peerOf returns the state for a router, made on demand.
func (l *loop) peerOf(id tables.RouterID) *peer {
	p := l.peers[id]
	if p == nil {
		p = newPeer()
		l.peers[id] = p
	}
	return p
}

func newPeer() *peer {
	return &peer{
		sent: new(atomic.Bool), got: new(atomic.Bool), roamed: new(atomic.Bool), missed: new(atomic.Bool),
		served: new(served), grants: map[uint32]grant{}, misses: forward.NewTokenBucket(int(time.Second/missEvery), missBurst),
	}
}

// hello is the payload of our handshakes: enough for a peer that has never heard of us.
func (l *loop) hello() []byte {
	var b []byte
	for _, key := range []tables.DocKey{tables.EnrolmentKey(l.n.self.Router), tables.LinkRecordKey(l.n.self.Router)} {
		if d := l.store.Get(key); d != nil {
			b = append(b, d.Bytes()...)
		}
	}
	return b
}

// accept says which router has proved the link key static: the one whose identity signed a link
// record with that key. The hello brings that record, so a VR that was enrolled a second ago can
// link at once, and a liar who claims another's link key in his own record gains nothing: he cannot
// prove it. What the hello brings is verified and kept like any other document.
func (l *loop) accept(static tables.LinkKey, hello []byte) (tables.RouterID, error) {
	router, err := l.introduced(static, hello)
	if err != nil {
		return 0, err
	}
	if router == 0 {
		r, ok := l.store.LinkRecordByKey(static)
		if !ok {
			return 0, errStranger
		}
		router = r.Router
	}
	if !l.store.Admitted(router, l.now) {
		return 0, errStranger
	}
	return router, nil
}

// introduced returns the router whose link record the hello brings, zero if it brings none. A
// record that is older than the one we hold, with another key, is refused: the key was changed.
func (l *loop) introduced(static tables.LinkKey, hello []byte) (router tables.RouterID, err error) {
	for len(hello) > 0 {
		e, rest, err := tables.ParseEnvelope(hello)
		if err != nil {
			return 0, err
		}
		hello = rest
		d, err := e.Document()
		if err != nil {
			return 0, err
		}
		switch body := d.Body().(type) {
		case tables.Enrolment:
			l.keep(l.now, []*tables.Document{d}, 0)
		case tables.LinkRecord:
			l.keep(l.now, []*tables.Document{d}, 0)
			if held, ok := l.store.LinkRecord(body.Router); !ok || held.Link != static || body.Link != static {
				return 0, errStranger
			}
			router = body.Router
		}
	}
	return router, nil
}

var errStranger = errors.New("link key of no enrolled router")

// address returns where to dial a router.
func (l *loop) address(id tables.RouterID) (transport.Peer, bool) {
	r, ok := l.store.LinkRecord(id)
	if !ok || id == l.n.self.Router {
		return transport.Peer{}, false
	}
	return transport.Peer{Link: r.Link, Endpoints: l.pathsTo(id, r), Regular: r.VRKind == "regular", Reachable: r.VRKind == "regular" && !l.n.reach.silent.Load()}, true
}

// pathsTo returns the paths to a router that are known from its link record and our queue-VRs, best first.
func (l *loop) pathsTo(id tables.RouterID, r tables.LinkRecord) (paths []netip.AddrPort) {
	for _, at := range r.Endpoints {
		if l.n.reaches(at.Addr()) && !l.overTCP() {
			paths = append(paths, at)
		}
	}
	for _, relay := range r.Queues {
		if l.relayAllowed(l.now, relay) {
			paths = append(paths, path.Relay(relay, id))
		}
	}
	for _, relay := range l.queues.list { // it reaches whom we do not
		if at := path.Relay(relay, id); relay != id && l.relayAllowed(l.now, relay) && !slices.Contains(paths, at) {
			paths = append(paths, at)
		}
	}
	return paths
}

// punchable reports whether an endpoint that a peer told of itself may be asked.
func (l *loop) punchable(at netip.AddrPort) bool {
	a := at.Addr()
	return at.Port() != 0 && !l.overTCP() && (a.IsGlobalUnicast() || a.IsLoopback() && l.n.socket.LocalAddr().Addr().IsLoopback()) &&
		!path.Reserved(a) && !l.store.InSpaceAddr(a) && l.n.reaches(a)
}

func (l *loop) linkUp(now time.Time, a transport.Up) {
	p := l.peerOf(a.Router)
	p.endpoint = a.Endpoint
	l.publishDirectory()
	l.n.log.Info("link up", "peer", l.name(a.Router), "endpoint", a.Endpoint, "dialled", a.Initiator)
	dials := p.dials
	p.dials = nil
	for _, d := range dials {
		d.done(now, a.Conn, true)
	}
	l.gossip.tell(now, mesh.PeerLinked{Peer: a.Router})
	l.n.keep(a.Endpoint)
	if !a.Initiator && path.KindOf(a.Endpoint) == path.Direct {
		l.self.handle(now, vr.Reached{From: a.Endpoint, By: a.Router})
	}
	l.self.linked(now, a.Router, a.Endpoint)
	l.queues.linkUp(now, a.Router)
}

func (l *loop) linkDown(now time.Time, a transport.Down) {
	if a.Router == 0 {
		l.server.joinDown(now, a.Conn)
		return
	}
	l.n.log.Info("link down", "peer", l.name(a.Router), "reason", a.Reason)
	p := l.peerOf(a.Router)
	p.endpoint, p.largest, p.silent = netip.AddrPort{}, 0, false
	delete(l.observed, a.Router)
	l.self.handle(now, vr.Unlinked{Router: a.Router})
	l.publishDirectory()
	l.stopSending(a.Router)
	l.queues.linkDown(now, a.Router)
}

// stopSending makes packets for a router wait for its next channels: it is gone, or a new process
// that has not the old keys.
func (l *loop) stopSending(id tables.RouterID) {
	if p := l.peerOf(id); p.send != nil {
		p.send = nil
		l.publishPeers()
	}
}

// channels makes the lanes send to a router as the link says, and lets waiting packets go.
func (l *loop) channels(a transport.Channels) {
	p := l.peerOf(a.Router)
	p.endpoint = a.Endpoint
	p.send = &sendPeer{router: a.Router, endpoint: a.Endpoint, sender: a.Sender, index: a.Index, used: p.sent}
	l.publishPeers()
	l.release(p)
}

// release sends the packets that waited for the channels that p now has. Those of other VNs go on
// waiting.
func (l *loop) release(p *peer) {
	if len(p.packets) == 0 {
		return
	}
	s := newSealer(l.n, 0, len(p.packets))
	send := l.n.snapshot.Load().peers[p.send.router]
	p.packets = slices.DeleteFunc(p.packets, func(w waitingPacket) bool {
		index := send.index[w.decision.VN]
		if index == 0 {
			return false
		}
		s.seal(send, index, w.decision, capture.Packet{Bytes: w.packet})
		l.waiting--
		return true
	})
	s.flush()
}

func (l *loop) moved(now time.Time, a transport.Moved) {
	l.n.keep(a.Endpoint)
	l.self.linked(now, a.Router, a.Endpoint)
	p := l.peerOf(a.Router)
	p.endpoint, p.largest = a.Endpoint, 0
	l.publishDirectory()
	if p.send != nil {
		next := *p.send
		next.endpoint = a.Endpoint
		p.send = &next
	}
	l.publishPeers()
	for index, g := range p.grants {
		g.endpoint = a.Endpoint
		p.grants[index] = g
	}
	p.roamed.Store(false)
	l.publishGrants()
	l.n.log.Info("peer moved", "peer", l.name(a.Router), "endpoint", a.Endpoint)
	l.queues.moved(now, a.Router, a.Endpoint)
}

// sized has packets that are larger than the path carries split, cut, or refused.
func (l *loop) sized(a transport.Sized) {
	p := l.peerOf(a.Router)
	if p.largest == a.Bytes {
		return
	}
	if p.largest > 0 {
		l.n.log.Info("path MTU", "peer", l.name(a.Router), "datagram", a.Bytes, "was", p.largest)
	}
	p.largest = a.Bytes
	l.publishPeers()
}

func (l *loop) granted(a transport.Granted) {
	p := l.peerOf(a.Router)
	for _, g := range a.Grants {
		p.grants[g.Index] = grant{a.Router, g.VN, g.Receiver, p.endpoint, p.got, p.roamed}
	}
	l.publishGrants()
}

func (l *loop) withdrawn(a transport.Withdrawn) {
	p := l.peerOf(a.Router)
	for _, index := range a.Indexes {
		delete(p.grants, index)
	}
	l.publishGrants()
}

// publishPeers gives the lanes a snapshot of the compiled tables and the present channels and hops.
func (l *loop) publishPeers() {
	next := snapshot{relays: l.relays(), sharers: l.sharers(), prefer: l.n.preferring(l.apart.list())}
	next.peers = make(map[tables.RouterID]*sendPeer, len(l.peers))
	next.hops = make(map[tables.RouterID]*hopPeer, len(l.peers))
	for id, p := range l.peers {
		if p.hop != nil && p.endpoint.IsValid() && path.KindOf(p.endpoint) != path.Relayed {
			h := &hopPeer{endpoint: p.endpoint, sender: p.hop, served: p.served}
			if c := l.queues.clients[id]; c != nil {
				h.attached, h.polls = true, c.mode == frame.AttachPoll
			}
			next.hops[id] = h
		}
	}
	for id, p := range l.peers {
		if p.send == nil {
			continue
		}
		send := *p.send
		if relay, _ := path.RelayOf(send.endpoint); relay != 0 {
			send.hop = next.hops[relay]
		}
		next.peers[id] = &send
	}
	next.forward = l.compiled.WithLinks(l.pathMTUs(l.store.Snapshot()), l.avoided())
	l.n.snapshot.Store(&next)
	l.publishHops() // the authority may have changed its mind about queue-VRs
}

func (l *loop) publishGrants() {
	all := make(map[uint32]grant)
	for _, p := range l.peers {
		maps.Copy(all, p.grants)
	}
	l.n.grants.Store(&all)
}

// queue keeps a packet until its router has a channel, and sees to it that there will be one.
func (l *loop) queue(now time.Time, w waitingPacket) {
	p := l.peerOf(w.decision.To)
	if len(p.packets) >= peerPacketsMax {
		p.packets = slices.Delete(p.packets, 0, 1)
		l.waiting--
		l.n.waited.Add(1)
	}
	if l.waiting >= packetsWaitMax {
		l.n.waited.Add(1)
	} else {
		if len(p.packets) == 0 {
			p.since = now
		}
		p.packets = append(p.packets, w)
		l.waiting++
	}
	l.do(now, l.links.Dial(now, w.decision.To))
	l.dialSet(now, w.decision)
}

// sweep passes the lanes' marks on to the links, which judge liveness by them.
func (l *loop) sweep(now time.Time) {
	busy := false
	for id, p := range l.peers {
		if (p.sent.Load() || p.got.Load()) && path.KindOf(p.endpoint) == path.Relayed {
			l.queues.flowed(now)
		}
		if p.sent.Load() {
			p.sent.Store(false)
			busy = true
			l.do(now, l.links.DataSent(now, id))
		}
		if p.got.Load() {
			p.got.Store(false)
			busy = true
			l.do(now, l.links.DataReceived(now, id))
		}
		p.roamed.Store(false)
		p.missed.Store(false)
	}
	if busy {
		l.due(now, choreSweep, sweepEvery)
	}
}

// dialAll dials every router that shares a VN with us, so that after a restart traffic of either
// side finds a link. Beyond dialsMax, links are made when a packet needs one.
func (l *loop) dialAll(now time.Time) {
	for _, id := range l.sharing() {
		l.do(now, l.links.Dial(now, id))
	}
}

// dialsMax bounds what a start dials at once; each dial is one X25519 pair and 1,028 bytes.
const dialsMax = 64

// withLink calls done once there is a link with the router, or with ok false when none came.
func (l *loop) withLink(now time.Time, id tables.RouterID, done func(now time.Time, conn transport.Conn, ok bool)) {
	if c, ok := l.links.Conn(id); ok {
		done(now, c, true)
		return
	}
	p := l.peerOf(id)
	p.dials = append(p.dials, dialWait{done, now.Add(dialPatience)})
	l.do(now, l.links.Dial(now, id))
}

// openStream opens a stream of a kind to a router, dialling first if need be.
func (l *loop) openStream(now time.Time, id tables.RouterID, kind uint8, done func(now time.Time, st transport.Stream, s *stream)) {
	l.withLink(now, id, func(now time.Time, c transport.Conn, ok bool) {
		if !ok {
			done(now, 0, nil)
			return
		}
		st, actions := l.links.OpenStream(now, c, kind)
		if st == 0 {
			l.do(now, actions)
			done(now, 0, nil)
			return
		}
		s := &stream{conn: c, router: id, kind: kind}
		l.streams[st] = s
		l.do(now, actions)
		done(now, st, s)
	})
}

// dial opens a gossip stream to a router for memberlist.
func (n *Node) dial(ctx context.Context, to tables.RouterID) (net.Conn, error) {
	got := make(chan transport.Stream, 1)
	abandoned := false // owned by the control loop
	if !n.command(func(now time.Time, l *loop) {
		l.openStream(now, to, streamGossip, func(now time.Time, st transport.Stream, _ *stream) {
			if abandoned {
				l.do(now, l.links.ResetStream(now, st))
				return
			}
			got <- st
		})
	}) {
		return nil, net.ErrClosed
	}
	select {
	case st := <-got:
		if st == 0 {
			return nil, errNoLink
		}
		return n.newConn(st, to), nil
	case <-n.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		n.command(func(now time.Time, l *loop) {
			abandoned = true
			select {
			case st := <-got:
				l.do(now, l.links.ResetStream(now, st))
			default:
			}
		})
		return nil, ctx.Err()
	}
}

// expire tells those who waited too long for a link.
func (l *loop) expire(now time.Time) {
	for _, p := range l.peers {
		var keep, late []dialWait
		for _, d := range p.dials {
			if now.Before(d.expires) {
				keep = append(keep, d)
			} else {
				late = append(late, d)
			}
		}
		p.dials = keep
		for _, d := range late {
			d.done(now, 0, false)
		}
		if len(p.packets) > 0 && now.Sub(p.since) > packetPatience {
			l.waiting -= len(p.packets)
			l.n.waited.Add(uint64(len(p.packets)))
			p.packets = nil
		}
	}
}
