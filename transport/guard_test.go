package transport

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// Each test here fails when one check of the state machine is taken out.

func sends(actions []Action) (n int) {
	for _, a := range actions {
		if _, ok := a.(Send); ok {
			n++
		}
	}
	return n
}

func TestOwnInitIsRefused(t *testing.T) {
	w := newWorld(t, 2)
	a := w.nodes[0]
	w.keepLog = true
	a.links.cfg.Peer = func(tables.RouterID) (Peer, bool) {
		return Peer{Link: a.static.Public(), Endpoints: []netip.AddrPort{a.addr}}, true
	}
	a.do(a.links.Dial(a.clock(), 2)) // a directory that lies: our own address and key as vr2's
	w.run(5 * time.Second)
	for _, p := range w.log {
		if frame.TypeOf(p.b) != frame.TypeInit {
			t.Fatalf("we answered ourselves with %v", frame.TypeOf(p.b))
		}
	}
	if len(w.log) == 0 || len(a.up) > 0 || a.links.counters.Refused == 0 {
		t.Fatalf("up %v, %+v", a.up, a.links.counters)
	}
}

// A directory gives vr3's key and address for vr2: the answer proves vr3, so there is no link.
func TestWrongResponder(t *testing.T) {
	w := newWorld(t, 3)
	a, c := w.nodes[0], w.nodes[2]
	a.links.cfg.Peer = func(tables.RouterID) (Peer, bool) {
		return Peer{Link: c.static.Public(), Endpoints: []netip.AddrPort{c.addr}}, true
	}
	a.do(a.links.Dial(a.clock(), 2))
	w.run(5 * time.Second)
	if len(a.up)+len(c.up) > 0 || a.links.counters.Refused == 0 {
		t.Fatalf("up %v and %v", a.up, c.up)
	}
}

func TestBoundOfAnswers(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.keepLog = true
	a.do(a.links.Dial(a.clock(), 2))
	b.links.pending += handshakesMax
	if n := sends(b.links.Handle(b.clock(), a.addr, w.log[0].b)); n > 0 || b.links.counters.Limited != 1 {
		t.Fatal("answered above the bound")
	}
}

func TestResponseFromElsewhere(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.filter = func(p *packet) bool {
		if frame.TypeOf(p.b) == frame.TypeResponse {
			p.from = elsewhere
		}
		return true
	}
	w.connect(a, b, 7)
	if a.endpoint[2] != b.addr || len(a.moved) > 0 {
		t.Fatalf("data goes to %v, which proved nothing", a.endpoint[2])
	}
}

func TestAmplificationOfOnePacket(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b, 7)
	b.do(b.links.Roamed(b.clock(), 1, elsewhere))
	busy := func() { // so that the deadlines of the link come often
		for range 200 {
			b.data(1, 7, "x")
			w.run(100 * time.Millisecond)
		}
	}
	busy()
	if out := b.sentTo[elsewhere]; out == 0 || out > amplification*dataBytesMin {
		t.Fatalf("%d bytes out for %d in", out, dataBytesMin)
	}
	for range 1000 { // plenty of bytes in at once: still no more than challengeTries
		b.do(b.links.Roamed(b.clock(), 1, elsewhere))
	}
	before := b.sentTo[elsewhere]
	busy()
	if n := (b.sentTo[elsewhere] - before) / challengeBytes; n > challengeTries {
		t.Fatalf("%d challenges", n)
	}
}

// What comes under the keys of a session that was replaced is old: it closes nothing, sets no
// channels, acknowledges none, and after a restart of the peer opens no streams.
func TestOldSessionIsHistory(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b, 7)
	w.run(time.Second)
	old := a.links.links[2].conn.session
	a.start()
	a.do(a.links.SetChannels(a.clock(), 2, []tables.VNID{7}))
	a.do(a.links.Dial(a.clock(), 2))
	w.run(time.Second)
	k := b.links.links[1]
	if len(k.sessions) != 2 || k.conn.session.Remote == old.Local {
		t.Fatalf("%d sessions: the test shows nothing", len(k.sessions))
	}
	say := func(f []byte) {
		d, _ := old.SealControl(nil, f)
		heard := b.links.links[1].conn.received
		b.receive(a.addr, d)
		if k := b.links.links[1]; k.conn != nil && k.conn.received != heard+1 {
			t.Fatal("not received: the test shows nothing")
		}
	}
	channels := b.send[1]
	say(frame.AppendChannels(nil, 99, 0, 1, []frame.Grant{{VN: 7, Index: 16}}))
	if b.send[1].Index[7] != channels.Index[7] {
		t.Error("an old session set channels")
	}
	say(frame.StreamBytes{ID: 2, Bytes: []byte("x")}.Append(frame.StreamOpen{ID: 2, Kind: 1}.Append(nil)))
	if len(b.opened) > 0 {
		t.Error("an old session opened a stream")
	}
	b.do(b.links.SetChannels(b.clock(), 1, []tables.VNID{7, 8}))
	say(frame.ChannelsAck{Version: k.conn.session.announce.version}.Append(nil))
	if k.conn.session.announce.acked {
		t.Error("an old session acknowledged")
	}
	granted := len(b.grants)
	if granted != 3 { // one of the old session, two of the new
		t.Errorf("%d grants", granted)
	}
	say(frame.Close{}.Append(nil))
	if len(b.downs) > 0 {
		t.Error("an old session closed the link")
	}
}

func TestJoinStaysAtItsAddress(t *testing.T) {
	w := newWorld(t, 1)
	m, n := w.nodes[0], w.newcomer(1)
	c := w.join(n, m)
	d, _ := n.links.conns[c].session.SealControl(nil, frame.Close{}.Append(nil))
	m.receive(elsewhere, d)
	if len(m.downs) > 0 {
		t.Fatal("a packet from elsewhere was taken")
	}
}

func TestForgedJoinCookies(t *testing.T) {
	w := newWorld(t, 0)
	n := w.newcomer(1)
	seed := elsewhere
	c, actions := n.links.DialJoin(n.clock(), seed)
	n.do(actions)
	index := n.links.joins[c].index
	out := 0
	for i := range 200 {
		d := frame.JoinCookie{Receiver: index, Cookie: [16]byte{1, byte(i)}}.Append(nil)
		out += sends(n.links.Handle(n.clock(), seed, d))
	}
	if out > answersMax {
		t.Fatalf("%d hellos for 200 forged cookies", out)
	}
}

func TestLateOpen(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b)
	s := w.open(a, b, []byte("x"), nil)
	if !w.until(10*time.Second, func() bool { return done(a, b, s) }) {
		t.Fatal("does not end")
	}
	c := b.links.links[1].conn
	c.onOpen(b.clock(), frame.StreamOpen{ID: 2, Kind: 5}) // a late copy
	c.onOpen(b.clock(), frame.StreamOpen{ID: 5, Kind: 5}) // a number of our own side
	c.onOpen(b.clock(), frame.StreamOpen{ID: 0, Kind: 5})
	b.do(b.links.end())
	if len(b.opened) != 1 || len(b.links.streams) > 0 {
		t.Fatalf("opened %v", b.opened)
	}
}

func TestBoundOfSpans(t *testing.T) {
	var s recvState
	s.limit = streamWindow
	for i := range uint64(200) {
		s.insert(2+2*i, []byte{1}, false)
	}
	if len(s.spans) != spansMax {
		t.Fatalf("%d spans", len(s.spans))
	}
	s.insert(0, make([]byte, 400), false)
	if s.got != 400 || len(s.spans) != 0 {
		t.Fatalf("got %d, spans %v", s.got, s.spans)
	}
}

func sender(now time.Time, n int) *sendState {
	s := newSendState()
	s.write(now, make([]byte, n))
	return &s
}

func (s *sendState) pullAll(now time.Time) (n int) {
	for {
		if _, _, ok := s.pull(now); !ok {
			return n
		}
		n++
	}
}

func TestSendStateIgnoresImpossibleAcks(t *testing.T) {
	now := epochStart
	s := sender(now, 3000)
	s.pullAll(now)
	for _, x := range [][2]uint64{{3001, 70000}, {1 << 60, 1 << 61}, {1100, 1 << 40}} {
		if s.ack(now, x[0], x[1], nil) || s.base != 0 || s.limit != streamWindow {
			t.Errorf("ack %v was believed", x)
		}
	}
}

// "the sender MUST NOT send more than the initial window at once", and pacing spreads the rest.
func TestSendStatePaces(t *testing.T) {
	now := epochStart
	s := sender(now, streamWindow)
	if n := s.pullAll(now); n != 10 {
		t.Fatalf("%d segments in the first flight", n)
	}
	s.cwnd = cwndMax // congestion allows all; pacing alone holds back
	s.paceAt = time.Time{}
	if n := s.pullAll(now); n > paceBurst+1 || n == 0 {
		t.Fatalf("%d segments at once", n)
	}
	if due := s.due(now); !due.After(now) || due.After(now.Add(50*time.Millisecond)) {
		t.Errorf("the next is due after %v", due.Sub(now))
	}
}

// "RTT samples MUST NOT be made using segments that were retransmitted" (RFC 6298, Section 3), and
// a timeout leaves a window of one segment (RFC 5681, Section 3.1).
func TestSendStateTimeout(t *testing.T) {
	now := epochStart
	s := sender(now, 20_000)
	s.pullAll(now)
	now = s.timer
	s.expire(now)
	if s.cwnd != segmentBytes || s.ssthresh != 5*segmentBytes {
		t.Fatalf("cwnd %d, ssthresh %d", s.cwnd, s.ssthresh)
	}
	if n := s.pullAll(now); n != 1 {
		t.Fatalf("%d segments after a timeout", n)
	}
	if first := now.Sub(epochStart); s.timer.Sub(now) < min(2*first, rtoMax) {
		t.Errorf("the timer was not doubled: %v after %v", s.timer.Sub(now), first)
	}
	s.ack(now.Add(time.Millisecond), segmentBytes, streamWindow, nil)
	if s.rtt.srtt != 0 {
		t.Errorf("a retransmitted segment gave the sample %v", s.rtt.srtt)
	}
}

// Three later transmissions acknowledged: lost, and the window is halved once.
func TestSendStateFastRetransmit(t *testing.T) {
	now := epochStart
	s := sender(now, 11_000)
	s.pullAll(now)
	now = now.Add(20 * time.Millisecond)
	s.ack(now, 0, streamWindow, []span{{segmentBytes, 3 * segmentBytes}})
	if s.segs[0].lost {
		t.Fatal("lost after two")
	}
	s.ack(now, 0, streamWindow, []span{{segmentBytes, 4 * segmentBytes}})
	if !s.segs[0].lost || s.cwnd != 4*segmentBytes || s.ssthresh != s.cwnd {
		t.Fatalf("lost %v, cwnd %d of flight %d", s.segs[0].lost, s.cwnd, s.flight())
	}
	s.ack(now, 0, streamWindow, []span{{segmentBytes, 9 * segmentBytes}})
	if s.cwnd != 4*segmentBytes {
		t.Fatalf("halved twice: %d", s.cwnd)
	}
	if g, _, ok := s.pull(now); !ok || g.off != 0 {
		t.Fatalf("retransmits %+v, %v", g, ok)
	}
}

func TestBoundOfAllStreams(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b)
	for i := range Stream(streamsAllMax) { // as if other links had them
		a.links.streams[1<<40+i] = nil
	}
	if s, _ := a.links.OpenStream(a.clock(), a.up[2], 1); s != 0 || a.links.counters.Limited != 1 {
		t.Fatal("no bound over all connections")
	}
}

func TestBoundOfGoneStreams(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b)
	for range lingerMax + 20 {
		w.open(a, b, nil, nil)
		w.run(100 * time.Millisecond)
	}
	if n := len(b.links.links[1].conn.gone); n != lingerMax {
		t.Fatalf("%d ended streams remembered", n)
	}
}
