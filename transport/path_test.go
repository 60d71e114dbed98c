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

var elsewhere = netip.MustParseAddrPort("203.0.113.66:666")

// mischief sends what a says to b from another address for a while: an attacker on the path
// rewrites the source, sees nothing of the answers, and leaves. It returns how many of 100 data
// packets of b went astray.
func mischief(t *testing.T, off bool) (astray int) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	a.links.believeSources, b.links.believeSources = off, off
	w.connect(a, b, 7)
	w.run(time.Second)
	w.filter = func(p *packet) bool {
		if p.from == a.addr {
			p.from = elsewhere
		}
		return true
	}
	// Control packets and data of a go by the attacker for half a second.
	for i := range 5 {
		a.data(2, 7, fmt.Sprint("detour ", i))
		a.links.links[2].conn.ping(a.clock())
		a.do(a.links.DataReceived(a.clock(), 2))
		w.run(100 * time.Millisecond)
	}
	w.filter = nil
	sent := 0
	for i := range 100 {
		sent++
		b.data(1, 7, fmt.Sprint("b ", i))
		w.run(5 * time.Millisecond)
	}
	w.run(time.Second)
	got := 0
	for s := range a.got {
		if s[0] == 'b' {
			got++
		}
	}
	if !off && b.sentTo[elsewhere] > 3*5*frame.HandshakeLen {
		t.Errorf("%d bytes to an address that proved nothing", b.sentTo[elsewhere])
	}
	return sent - got
}

func TestRoamingMischief(t *testing.T) {
	if n := mischief(t, false); n > 0 {
		t.Fatalf("%d packets misdirected", n)
	}
}

func TestRoamingMischiefDefenceOff(t *testing.T) {
	if n := mischief(t, true); n < 20 {
		t.Fatalf("only %d packets misdirected without the defence: the test shows nothing", n)
	}
}

// A replayed control packet from elsewhere is no news at all.
func TestReplayFromElsewhere(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b, 7)
	w.keepLog = true
	w.run(time.Minute)
	for _, p := range w.log {
		if p.to == b.addr {
			w.inject(elsewhere, b.addr, p.b)
		}
	}
	w.run(time.Second)
	if b.sentTo[elsewhere] > 0 || len(b.moved) > 0 {
		t.Fatal("a replayed packet was answered")
	}
}

func TestRoam(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b, 7)
	w.run(time.Second)
	// a really moves: its packets come from, and it is reached at, a new address only.
	old := a.addr
	a.addr = elsewhere
	a.data(2, 7, "from the new address")
	if !w.until(time.Second, func() bool { return len(b.moved) == 1 }) {
		t.Fatal("b did not follow")
	}
	if b.moved[0] != (Moved{1, elsewhere}) {
		t.Fatalf("moved %v", b.moved)
	}
	w.run(time.Second)
	b.data(1, 7, "to the new address")
	w.run(time.Second)
	if a.got["to the new address"] != 1 || b.got["from the new address"] != 1 {
		t.Fatal("data lost")
	}
	if !slices.ContainsFunc(a.observed, func(o Observed) bool { return o.Endpoint == elsewhere }) {
		t.Error("the peer was not told its new address")
	}
	if len(a.downs)+len(b.downs) > 0 || a.rekeys+b.rekeys > 0 {
		t.Error("moving took a handshake")
	}
	_ = old
}

// What came from an address is tripled at most before it proved itself.
func TestAmplification(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b, 7)
	for range 20 {
		b.do(b.links.Roamed(b.clock(), 1, elsewhere))
		w.run(time.Second)
	}
	if out := b.sentTo[elsewhere]; out == 0 || out > 3*20*dataBytesMin {
		t.Fatalf("%d bytes out for %d in", out, 20*dataBytesMin)
	}
	b.do(b.links.Roamed(b.clock(), 1, netip.MustParseAddrPort("203.0.113.67:667")))
	before := b.sentTo[elsewhere]
	w.run(10 * time.Second)
	if b.sentTo[elsewhere]-before > challengeTries*challengeBytes {
		t.Error("challenges do not end")
	}
}

// A challenge is only answered by its bytes, from the address that was asked.
func TestForgedChallengeAnswer(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b, 7)
	b.do(b.links.Roamed(b.clock(), 1, elsewhere))
	c := b.links.links[1].conn
	token := c.way(elsewhere).token
	answer := func(from netip.AddrPort, x frame.Challenged) {
		s := a.links.links[2].conn.session
		d, _ := s.SealControl(nil, x.Append(nil))
		w.inject(from, b.addr, d)
		w.run(20 * time.Millisecond)
	}
	wrong := frame.Challenged(token)
	wrong[7] ^= 1
	answer(elsewhere, wrong)
	answer(a.addr, frame.Challenged(token))
	answer(netip.MustParseAddrPort("203.0.113.67:667"), frame.Challenged(token))
	if len(b.moved) > 0 {
		t.Fatal("a forged answer moved the link")
	}
	answer(elsewhere, frame.Challenged(token))
	if len(b.moved) != 1 {
		t.Fatal("the right answer does not: the test shows nothing")
	}
}

func TestChannels(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b, 7)
	var many []tables.VNID
	for vn := range tables.VNID(500) {
		many = append(many, vn+1)
	}
	b.do(b.links.SetChannels(b.clock(), 1, many))
	w.run(100 * time.Millisecond)
	if n := len(a.send[2].Index); n != 500 {
		t.Fatalf("%d channels", n)
	}
	a.data(2, 499, "x")
	old := a.send[2]
	// VN 499 goes: its index is dead at once, the others keep theirs.
	b.do(b.links.SetChannels(b.clock(), 1, []tables.VNID{7, 8}))
	a.data(2, 499, "too late")
	w.run(100 * time.Millisecond)
	if b.got["x"] != 0 || b.got["too late"] != 0 || len(b.grants) != 2 {
		t.Errorf("got %v, %d grants", b.got, len(b.grants))
	}
	if len(a.send[2].Index) != 2 || a.send[2].Index[7] != old.Index[7] {
		t.Errorf("channels %v", a.send[2].Index)
	}
	b.do(b.links.SetChannels(b.clock(), 1, nil))
	w.run(100 * time.Millisecond)
	if len(a.send[2].Index) != 0 || len(b.grants) != 0 {
		t.Errorf("channels %v", a.send[2].Index)
	}
	if n := len(b.links.index); n != 1 {
		t.Errorf("%d indexes stay", n)
	}
	b.do(b.links.SetChannels(b.clock(), 1, append(many, make([]tables.VNID, 2000)...)))
	for vn := range tables.VNID(3000) {
		many = append(many, vn+1000)
	}
	b.do(b.links.SetChannels(b.clock(), 1, many))
	w.run(time.Second)
	if n := len(a.send[2].Index); n != channelsMax || b.links.counters.Limited != 1 {
		t.Errorf("%d channels, limited %d", n, b.links.counters.Limited)
	}
}

func TestChannelsLostFiveTimes(t *testing.T) {
	for _, direction := range []bool{false, true} { // the update, or its acknowledgement
		w := newWorld(t, 2)
		a, b := w.nodes[0], w.nodes[1]
		w.connect(a, b, 7)
		w.run(time.Second)
		b.do(b.links.SetChannels(b.clock(), 1, []tables.VNID{7, 8}))
		for len(w.flying) > 0 { // the first goes before the filter is in place
			w.flying = w.flying[1:]
		}
		lost := 1
		w.filter = func(p *packet) bool {
			if (p.from == b.addr) != direction && lost < 6 {
				lost++
				return false
			}
			return true
		}
		if !w.until(20*time.Second, func() bool { return b.links.links[1].conn.session.announce.acked }) {
			t.Fatal("never acknowledged")
		}
		if a.send[2].Index[8] == 0 || lost != 6 {
			t.Fatalf("channels %v, lost %d", a.send[2].Index, lost)
		}
		if len(a.downs)+len(b.downs) > 0 {
			t.Error("the link went down")
		}
	}
}
