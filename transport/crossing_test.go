package transport

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// TestCrossingHandshakes: both sides begin, at about the same time and on a path that delays each datagram by something else, as
// first dials and as new keys over a link that is up. Whichever session each is in then, soon they are in the same, and data passes.
func TestCrossingHandshakes(t *testing.T) {
	apart := 0
	for seed := range uint64(800) {
		w := newWorld(t, 2)
		w.rand = rand.New(rand.NewPCG(seed, 9))
		a, b := w.nodes[0], w.nodes[1]
		for _, h := range w.nodes {
			h.do(h.links.SetChannels(h.clock(), 3-h.id, []tables.VNID{7}))
		}
		if seed%2 == 0 {
			a.do(a.links.Dial(a.clock(), 2))
			w.run(time.Second)
		}
		w.jitter = time.Duration(w.rand.IntN(400)) * time.Millisecond
		first, second := a, b
		if w.rand.IntN(2) == 0 {
			first, second = b, a
		}
		begin := func(h *host) {
			if c := h.links.links[3-h.id]; c != nil && c.conn != nil {
				if c.dial == nil {
					c.dial = &dial{born: h.clock(), next: h.clock()} // as when keys are old
				}
				h.do(h.links.Advance(h.clock()))
				return
			}
			h.do(h.links.Dial(h.clock(), 3-h.id))
		}
		begin(first)
		w.run(time.Duration(w.rand.IntN(300)) * time.Millisecond)
		begin(second)
		w.run(2 * time.Second)
		together := func() bool {
			ka, kb := a.links.links[2], b.links.links[1]
			return ka.conn != nil && kb.conn != nil && ka.conn.session.Local == kb.conn.session.Remote && kb.conn.session.Local == ka.conn.session.Remote
		}
		if !together() {
			apart++
		}
		w.jitter = 0
		w.run(2 * time.Second)
		if !together() {
			t.Fatalf("seed %d: in different sessions after four seconds: %+v, %+v", seed, a.links.Status(a.clock()), b.links.Status(b.clock()))
		}
		a.got, b.got = map[string]int{}, map[string]int{}
		for range 5 {
			a.data(2, 7, "x")
			b.data(1, 7, "x")
			w.run(20 * time.Millisecond)
		}
		if a.got["x"] == 0 || b.got["x"] == 0 {
			t.Fatalf("seed %d: no data after four seconds: %+v, %+v", seed, a.links.Status(a.clock()), b.links.Status(b.clock()))
		}
	}
	if apart == 0 {
		t.Error("they never were in different sessions after two seconds: the test shows nothing")
	}
}
