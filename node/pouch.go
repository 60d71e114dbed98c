package node

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vine-mesh/vine/node/forward"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/secure"
)

// A pouch seals and opens gossip datagrams, which need no link: each pair of routers has a key
// from their two static link keys. Any goroutine may seal; the receiving lane alone opens.
type pouch struct {
	n       *Node
	counter *secure.GossipCounter

	mu    sync.Mutex // guards boxes
	boxes map[tables.RouterID]*box

	// Owned by the receiving lane.
	partial map[tables.RouterID]*pieces
	carried map[tables.RouterID]*forward.TokenBucket // by who had us carry gossip for it
}

// A box is the key shared with one router, as long as its link key stays the same; no GossipBox
// means that no key can be shared with that link key. There are at most as many as enrolled
// routers.
type box struct {
	key tables.LinkKey
	mu  sync.Mutex // guards the GossipBox
	*secure.GossipBox
}

// pieces is the one gossip packet of a sender that is not complete yet; a newer one takes its
// place, so a sender costs at most one packet's bytes.
type pieces struct {
	base  uint64
	have  int
	parts [frame.GossipPiecesMax][]byte
}

func newPouch(n *Node) (*pouch, error) {
	counter, err := secure.NewGossipCounter(n.self.boot)
	if err != nil {
		return nil, err
	}
	return &pouch{n: n, counter: counter, boxes: map[tables.RouterID]*box{}, partial: map[tables.RouterID]*pieces{},
		carried: map[tables.RouterID]*forward.TokenBucket{}}, nil
}

// box returns the key shared with a router; false for a router that is not enrolled or whose link record
// is not here.
func (p *pouch) box(id tables.RouterID) (*box, bool) {
	view := p.n.directory.Load().view
	record, ok := view.LinkRecord(id)
	if !ok || id == p.n.self.Router || !view.Admitted(id, time.Now()) {
		return nil, false
	}
	p.mu.Lock()
	b, ok := p.boxes[id]
	p.mu.Unlock()
	if ok && b.key == record.Link {
		return b, b.GossipBox != nil
	}
	shared, err := secure.NewGossipBox(p.n.self.static, p.n.self.Federation, p.n.self.Router, id, record.Link, p.counter)
	if err != nil {
		shared = nil // remembered, or each datagram in the router's name would cost an exchange
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// Another goroutine may have been faster, and its box may have opened datagrams by now.
	if b, ok := p.boxes[id]; ok && b.key == record.Link {
		return b, b.GossipBox != nil
	}
	p.boxes[id] = &box{key: record.Link, GossipBox: shared}
	return p.boxes[id], shared != nil
}

// send seals a gossip packet, in pieces if need be, and sends it: over the link's path if there is one, else to
// an endpoint of its link record, or through a queue-VR. It never waits. It is called from
// memberlist's goroutines.
func (p *pouch) send(to tables.RouterID, packet []byte) {
	for _, d := range p.seal(to, packet) {
		p.carry(to, d)
	}
}

func (p *pouch) seal(to tables.RouterID, packet []byte) [][]byte {
	b, ok := p.box(to)
	if !ok {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	sealed, err := b.Seal(packet)
	if err != nil {
		p.n.log.Debug("gossip packet not sealed", "peer", to.String(), "err", err)
	}
	return sealed
}

// carry sends a sealed gossip datagram on its way to a router. A queue-VR gets it inside a gossip packet of
// its own, without a session: SWIM touches every pair of routers, and a session with every queue-VR of
// every limited VR would be a full mesh.
func (p *pouch) carry(to tables.RouterID, datagram []byte) {
	at, relay := p.n.directory.Load().route(p.n, to)
	switch {
	case at.IsValid():
		p.n.sentTo(at)
		p.n.send(at, datagram)
	case relay != 0:
		packet := frame.AppendGossipRelay(nil, to, datagram)
		for _, d := range p.seal(relay, packet) {
			if at, _ := p.n.directory.Load().route(p.n, relay); at.IsValid() {
				p.n.sentTo(at)
				p.n.send(at, d)
			}
		}
	default:
		p.n.unrelayed.Add(1)
	}
}

const (
	// carryRate and carryBurst bound the gossip datagrams that one router has us carry, a second: SWIM sends
	// some tens, and a queue-VR hands on those of its clients.
	carryRate  = 200
	carryBurst = 400
)

// passOn takes a gossip datagram that a member wants carried to another. It is sealed for that one; all we
// decide is whether we carry it. From whoever sealed it we carry it to the destination, or to a queue-VR of the
// destination, which gets it from another than who sealed it: then it goes to the destination alone. So it has
// two relays at most, and does not go round in circles whatever link records say.
func (p *pouch) passOn(from tables.RouterID, packet []byte, now time.Time) {
	n := p.n
	to, datagram, err := frame.ParseGossipRelay(packet)
	if err != nil {
		n.gossiped.Add(1)
		return
	}
	if to == n.self.Router {
		n.gossipCame(now, netip.AddrPort{}, datagram, true)
		return
	}
	header, _, _ := frame.ParseGossip(datagram)
	d := n.directory.Load()
	record, ok := d.view.LinkRecord(to)
	if !ok || !n.snapshot.Load().relays || !d.view.Admitted(to, now) || header.Sender == to || !p.carries(from, now) {
		n.refused.Add(1)
		return
	}
	at, linked := d.links[to]
	named := slices.Contains(record.Queues, n.self.Router)
	switch {
	case n.anyGossip:
		p.carry(to, datagram)
	case header.Sender != from && !(named && d.mayQueue(from)):
		n.refused.Add(1)
	case linked:
		n.sentTo(at)
		n.send(at, datagram)
	case named || header.Sender != from:
		n.unrelayed.Add(1)
	default:
		p.carry(to, datagram)
	}
}

// carries reports whether a router may have us carry another datagram.
func (p *pouch) carries(from tables.RouterID, now time.Time) bool {
	b := p.carried[from]
	if b == nil {
		b = forward.NewTokenBucket(carryRate, carryBurst)
		p.carried[from] = b
	}
	return b.Take(now) || p.n.unmetered
}

// open opens one gossip datagram and returns the packet that it completes, nil if none.
func (p *pouch) open(b []byte) (from tables.RouterID, packet []byte, ok bool) {
	header, _, err := frame.ParseGossip(b)
	if err != nil {
		return 0, nil, false
	}
	key, ok := p.box(header.Sender)
	if !ok {
		return 0, nil, false
	}
	key.mu.Lock()
	_, plain, err := key.Open(nil, b)
	key.mu.Unlock()
	if err != nil {
		return 0, nil, false
	}
	if header.Pieces == 1 {
		return header.Sender, plain, true
	}
	return header.Sender, p.assemble(header, plain), true
}

func (p *pouch) assemble(h frame.Gossip, plain []byte) []byte {
	base := h.Counter - uint64(h.Piece)
	at := p.partial[h.Sender]
	if at == nil || at.base < base {
		at = &pieces{base: base}
		p.partial[h.Sender] = at
	}
	if at.base != base || at.parts[h.Piece] != nil {
		return nil
	}
	at.parts[h.Piece] = plain
	if at.have++; at.have < int(h.Pieces) {
		return nil
	}
	delete(p.partial, h.Sender)
	var packet []byte
	for _, part := range at.parts[:h.Pieces] {
		packet = append(packet, part...)
	}
	return packet
}

// gossipArrived hands a gossip datagram on to serf. It runs on the receiving lane.
func (n *Node) gossipArrived(now time.Time, at netip.AddrPort, b []byte) {
	n.gossipCame(now, at, b, false)
}

// gossipCame is gossipArrived for a datagram that may have come inside another: there is none inside that.
func (n *Node) gossipCame(now time.Time, at netip.AddrPort, b []byte, inside bool) {
	from, packet, ok := n.pouch.open(b)
	switch {
	case !ok:
		n.gossiped.Add(1)
		return
	case packet == nil:
		return
	}
	switch kind := frame.GossipKind(packet); {
	case kind == frame.GossipRelay && inside:
		n.refused.Add(1)
	case kind == frame.GossipRelay:
		n.pouch.passOn(from, packet, now)
	case kind == frame.GossipDialBack:
		n.dialledBack(from, at, packet)
	default:
		n.gossip.Deliver(from, packet)
	}
}
