package node

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
	"github.com/vine-mesh/vine/transport/secure"
	"github.com/vine-mesh/vine/transport/underlay"
)

// A hopPeer says how relay datagrams go to a router that we have a link with. It is immutable but for
// its counters.
type hopPeer struct {
	endpoint netip.AddrPort // of the link: an underlay endpoint or a stream connection, never a relayed path
	sender   *secure.HopSender
	served   *served
	attached bool // it is a limited VR that we serve
	polls    bool // what is relayed to it waits until it comes for it
}

// A hop says what a hop index that we issued stands for.
type hop struct {
	router   tables.RouterID
	receiver *secure.HopReceiver
	used     *atomic.Bool // the link's own mark that it was heard
	served   *served
	missed   *atomic.Bool // the control loop was told of a router that could not be reached for it
	mayQueue bool         // the authority lets it be a queue-VR
}

// served counts what we have relayed for one router, in both directions. Lanes add, anybody reads.
type served struct {
	from, to         atomic.Uint64 // bytes of payload it sent, and was sent
	refused, dropped atomic.Uint64 // datagrams
}

// relayDefences are off in tests that must fail without them.
type relayDefences struct {
	anyRelay bool // whoever has a link may hand relay datagrams on to us
	anyName  bool // a hop may send in the name of others
	twice    bool // what was handed on may be handed on again
	anyQueue bool // whoever a peer names may be its relay, if only it is a VR
}

// relay takes a relay datagram: one for us gives up what is in it, one for another goes on, with the tag
// of the next hop. Nothing of it is kept; a wrong tag gets no answer.
func (l *receiveLane) relay(in *arrived, b []byte, from netip.AddrPort) {
	n := l.n
	index, ok := frame.ReceiverOf(b)
	h, known := in.hops[index]
	if !ok || !known || path.KindOf(from) == path.Relayed {
		n.unhopped.Add(1)
		return
	}
	r, payload, err := h.receiver.Open(b)
	if err != nil {
		n.unhopped.Add(1)
		return
	}
	if !h.used.Load() {
		h.used.Store(true)
		n.hint()
	}
	if r.Role == frame.RelayForward && !(n.off.twice && r.Destination != n.self.Router) {
		if r.Destination != n.self.Router || r.Source == n.self.Router || r.Source == h.router || !h.mayQueue && !n.off.anyRelay ||
			!relayable(r.VN, payload) {
			n.refused.Add(1)
			return
		}
		l.datagram(in, payload, path.Relay(h.router, r.Source))
		return
	}
	l.passOn(in, h, r, b, payload)
}

// passOn sends a relay datagram on to its destination. A hop may send only in its own name, only to a
// router that we have a link with, and data only in a VN that both serve.
func (l *receiveLane) passOn(in *arrived, h hop, r frame.Relay, b, payload []byte) {
	n := l.n
	if n.hostile != nil {
		n.hostile(r, append([]byte(nil), payload...))
		return
	}
	if r.Source != h.router && !n.off.anyName || !in.snapshot.passes(n.self.Router, r, payload) {
		n.refused.Add(1)
		h.served.refused.Add(1)
		return
	}
	next := in.snapshot.hops[r.Destination]
	if next == nil {
		n.unrelayed.Add(1)
		h.served.dropped.Add(1)
		if !h.missed.Swap(true) {
			n.missed(h.router, r.Destination)
		}
		return
	}
	h.served.from.Add(uint64(len(payload)))
	if (next.polls || n.held.rated.Load()) && !n.held.mayGo(in.snapshot, next, r, b, l.ecn) {
		return
	}
	if dg, ok := n.onward(next, r, b[:len(b)-frame.TagLen]); ok {
		dg.ECN = l.ecn // what the way to us has marked
		l.onward = append(l.onward, dg)
	}
}

// passes reports whether a relay datagram may be passed on: data only in a VN that both ends serve.
func (s *snapshot) passes(self tables.RouterID, r frame.Relay, payload []byte) bool {
	return s.relays && r.Destination != self && r.Destination != r.Source && relayable(r.VN, payload) &&
		(r.VN == 0 || s.forward.Serves(r.VN, r.Source) && s.forward.Serves(r.VN, r.Destination))
}

// onward makes a relay datagram without its tag one for the next hop, in place.
func (n *Node) onward(next *hopPeer, r frame.Relay, b []byte) (underlay.Datagram, bool) {
	whole, ok := next.sender.Wrap(b, frame.RelayForward, r.VN, r.Source, r.Destination)
	if !ok {
		n.spent.Add(1)
		return underlay.Datagram{}, false
	}
	next.served.to.Add(uint64(len(b) - frame.RelayHeaderLen))
	n.relayed.Add(1)
	if r.VN != 0 {
		n.carried.Add(1)
	}
	return underlay.Datagram{Buf: whole, N: len(whole), Addr: next.endpoint}, true
}

// relayable reports whether a datagram may travel in a relay datagram of a VN: data in one, and with no VN
// what links and gossip exchange. Joins and relay datagrams may not.
func relayable(vn tables.VNID, payload []byte) bool {
	if len(payload) == 0 {
		return false
	}
	switch frame.Type(payload[0]) {
	case frame.TypeData:
		return vn != 0
	case frame.TypeInit, frame.TypeResponse, frame.TypeCookie, frame.TypeControl, frame.TypeGossip:
		return vn == 0
	}
	return false
}

const (
	// missEvery and missBurst bound the links that one router has us make to relay for it: each is first
	// messages of 1,028 bytes to endpoints that a link record names.
	missEvery = time.Second
	missBurst = 8
)

// missed tells the control loop that somebody (zero: we) wants a router relayed to that we have no link with.
// The hint may be dropped: the next datagram gives it again. A limited router has a link with us only if it made
// it.
func (n *Node) missed(asker, router tables.RouterID) {
	select {
	case n.hearsay <- func(now time.Time, l *loop) {
		if r, ok := l.store.LinkRecord(router); !ok || !l.store.Admitted(router, now) || asker != 0 && r.VRKind == "limited" {
			return
		}
		if asker != 0 && !n.unmetered && !l.peerOf(asker).misses.Take(now) {
			return
		}
		l.do(now, l.links.Dial(now, router))
		if at, up := l.links.Endpoint(router); up && asker == 0 && path.KindOf(at) == path.Relayed {
			l.streaming.dial(now, router)
		}
	}:
	default:
	}
}

// send sends one datagram over a path. Any goroutine may call it.
func (n *Node) send(to netip.AddrPort, datagram []byte) {
	n.write(n.appendDatagram(nil, to, datagram))
}

// datagrams is a batch of one.
func datagrams(to netip.AddrPort, b []byte) []underlay.Datagram {
	return []underlay.Datagram{{Buf: b, N: len(b), Addr: to}}
}

// appendDatagram makes a datagram ready to go over a path: in a relay datagram if the path is relayed. Without a
// link with the relay it is lost, and the link is asked for.
func (n *Node) appendDatagram(out []underlay.Datagram, to netip.AddrPort, datagram []byte) []underlay.Datagram {
	relay, router := path.RelayOf(to)
	if relay == 0 {
		return append(out, underlay.Datagram{Buf: datagram, N: len(datagram), Addr: to})
	}
	h := n.snapshot.Load().hops[relay]
	if h == nil {
		n.unrelayed.Add(1)
		n.missed(0, relay)
		return out
	}
	b := make([]byte, frame.RelayHeaderLen, frame.RelayOverhead+len(datagram)+secure.HopScratch)
	whole, ok := h.sender.Wrap(append(b, datagram...), frame.RelayQueue, 0, n.self.Router, router)
	if !ok {
		n.spent.Add(1)
		return out
	}
	return append(out, underlay.Datagram{Buf: whole, N: len(whole), Addr: h.endpoint})
}

// write sends datagrams, each over the socket that its address belongs to, in their order.
func (n *Node) write(dgs []underlay.Datagram) { n.writeOn(n.socket, dgs) }

// laneSocket returns the datagram socket of a lane.
func (n *Node) laneSocket(number int) underlay.Socket {
	if number == 0 {
		return n.socket
	}
	return n.more[number-1]
}

// writeOn is write with the datagram socket given.
func (n *Node) writeOn(socket underlay.Socket, dgs []underlay.Datagram) {
	for len(dgs) > 0 {
		named := path.Reserved(dgs[0].Addr.Addr())
		run := 1
		for run < len(dgs) && path.Reserved(dgs[run].Addr.Addr()) == named {
			run++
		}
		switch {
		case !named:
			socket.WriteBatch(dgs[:run])
		case n.streams != nil:
			n.streams.WriteBatch(dgs[:run])
		}
		dgs = dgs[run:]
	}
}

// hop takes note of how relay datagrams are exchanged with a router.
func (l *loop) hop(a transport.Hop) {
	p := l.peerOf(a.Router)
	if a.Sender != nil {
		p.hop, p.hopIndex = a.Sender, a.Index
	}
	l.hops[a.Index] = hop{router: a.Router, receiver: a.Receiver, used: p.got, served: p.served, missed: p.missed}
	l.publishPeers()
}

// hopGone ends a hop index. The sender goes with the newest.
func (l *loop) hopGone(index uint32) {
	h, ok := l.hops[index]
	if !ok {
		return
	}
	delete(l.hops, index)
	l.publishHops()
	if p := l.peers[h.router]; p != nil && p.hopIndex == index {
		p.hop, p.hopIndex = nil, 0
		l.publishPeers()
	}
}

func (l *loop) publishHops() {
	all := make(map[uint32]hop, len(l.hops))
	for index, h := range l.hops {
		e, ok := l.store.Enrolment(h.router)
		h.mayQueue = ok && e.MayQueue
		all[index] = h
	}
	l.n.hops.Store(&all)
}
