package transport

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
	"github.com/vine-mesh/vine/transport/secure"
)

// epochStart is the time at which every test begins. No clock is read.
var epochStart = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// A packet is one datagram on its way.
type packet struct {
	at       time.Time
	no       int
	from, to netip.AddrPort
	b        []byte
}

type packetHeap []*packet

func (h packetHeap) Len() int { return len(h) }
func (h packetHeap) Less(i, j int) bool {
	return h[i].at.Before(h[j].at) || h[i].at.Equal(h[j].at) && h[i].no < h[j].no
}
func (h packetHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *packetHeap) Push(x any)   { *h = append(*h, x.(*packet)) }
func (h *packetHeap) Pop() any {
	old := *h
	p := old[len(old)-1]
	*h = old[:len(old)-1]
	return p
}

// A world is some Links and a network between them, in virtual time.
type world struct {
	t       testing.TB
	now     time.Time
	rand    *rand.Rand
	nodes   []*host
	flying  packetHeap
	packets int

	delay   time.Duration
	jitter  time.Duration
	loss    float64
	dup     float64
	filter  func(p *packet) bool // false drops the packet; may change it
	tap     func(p *packet)
	log     []*packet // all datagrams ever sent
	keepLog bool
}

// A host is one VR: a Links, its lanes, and what a node would remember.
type host struct {
	w      *world
	id     tables.RouterID
	addr   netip.AddrPort
	skew   time.Duration // of its clock
	seed   uint64
	boot   uint64
	static secure.StaticKey
	gate   *secure.Gate
	links  *Links
	off    bool
	refuse map[tables.LinkKey]bool
	joinOK bool

	up        map[tables.RouterID]Conn
	ups       int
	downs     []Down
	rekeys    int
	moved     []Moved
	send      map[tables.RouterID]Channels
	endpoint  map[tables.RouterID]netip.AddrPort
	grants    map[uint32]Grant
	grantOf   map[uint32]tables.RouterID
	got       map[string]int // data payloads received
	strange   int            // data with an unknown index or that did not open
	joinUps   []JoinUp
	opened    []StreamOpened
	in        map[Stream][]byte
	eof       map[Stream]bool
	closed    map[Stream]error
	pending   map[Stream][]byte // still to be written
	fin       map[Stream]bool
	observed  []Observed
	listening map[uint32]bool
	serve     func(h *host, o StreamOpened)
	sentTo    map[netip.AddrPort]int // bytes

	hops       map[uint32]bool
	hopSends   []bool // for each sender of a hop: its other end was there
	unanswered []tables.RouterID
	silences   []Silent
	degraded   []tables.RouterID
	relays     []Relays
	asked      []Asked
	paths      map[tables.RouterID][]netip.AddrPort // where others are found; none: at their addr
	candidates func() ([]netip.AddrPort, []tables.RouterID)
	leads      map[tables.RouterID]bool // nil: the lower ID
}

func newWorld(t testing.TB, n int) *world {
	w := &world{t: t, now: epochStart, rand: rand.New(rand.NewPCG(1, 2)), delay: 10 * time.Millisecond}
	for i := range n {
		h := &host{
			w: w, id: tables.RouterID(i + 1), seed: uint64(i + 1), joinOK: true,
			addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), 8463),
		}
		w.nodes = append(w.nodes, h)
		h.start()
	}
	return w
}

// start begins the process of a host, again if it ran before.
func (h *host) start() {
	h.boot++
	h.off = false
	var key, seed [32]byte
	binary.BigEndian.PutUint64(key[:], h.seed)
	binary.BigEndian.PutUint64(seed[:], h.seed)
	binary.BigEndian.PutUint64(seed[8:], h.boot)
	random := rand.NewChaCha8(seed)
	h.static = secure.NewStaticKey(key)
	var err error
	if h.gate, err = secure.NewGate(h.static.Public(), h.clock().Add(-time.Hour), random); err != nil {
		h.w.t.Fatal(err)
	}
	h.gate.SetJoinable(h.joinOK)
	h.refuse = map[tables.LinkKey]bool{}
	h.up, h.send, h.grants = map[tables.RouterID]Conn{}, map[tables.RouterID]Channels{}, map[uint32]Grant{}
	h.grantOf, h.endpoint = map[uint32]tables.RouterID{}, map[tables.RouterID]netip.AddrPort{}
	h.in, h.eof, h.closed = map[Stream][]byte{}, map[Stream]bool{}, map[Stream]error{}
	h.pending, h.fin, h.got = map[Stream][]byte{}, map[Stream]bool{}, map[string]int{}
	h.sentTo = map[netip.AddrPort]int{}
	h.listening = map[uint32]bool{}
	h.hops = map[uint32]bool{}
	h.opened, h.joinUps, h.downs, h.moved = nil, nil, nil, nil
	h.links = NewLinks(Config{
		Self: h.id, Static: h.static, Federation: tables.Hash{7}, Boot: h.boot, FastAES: true, Rand: random,
		Hello: func() []byte { return fmt.Appendf(nil, "hello of %v", h.id) },
		Accept: func(key tables.LinkKey, hello []byte) (tables.RouterID, error) {
			for _, o := range h.w.nodes {
				if o.static.Public() == key && !h.refuse[key] {
					return o.id, nil
				}
			}
			return 0, fmt.Errorf("not enrolled")
		},
		Peer: func(id tables.RouterID) (Peer, bool) {
			if int(id) > len(h.w.nodes) {
				return Peer{}, false
			}
			o := h.w.nodes[id-1]
			if paths, ok := h.paths[id]; ok {
				return Peer{Link: o.static.Public(), Endpoints: paths}, true
			}
			return Peer{Link: o.static.Public(), Endpoints: []netip.AddrPort{o.addr}}, true
		},
		Joinable: func() bool { return h.joinOK },
		Leads: func(id tables.RouterID) bool {
			if lead, ok := h.leads[id]; ok {
				return lead
			}
			return h.id < id
		},
		Candidates: func(tables.RouterID) ([]netip.AddrPort, []tables.RouterID) {
			if h.candidates == nil {
				return nil, nil
			}
			return h.candidates()
		},
	})
}

func (h *host) clock() time.Time { return h.w.now.Add(h.skew) }

// do carries out actions as node does.
func (h *host) do(actions []Action) {
	t := h.w.t
	t.Helper()
	for _, a := range actions {
		switch a := a.(type) {
		case Send:
			if len(a.Datagram) > datagramBytesMax {
				t.Fatalf("datagram of %d bytes", len(a.Datagram))
			}
			if !a.To.IsValid() {
				t.Fatal("datagram to nowhere")
			}
			h.sentTo[a.To] += len(a.Datagram)
			h.w.post(h.addr, a.To, a.Datagram)
		case Up:
			if _, up := h.up[a.Router]; up {
				t.Fatal("up twice")
			}
			h.up[a.Router], h.endpoint[a.Router] = a.Conn, a.Endpoint
			h.ups++
		case Down:
			if a.Router != 0 {
				if h.up[a.Router] != a.Conn {
					t.Fatal("down of another connection")
				}
				delete(h.up, a.Router)
				delete(h.send, a.Router)
				for i, r := range h.grantOf {
					if r == a.Router {
						t.Fatalf("grant %d outlives its link", i)
					}
				}
			}
			h.downs = append(h.downs, a)
		case Rekeyed:
			h.rekeys++
		case Moved:
			h.moved = append(h.moved, a)
			h.endpoint[a.Router] = a.Endpoint
		case Channels:
			h.send[a.Router] = a
			h.endpoint[a.Router] = a.Endpoint
		case Granted:
			for _, g := range a.Grants {
				if _, have := h.grants[g.Index]; have || g.Index == 0 || g.Index&(frame.LanesMax-1) != 0 {
					t.Fatalf("bad index %#x", g.Index)
				}
				h.grants[g.Index], h.grantOf[g.Index] = g, a.Router
			}
		case Withdrawn:
			for _, i := range a.Indexes {
				if _, have := h.grants[i]; !have {
					t.Fatal("withdrawn without a grant")
				}
				delete(h.grants, i)
				delete(h.grantOf, i)
			}
		case JoinUp:
			h.joinUps = append(h.joinUps, a)
		case StreamOpened:
			h.opened = append(h.opened, a)
			if h.serve != nil {
				h.serve(h, a)
			}
		case StreamReadable:
			h.read(a.Stream)
		case StreamWritable:
			h.write(a.Stream)
		case StreamClosed:
			if _, twice := h.closed[a.Stream]; twice {
				t.Fatal("closed twice")
			}
			h.closed[a.Stream] = a.Err
		case Listening:
			if a.Index == 0 || h.listening[a.Index] == a.On {
				t.Fatalf("index %#x: %v twice", a.Index, a.On)
			}
			if a.On {
				h.listening[a.Index] = true
			} else {
				delete(h.listening, a.Index)
			}
		case Observed:
			h.observed = append(h.observed, a)
		case Hop:
			h.hops[a.Index] = true
			if conn := h.links.links[a.Router].conn; a.Sender != nil && conn != nil { // it may be down by now
				h.hopSends = append(h.hopSends, h.w.nodes[a.Router-1].hops[conn.session.Remote])
			}
		case HopGone:
			if !h.hops[a.Index] {
				t.Fatalf("hop %#x ends twice", a.Index)
			}
			delete(h.hops, a.Index)
		case Unanswered:
			h.unanswered = append(h.unanswered, a.Router)
		case Degraded:
			h.degraded = append(h.degraded, a.Router)
		case Silent:
			h.silences = append(h.silences, a)
		case Relays:
			h.relays = append(h.relays, a)
		case Asked:
			h.asked = append(h.asked, a)
		default:
			t.Fatalf("unknown action %T", a)
		}
	}
}

func (h *host) read(s Stream) {
	for {
		p := make([]byte, 5000)
		n, eof, actions := h.links.ReadStream(h.clock(), s, p)
		h.in[s] = append(h.in[s], p[:n]...)
		h.do(actions)
		if eof {
			h.eof[s] = true
		}
		if n == 0 {
			return
		}
	}
}

// write writes as much as the stream takes of what is pending, and the end after it.
func (h *host) write(s Stream) {
	for len(h.pending[s]) > 0 {
		n, actions := h.links.WriteStream(h.clock(), s, h.pending[s])
		h.pending[s] = h.pending[s][n:]
		h.do(actions)
		if n == 0 {
			return
		}
	}
	if h.fin[s] {
		h.fin[s] = false
		h.do(h.links.CloseStream(h.clock(), s))
	}
}

// post puts a datagram on the network.
func (w *world) post(from, to netip.AddrPort, b []byte) {
	p := &packet{from: from, to: to, b: append([]byte(nil), b...), at: w.now.Add(w.delay)}
	if path.KindOf(to) == path.Relayed {
		p.at = p.at.Add(w.delay) // by way of the relay
	}
	if w.keepLog {
		w.log = append(w.log, p)
	}
	if w.tap != nil {
		w.tap(p)
	}
	if w.filter != nil && !w.filter(p) {
		return
	}
	if w.loss > 0 && w.rand.Float64() < w.loss {
		return
	}
	if w.jitter > 0 {
		p.at = p.at.Add(time.Duration(w.rand.Int64N(int64(w.jitter))))
	}
	w.fly(p)
	if w.dup > 0 && w.rand.Float64() < w.dup {
		q := *p
		q.at = q.at.Add(w.delay)
		w.fly(&q)
	}
}

func (w *world) fly(p *packet) {
	w.packets++
	p.no = w.packets
	heap.Push(&w.flying, p)
}

// inject delivers a datagram to whoever is at to, now.
func (w *world) inject(from, to netip.AddrPort, b []byte) {
	if relay, router := path.RelayOf(to); relay != 0 {
		if w.nodes[relay-1].off || w.nodes[router-1].off {
			return
		}
		for _, h := range w.nodes {
			if h.addr == from {
				w.nodes[router-1].receive(path.Relay(relay, h.id), append([]byte(nil), b...))
			}
		}
		return
	}
	for _, h := range w.nodes {
		if h.addr == to && !h.off {
			h.receive(from, append([]byte(nil), b...))
		}
	}
}

// receive does what a lane does with a datagram.
func (h *host) receive(from netip.AddrPort, b []byte) {
	switch h.gate.Check(h.clock(), from, b) {
	case secure.Cookie:
		c, err := h.gate.AppendCookie(nil, h.clock(), from, b, rand.NewChaCha8([32]byte{byte(h.w.packets)}))
		if err != nil || len(c) > len(b) {
			h.w.t.Fatal("cookie longer than its request")
		}
		h.w.post(h.addr, from, c)
		return
	case secure.Pass:
	default:
		return
	}
	if i, named := frame.ReceiverOf(b); named && !h.listening[i] {
		return
	}
	if frame.TypeOf(b) != frame.TypeData {
		h.do(h.links.Handle(h.clock(), from, b))
		return
	}
	d, _, err := frame.ParseDataHeader(b)
	g, ok := h.grants[d.Index]
	if err != nil || !ok {
		h.strange++
		return
	}
	inner, err := g.Receiver.Open(nil, b, g.VN)
	if err != nil {
		h.strange++
		return
	}
	h.got[string(inner)]++
	r := h.grantOf[d.Index]
	if from == h.endpoint[r] {
		h.do(h.links.DataReceived(h.clock(), r))
	} else {
		h.do(h.links.Roamed(h.clock(), r, from))
	}
}

// data sends one data packet; false when there is no channel.
func (h *host) data(to tables.RouterID, vn tables.VNID, inner string) bool {
	c, ok := h.send[to]
	if !ok || c.Index[vn] == 0 {
		h.do(h.links.Dial(h.clock(), to))
		return false
	}
	b, ok := c.Sender.Seal(nil, c.Index[vn], [3]byte{}, vn, []byte(inner))
	if !ok {
		return false
	}
	h.w.post(h.addr, h.endpoint[to], b)
	h.do(h.links.DataSent(h.clock(), to))
	return true
}

// run lets time pass: every delivery and every deadline at its time.
func (w *world) run(d time.Duration) { w.until(d, func() bool { return false }) }

// until runs until done, at most d. It reports whether done.
func (w *world) until(d time.Duration, done func() bool) bool {
	w.t.Helper()
	end := w.now.Add(d)
	for steps := 0; ; steps++ {
		if done() {
			return true
		}
		if steps > 2_000_000 {
			w.t.Fatal("time stands still")
		}
		next := end
		var at *host
		for _, h := range w.nodes {
			if n := h.links.Next(); !h.off && !n.IsZero() && n.Add(-h.skew).Before(next) {
				next, at = n.Add(-h.skew), h
			}
		}
		if len(w.flying) > 0 && !w.flying[0].at.After(next) {
			p := heap.Pop(&w.flying).(*packet)
			if p.at.After(w.now) {
				w.now = p.at
			}
			w.inject(p.from, p.to, p.b)
			continue
		}
		if next.After(w.now) {
			w.now = next
		}
		if at == nil {
			return done()
		}
		at.do(at.links.Advance(at.clock()))
		if n := at.links.Next(); !n.IsZero() && !n.After(at.clock()) {
			w.t.Fatalf("Advance(%v) left the deadline %v", at.clock(), n)
		}
	}
}

// connect brings the link between two hosts up, with channels for the VNs both ways.
func (w *world) connect(a, b *host, vns ...tables.VNID) {
	w.t.Helper()
	a.do(a.links.SetChannels(a.clock(), b.id, vns))
	b.do(b.links.SetChannels(b.clock(), a.id, vns))
	a.do(a.links.Dial(a.clock(), b.id))
	if !w.until(20*time.Second, func() bool {
		return len(vns) == 0 && len(a.up) > 0 && len(b.up) > 0 ||
			len(vns) > 0 && a.send[b.id].Index[vns[0]] != 0 && b.send[a.id].Index[vns[0]] != 0
	}) {
		w.t.Fatalf("no link: %v %v / %+v %+v", a.up, b.up, a.links.counters, b.links.counters)
	}
}

// types returns the types of the datagrams in the log.
func (w *world) types() (s []frame.Type) {
	for _, p := range w.log {
		s = append(s, frame.TypeOf(p.b))
	}
	return s
}
