package transport

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
)

// A member of the federation runs a program of its own: its packets are authentic, and its source
// addresses are what it likes.

// inSession delivers frames of one host to another from an address, sealed in their session, and returns the length
// of the datagram.
func (w *world) inSession(from, to *host, at netip.AddrPort, frames []byte) int {
	w.t.Helper()
	k := from.links.links[to.id]
	if k == nil || k.conn == nil {
		w.t.Fatal("no link any more")
	}
	d, ok := k.conn.session.SealControl(nil, frames)
	if !ok {
		w.t.Fatal("not sealed")
	}
	to.receive(at, d)
	return len(d)
}

// full repeats a frame as often as it fits in a datagram.
func full(f []byte) (frames []byte) {
	for len(frames)+len(f) <= controlBytesMax {
		frames = append(frames, f...)
	}
	return frames
}

// victims returns addresses that belong to nobody.
func victims(n int) (list []netip.AddrPort) {
	for i := range n {
		list = append(list, netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 53))
	}
	return list
}

func (h *host) bytesTo(list []netip.AddrPort) (n int) {
	for _, at := range list {
		n += h.sentTo[at]
	}
	return n
}

// Datagrams full of questions, with the source address of somebody else: what that one gets is at most three
// times what came in its name. Without the bound it is more.
func TestQuestionsFromElsewhere(t *testing.T) {
	train := frame.AppendTrain(nil, frame.Train{ID: 1, Count: 1}, frame.TrainMin)
	for name, question := range map[string][]byte{
		"pings": frame.Ping{Token: 1}.Append(nil), "challenges": frame.Challenge{1}.Append(nil), "trains": train,
		"uses": frame.Use{Order: 7}.Append(nil),
	} {
		for _, off := range []bool{false, true} {
			w := newWorld(t, 2)
			a, b := w.nodes[0], w.nodes[1]
			w.connect(a, b, 7)
			w.run(time.Second)
			a.data(2, 7, "so that pongs bring a delivered frame")
			w.run(time.Second)
			b.links.answersAll = off
			in := 0
			for i := range 20 {
				if name == "trains" {
					question = frame.AppendTrain(nil, frame.Train{ID: uint32(i), Count: 1}, frame.TrainMin)
				}
				in += w.inSession(a, b, elsewhere, full(question))
				w.run(50 * time.Millisecond)
			}
			out := b.sentTo[elsewhere]
			t.Logf("%s, defence off %v: %d bytes in, %d out", name, off, in, out)
			if !off && out > amplification*in {
				t.Errorf("%s: %d bytes for %d", name, out, in)
			}
			if off && (name == "challenges" || name == "pings") && out <= amplification*in {
				t.Errorf("%s: only %d bytes for %d without the defence: the test shows nothing", name, out, in)
			}
		}
	}
}

// Short datagrams too: each frame alone, from one address after the other.
func TestQuestionsFromEverywhere(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b, 7)
	w.run(time.Second)
	in := map[netip.AddrPort]int{}
	all := victims(50)
	for i := range 500 {
		at := all[i%len(all)]
		f := [][]byte{
			frame.Ping{Token: 1}.Append(nil), frame.Challenge{1}.Append(nil), frame.Use{Order: uint64(i + 1)}.Append(nil),
			frame.AppendTrain(nil, frame.Train{ID: uint32(i), Count: 1}, 0),
		}[i%4]
		in[at] += w.inSession(a, b, at, f)
		w.run(5 * time.Millisecond)
	}
	w.run(10 * time.Second)
	for _, at := range all {
		if b.sentTo[at] > amplification*in[at] {
			t.Errorf("%v: %d bytes for %d", at, b.sentTo[at], in[at])
		}
	}
	if n := len(b.links.links[1].conn.paths.list); n > 2*waysMax {
		t.Errorf("%d ways", n)
	}
}

// Lists of candidates that name strangers: together those get at most three times what the member itself
// has sent, by whatever path it came. Without the bound, they are flooded.
func TestStrangersAsCandidates(t *testing.T) {
	for _, off := range []bool{false, true} {
		w, a, b := relayedWorld(t)
		w.connect(a, b, 7)
		w.run(2 * time.Second)
		b.links.asksAll = off
		all := victims(240)
		in, most := 3*frame.HandshakeLen, 0
		for i := range 200 {
			var frames []byte
			for j := range 7 {
				k := (7*i + j) % 30
				frames = frame.Candidates{Endpoints: all[8*k : 8*k+8]}.Append(frames)
			}
			in += w.inSession(a, b, path.Relay(3, 1), frames)
			w.run(20 * time.Millisecond)
			most = max(most, len(b.links.links[1].conn.paths.list))
		}
		w.run(time.Minute)
		in += a.sentTo[path.Relay(3, 2)] + a.sentTo[path.Relay(4, 2)]
		out := b.bytesTo(all)
		t.Logf("defence off %v: %d bytes in, %d to strangers, %d ways at most", off, in, out, most)
		if most > 2*waysMax {
			t.Errorf("%d ways", most)
		}
		if !off && out > amplification*in {
			t.Errorf("%d bytes for %d", out, in)
		}
		if rate := out / 64; off != (rate > 1000) {
			t.Errorf("defence off %v: %d bytes a second to strangers", off, rate)
		}
	}
}

// One list, and nothing more from the member: the challenges end, within the bound.
func TestOneListOfStrangers(t *testing.T) {
	w, a, b := relayedWorld(t)
	w.connect(a, b, 7)
	w.run(2 * time.Second)
	all := victims(8)
	w.inSession(a, b, path.Relay(3, 1), frame.Candidates{Endpoints: all}.Append(nil))
	w.run(10 * time.Second)
	first := b.bytesTo(all)
	w.run(4 * time.Minute)
	t.Logf("%d bytes in 10 s, %d in 4 minutes more", first, b.bytesTo(all)-first)
	if first > 8*2*challengeTries*challengeBytes {
		t.Errorf("%d bytes at once", first)
	}
	if all := b.bytesTo(all); all > amplification*b.links.links[1].conn.in {
		t.Errorf("%d bytes for %d", all, b.links.links[1].conn.in)
	}
}

// Addresses that name paths, in a list of candidates or as what a peer saw, are nowhere to send to.
func TestPathsAsEndpoints(t *testing.T) {
	w := newWorld(t, 4)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b, 7)
	w.run(time.Second)
	seen := len(b.observed)
	names := []netip.AddrPort{path.Relay(3, 4), path.Relay(3, 1), path.Stream(1), netip.AddrPortFrom(path.Stream(1).Addr(), 53)}
	w.inSession(a, b, a.addr, frame.Candidates{Endpoints: names}.Append(nil))
	for _, at := range names {
		w.inSession(a, b, a.addr, frame.Observed{Endpoint: at}.Append(nil))
	}
	w.run(time.Minute)
	if n := b.bytesTo(names); n > 0 {
		t.Errorf("%d bytes sent there", n)
	}
	if len(b.observed) > seen {
		t.Errorf("observed: %v", b.observed[seen:])
	}
}

// A leader that moves the link to and fro with each packet: each move costs the follower much, so it makes at
// most ten a second. Without the bound, it makes them all.
func TestUseFlood(t *testing.T) {
	for _, off := range []bool{false, true} {
		w, a, b := relayedWorld(t)
		w.connect(a, b, 7)
		w.run(5 * time.Second)
		b.links.asksAll = off
		before := len(b.moved)
		order := a.links.links[2].conn.paths.order
		for range 200 {
			for relay := tables.RouterID(3); relay <= 4; relay++ {
				order++
				w.inSession(a, b, path.Relay(relay, 1), frame.Use{Order: order}.Append(nil))
			}
			w.run(5 * time.Millisecond)
		}
		moves := len(b.moved) - before
		t.Logf("defence off %v: %d moves in a second", off, moves)
		if !off && moves > 12 {
			t.Errorf("%d moves in a second", moves)
		}
		if off && moves < 100 {
			t.Errorf("only %d moves without the defence: the test shows nothing", moves)
		}
	}
}

// Uses that are late, repeated, or of the side that does not lead, move nothing.
func TestUseOutOfTurn(t *testing.T) {
	w, a, b := relayedWorld(t)
	w.connect(a, b, 7)
	w.run(5 * time.Second)
	at := b.endpoint[1]
	relay, _ := path.RelayOf(at)
	other := path.Relay(7-relay, 1)
	order := a.links.links[2].conn.paths.order + 10
	w.inSession(a, b, at, frame.Use{Order: order}.Append(nil))
	w.run(time.Second)
	moved := len(b.moved)
	for _, o := range []uint64{order - 1, 1, 0, order - 5} {
		w.inSession(a, b, other, frame.Use{Order: o}.Append(nil))
		w.run(time.Second)
	}
	if len(b.moved) > moved || b.endpoint[1] != at {
		t.Errorf("an old use moved the link to %v", b.endpoint[1])
	}
	moved = len(a.moved)
	w.inSession(b, a, path.Relay(7-relay, 2), frame.Use{Order: 1 << 60}.Append(nil))
	w.run(time.Second)
	if len(a.moved) > moved {
		t.Error("the leader obeyed the follower")
	}
	if gap, lost := w.flow(a, b, time.Second); lost > 0 || gap > 100*time.Millisecond {
		t.Errorf("%d lost, gap %v", lost, gap)
	}
	// The highest order that there is leaves the follower able to lead later.
	w.inSession(a, b, at, frame.Use{Order: ^uint64(0)}.Append(nil))
	b.leads, a.leads = map[tables.RouterID]bool{1: true}, map[tables.RouterID]bool{2: false}
	b.do(b.links.begin2(w, 1, other))
	if gap, _ := w.flow(b, a, time.Second); gap > 500*time.Millisecond {
		t.Errorf("gap %v", gap)
	}
}

// Two that both believe that they lead, or none that does: data flows, and what they say of it is bounded.
func TestLeadersDisagree(t *testing.T) {
	for _, both := range []bool{true, false} {
		w, a, b := relayedWorld(t)
		a.leads, b.leads = map[tables.RouterID]bool{2: both}, map[tables.RouterID]bool{1: both}
		w.connect(a, b, 7)
		w.run(5 * time.Second)
		a.do(a.links.begin2(w, 2, path.Relay(3, 2)))
		b.do(b.links.begin2(w, 1, path.Relay(4, 1)))
		moves := len(a.moved) + len(b.moved)
		sent := a.links.links[2].conn.sent + b.links.links[1].conn.sent
		for range 6 {
			if gap, lost := w.flow(a, b, 10*time.Second); lost > 0 || gap > 100*time.Millisecond {
				t.Errorf("both lead %v: %d lost, gap %v", both, lost, gap)
			}
			if gap, lost := w.flow(b, a, 10*time.Second); lost > 0 || gap > 100*time.Millisecond {
				t.Errorf("both lead %v: %d lost, gap %v", both, lost, gap)
			}
		}
		moves = len(a.moved) + len(b.moved) - moves
		sent = a.links.links[2].conn.sent + b.links.links[1].conn.sent - sent
		t.Logf("both lead %v: %d moves, %d control datagrams in two minutes", both, moves, sent)
		if moves > 10 || sent > 120*2*2*8 { // gauges, challenges, and now and then a train of 64
			t.Errorf("both lead %v: %d moves, %d control datagrams in two minutes", both, moves, sent)
		}
	}
}

// What a relay says came from somebody else than who sealed it counts for nothing: else the answers would go
// to that other.
func TestRelayNamesAnother(t *testing.T) {
	for _, off := range []bool{false, true} {
		w := newWorld(t, 4)
		a, b := w.nodes[0], w.nodes[1]
		w.connect(a, b, 7)
		w.run(time.Second)
		b.links.strayPaths = off
		for _, at := range []netip.AddrPort{path.Relay(3, 4), path.Relay(1, 1), path.Relay(0, 1)} {
			w.inSession(a, b, at, frame.Ping{}.Append(nil))
			b.do(b.links.Roamed(b.clock(), 1, at))
			if off {
				break
			}
		}
		w.run(time.Second)
		if stray := b.sentTo[path.Relay(3, 4)] > 0; stray != off {
			t.Errorf("defence off %v: sent there %v", off, stray)
		}
		if b.sentTo[path.Relay(1, 1)]+b.sentTo[path.Relay(0, 1)] > 0 {
			t.Error("sent to a path that is none")
		}
	}
	// A first message, too, comes by a path of its sender only.
	w := newWorld(t, 4)
	a, b := w.nodes[0], w.nodes[1]
	a.do(a.links.Dial(a.clock(), 2))
	b.receive(path.Relay(3, 4), a.links.links[2].dial.datagram)
	if b.sentTo[path.Relay(3, 4)] > 0 {
		t.Error("a first message by another's path was answered there")
	}
}

// A train is reported once, however often its datagrams come.
func TestTrainIsReportedOnce(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.connect(a, b, 7)
	w.run(time.Second)
	before := b.links.links[1].conn.sent
	for i := range 10 {
		for j := range 4 {
			w.inSession(a, b, a.addr, frame.AppendTrain(nil, frame.Train{ID: 9, Index: uint16(j), Count: 4}, 1000))
		}
		w.run(time.Duration(i) * 100 * time.Millisecond)
	}
	if n := b.links.links[1].conn.sent - before; n != 1 {
		t.Errorf("%d reports", n)
	}
}

// Frames that have the control loop work are bounded, whatever a datagram holds of them.
func TestAskedFlood(t *testing.T) {
	for _, off := range []bool{false, true} {
		w := newWorld(t, 2)
		a, b := w.nodes[0], w.nodes[1]
		w.connect(a, b, 7)
		w.run(time.Second)
		b.links.asksAll = off
		asked, seen := len(b.asked), len(b.observed)
		for i := range 100 {
			w.inSession(a, b, a.addr, full(frame.Attach{Order: uint32(i + 1)}.Append(nil)))
			at := netip.AddrPortFrom(elsewhere.Addr(), uint16(i+1))
			w.inSession(a, b, a.addr, frame.Observed{Endpoint: at}.Append(nil))
			w.run(10 * time.Millisecond)
		}
		n := len(b.asked) - asked + len(b.observed) - seen
		if bounded := n <= askBurst+110; bounded == off {
			t.Errorf("defence off %v: %d frames passed on in a second", off, n)
		}
	}
}

// A clock that jumps by hours, either way, breaks nothing for good: the link is there again, and data flows.
func TestClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{3 * time.Hour, -3 * time.Hour, time.Minute, -time.Minute} {
		w, a, b := relayedWorld(t)
		w.connect(a, b, 7)
		w.run(5 * time.Second)
		b.skew = jump
		for range 20 {
			b.data(1, 7, "x")
			a.data(2, 7, "y")
			w.run(time.Second)
		}
		w.inSessionIfUp(a, b, frame.Candidates{Endpoints: victims(8)}.Append(nil))
		w.inSessionIfUp(a, b, frame.Use{Order: 1 << 40}.Append(nil))
		w.run(time.Minute)
		b.do(b.links.Dial(b.clock(), 1))
		a.do(a.links.Dial(a.clock(), 2))
		if !w.until(time.Minute, func() bool { return len(a.up) == 1 && len(b.up) == 1 }) {
			t.Errorf("after a jump of %v there is no link", jump)
		}
	}
}

func (w *world) inSessionIfUp(from, to *host, frames []byte) {
	if k := from.links.links[to.id]; k != nil && k.conn != nil {
		w.inSession(from, to, from.addr, frames)
	}
}

// A relay that passes on everything but data is left within a second and a half, by whichever side sends, and
// not taken again for a while; when no way takes data, the fault is not theirs. Judged by answers alone it is used for ever.
func TestRelaySwallowsData(t *testing.T) {
	for _, off := range []bool{false, true} {
		for _, follower := range []bool{false, true} {
			w, a, b := relayedWorld(t)
			w.connect(a, b, 7)
			w.run(5 * time.Second)
			a.links.trustsPongs, b.links.trustsPongs = off, off
			from, to := a, b
			if follower {
				from, to = b, a
			}
			relay, _ := path.RelayOf(from.endpoint[to.id])
			before, all := w.filter, false
			w.filter = func(p *packet) bool {
				r, _ := path.RelayOf(p.to)
				return before(p) && !((all || r == relay) && frame.TypeOf(p.b) == frame.TypeData)
			}
			gap, _ := w.flow(from, to, 5*time.Second)
			if off != (gap > 1500*time.Millisecond) {
				t.Errorf("defence off %v, follower sends %v: nothing for %v", off, follower, gap)
			}
			if off {
				continue
			}
			if _, lost := w.flow(from, to, 30*time.Second); lost > 0 {
				t.Errorf("%d lost afterwards", lost)
			}
			all = true
			moves := len(a.moved) + len(b.moved)
			w.flow(from, to, time.Minute)
			if n := len(a.moved) + len(b.moved) - moves; n > 2*swallowMoves {
				t.Errorf("%d moves while no way takes data", n)
			}
			w.filter = before
			if gap, _ := w.flow(from, to, 5*time.Second); gap > 100*time.Millisecond {
				t.Errorf("afterwards nothing for %v", gap)
			}
		}
	}
}
