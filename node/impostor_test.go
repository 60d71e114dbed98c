package node_test

import (
	"context"
	"crypto/ed25519"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/secure"
	"github.com/vine-mesh/vine/transport/underlay"
)

// An impostor is an enrolled VR whose owner runs another program: its keys are good, and it sends
// what it likes. It takes the place of a site's VR, which must be stopped.
type impostor struct {
	t      *testing.T
	site   *nodetest.Site
	dir    *state.Dir
	store  *tables.Store
	self   tables.RouterID
	static secure.StaticKey
	socket underlay.Socket
	gossip *secure.GossipCounter
	ended  sync.WaitGroup
	deaf   atomic.Bool // to first messages: links are those that it dialled
	dumb   atomic.Bool // it sends nothing but first messages

	mu       sync.Mutex // guards what follows
	links    *transport.Links
	channels map[tables.RouterID]transport.Channels
	ups      map[tables.RouterID]int
	boxes    map[tables.RouterID]*secure.GossipBox
	closed   bool
}

func newImpostor(t *testing.T, s *nodetest.Site) *impostor {
	t.Helper()
	p := &impostor{
		t: t, site: s, channels: map[tables.RouterID]transport.Channels{}, ups: map[tables.RouterID]int{},
		boxes: map[tables.RouterID]*secure.GossipBox{}, self: s.Joined.Router,
	}
	var err error
	check := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	p.dir, err = state.Open(s.Dir)
	check()
	p.store, err = node.LoadStore(p.dir, time.Now(), s.Log)
	check()
	key, _, err := p.dir.Key("link")
	check()
	boot, err := p.dir.Boot()
	check()
	p.static = secure.NewStaticKey(key)
	p.gossip, err = secure.NewGossipCounter(boot)
	check()
	p.socket, err = s.Host.Listen(nodetest.Port)
	check()
	p.links = transport.NewLinks(transport.Config{
		Self: p.self, Static: p.static, Federation: p.store.FederationID(), Boot: boot, Rand: &counted{},
		Hello: func() []byte { return nil },
		Accept: func(static tables.LinkKey, _ []byte) (tables.RouterID, error) {
			r, ok := p.store.LinkRecordByKey(static)
			if !ok {
				return 0, net.ErrClosed
			}
			return r.Router, nil
		},
		Peer: func(id tables.RouterID) (transport.Peer, bool) {
			r, ok := p.store.LinkRecord(id)
			return transport.Peer{Link: r.Link, Endpoints: r.Endpoints}, ok
		},
	})
	p.ended.Go(p.read)
	p.ended.Go(p.tick)
	return p
}

func (p *impostor) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.socket.Close()
	p.ended.Wait()
	p.dir.Close()
}

func (p *impostor) read() {
	batch := make([]underlay.Datagram, 16)
	for i := range batch {
		batch[i].Buf = make([]byte, 2048)
	}
	for {
		n, err := p.socket.ReadBatch(batch)
		if err != nil {
			return
		}
		for _, d := range batch[:n] {
			b := d.Buf[:d.N]
			if t := frame.TypeOf(b); t == frame.TypeData || t == frame.TypeGossip || t == frame.TypeInit && p.deaf.Load() {
				continue
			}
			p.with(func(now time.Time) []transport.Action { return p.links.Handle(now, d.Addr, b) })
		}
	}
}

func (p *impostor) tick() {
	for {
		p.mu.Lock()
		closed := p.closed
		p.mu.Unlock()
		if closed {
			return
		}
		p.with(func(now time.Time) []transport.Action { return p.links.Advance(now) })
		time.Sleep(20 * time.Millisecond)
	}
}

func (p *impostor) with(f func(now time.Time) []transport.Action) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	var buf [4096]byte
	todo := f(now)
	for len(todo) > 0 {
		next := todo[0]
		todo = todo[1:]
		switch a := next.(type) {
		case transport.Send:
			if p.dumb.Load() && frame.TypeOf(a.Datagram) != frame.TypeInit {
				continue
			}
			p.write(a.To, a.Datagram)
		case transport.Up:
			p.ups[a.Router]++
		case transport.Channels:
			p.channels[a.Router] = a
		case transport.Down:
			delete(p.channels, a.Router)
		case transport.StreamReadable: // and thrown away
			for n := 1; n > 0; {
				var more []transport.Action
				n, _, more = p.links.ReadStream(now, a.Stream, buf[:])
				todo = append(todo, more...)
			}
		}
	}
}

func (p *impostor) write(to netip.AddrPort, b []byte) {
	p.socket.WriteBatch([]underlay.Datagram{{Buf: b, N: len(b), Addr: to}})
}

// link makes a link with the VR of a site, on which data may be sent in that many VNs.
func (p *impostor) link(to *nodetest.Site, vns int) {
	p.t.Helper()
	for range 500 {
		p.dial(to)
		p.mu.Lock()
		ok := len(p.channels[to.Joined.Router].Index) == vns
		p.mu.Unlock()
		if ok {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.t.Fatalf("the impostor got no channels in %d VNs to %s", vns, to.Name)
}

func (p *impostor) dial(to *nodetest.Site) {
	p.with(func(now time.Time) []transport.Action { return p.links.Dial(now, to.Joined.Router) })
}

func (p *impostor) linkUps(to *nodetest.Site) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ups[to.Joined.Router]
}

// send seals inner as a packet of the VN whose channel is used, and claims in the sealed part
// that it is of the VN claimed.
func (p *impostor) send(to *nodetest.Site, channel, claimed tables.VNID, meta [3]byte, inner []byte) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	ch, ok := p.channels[to.Joined.Router]
	if !ok || ch.Index[channel] == 0 {
		p.t.Fatalf("the impostor has no channel in %v", channel)
	}
	sealed, ok := ch.Sender.Seal(nil, ch.Index[channel], meta, claimed, inner)
	if !ok {
		p.t.Fatal("key spent")
	}
	p.write(ch.Endpoint, sealed)
}

// say sends one gossip packet.
func (p *impostor) say(to *nodetest.Site, packet []byte) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	id := to.Joined.Router
	box := p.boxes[id]
	if box == nil {
		r, ok := p.store.LinkRecord(id)
		if !ok {
			p.t.Fatalf("the impostor does not know %s", to.Name)
		}
		var err error
		if box, err = secure.NewGossipBox(p.static, p.store.FederationID(), p.self, id, r.Link, p.gossip); err != nil {
			p.t.Fatal(err)
		}
		p.boxes[id] = box
	}
	sealed, err := box.Seal(packet)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, d := range sealed {
		p.write(to.Endpoint(), d)
	}
}

// stream opens a stream of a kind to the VR of a site, says b and ends it.
func (p *impostor) stream(to *nodetest.Site, kind uint8, b []byte) {
	p.with(func(now time.Time) []transport.Action {
		c, ok := p.links.Conn(to.Joined.Router)
		if !ok {
			return p.links.Dial(now, to.Joined.Router)
		}
		st, actions := p.links.OpenStream(now, c, kind)
		if st == 0 {
			return actions
		}
		_, more := p.links.WriteStream(now, st, b)
		return append(append(actions, more...), p.links.CloseStream(now, st)...)
	})
}

// counted is randomness for keys that only have to differ. It belongs to one goroutine at a time.
type counted struct{ n uint64 }

func (c *counted) Read(p []byte) (int, error) {
	for i := range p {
		c.n = c.n*6364136223846793005 + 1442695040888963407
		p[i] = byte(c.n >> 56)
	}
	return len(p), nil
}

var background = context.Background()

// newKeyOf returns the private key of a secret.
func newKeyOf(secret [32]byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(secret[:]) }

// newKey returns the n-th of some identities.
func newKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, ed25519.SeedSize-1), n))
}
