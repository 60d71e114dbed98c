package transport

import (
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// pending makes a's first message reach b while nothing of a reaches b after it: b is left with an
// unconfirmed session.
func pending(t *testing.T) (w *world, a, b *host, released func()) {
	w = newWorld(t, 2)
	a, b = w.nodes[0], w.nodes[1]
	var kept []*packet
	hold := true
	w.filter = func(p *packet) bool {
		if hold && p.from == a.addr && frame.TypeOf(p.b) != frame.TypeInit {
			kept = append(kept, p)
			return false
		}
		return true
	}
	a.do(a.links.Dial(a.clock(), 2))
	w.run(200 * time.Millisecond)
	if b.links.pending != 1 || len(kept) == 0 || len(b.links.Status(b.clock())) > 0 {
		t.Fatal("no unconfirmed session: the test shows nothing")
	}
	return w, a, b, func() {
		hold = false
		for _, p := range kept {
			w.inject(p.from, p.to, p.b)
		}
	}
}

// A router that is revoked while its session is unconfirmed is found by Routers, which Status does
// not show, and closed.
func TestCloseUnconfirmed(t *testing.T) {
	w, a, b, release := pending(t)
	if !slices.Equal(b.links.Routers(), []tables.RouterID{1}) {
		t.Fatalf("routers %v", b.links.Routers())
	}
	b.refuse[a.static.Public()] = true
	for _, id := range b.links.Routers() {
		b.do(b.links.Close(b.clock(), id, ReasonRevoked))
	}
	if b.links.pending != 0 || len(b.links.index)+len(b.listening)+len(b.links.answers) > 0 {
		t.Fatalf("%d sessions stay", b.links.pending)
	}
	release()
	w.run(time.Minute)
	if b.ups > 0 {
		t.Fatal("a revoked router has a link")
	}
}

// The same when nobody closed: the session is not promoted. Without Allowed it is.
func TestPromotionAsksAgain(t *testing.T) {
	for _, asks := range []bool{false, true} {
		w, a, b, release := pending(t)
		b.refuse[a.static.Public()] = true
		if asks {
			b.links.cfg.Allowed = func(id tables.RouterID) bool { return id != 1 }
		}
		release()
		w.run(10 * time.Millisecond)
		if (b.ups == 0) != asks {
			t.Fatalf("asked again %v, ups %d", asks, b.ups)
		}
		if asks && (b.links.pending != 0 || len(b.links.index) > 0 || b.links.counters.Refused == 0) {
			t.Fatalf("%d sessions stay", b.links.pending)
		}
	}
}

// Close ends a dial too.
func TestCloseDial(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	a.do(a.links.Pin(a.clock(), 2, true))
	a.do(a.links.Close(a.clock(), 2, ReasonRevoked))
	if a.links.dials != 0 || len(a.links.index)+len(a.listening) > 0 {
		t.Fatal("a first message stays")
	}
	w.run(time.Minute)
	if a.ups > 0 || b.links.pending > 0 {
		t.Fatal("the answer made a link")
	}
}

// What Links listens to is exactly what it has issued, at every moment of a busy life (the lanes
// of every test drop the rest): links, rekeys, restarts, joins.
func TestListening(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	same := func() {
		t.Helper()
		for _, h := range w.nodes {
			live := 0
			for i, o := range h.links.index {
				if o != (owner{}) {
					live++
					if !h.listening[i] {
						t.Fatalf("index %#x is not listened to", i)
					}
				}
			}
			if live != len(h.listening) {
				t.Fatalf("%d indexes live, %d listened to", live, len(h.listening))
			}
		}
	}
	w.connect(a, b, 7)
	same()
	w.join(w.newcomer(1), b)
	same()
	for range 40 {
		a.data(2, 7, "x")
		w.run(10 * time.Second)
		same()
	}
	if a.rekeys == 0 {
		t.Fatal("no rekey: the test shows nothing")
	}
	a.start()
	a.do(a.links.Dial(a.clock(), 2))
	w.run(time.Minute)
	same()
	a.do(a.links.Close(a.clock(), 2, ReasonLeaving))
	w.run(time.Minute)
	same()
	if len(a.listening)+len(b.listening) > 0 {
		t.Fatalf("%d and %d indexes stay", len(a.listening), len(b.listening))
	}
}
