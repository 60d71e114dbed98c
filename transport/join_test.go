package transport

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/transport/frame"
)

// newcomer adds a host that is not enrolled.
func (w *world) newcomer(n byte) *host {
	h := &host{
		w: w, seed: 1000 + uint64(n), joinOK: false,
		addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, n}), 8463),
	}
	h.start()
	w.nodes = append(w.nodes, h)
	return h
}

// join makes a newcomer dial a member until the conversation stands on both sides.
func (w *world) join(n, m *host) Conn {
	w.t.Helper()
	had := len(m.joinUps)
	c, actions := n.links.DialJoin(n.clock(), m.addr)
	n.do(actions)
	if c == 0 || !w.until(30*time.Second, func() bool { return len(n.joinUps) > 0 && len(m.joinUps) > had }) {
		w.t.Fatal("no conversation")
	}
	return c
}

func TestJoin(t *testing.T) {
	w := newWorld(t, 1)
	w.keepLog = true
	m, n := w.nodes[0], w.newcomer(1)
	c := w.join(n, m)
	want := []frame.Type{frame.TypeJoinHello, frame.TypeJoinCookie, frame.TypeJoinHello, frame.TypeJoinReply, frame.TypeJoinFinish}
	if got := w.types(); !slices.Equal(got[:5], want) {
		t.Fatalf("exchange %v, want %v", got, want)
	}
	up, at := n.joinUps[0], m.joinUps[0]
	if up.Conn != c || up.Peer != m.static.Public() || at.Peer != n.static.Public() || !up.Dialled || at.Dialled {
		t.Fatalf("up %+v and %+v", up, at)
	}
	if string(up.Hello) != "hello of vr1" || at.Endpoint != n.addr {
		t.Errorf("hello %q, endpoint %v", up.Hello, at.Endpoint)
	}
	// A request and an answer over a stream.
	m.serve = func(h *host, o StreamOpened) {
		h.pending[o.Stream], h.fin[o.Stream] = noise(50_000, 2), true
		h.write(o.Stream)
	}
	s, actions := n.links.OpenStream(n.clock(), c, 3)
	n.do(actions)
	n.pending[s], n.fin[s] = noise(8000, 1), true
	n.write(s)
	w.run(2 * time.Second)
	if !bytes.Equal(n.in[s], noise(50_000, 2)) || !bytes.Equal(m.in[m.opened[0].Stream], noise(8000, 1)) {
		t.Fatal("bytes differ")
	}
	if len(n.observed) != 1 || n.observed[0].Endpoint != n.addr {
		t.Errorf("observed %v", n.observed)
	}
	// It ends by itself.
	w.run(joinLife)
	if len(n.downs) != 1 || len(m.downs) != 1 || len(m.links.joins)+len(m.links.conns)+len(m.links.index)+len(m.links.hellos) > 0 {
		t.Fatalf("downs %v, %v", n.downs, m.downs)
	}
}

func TestJoinUnderLoss(t *testing.T) {
	for seed := range 20 {
		w := newWorld(t, 1)
		m, n := w.nodes[0], w.newcomer(1)
		for range seed {
			w.rand.Uint64()
		}
		w.loss = 0.3
		w.dup = 0.2
		w.join(n, m)
		w.run(joinLife + 10*time.Second)
		if len(m.links.index)+len(n.links.index) > 0 || m.links.Next() != (time.Time{}) {
			t.Fatal("something stays")
		}
	}
}

func TestJoinCloses(t *testing.T) {
	w := newWorld(t, 1)
	m, n := w.nodes[0], w.newcomer(1)
	c := w.join(n, m)
	n.do(n.links.CloseConn(n.clock(), c, ReasonLeaving))
	w.run(time.Second)
	if len(n.downs) != 1 || len(m.downs) != 1 || m.downs[0].Reason != ReasonLeaving || m.downs[0].Router != 0 {
		t.Fatalf("downs %v, %v", n.downs, m.downs)
	}
}

func TestJoinToNobody(t *testing.T) {
	w := newWorld(t, 0)
	n := w.newcomer(1)
	_, actions := n.links.DialJoin(n.clock(), netip.MustParseAddrPort("192.0.2.200:8463"))
	n.do(actions)
	w.run(2 * joinLife)
	if len(n.downs) != 1 || n.downs[0].Reason != ReasonExpired || n.links.Next() != (time.Time{}) {
		t.Fatalf("downs %v", n.downs)
	}
}

func TestJoinNotJoinable(t *testing.T) {
	w := newWorld(t, 1)
	m, n := w.nodes[0], w.newcomer(1)
	m.joinOK = false // the gate still passes: the state machine refuses on its own
	_, actions := n.links.DialJoin(n.clock(), m.addr)
	n.do(actions)
	w.run(10 * time.Second)
	if len(m.links.joins) > 0 || m.links.counters.Refused == 0 {
		t.Fatal("joined")
	}
}

func TestJoinStreamBudget(t *testing.T) {
	w := newWorld(t, 1)
	m, n := w.nodes[0], w.newcomer(1)
	c := w.join(n, m)
	s, actions := n.links.OpenStream(n.clock(), c, 3)
	n.do(actions)
	// A newcomer without a budget of its own.
	n.links.conns[c].budget = -1
	n.pending[s] = noise(2*joinStreamBytesMax, 1)
	n.write(s)
	w.run(30 * time.Second)
	o := m.opened[0].Stream
	if got := len(m.in[o]); got > joinStreamBytesMax || !errors.Is(m.closed[o], ErrStreamBudget) || len(m.downs) != 1 {
		t.Fatalf("%d bytes taken, closed %v", got, m.closed)
	}
	if m.downs[0].Reason != ReasonLimit || len(n.downs) != 1 {
		t.Fatalf("downs %v, %v", m.downs, n.downs)
	}
}

// A flood of join hellos from many real addresses (each answers its cookie) holds joinsMax
// conversations at most, for pendLife, and links do not suffer.
func TestJoinFlood(t *testing.T) {
	w := newWorld(t, 2)
	m, peer := w.nodes[0], w.nodes[1]
	w.connect(m, peer, 7)
	n := w.newcomer(1)
	var worst int
	for i := range 1000 {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, 64 + byte(i>>8), byte(i), 1}), 1)
		for range 2 { // without a cookie, then with it
			_, actions := n.links.DialJoin(n.clock(), m.addr)
			for _, a := range actions {
				if s, ok := a.(Send); ok {
					before := m.sentTo[from]
					m.do(m.links.Handle(m.clock(), from, s.Datagram)) // as if the cookie were good
					if out := m.sentTo[from] - before; out > len(s.Datagram) {
						t.Fatalf("%d bytes for %d", out, len(s.Datagram))
					}
				}
			}
			for _, j := range n.links.joins {
				n.links.closeJoin(n.clock(), j, ReasonNone, nil, false)
			}
			n.links.end()
		}
		worst = max(worst, len(m.links.joins))
	}
	if worst != joinsMax || m.links.counters.Limited == 0 {
		t.Fatalf("%d conversations, limited %d", worst, m.links.counters.Limited)
	}
	if !m.data(2, 7, "x") {
		t.Fatal("no channel")
	}
	w.run(pendLife + time.Second)
	if len(m.links.joins)+len(m.links.hellos) != 0 || peer.got["x"] != 1 {
		t.Fatalf("%d conversations stay", len(m.links.joins))
	}
	w.join(n, m)
}

func TestBoundOfJoinDials(t *testing.T) {
	w := newWorld(t, 0)
	n := w.newcomer(1)
	for i := range joinsMax + 5 {
		c, actions := n.links.DialJoin(n.clock(), netip.MustParseAddrPort("192.0.2.200:8463"))
		n.do(actions)
		if (c != 0) != (i < joinsMax) {
			t.Fatalf("dial %d: %v", i, c)
		}
	}
}

// siege sends join hellos of one network to m, each from an address of its own and with a good
// cookie, and returns how many conversations they hold.
func siege(w *world, m *host, from func(i int) netip.Addr) int {
	n := w.newcomer(200)
	for i := range 2 * joinsMax {
		_, actions := n.links.DialJoin(n.clock(), m.addr)
		for _, a := range actions {
			if s, ok := a.(Send); ok {
				m.do(m.links.Handle(m.clock(), netip.AddrPortFrom(from(i), 1), s.Datagram))
			}
		}
		for _, j := range n.links.joins {
			n.links.closeJoin(n.clock(), j, ReasonNone, nil, false)
		}
		n.links.end()
	}
	return len(m.links.joins)
}

// One network cannot take all conversations: with the bound off it does, and nobody else joins.
func TestJoinsOfOneNetwork(t *testing.T) {
	networks := map[string]func(i int) netip.Addr{
		"one host": func(int) netip.Addr { return netip.MustParseAddr("203.0.113.9") },
		"/24":      func(i int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}) },
		"mapped":   func(i int) netip.Addr { return netip.AddrFrom16(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}).As16()) },
		"/48": func(i int) netip.Addr {
			return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 1, byte(i), byte(i), 15: 1})
		},
	}
	for name, from := range networks {
		for _, off := range []bool{false, true} {
			w := newWorld(t, 1)
			m, n := w.nodes[0], w.newcomer(1)
			m.links.crowdedJoins = off
			held := siege(w, m, from)
			c, actions := n.links.DialJoin(n.clock(), m.addr)
			n.do(actions)
			joined := c != 0 && w.until(5*time.Second, func() bool { return len(n.joinUps) > 0 })
			if off && (held != joinsMax || joined) {
				t.Errorf("%s: without the defence %d held, joined %v: the test shows nothing", name, held, joined)
			}
			if !off && (held != joinsNetMax || !joined) {
				t.Errorf("%s: %d held, joined %v", name, held, joined)
			}
		}
	}
}

// A newcomer that finishes the handshake and then says nothing, but keeps the conversation alive,
// holds it for joinQuiet; with stream bytes it has joinLife.
func TestSilentJoin(t *testing.T) {
	for i := range 3 {
		speaks, off := i == 1, i == 2 // off: without the defence
		w := newWorld(t, 1)
		m, n := w.nodes[0], w.newcomer(1)
		m.links.crowdedJoins = off
		c := w.join(n, m)
		s, actions := n.links.OpenStream(n.clock(), c, 3)
		n.do(actions)
		w.run(joinQuiet / 2)
		if speaks {
			n.pending[s] = []byte("x")
			n.write(s)
		}
		w.run(joinQuiet/2 + time.Second)
		if held := len(m.links.joins) > 0; held != (speaks || off) {
			t.Errorf("speaks %v, defence off %v: held %v after %v", speaks, off, held, joinQuiet)
		}
		w.run(joinLife - joinQuiet - time.Second)
		if len(m.links.joins)+len(m.listening)+len(n.listening) > 0 {
			t.Error("a conversation stays")
		}
	}
}
