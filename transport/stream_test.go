package transport

import (
	"bytes"
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vine-mesh/vine/transport/frame"
)

// open opens a stream from a to b that carries p and ends. What b sends back is back, and ends.
func (w *world) open(a, b *host, p, back []byte) Stream {
	w.t.Helper()
	b.serve = func(h *host, o StreamOpened) {
		h.pending[o.Stream], h.fin[o.Stream] = append([]byte(nil), back...), true
		h.write(o.Stream)
	}
	c, ok := a.links.Conn(b.id)
	if !ok {
		w.t.Fatal("no link")
	}
	s, actions := a.links.OpenStream(a.clock(), c, 5)
	if s == 0 {
		w.t.Fatal("no stream")
	}
	a.do(actions)
	a.pending[s], a.fin[s] = append([]byte(nil), p...), true
	a.write(s)
	return s
}

func noise(n int, seed uint64) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	p := make([]byte, n)
	_, _ = r.Read(p)
	return p
}

// done reports whether a stream and its peer have ended well, with what was sent.
func done(a, b *host, s Stream) bool {
	if _, ok := a.closed[s]; !ok || len(b.opened) == 0 {
		return false
	}
	_, ok := b.closed[b.opened[len(b.opened)-1].Stream]
	return ok
}

func TestStream(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b)
	p, back := noise(300_000, 1), noise(70_000, 2)
	s := w.open(a, b, p, back)
	if !w.until(time.Minute, func() bool { return done(a, b, s) }) {
		t.Fatal("the stream does not end")
	}
	o := b.opened[0]
	if o.Kind != 5 || o.Router != 1 || o.Conn != b.up[1] || !bytes.Equal(b.in[o.Stream], p) || !bytes.Equal(a.in[s], back) {
		t.Fatalf("opened %+v, %d and %d bytes", o, len(b.in[o.Stream]), len(a.in[s]))
	}
	if a.closed[s] != nil || b.closed[o.Stream] != nil || !a.eof[s] {
		t.Fatalf("ended with %v, %v", a.closed[s], b.closed[o.Stream])
	}
	if len(a.links.streams)+len(b.links.streams) > 0 {
		t.Fatal("streams stay")
	}
}

// Bytes out are bytes in, whatever the network does.
func TestStreamProperty(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(t, 2)
		a, b := w.nodes[0], w.nodes[1]
		w.rand = rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 9))
		w.connect(a, b)
		w.delay = time.Duration(rapid.IntRange(1, 150).Draw(r, "delay")) * time.Millisecond
		w.jitter = time.Duration(rapid.IntRange(0, 60).Draw(r, "jitter")) * time.Millisecond
		w.dup = rapid.Float64Range(0, 0.2).Draw(r, "dup")
		loss := rapid.Float64Range(0, 0.3).Draw(r, "loss")
		// Loss strikes stream packets only: whether a link survives it is another test.
		w.filter = func(p *packet) bool { return len(p.b) < 60 || w.rand.Float64() >= loss }
		p := noise(rapid.IntRange(0, 60_000).Draw(r, "bytes"), 3)
		back := noise(rapid.IntRange(0, 20_000).Draw(r, "back"), 4)
		s := w.open(a, b, p, back)
		if !w.until(4*time.Minute, func() bool { return done(a, b, s) }) {
			r.Fatalf("the stream does not end: %d of %d, %d of %d; %v", len(b.in[b.opened[0].Stream]), len(p), len(a.in[s]), len(back), a.downs)
		}
		o := b.opened[0]
		if a.closed[s] != nil || b.closed[o.Stream] != nil {
			r.Fatalf("ended with %v, %v", a.closed[s], b.closed[o.Stream])
		}
		if !bytes.Equal(b.in[o.Stream], p) || !bytes.Equal(a.in[s], back) {
			r.Fatal("bytes differ")
		}
	})
}

// Sanity figures in virtual time: 64 KiB windows over 40 ms round trip can carry 13 Mbit/s.
func TestStreamThroughput(t *testing.T) {
	for _, x := range []struct {
		loss     float64
		atLeast  float64 // Mbit/s
		megabyte float64
	}{{0, 8, 4}, {0.01, 1.7, 2}, {0.05, 0.6, 1}, {0.3, 0.04, 0.2}} {
		w := newWorld(t, 2)
		a, b := w.nodes[0], w.nodes[1]
		w.connect(a, b)
		w.delay = 20 * time.Millisecond
		w.filter = func(p *packet) bool { return len(p.b) < 60 || w.rand.Float64() >= x.loss }
		p := noise(int(x.megabyte*1e6), 5)
		began := w.now
		s := w.open(a, b, p, nil)
		if !w.until(10*time.Minute, func() bool { return done(a, b, s) }) {
			t.Fatalf("loss %v: the stream does not end", x.loss)
		}
		rate := float64(len(p)) * 8 / 1e6 / w.now.Sub(began).Seconds()
		t.Logf("loss %2.0f %%: %.2f Mbit/s in virtual time", x.loss*100, rate)
		if rate < x.atLeast {
			t.Errorf("loss %v: %.2f Mbit/s, want %v", x.loss, rate, x.atLeast)
		}
	}
}

// What the reader does not read, the writer cannot write: two windows at most are on their way.
func TestStreamBackpressure(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b)
	s, actions := a.links.OpenStream(a.clock(), a.up[2], 1)
	a.do(actions)
	took := 0
	fill := func() {
		for range 10 {
			n, actions := a.links.WriteStream(a.clock(), s, make([]byte, 100_000))
			a.do(actions)
			took += n
			for len(w.flying) > 0 { // deliver without reading at b
				p := heap.Pop(&w.flying).(*packet)
				w.now = p.at
				for _, h := range w.nodes {
					if h.addr != p.to {
						continue
					}
					for _, x := range h.links.Handle(h.clock(), p.from, p.b) {
						switch x := x.(type) {
						case Send:
							w.post(h.addr, x.To, x.Datagram)
						case StreamOpened:
							h.opened = append(h.opened, x)
						}
					}
				}
			}
			w.now = w.now.Add(50 * time.Millisecond)
			a.do(a.links.Advance(a.clock()))
			b.do(b.links.Advance(b.clock()))
		}
	}
	fill()
	if took != 2*streamWindow {
		t.Fatalf("took %d with nobody reading", took)
	}
	p := make([]byte, streamWindow)
	n, eof, actions := b.links.ReadStream(b.clock(), b.opened[0].Stream, p)
	b.do(actions)
	if n != streamWindow || eof {
		t.Fatalf("read %d", n)
	}
	fill()
	if took != 3*streamWindow {
		t.Fatalf("took %d after a window was read", took)
	}
}

// A reader that does not read makes the stream end after streamIdle, and holds no more than a window.
func TestStreamIdle(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b)
	s, actions := a.links.OpenStream(a.clock(), a.up[2], 1)
	a.do(actions)
	w.run(streamIdle - time.Second)
	if _, closed := a.closed[s]; closed {
		t.Fatal("closed early")
	}
	w.run(3 * time.Second)
	if a.closed[s] != ErrStreamIdle || len(b.closed) != 1 {
		t.Fatalf("closed with %v, at the peer %v", a.closed[s], b.closed)
	}
}

func TestStreamReset(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b)
	s := w.open(a, b, noise(200_000, 6), noise(100_000, 7))
	w.run(30 * time.Millisecond)
	a.do(a.links.ResetStream(a.clock(), s))
	w.run(time.Second)
	if a.closed[s] != ErrStreamAbort || b.closed[b.opened[0].Stream] != ErrStreamReset {
		t.Fatalf("closed with %v, %v", a.closed[s], b.closed)
	}
	// Late packets of it open nothing.
	if len(b.opened) != 1 || len(b.links.streams) != 0 {
		t.Fatal("opened again")
	}
}

func TestBoundOfStreams(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b)
	for range streamsMax {
		s, actions := a.links.OpenStream(a.clock(), a.up[2], 1)
		if s == 0 {
			t.Fatal("refused below the bound")
		}
		a.do(actions)
	}
	if s, _ := a.links.OpenStream(a.clock(), a.up[2], 1); s != 0 {
		t.Fatal("no bound here")
	}
	w.run(time.Second)
	if len(b.opened) != streamsMax {
		t.Fatalf("%d opened", len(b.opened))
	}
	// The peer's bound holds against a peer that has none: one more by hand.
	c := a.links.links[2].conn
	c.put(frame.StreamOpen{ID: c.nextWire, Kind: 1}.Append(nil))
	a.do(a.links.DataReceived(a.clock(), 2))
	w.run(time.Second)
	if len(b.opened) != streamsMax || b.links.counters.Limited == 0 {
		t.Fatal("no bound at the peer")
	}
}

func TestManyStreamsAtOnceShare(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b)
	w.loss = 0.03
	p := noise(30_000, 8)
	var all []Stream
	for range 40 {
		all = append(all, w.open(a, b, p, p[:100]))
	}
	for range 100 { // numbers beyond the window of wireWindow
		w.run(2 * time.Second)
		all = append(all, w.open(a, b, p[:10], p[:10]))
	}
	w.run(20 * time.Second)
	for i, s := range all {
		if err, ok := a.closed[s]; !ok || err != nil {
			t.Fatalf("stream %d: closed %v, %v", i, ok, err)
		}
	}
	if len(b.opened) != len(all) {
		t.Fatalf("%d of %d opened", len(b.opened), len(all))
	}
}

func TestWireWindow(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var w wireWindow
		used := map[uint32]bool{}
		var high uint32
		for range rapid.IntRange(1, 300).Draw(r, "n") {
			n := rapid.Uint32Range(1, 400).Draw(r, "wire")
			fresh := w.use(n)
			slot := n / 2
			if fresh && used[slot] {
				r.Fatal("a number is fresh twice")
			}
			if !fresh && !used[slot] && slot+64 > high {
				r.Fatal("a fresh number in the window is refused")
			}
			if fresh {
				used[slot] = true
				high = max(high, slot)
			}
		}
	})
}

// The receiver against a plain model: a map of bytes.
func TestRecvStateProperty(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var s recvState
		s.limit = streamWindow
		src := noise(rapid.IntRange(0, 3000).Draw(r, "len"), 10)
		have := make([]bool, len(src))
		var out []byte
		for range rapid.IntRange(1, 120).Draw(r, "ops") {
			off := rapid.IntRange(0, len(src)).Draw(r, "off")
			n := rapid.IntRange(0, min(len(src)-off, 400)).Draw(r, "n")
			before := len(s.spans)
			if _, ok := s.insert(uint64(off), src[off:off+n], off+n == len(src)); !ok {
				r.Fatal("a good segment is refused")
			}
			if before < spansMax {
				for i := off; i < off+n; i++ {
					have[i] = true
				}
			}
			if rapid.Bool().Draw(r, "read") {
				p := make([]byte, rapid.IntRange(1, 500).Draw(r, "buf"))
				k, _ := s.take(p)
				out = append(out, p[:k]...)
			}
			for i := 1; i < len(s.spans); i++ {
				if s.spans[i-1].to >= s.spans[i].from {
					r.Fatalf("spans %v", s.spans)
				}
			}
			if len(s.spans) > 0 && s.spans[0].from <= s.got || len(s.spans) > spansMax {
				r.Fatalf("got %d, spans %v", s.got, s.spans)
			}
			in := 0
			for in < len(have) && have[in] {
				in++
			}
			if before < spansMax && s.got > uint64(in) {
				r.Fatalf("got %d, model %d", s.got, in)
			}
		}
		if !bytes.Equal(out, src[:len(out)]) {
			r.Fatal("bytes differ")
		}
	})
}

func TestRecvStateRefuses(t *testing.T) {
	var s recvState
	s.limit = streamWindow
	for _, x := range []struct {
		off uint64
		n   int
		fin bool
		ok  bool
	}{
		{0, 10, false, true},
		{1 << 62, 10, false, false},
		{streamWindow, 1, false, false},
		{20, 10, false, true},
		{10, 5, true, false}, // an end below what has arrived
		{20, 10, true, true},
		{20, 11, false, false}, // beyond the end
		{25, 4, true, false},   // another end
		{5, 10, false, true},
	} {
		if _, ok := s.insert(x.off, make([]byte, x.n), x.fin); ok != x.ok {
			t.Errorf("%+v: ok %v", x, ok)
		}
	}
}

// "The RTT estimator computes what RFC 6298 says."
func TestRTT(t *testing.T) {
	var r rttState
	if got := r.timeout(0, time.Minute); got < 800*time.Millisecond || got > time.Second {
		t.Errorf("first RTO %v", got)
	}
	r.sample(100 * time.Millisecond)
	if r.srtt != 100*time.Millisecond || r.rttvar != 50*time.Millisecond || r.timeout(0, time.Minute) != 300*time.Millisecond {
		t.Errorf("after one sample %+v", r)
	}
	r.sample(180 * time.Millisecond)
	if r.srtt != 110*time.Millisecond || r.rttvar != 57500*time.Microsecond {
		t.Errorf("after two samples %+v", r)
	}
}
