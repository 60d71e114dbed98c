package node

import (
	"net/netip"
	"sync"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/secure"
	"github.com/vine-mesh/vine/transport/underlay"
)

// A pouch seals and opens gossip datagrams, which need no link: each pair of routers has a key
// from their two static link keys. Any goroutine may seal; the receiving lane alone opens.
type pouch struct {
	n       *Node
	counter *secure.GossipCounter

	mu    sync.Mutex // guards boxes
	boxes map[tables.RouterID]*box

	partial map[tables.RouterID]*pieces // owned by the receiving lane
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
	return &pouch{n: n, counter: counter, boxes: map[tables.RouterID]*box{}, partial: map[tables.RouterID]*pieces{}}, nil
}

// box returns the key shared with a router and where the router is; false for a router that is
// not enrolled or whose link record is not here.
func (p *pouch) box(id tables.RouterID) (*box, []netip.AddrPort, bool) {
	view := p.n.directory.Load().view
	record, ok := view.LinkRecord(id)
	if !ok || id == p.n.self.Router || !view.Admitted(id, time.Now()) {
		return nil, nil, false
	}
	p.mu.Lock()
	b, ok := p.boxes[id]
	p.mu.Unlock()
	if ok && b.key == record.Link {
		return b, record.Endpoints, b.GossipBox != nil
	}
	shared, err := secure.NewGossipBox(p.n.self.static, p.n.self.Federation, p.n.self.Router, id, record.Link, p.counter)
	if err != nil {
		shared = nil // remembered, or each datagram in the router's name would cost an exchange
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// Another goroutine may have been faster, and its box may have opened datagrams by now.
	if b, ok := p.boxes[id]; ok && b.key == record.Link {
		return b, record.Endpoints, b.GossipBox != nil
	}
	p.boxes[id] = &box{key: record.Link, GossipBox: shared}
	return p.boxes[id], record.Endpoints, shared != nil
}

// send seals a gossip packet, in pieces if need be, and sends it to where the router's link is,
// or else to the first endpoint of its link record. It never waits. It is called from memberlist's
// goroutines.
func (p *pouch) send(to tables.RouterID, packet []byte) {
	b, endpoints, ok := p.box(to)
	if !ok {
		return
	}
	endpoint, ok := p.n.directory.Load().endpoint(to, endpoints)
	if !ok {
		return
	}
	b.mu.Lock()
	sealed, err := b.Seal(packet)
	b.mu.Unlock()
	if err != nil {
		p.n.log.Debug("gossip packet not sealed", "peer", to.String(), "err", err)
		return
	}
	datagrams := make([]underlay.Datagram, len(sealed))
	for i, d := range sealed {
		datagrams[i] = underlay.Datagram{Buf: d, N: len(d), Addr: endpoint}
	}
	p.n.socket.WriteBatch(datagrams)
}

// open opens one gossip datagram and returns the packet that it completes, nil if none.
func (p *pouch) open(b []byte) (from tables.RouterID, packet []byte, ok bool) {
	header, _, err := frame.ParseGossip(b)
	if err != nil {
		return 0, nil, false
	}
	key, _, ok := p.box(header.Sender)
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
func (n *Node) gossipArrived(_ time.Time, b []byte) {
	from, packet, ok := n.pouch.open(b)
	if !ok {
		n.gossiped.Add(1)
		return
	}
	if packet != nil {
		n.gossip.Deliver(from, packet)
	}
}
