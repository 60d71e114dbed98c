package transport

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/path"
)

// relayed makes a world in which hosts 1 and 2 reach each other only through relays 3 and 4.
func relayedWorld(t *testing.T) (w *world, a, b *host) {
	w = newWorld(t, 4)
	a, b = w.nodes[0], w.nodes[1]
	a.paths = map[tables.RouterID][]netip.AddrPort{2: {path.Relay(3, 2), path.Relay(4, 2)}}
	b.paths = map[tables.RouterID][]netip.AddrPort{1: {path.Relay(3, 1), path.Relay(4, 1)}}
	w.filter = func(p *packet) bool {
		return !(p.from == a.addr && p.to == b.addr || p.from == b.addr && p.to == a.addr)
	}
	return w, a, b
}

// cut drops whatever goes through a relay from now on.
func (w *world) cut(relay tables.RouterID) {
	before := w.filter
	w.filter = func(p *packet) bool {
		r, _ := path.RelayOf(p.to)
		return r != relay && (before == nil || before(p))
	}
}

// flow has a host send a datagram every 10 ms for a while, and returns the longest time in which none
// arrived at the other.
func (w *world) flow(from, to *host, d time.Duration) (gap time.Duration, lost int) {
	last, sent := w.now, 0
	tag := fmt.Sprintf("%v>%v@%v/", from.id, to.id, w.now)
	before := len(to.got)
	for end := w.now.Add(d); w.now.Before(end); sent++ {
		from.data(to.id, 7, fmt.Sprint(tag, sent))
		w.run(10 * time.Millisecond)
		if len(to.got) > before {
			before, last = len(to.got), w.now
		}
		gap = max(gap, w.now.Sub(last))
	}
	w.run(time.Second)
	for i := range sent {
		if to.got[fmt.Sprint(tag, i)] == 0 {
			lost++
		}
	}
	return gap, lost
}

// A link between two routers that cannot reach each other comes up through a relay; when that dies
// without a word, data goes on through the other within a second, without a handshake.
func TestRelayDies(t *testing.T) {
	for range 3 {
		w, a, b := relayedWorld(t)
		w.connect(a, b, 7)
		w.run(5 * time.Second)
		relay, _ := path.RelayOf(a.endpoint[2])
		if relay == 0 || len(a.downs)+len(b.downs) > 0 {
			t.Fatalf("a reaches b at %v", a.endpoint[2])
		}
		shakes := a.links.counters.Handshakes
		w.cut(relay)
		gap, _ := w.flow(a, b, 5*time.Second)
		if gap > time.Second {
			t.Errorf("nothing arrived for %v", gap)
		}
		now, _ := path.RelayOf(a.endpoint[2])
		back, _ := path.RelayOf(b.endpoint[1])
		if now == relay || now == 0 || back != now {
			t.Errorf("a sends through %v, b through %v; %v is dead", now, back, relay)
		}
		if a.links.counters.Handshakes != shakes || len(a.downs)+len(b.downs) > 0 {
			t.Error("the move took a handshake")
		}
		// The other direction, which sent nothing meanwhile, has followed.
		if gap, lost := w.flow(b, a, time.Second); lost > 0 || gap > 100*time.Millisecond {
			t.Errorf("from b: %d lost, gap %v", lost, gap)
		}
	}
}

// The follower finds out for itself when only it sends.
func TestRelayDiesUnderFollower(t *testing.T) {
	w, a, b := relayedWorld(t)
	w.connect(a, b, 7)
	w.run(5 * time.Second)
	relay, _ := path.RelayOf(b.endpoint[1])
	w.cut(relay)
	if gap, _ := w.flow(b, a, 5*time.Second); gap > time.Second {
		t.Errorf("nothing arrived for %v", gap)
	}
	if now, _ := path.RelayOf(b.endpoint[1]); now == relay {
		t.Error("b still sends through the dead relay")
	}
}

// Two routers behind translators that each let in only what they have asked for find a direct way, with
// the relay as the go-between, and use it.
func TestPunch(t *testing.T) {
	w, a, b := relayedWorld(t)
	// A port-restricted cone on both sides: packets pass once the inside has sent to that address.
	open := map[[2]netip.AddrPort]bool{}
	w.filter = func(p *packet) bool {
		if path.KindOf(p.to) != path.Direct {
			return true
		}
		open[[2]netip.AddrPort{p.from, p.to}] = true
		return open[[2]netip.AddrPort{p.to, p.from}]
	}
	a.candidates = func() ([]netip.AddrPort, []tables.RouterID) { return []netip.AddrPort{a.addr}, nil }
	b.candidates = func() ([]netip.AddrPort, []tables.RouterID) { return []netip.AddrPort{b.addr}, nil }
	w.connect(a, b, 7)
	if !w.until(10*time.Second, func() bool { return a.knows(2, b.addr) && b.knows(1, a.addr) }) {
		t.Fatal("the hole was not punched")
	}
	a.do(a.links.begin2(w, 2, b.addr))
	w.run(time.Second)
	if a.endpoint[2] != b.addr || b.endpoint[1] != a.addr {
		t.Errorf("a sends to %v, b to %v", a.endpoint[2], b.endpoint[1])
	}
}

// knows reports whether a host has validated a way to another.
func (h *host) knows(to tables.RouterID, at netip.AddrPort) bool {
	w := h.links.links[to].conn.way(at)
	return w != nil && w.validated()
}

// begin2 moves a link as the leader's choice would.
func (l *Links) begin2(w *world, to tables.RouterID, at netip.AddrPort) []Action {
	l.begin(w.now)
	l.links[to].conn.move(w.now, at)
	l.touch(l.links[to])
	return l.end()
}

// A download is what the leader goes by too, though it sends next to nothing: the direction that carries more
// counts, and the follower measures the standby in that direction by a train.
func TestDownloadThroughRelay(t *testing.T) {
	for _, leads := range []bool{true, false} {
		w, a, b := relayedWorld(t)
		w.connect(a, b, 7)
		w.run(time.Second)
		from, to := b, a // a leads
		if !leads {
			from, to = a, b
		}
		for i := range 2000 {
			from.data(to.id, 7, fmt.Sprintf("%v %d %0900d", leads, i, 0))
			if i%50 == 0 {
				to.data(from.id, 7, fmt.Sprintf("ack %d", i))
			}
			w.run(10 * time.Millisecond)
		}
		list, _, is := a.links.Ways(a.clock(), b.id)
		if !is || len(list) < 2 {
			t.Fatalf("a leads: %v, its ways: %v", is, list)
		}
		if used := list[0].Chosen.Used; used < 500_000 {
			t.Errorf("leader sends %v: goes by %d bit/s of the way in use", !leads, used)
		}
		trained := false
		for _, s := range list[1:] {
			trained = trained || s.Validated && s.Chosen.Rate.By == path.ByTrain
		}
		if !trained {
			t.Errorf("leader sends %v: no train for a standby in the direction that counts: %+v", !leads, list)
		}
	}
}

// The queue that a download makes is no sign that its acknowledgements fill the way.
func TestQueueOfTheOtherDirection(t *testing.T) {
	now := time.Unix(1e9, 0)
	w := &way{}
	for i := range 40 {
		now = now.Add(250 * time.Millisecond)
		clock, n := uint64(now.UnixMicro()), uint64(i+1)
		rtt := 10 * time.Millisecond
		if i > 4 {
			rtt = 90 * time.Millisecond
		}
		for _, back := range []bool{false, true} {
			e, d := &w.there, path.Delivery{Bytes: 10_000 * n, Packets: 20 * n, Highest: 20 * n, Clock: clock}
			if back {
				e, d = &w.back, path.Delivery{Bytes: 300_000 * n, Packets: 200 * n, Highest: 200 * n, Clock: clock}
			}
			r := rtt
			if !w.carries(now, back) {
				r = 0
			}
			e.Probed(now, rtt, false)
			e.Delivered(now, d, r)
		}
	}
	if m := w.back.Measure(now); m.Rate.Kind != path.RateEstimate {
		t.Errorf("the download: %+v", m)
	}
	if m := w.there.Measure(now); m.Rate.Kind != path.RateAtLeast || m.Full {
		t.Errorf("its acknowledgements: %+v", m)
	}
}

// A first message that goes through a relay with which there is no link yet goes again as soon as there is one: a VR
// that starts anew is back after the round trips that it takes.
func TestDialThroughNewRelay(t *testing.T) {
	w, a, b := relayedWorld(t)
	before := w.filter
	w.filter = func(p *packet) bool {
		relay, to := path.RelayOf(p.to)
		_, up := a.up[relay]
		return before(p) && (relay == 0 || to != b.id || up)
	}
	start := w.now
	a.do(a.links.Dial(w.now, 2))
	a.do(a.links.Dial(w.now, 3))
	if !w.until(initRetryMin, func() bool { _, up := a.up[2]; return up }) {
		t.Fatalf("no link after %v", w.now.Sub(start))
	}
	if took := w.now.Sub(start); took > 8*w.delay {
		t.Errorf("after %v, with a delay of %v", took, w.delay)
	}
}
