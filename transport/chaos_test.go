package transport

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// check fails if an invariant of the state does not hold.
func (l *Links) check(fatalf func(string, ...any)) {
	index, pending, dials := 0, 0, 0
	for _, k := range l.links {
		if (k.conn != nil) != (k.state == StateUp || k.state == StateSuspect) || k.state == StateDialling && k.dial == nil || k.state == StateIdle && k.dial != nil {
			fatalf("%v: state %v, conn %v, dial %v", k.router, k.state, k.conn != nil, k.dial != nil)
		}
		if len(k.sessions) > sessionsMax {
			fatalf("%v: %d sessions", k.router, len(k.sessions))
		}
		inUse := false
		for _, s := range k.sessions {
			index += 1 + len(s.grants)
			if l.index[s.Local].session != s {
				fatalf("%v: session without its index", k.router)
			}
			if !s.confirmed {
				pending++
				if k.pend != s {
					fatalf("%v: unconfirmed session is not the pending one", k.router)
				}
			}
			inUse = inUse || k.conn != nil && k.conn.session == s && s.confirmed && s.retireAt.IsZero()
		}
		if k.conn != nil && !inUse {
			fatalf("%v: the session in use is not kept", k.router)
		}
		if k.dial != nil && k.dial.handshake != nil {
			index++
			dials++
		}
	}
	index += len(l.joins)
	if index != len(l.index) || pending != l.pending || dials != l.dials {
		fatalf("%d of %d indexes, %d of %d pending, %d of %d dials", index, len(l.index), pending, l.pending, dials, l.dials)
	}
	if len(l.answers) > l.pending {
		fatalf("%d answers for %d pending", len(l.answers), l.pending)
	}
	streams := 0
	for _, c := range l.conns {
		streams += len(c.streams)
	}
	if streams != len(l.streams) {
		fatalf("%d of %d streams", streams, len(l.streams))
	}
}

// Whatever happened, once the network is calm both sides get each other's data again, in one
// session, and what the peer may send is what was granted.
func TestChaos(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(t, 2)
		w.rand = rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 3))
		a, b := w.nodes[0], w.nodes[1]
		vns := []tables.VNID{7, 8, 9}
		for _, h := range w.nodes {
			h.do(h.links.SetChannels(h.clock(), 3-h.id, vns[:1]))
		}
		steps := rapid.IntRange(1, 40).Draw(r, "steps")
		for range steps {
			h := w.nodes[rapid.IntRange(0, 1).Draw(r, "host")]
			o := w.nodes[2-h.id]
			switch rapid.IntRange(0, 11).Draw(r, "what") {
			case 0:
				w.loss = rapid.Float64Range(0, 0.9).Draw(r, "loss")
			case 1:
				w.dup = rapid.Float64Range(0, 0.5).Draw(r, "dup")
			case 2:
				w.jitter = time.Duration(rapid.IntRange(0, 400).Draw(r, "jitter")) * time.Millisecond
			case 3:
				h.skew += time.Duration(rapid.IntRange(-48, 48).Draw(r, "hours")) * time.Hour
				h.start()
				h.do(h.links.SetChannels(h.clock(), o.id, vns[:1]))
			case 4:
				h.do(h.links.SetChannels(h.clock(), o.id, vns[:rapid.IntRange(0, 3).Draw(r, "vns")]))
			case 5:
				h.do(h.links.Close(h.clock(), o.id, ReasonLeaving))
			case 6:
				h.do(h.links.Pin(h.clock(), o.id, rapid.Bool().Draw(r, "pin")))
			case 7:
				h.addr = netip.AddrPortFrom(h.addr.Addr(), uint16(rapid.IntRange(1000, 1003).Draw(r, "port")))
			case 8:
				if c, ok := h.links.Conn(o.id); ok {
					s, actions := h.links.OpenStream(h.clock(), c, 1)
					h.do(actions)
					if s != 0 {
						h.pending[s], h.fin[s] = noise(3000, 1), true
						h.write(s)
					}
				}
			default:
				h.do(h.links.Dial(h.clock(), o.id))
				for i := range rapid.IntRange(1, 20).Draw(r, "packets") {
					h.data(o.id, 7, fmt.Sprint(i))
					w.run(50 * time.Millisecond)
				}
			}
			w.run(time.Duration(rapid.IntRange(0, 20_000).Draw(r, "ms")) * time.Millisecond)
			for _, h := range w.nodes {
				h.links.check(r.Fatalf)
			}
		}
		w.loss, w.dup, w.jitter = 0, 0, 0
		for _, h := range w.nodes {
			h.do(h.links.SetChannels(h.clock(), 3-h.id, vns))
		}
		w.run(time.Second)
		a.got, b.got = map[string]int{}, map[string]int{}
		for range 300 {
			a.data(2, 9, "calm")
			b.data(1, 9, "calm")
			w.run(20 * time.Millisecond)
		}
		if a.got["calm"] == 0 || b.got["calm"] == 0 {
			r.Fatalf("no data in six calm seconds: %d, %d; %+v %+v", a.got["calm"], b.got["calm"], a.links.Status(a.clock()), b.links.Status(b.clock()))
		}
		w.run(retireAfter + pendLife)
		ka, kb := a.links.links[2], b.links.links[1]
		if ka.conn == nil || kb.conn == nil || ka.conn.session.Local != kb.conn.session.Remote {
			r.Fatal("the two sides use different sessions")
		}
		for vn, i := range a.send[2].Index {
			if g, ok := b.grants[i]; !ok || g.VN != vn || b.grantOf[i] != 1 {
				r.Fatalf("%v: index %#x is not granted", vn, i)
			}
		}
		if len(a.send[2].Index) != 3 {
			r.Fatalf("%d channels", len(a.send[2].Index))
		}
	})
}

// Both dial at once, and first messages get through one way only.
func TestSimultaneousOpenOneWay(t *testing.T) {
	for _, blocked := range []int{0, 1} {
		w := newWorld(t, 2)
		a, b := w.nodes[0], w.nodes[1]
		w.filter = func(p *packet) bool {
			return frame.TypeOf(p.b) != frame.TypeInit || p.from != w.nodes[blocked].addr
		}
		a.do(a.links.Dial(a.clock(), 2))
		b.do(b.links.Dial(b.clock(), 1))
		w.run(100 * time.Millisecond)
		if len(a.up) != 1 || len(b.up) != 1 {
			t.Fatalf("first messages of vr%d blocked: no link", blocked+1)
		}
	}
}

func TestRetransmission(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	other, third := netip.MustParseAddrPort("192.0.2.99:9"), netip.MustParseAddrPort("192.0.2.98:9")
	peer := a.links.cfg.Peer
	a.links.cfg.Peer = func(id tables.RouterID) (Peer, bool) {
		p, ok := peer(id)
		p.Endpoints = []netip.AddrPort{other, third, b.addr}
		return p, ok
	}
	var at []time.Duration
	var to []netip.AddrPort
	messages := map[string]bool{}
	w.filter = func(p *packet) bool {
		if frame.TypeOf(p.b) == frame.TypeInit {
			at, to = append(at, w.now.Sub(epochStart)), append(to, p.to)
			messages[string(p.b)] = true
			return false
		}
		return true
	}
	a.do(a.links.Pin(a.clock(), 2, true))
	w.run(2 * time.Minute)
	// Each time two of the three endpoints are asked, in turn.
	asked := map[netip.AddrPort]int{}
	for i := 0; i+1 < len(at); i += dialDirectMax {
		if at[i] != at[i+1] || to[i] == to[i+1] {
			t.Fatalf("copies %d: %v to %v, %v to %v", i, at[i], to[i], at[i+1], to[i+1])
		}
		asked[to[i]]++
		asked[to[i+1]]++
		if i == 0 {
			continue
		}
		gap, n := at[i]-at[i-dialDirectMax], i/dialDirectMax
		low := min(initRetryMin<<min(n-1, 10), initRetryMax)
		if gap < low || gap > low+low/4 {
			t.Errorf("gap %d: %v, want %v to %v", n, gap, low, low+low/4)
		}
	}
	for _, at := range []netip.AddrPort{other, third, b.addr} {
		if n := asked[at]; n < len(to)/3-2 {
			t.Errorf("%v was asked %d times of %d", at, n, len(to))
		}
	}
	if n := len(messages); n < 6 || n > 13 {
		t.Errorf("%d different first messages in two minutes", n)
	}
	w.filter = nil
	w.run(12 * time.Second)
	if len(a.up) != 1 || a.endpoint[2] != b.addr {
		t.Fatal("no link by the second endpoint")
	}
}

func TestDeadPeerWhileIdle(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b, 7)
	w.run(30 * time.Second)
	b.off = true
	w.packets = 0
	w.run(probeIdleMax + idleDead + time.Second)
	if len(a.downs) != 1 || a.downs[0].Reason != ReasonDead {
		t.Fatalf("downs %v", a.downs)
	}
	if w.packets > 12 {
		t.Errorf("%d packets to find it", w.packets)
	}
	w.run(5 * time.Minute)
	if a.links.Next() != (time.Time{}) {
		t.Error("a link that nobody wants is dialled")
	}
}

// The attacker becomes the path both ways, so that its address is validated, and then leaves
// without a word: the link is back on the old path by the first unanswered probe.
func TestMischiefThatWasBelieved(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b, 7)
	w.run(time.Second)
	w.filter = func(p *packet) bool {
		switch {
		case p.from == a.addr:
			p.from = elsewhere
		case p.to == elsewhere:
			p.to = a.addr
		}
		return true
	}
	for range 10 {
		a.data(2, 7, "x")
		w.run(100 * time.Millisecond)
	}
	if b.endpoint[1] != elsewhere {
		t.Fatal("the relayed path was not validated: the test shows nothing")
	}
	w.filter = func(p *packet) bool { return p.to != elsewhere }
	left := w.now
	for b.endpoint[1] != a.addr && w.now.Sub(left) < 10*time.Second {
		b.data(1, 7, "y")
		w.run(10 * time.Millisecond)
	}
	if took := w.now.Sub(left); took > activeQuiet+100*time.Millisecond {
		t.Fatalf("back on the old path after %v", took)
	}
	if len(a.downs)+len(b.downs) > 0 {
		t.Error("the link went down")
	}
}

func TestTransitions(t *testing.T) {
	legal := map[[2]State]bool{
		{StateIdle, StateDialling}: true, {StateIdle, StateUp}: true,
		{StateDialling, StateIdle}: true, {StateDialling, StateUp}: true,
		{StateUp, StateSuspect}: true, {StateUp, StateDialling}: true, {StateUp, StateIdle}: true,
		{StateSuspect, StateUp}: true, {StateSuspect, StateDialling}: true, {StateSuspect, StateIdle}: true,
	}
	for from := range StateSuspect + 1 {
		for to := range StateSuspect + 1 {
			func() {
				defer func() {
					if panicked := recover() != nil; panicked == legal[[2]State{from, to}] {
						t.Errorf("%v to %v: panicked %v", from, to, panicked)
					}
				}()
				(&link{state: from}).transition(to)
			}()
		}
	}
}
