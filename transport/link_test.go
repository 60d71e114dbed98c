package transport

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

func TestHandshake(t *testing.T) {
	w := newWorld(t, 2)
	w.keepLog = true
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b, 7)
	want := []frame.Type{frame.TypeInit, frame.TypeResponse, frame.TypeControl}
	if got := w.types()[:3]; !slices.Equal(got, want) {
		t.Fatalf("exchange %v, want %v", got, want)
	}
	for _, p := range w.log[:1] {
		if len(p.b) != frame.HandshakeLen {
			t.Errorf("%v of %d bytes", frame.TypeOf(p.b), len(p.b))
		}
	}
	if took := w.now.Sub(epochStart); took > 60*time.Millisecond {
		t.Errorf("data could flow after %v, six one-way delays of 10 ms at most", took)
	}
	if !a.data(2, 7, "ping") {
		t.Fatal("no channel")
	}
	w.run(time.Second)
	if b.got["ping"] != 1 || b.strange != 0 {
		t.Fatalf("received %v, strange %d", b.got, b.strange)
	}
	st := a.links.Status(a.clock())
	if len(st) != 1 || st[0].State != "up" || st[0].RTT != 20*time.Millisecond || st[0].Endpoint != b.addr || st[0].Path != "direct" {
		t.Fatalf("status %+v", st)
	}
	if len(a.observed) != 1 || a.observed[0].Endpoint != a.addr {
		t.Errorf("observed %v", a.observed)
	}
}

func TestSimultaneousOpen(t *testing.T) {
	for seed := range uint64(40) {
		w := newWorld(t, 2)
		a, b := w.nodes[0], w.nodes[1]
		w.jitter = 30 * time.Millisecond
		for range seed {
			w.rand.Uint64()
		}
		a.do(a.links.SetChannels(a.clock(), 2, []tables.VNID{7}))
		b.do(b.links.SetChannels(b.clock(), 1, []tables.VNID{7}))
		a.do(a.links.Dial(a.clock(), 2))
		b.do(b.links.Dial(b.clock(), 1))
		w.run(30 * time.Second)
		if a.ups != 1 || b.ups != 1 || len(a.downs)+len(b.downs) > 0 {
			t.Fatalf("ups %d %d, downs %v %v", a.ups, b.ups, a.downs, b.downs)
		}
		ka, kb := a.links.links[2], b.links.links[1]
		if len(ka.sessions) != 1 || len(kb.sessions) != 1 {
			t.Fatalf("%d and %d sessions stay", len(ka.sessions), len(kb.sessions))
		}
		if ka.sessions[0].Local != kb.sessions[0].Remote {
			t.Fatal("the two sides stay with different sessions")
		}
		if !a.data(2, 7, "x") || !b.data(1, 7, "y") {
			t.Fatal("no channel")
		}
		w.run(time.Second)
		if a.got["y"] != 1 || b.got["x"] != 1 {
			t.Fatal("data lost")
		}
	}
}

func TestLostResponse(t *testing.T) {
	w := newWorld(t, 2)
	lost := 0
	w.filter = func(p *packet) bool {
		if frame.TypeOf(p.b) == frame.TypeResponse && lost < 2 {
			lost++
			return false
		}
		return true
	}
	w.connect(w.nodes[0], w.nodes[1], 7)
	if lost != 2 {
		t.Fatal("nothing was lost")
	}
	if n := w.nodes[1].links.lastConn; n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestDuplicateInitGetsTheSameAnswer(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.keepLog = true
	w.filter = func(p *packet) bool { return frame.TypeOf(p.b) != frame.TypeResponse }
	a.do(a.links.Dial(a.clock(), 2))
	w.run(20 * time.Millisecond)
	for range 30 {
		b.do(b.links.Handle(b.clock(), a.addr, w.log[0].b))
	}
	var answers [][]byte
	for _, p := range w.log {
		if frame.TypeOf(p.b) == frame.TypeResponse {
			answers = append(answers, p.b)
		}
	}
	if len(answers) != answersMax {
		t.Fatalf("%d answers, want %d", len(answers), answersMax)
	}
	for _, x := range answers {
		if !slices.Equal(x, answers[0]) {
			t.Fatal("answers differ")
		}
	}
	if b.links.pending != 1 || len(b.links.links[1].sessions) != 1 {
		t.Fatal("copies made sessions")
	}
	w.filter = nil
	w.connect(a, b, 7)
}

// replayAfterRestart captures the first message of a, restarts b with a link in the meantime, and
// replays the message to b. It returns whether data of b still reaches a.
func replayAfterRestart(t *testing.T, off func(*Links)) (reaches bool, b *host) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.keepLog = true
	w.connect(a, b, 7)
	captured := w.log[0].b
	if frame.TypeOf(captured) != frame.TypeInit {
		t.Fatal("not an init")
	}
	w.run(time.Minute)
	b.start()
	b.do(b.links.SetChannels(b.clock(), 1, []tables.VNID{7}))
	off(b.links)
	w.filter = func(p *packet) bool { return p.from != a.addr || frame.TypeOf(p.b) != frame.TypeInit }
	b.do(b.links.Dial(b.clock(), 1))
	if !w.until(5*time.Second, func() bool { return b.send[1].Index[7] != 0 }) {
		t.Fatal("no link after the restart")
	}
	w.run(time.Second)
	before := b.links.links[1].conn.session
	evil := netip.MustParseAddrPort("203.0.113.66:666")
	for range 3 {
		w.inject(evil, b.addr, captured)
	}
	reaches = b.links.links[1].conn.session == before
	for i := range 8 {
		b.data(1, 7, fmt.Sprint("after replay ", i))
		w.run(100 * time.Millisecond)
	}
	for i := range 8 {
		reaches = reaches && a.got[fmt.Sprint("after replay ", i)] == 1
	}
	w.run(time.Minute)
	if b.links.pending != 0 {
		t.Errorf("a replay left %d unconfirmed sessions", b.links.pending)
	}
	return reaches, b
}

func TestReplayedInitAfterRestart(t *testing.T) {
	ok, b := replayAfterRestart(t, func(*Links) {})
	if !ok || len(b.downs) > 0 {
		t.Fatal("the replay displaced the live session")
	}
}

func TestReplayedInitAfterRestartDefenceOff(t *testing.T) {
	if ok, _ := replayAfterRestart(t, func(l *Links) { l.believeInits = true }); ok {
		t.Fatal("the attack does not work even without the defence: the test shows nothing")
	}
}

func TestReplayedInit(t *testing.T) {
	for _, off := range []bool{false, true} {
		w := newWorld(t, 2)
		a, b := w.nodes[0], w.nodes[1]
		b.links.acceptReplays = off
		w.keepLog = true
		w.connect(a, b, 7)
		w.run(time.Minute)
		answered := b.sentTo[netip.MustParseAddrPort("203.0.113.66:666")]
		for range 3 {
			w.inject(netip.MustParseAddrPort("203.0.113.66:666"), b.addr, w.log[0].b)
			w.run(20 * time.Second)
		}
		answered = b.sentTo[netip.MustParseAddrPort("203.0.113.66:666")] - answered
		if off != (answered > 0) {
			t.Errorf("defence off %v: %d bytes answered", off, answered)
		}
		if !off && b.links.counters.Replayed != 3 {
			t.Errorf("counted %d", b.links.counters.Replayed)
		}
	}
}

func TestTruncatedThenGood(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.filter = func(p *packet) bool {
		// In front of every datagram come damaged copies of it.
		for _, n := range []int{0, 1, 7, len(p.b) / 2, len(p.b) - 1} {
			w.fly(&packet{at: p.at.Add(-time.Millisecond), from: p.from, to: p.to, b: append([]byte(nil), p.b[:n]...)})
		}
		flipped := append([]byte(nil), p.b...)
		flipped[max(len(flipped)-40, 0)] ^= 1
		w.fly(&packet{at: p.at.Add(-time.Millisecond), from: p.from, to: p.to, b: flipped})
		return true
	}
	w.connect(a, b, 7)
	if !a.data(2, 7, "x") {
		t.Fatal("no channel")
	}
	w.run(time.Second)
	if b.got["x"] != 1 {
		t.Fatal("data lost")
	}
}

func TestSilence(t *testing.T) {
	w := newWorld(t, 3)
	a, b, c := w.nodes[0], w.nodes[1], w.nodes[2]
	w.keepLog = true
	w.connect(a, b, 7)
	w.run(time.Second)
	good := append([]*packet(nil), w.log...)
	// Everything that a and b ever said goes to c, which knows neither, bypassing its gate.
	for _, p := range good {
		if actions := c.links.Handle(c.clock(), p.from, p.b); len(actions) > 0 {
			t.Errorf("%v of a stranger: %T", frame.TypeOf(p.b), actions[0])
		}
	}
	if c.links.counters.UnknownIndex == 0 || c.links.counters.Unauthentic == 0 {
		t.Errorf("not counted: %+v", c.links.counters)
	}
	// And again to b with one bit changed.
	for _, p := range good {
		x := append([]byte(nil), p.b...)
		x[max(len(x)-50, 9)] ^= 4
		for _, act := range b.links.Handle(b.clock(), p.from, x) {
			if _, sends := act.(Send); sends {
				t.Errorf("%v with a bit changed is answered", frame.TypeOf(p.b))
			}
		}
	}
}

func TestRekeyLosesNothing(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.jitter = 5 * time.Millisecond
	w.connect(a, b, 7, 8)
	first := a.send[2].Sender
	for i := range 6000 { // ten minutes
		if !a.data(2, 7, fmt.Sprint("a", i)) || !b.data(1, 8, fmt.Sprint("b", i)) {
			t.Fatalf("no channel at packet %d", i)
		}
		w.run(100 * time.Millisecond)
	}
	w.run(time.Second)
	if a.rekeys < 4 || b.rekeys < 4 || a.rekeys > 5 || a.send[2].Sender == first {
		t.Fatalf("%d and %d rekeys in ten minutes", a.rekeys, b.rekeys)
	}
	if len(b.got) != 6000 || len(a.got) != 6000 || a.strange+b.strange > 0 {
		t.Fatalf("received %d and %d of 6000, strange %d %d", len(b.got), len(a.got), a.strange, b.strange)
	}
	if len(a.grants) > 4 || len(a.links.links[2].sessions) > 2 {
		t.Errorf("%d grants, %d sessions stay", len(a.grants), len(a.links.links[2].sessions))
	}
}

// TestHopEndIsThere: whenever the keys of a link change, either side sends relay datagrams in the new session only when the other
// takes them. The initiator knows that it is there sooner than that.
func TestHopEndIsThere(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b, 7)
	for range 600 {
		a.data(2, 7, "x")
		w.run(time.Second)
	}
	for _, h := range w.nodes {
		if slices.Contains(h.hopSends, false) || len(h.hopSends) != h.rekeys+1 || h.rekeys < 3 {
			t.Errorf("%v: %d changes of keys, sent to ends that were there: %v", h.id, h.rekeys, h.hopSends)
		}
	}
}

func TestRekeyUnderLoss(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b, 7)
	w.loss = 0.2
	for i := range 6000 {
		a.data(2, 7, fmt.Sprint("a", i))
		w.run(100 * time.Millisecond)
	}
	if got := len(b.got); got < 4500 || len(a.downs) > 0 || b.strange > 0 {
		t.Fatalf("received %d of 6000 at 20 %% loss, downs %v, strange %d", got, a.downs, b.strange)
	}
}

func TestLinkThatIsIdleCloses(t *testing.T) {
	w := newWorld(t, 3)
	a, b, c := w.nodes[0], w.nodes[1], w.nodes[2]
	w.connect(a, b, 7)
	a.do(a.links.Pin(a.clock(), 3, true))
	w.run(idleClose - 10*time.Second)
	if len(a.up) != 2 {
		t.Fatalf("links %v", a.up)
	}
	w.run(20 * time.Second)
	if _, up := a.up[2]; up || len(b.up) != 0 || a.downs[0].Reason != ReasonIdle {
		t.Fatalf("the idle link stays, downs %v", a.downs)
	}
	if _, up := a.up[3]; !up {
		t.Fatal("the pinned link is gone")
	}
	// The pin holds on one side only; the other side follows the side that pins.
	w.run(10 * time.Minute)
	if _, up := a.up[3]; !up {
		t.Fatalf("the pinned link is gone: %v %v", a.downs, c.downs)
	}
}

func TestIdleProbesAreRare(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	a.do(a.links.Pin(a.clock(), 2, true))
	b.do(b.links.Pin(b.clock(), 1, true))
	w.run(time.Second)
	before := w.packets
	w.run(100 * time.Second)
	if n := w.packets - before; n < 8 || n > 2*2*10 {
		t.Errorf("%d packets in 100 idle seconds", n)
	}
}

func TestDeadPeerWhileActive(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b, 7)
	w.run(30 * time.Second)
	b.off = true
	began := w.now
	for len(a.downs) == 0 && w.now.Sub(began) < 10*time.Second {
		a.data(2, 7, "x")
		w.run(20 * time.Millisecond)
	}
	if took := w.now.Sub(began); len(a.downs) == 0 || took < 2*time.Second || took > 2500*time.Millisecond || a.downs[0].Reason != ReasonDead {
		t.Fatalf("down %v after %v", a.downs, took)
	}
}

// A peer that restarts with a higher boot count is back within a second of its start, whoever
// dials, with only one side sending, and with its clock set back a day.
func TestPeerRestarts(t *testing.T) {
	for _, skew := range []time.Duration{0, -24 * time.Hour} {
		for _, dials := range []bool{false, true} {
			for _, away := range []time.Duration{500 * time.Millisecond, 20 * time.Second} {
				w := newWorld(t, 2)
				a, b := w.nodes[0], w.nodes[1]
				w.connect(a, b, 7)
				b.off = true
				for end := w.now.Add(away); w.now.Before(end); {
					a.data(2, 7, "away")
					w.run(20 * time.Millisecond)
				}
				b.skew = skew
				b.start()
				back := w.now
				b.do(b.links.SetChannels(b.clock(), 1, []tables.VNID{7}))
				if dials {
					b.do(b.links.Dial(b.clock(), 1))
				}
				for b.got["back"] == 0 && w.now.Sub(back) < 20*time.Second {
					a.data(2, 7, "back")
					w.run(20 * time.Millisecond)
				}
				limit := time.Second
				if !dials && away < activeDead {
					limit = activeDead + time.Second // only a's probes can tell, and they need their two seconds
				}
				if gap := w.now.Sub(back); gap > limit {
					t.Errorf("skew %v, dials %v, away %v: gap %v", skew, dials, away, gap)
				}
			}
		}
	}
}

func TestRestartResetsStreams(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b)
	s, actions := a.links.OpenStream(a.clock(), a.up[2], 1)
	a.do(actions)
	w.run(time.Second)
	b.start()
	b.do(b.links.Dial(b.clock(), 1))
	w.run(time.Second)
	if err := a.closed[s]; err != ErrLinkDown {
		t.Fatalf("closed with %v", err)
	}
	if len(a.downs) > 0 {
		t.Fatal("the link went down")
	}
	for range 3 {
		s, actions = a.links.OpenStream(a.clock(), a.up[2], 9)
		a.do(actions)
		a.pending[s], a.fin[s] = []byte("hello"), true
		a.write(s)
		w.run(time.Second)
		o := b.opened[len(b.opened)-1]
		if string(b.in[o.Stream]) != "hello" || o.Kind != 9 {
			t.Fatal("a stream after the restart does not work")
		}
	}
}

// A peer that restarts is told again where it is seen, by a link that has not moved.
func TestRestartedIsObserved(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b)
	w.run(time.Second)
	b.start()
	b.observed = nil
	b.do(b.links.Dial(b.clock(), 1))
	w.run(time.Second)
	if len(a.downs) > 0 {
		t.Fatal("the link went down")
	}
	if len(b.observed) == 0 || b.observed[0].Endpoint != b.addr {
		t.Errorf("it was told %v, want %v", b.observed, b.addr)
	}
}

func TestRevoked(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b, 7)
	w.run(time.Second)
	b.refuse[a.static.Public()] = true
	b.do(b.links.Close(b.clock(), 1, ReasonRevoked))
	if len(b.up) != 0 || len(b.grants) != 0 || b.links.Status(b.clock()) != nil {
		t.Fatal("the live link stays")
	}
	w.run(time.Second)
	if len(a.downs) != 1 || a.downs[0].Reason != ReasonRevoked {
		t.Fatalf("the peer was told %v", a.downs)
	}
	before := b.sentTo[a.addr]
	a.do(a.links.Dial(a.clock(), 2))
	w.run(time.Minute)
	if len(b.up) != 0 || b.sentTo[a.addr] != before {
		t.Fatal("a revoked peer was answered")
	}
	if a.links.Next() != (time.Time{}) {
		t.Errorf("dialling goes on without interest: %v", a.links.Status(a.clock()))
	}
}

// "The seven public keys of low order are never answered and never dialled."
func TestLowOrderKeys(t *testing.T) {
	keys := []tables.LinkKey{
		{},
		{1},
		{0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00},
		{0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57},
	}
	for _, low := range []byte{0xec, 0xed, 0xee} {
		k := tables.LinkKey{}
		for i := range k {
			k[i] = 0xff
		}
		k[0], k[31] = low, 0x7f
		keys = append(keys, k)
	}
	for i, key := range keys {
		w := newWorld(t, 2)
		a, b := w.nodes[0], w.nodes[1]
		a.links.cfg.Peer = func(tables.RouterID) (Peer, bool) {
			return Peer{Link: key, Endpoints: []netip.AddrPort{b.addr}}, true
		}
		a.do(a.links.Dial(a.clock(), 2))
		w.run(time.Second)
		if a.sentTo[b.addr] > 0 {
			t.Errorf("key %d was dialled", i)
		}
		// As ephemeral keys of a first message and of a join hello.
		w.keepLog = true
		init := frame.Init{Sender: 16, Noise: append(append([]byte(nil), key[:]...), make([]byte, frame.InitNoiseLen-32)...)}.Append(nil)
		hello := frame.JoinHello{Sender: 16, Ephemeral: key}.Append(nil)
		for _, d := range [][]byte{init, hello} {
			for _, act := range b.links.Handle(b.clock(), a.addr, d) {
				if s, sends := act.(Send); sends {
					t.Errorf("key %d in %v is answered by %v", i, frame.TypeOf(d), frame.TypeOf(s.Datagram))
				}
			}
		}
	}
}

func TestCookieUnderLoad(t *testing.T) {
	w := newWorld(t, 2)
	w.keepLog = true
	w.nodes[1].gate.SetUnderLoad(true)
	w.connect(w.nodes[0], w.nodes[1], 7)
	want := []frame.Type{frame.TypeInit, frame.TypeCookie, frame.TypeInit, frame.TypeResponse}
	if got := w.types()[:4]; !slices.Equal(got, want) {
		t.Fatalf("exchange %v, want %v", got, want)
	}
}

func TestBoundOfHandshakes(t *testing.T) {
	w := newWorld(t, 1)
	a := w.nodes[0]
	a.links.cfg.Peer = func(id tables.RouterID) (Peer, bool) {
		return Peer{Link: a.static.Public(), Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.99:1")}}, true
	}
	for id := range tables.RouterID(handshakesMax + 50) {
		a.do(a.links.Dial(a.clock(), id+2))
	}
	if a.links.dials != handshakesMax || a.links.counters.Limited != 50 {
		t.Fatalf("%d dials, %d refused", a.links.dials, a.links.counters.Limited)
	}
	w.run(2 * time.Minute)
	if a.links.dials != 0 || len(a.links.index) != 0 || a.links.Next() != (time.Time{}) {
		t.Fatalf("%d dials and %d indexes stay", a.links.dials, len(a.links.index))
	}
}

func TestBoundOfLinks(t *testing.T) {
	w := newWorld(t, 1)
	a := w.nodes[0]
	vns := []tables.VNID{7}
	for id := range tables.RouterID(linksMax + 10) {
		a.do(a.links.SetChannels(a.clock(), id+2, vns))
	}
	if len(a.links.links) != linksMax || a.links.counters.Limited != 10 {
		t.Fatalf("%d links, %d refused", len(a.links.links), a.links.counters.Limited)
	}
	// One that nobody wants makes room.
	a.do(a.links.SetChannels(a.clock(), 5, nil))
	a.do(a.links.SetChannels(a.clock(), linksMax+100, vns))
	if len(a.links.links) != linksMax || a.links.links[5] != nil || a.links.links[linksMax+100] == nil {
		t.Fatal("no room was made")
	}
}

// Who sends data to a peer that does not answer is told of that within a second, once, and again when the peer answers; long
// before the link is given up.
func TestSilentIsTold(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b, 7)
	w.run(30 * time.Second)
	told := func(within time.Duration) (took time.Duration) {
		for began := w.now; w.now.Sub(began) < within; took = w.now.Sub(began) {
			if len(a.silences) > 0 {
				break
			}
			a.data(2, 7, "x")
			w.run(10 * time.Millisecond)
		}
		return took
	}
	if told(5 * time.Second); len(a.silences) > 0 {
		t.Fatalf("told of a peer that answers: %+v", a.silences)
	}
	b.off = true
	if took := told(5 * time.Second); took > time.Second || took < 500*time.Millisecond || len(a.silences) != 1 || a.silences[0] != (Silent{2, true}) {
		t.Fatalf("told after %v: %+v", took, a.silences)
	}
	w.run(500 * time.Millisecond)
	b.off, a.silences = false, a.silences[1:]
	if took := told(time.Second); took > 300*time.Millisecond || len(a.silences) != 1 || a.silences[0] != (Silent{2, false}) || len(a.downs) > 0 {
		t.Errorf("told after %v: %+v, downs %v", took, a.silences, a.downs)
	}
}
