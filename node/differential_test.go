package node

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/forward"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
	"github.com/vine-mesh/vine/transport/underlay"
)

// otherVN is a second VN between the same two VRs; it is authenticated only.
const otherVN = tables.VNID(9)

// A twin is two VRs with live channels in two VNs and a third VR that has none, driven by hand, beside the world that says what
// they have to do. Each VN has an attachment of its own at the receiving VR.
type twin struct {
	world
	a, b *Node
	send *sendLane
	recv [2]*receiveLane // the second takes datagrams that arrive several at a time, as with UDP_GRO
	sock *delivery
	lan  *tally
	far  [2]*tally
	many bool // the second lane takes what comes

	straight, relayed *sendPeer // how the sender reaches the receiver: by itself, or through laneC

	onTheWay func([][]byte) [][]byte // what becomes of the datagrams of a batch; nil: nothing
}

// A delivery is a Socket that gives what was sent into it, in batches of any size.
type delivery struct {
	*outbox
	rng  *rand.Rand
	many bool
	next int
	full bool // the way is congested, and every datagram says so
}

func (s *delivery) TryReadBatch(dgs []underlay.Datagram) (int, error) { return s.read(dgs), nil }

func (s *delivery) read(dgs []underlay.Datagram) int {
	n := 0
	for most := 1 + s.rng.IntN(len(dgs)); n < most && s.next < s.used; n++ {
		d := &dgs[n]
		d.N, d.Addr, d.Segment, d.ECN = copy(d.Buf, s.room[s.next]), endpointA, 0, s.says(s.next)
		size := d.N
		for s.next++; s.many && s.next < s.used && d.N%size == 0; s.next++ {
			b := s.room[s.next]
			if len(b) > size || d.N+len(b) > len(d.Buf) || s.says(s.next) != d.ECN {
				break
			}
			d.N, d.Segment = d.N+copy(d.Buf[d.N:], b), size
		}
	}
	return n
}

// says returns what a datagram says of congestion on arrival.
func (s *delivery) says(i int) uint8 {
	if s.full {
		return 3
	}
	return s.ecn[i]
}

var (
	strayA  = netip.MustParseAddr("10.192.1.77") // no member
	strayB4 = netip.MustParseAddr("10.192.2.77") // delivered by B, and no member there
	strayB6 = netip.MustParseAddr("fd00:1:0:2::77")
	hostC4  = netip.MustParseAddr("10.192.3.5")
	hostC6  = netip.MustParseAddr("fd00:1:0:3::5")
	local6  = netip.MustParseAddr("fd00:1:0:1::6")
	otherA4 = netip.MustParseAddr("10.193.1.5")
	otherB4 = netip.MustParseAddr("10.193.2.5")
	otherA6 = netip.MustParseAddr("fd00:1:0:11::5")
	otherB6 = netip.MustParseAddr("fd00:1:0:12::5")
)

func newTwin(t testing.TB, rng *rand.Rand) *twin {
	t.Helper()
	channels, granted := establish(t, laneVN, otherVN)
	w := &twin{sock: &delivery{outbox: newOutbox(1 << 14), rng: rng}, lan: &tally{keep: true}}
	w.far = [2]*tally{{keep: true}, {keep: true}}
	w.space, w.own = laneSpace, [2]netip.Addr{laneSpace[0].Addr().Next(), laneSpace[1].Addr().Next()}
	nets := func(a, b, c string) map[tables.RouterID][]netip.Prefix {
		all := map[tables.RouterID][]netip.Prefix{}
		for id, list := range map[tables.RouterID]string{laneA: a, laneB: b, laneC: c} {
			if list != "" {
				v4, v6, _ := bytes.Cut([]byte(list), []byte(" "))
				all[id] = []netip.Prefix{netip.MustParsePrefix(string(v4)), netip.MustParsePrefix(string(v6))}
			}
		}
		return all
	}
	w.nets = []obviousNet{
		{laneVN, nets("10.192.1.0/24 fd00:1:0:1::/64", "10.192.2.0/24 fd00:1:0:2::/64", "10.192.3.0/24 fd00:1:0:3::/64"),
			[]netip.Addr{hostA4, localA4, hostA6, local6}, []netip.Addr{hostB4, hostB6}},
		{otherVN, nets("10.193.1.0/24 fd00:1:0:11::/64", "10.193.2.0/24 fd00:1:0:12::/64", ""),
			[]netip.Addr{otherA4, otherA6}, []netip.Addr{otherB4, otherB6}},
	}
	mk := func(attachments ...*attachment) *Node {
		n := &Node{
			socket: w.sock, attachments: attachments, hints: make(chan struct{}, 1), arrived: forward.Arrived,
			commands: make(chan func(time.Time, *loop), commandsMax), waiting: make(chan waitingPacket, 1<<14),
		}
		n.grants.Store(&map[uint32]grant{})
		n.hops.Store(&map[uint32]hop{})
		return n
	}
	w.a = mk(&attachment{device: w.lan})
	w.b = mk(&attachment{device: w.far[0]}, &attachment{device: w.far[1]})
	w.straight = &sendPeer{router: laneB, endpoint: endpointB, sender: channels.Sender, index: channels.Index, used: new(atomic.Bool)}
	relayed := *w.straight
	relayed.endpoint = path.Relay(laneC, laneB)
	relayed.hop = &hopPeer{endpoint: endpointC, sender: hopsOf(t, [2]tables.RouterID{laneA, laneC})[0].Sender}
	w.relayed = &relayed
	w.a.self.Router, w.b.self.Router = laneA, laneB
	w.a.snapshot.Store(&snapshot{forward: w.compile(t, laneA)})
	w.path(1440, w.straight)
	w.b.snapshot.Store(&snapshot{forward: w.compile(t, laneB)})
	grants := map[uint32]grant{}
	for _, g := range granted.Grants {
		grants[g.Index] = grant{laneA, g.VN, g.Receiver, endpointA, new(atomic.Bool), new(atomic.Bool)}
	}
	w.b.grants.Store(&grants)
	w.send = newSendLane(w.a, 0)
	w.recv = [2]*receiveLane{newReceiveLane(w.b, newDatagrams(underlay.BatchMax, packetMax)), manyLane(w.b)}
	w.send.limit = forward.NewTokenBucket(int(time.Second), 1<<30)
	w.answers = 1 << 30
	return w
}

// compile makes the snapshot of a VR of the world's tables.
func (w *twin) compile(t testing.TB, self tables.RouterID) *forward.Snapshot {
	t.Helper()
	in := forward.Input{Self: self, Space: w.space, Own: w.own[:], Attachments: make([]forward.Attachment, 2)}
	if self == laneA {
		in.Attachments = in.Attachments[:1]
	}
	for i, n := range w.nets {
		vn := forward.VNInput{ID: n.id, Seal: []tables.Seal{tables.SealEncrypt, tables.SealAuth}[i]}
		for id, prefixes := range n.prefixes {
			vn.Sets = append(vn.Sets, forward.Set{Routers: []tables.RouterID{id}, Prefixes: prefixes})
		}
		hosts, at := n.local, 0
		if self == laneB {
			hosts, at = n.far, i
		}
		for _, h := range hosts {
			vn.Local = append(vn.Local, forward.LocalHost{Addr: h, Attachment: at})
		}
		in.VNs = append(in.VNs, vn)
	}
	s, err := forward.NewSnapshot(in)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// path sets what the path between the two VRs carries, and which it is.
func (w *twin) path(mtu int, way *sendPeer) {
	w.mtu = mtu
	next := *w.a.snapshot.Load()
	next.forward = next.forward.WithLinks(map[tables.RouterID]int{laneB: mtu}, nil)
	next.peers = map[tables.RouterID]*sendPeer{laneB: way}
	w.a.snapshot.Store(&next)
}

// anyPath sets a path at random, and how datagrams arrive from it.
func (w *twin) anyPath(rng *rand.Rand) {
	w.path(pick(rng, pathMTUs), pick(rng, []*sendPeer{w.straight, w.straight, w.relayed}))
	w.many = rng.IntN(2) == 0
	w.congested = rng.IntN(8) == 0
}

// unwrap makes of relay datagrams what their queue-VR is to pass on.
func (w *twin) unwrap(t testing.TB) {
	t.Helper()
	for i, b := range w.sock.room[:w.sock.used] {
		if frame.Type(b[0]) != frame.TypeRelay {
			continue
		}
		if len(b) < frame.RelayOverhead || word(b, 16) != len(b) {
			t.Fatalf("a relay datagram of %d bytes: %x", len(b), b[:min(len(b), 40)])
		}
		w.sock.room[i] = append(b[:0], b[frame.RelayHeaderLen:len(b)-frame.TagLen]...)
	}
}

// lanes has the lanes carry a batch, and returns what they made of it.
func (w *twin) lanes(t testing.TB, batch []capture.Packet) (o outcome) {
	t.Helper()
	w.lan.all, w.far[0].all, w.far[1].all, w.sock.used, w.sock.next = nil, nil, nil, 0, 0
	for _, n := range []*Node{w.a, w.b} {
		for i := range n.drops {
			n.drops[i].Store(0)
		}
	}
	for i, p := range batch {
		w.send.packets[i] = p
		w.send.packets[i].Bytes = w.send.in[i][:copy(w.send.in[i], p.Bytes)]
	}
	w.send.step(len(batch))
	w.unwrap(t)
	if w.onTheWay != nil {
		var sent [][]byte
		for _, b := range w.sock.room[:w.sock.used] {
			sent = append(sent, bytes.Clone(b))
		}
		w.sock.used = 0
		for _, b := range w.onTheWay(sent) {
			i := w.sock.used
			w.sock.room[i] = append(w.sock.room[i][:0], b...)
			w.sock.ecn[i] = 0 // somebody on the way clears it
			w.sock.used++
		}
	}
	lane := w.recv[0]
	w.sock.full = w.congested
	if w.sock.many = w.many; w.many {
		lane = w.recv[1]
	}
	for n := w.sock.read(lane.in); n > 0; n = w.sock.read(lane.in) {
		lane.finish(w.sock, n)
	}
	o.lan = plainOf(w.lan.all)
	for len(w.a.waiting) > 0 {
		o.waits = append(o.waits, plain{b: (<-w.a.waiting).packet})
	}
	o.far = plainOf(append(w.far[0].all, w.far[1].all...))
	for i := range o.drops {
		o.drops[i], o.farDrops[i] = int(w.a.drops[i].Load()), int(w.b.drops[i].Load())
	}
	if n := w.b.junk.Load() + w.a.spent.Load(); n != 0 && w.onTheWay == nil {
		t.Fatalf("%d datagrams not sealed or not opened", n)
	}
	return o
}

func plainOf(list []capture.Packet) (all []plain) {
	for _, p := range list {
		for _, b := range onWire(p) {
			all = append(all, plain{b: b})
		}
	}
	return all
}

// compare says in what the lanes and the obvious VR differ; an empty text: in nothing.
func (w *twin) compare(got, want outcome) string {
	slices.SortStableFunc(want.far, func(a, b plain) int { return w.attachmentOf(a.b) - w.attachmentOf(b.b) })
	for _, part := range []struct {
		name      string
		got, want []plain
	}{{"to the LAN of the sender", got.lan, want.lan}, {"waiting", got.waits, want.waits}, {"to the far LAN", got.far, want.far}} {
		for i := range min(len(part.got), len(part.want)) {
			g, x := part.got[i].b, part.want[i].b
			if part.want[i].anyID && len(g) >= 20 && g[0]>>4 == 4 {
				if sum16(g[:4*int(g[0]%16)]) != 0xffff {
					return fmt.Sprintf("%s, packet %d: wrong header checksum\n%x", part.name, i, g)
				}
				g, x = bytes.Clone(g), bytes.Clone(x)
				for _, b := range [][]byte{g, x} {
					put(b, 4, 0)
					put(b, 10, 0)
				}
			}
			if !bytes.Equal(g, x) {
				at := 0
				for at < len(g) && at < len(x) && g[at] == x[at] {
					at++
				}
				return fmt.Sprintf("%s, packet %d of %d: byte %d differs\n%x, want\n%x", part.name, i, len(part.want), at, g[:min(len(g), 120)], x[:min(len(x), 120)])
			}
		}
		if len(part.got) != len(part.want) {
			return fmt.Sprintf("%s: %d packets, want %d", part.name, len(part.got), len(part.want))
		}
	}
	for i := range forward.DropCount {
		if got.drops[i] != want.drops[i] {
			return fmt.Sprintf("dropped by the sender for %q: %d, want %d", forward.Drop(i), got.drops[i], want.drops[i])
		}
		// Pieces of a template run do not end where segments do.
		if n, want := got.farDrops[i], want.farDrops[i]; n != want && !(0 < n && n < want && want >= 3) {
			return fmt.Sprintf("dropped by the receiver for %q: %d, want %d", forward.Drop(i), n, want)
		}
	}
	return ""
}

func (w *twin) attachmentOf(b []byte) int {
	s, _ := see(b)
	if slices.Contains(w.nets[1].far, s.dst) {
		return 1
	}
	return 0
}

// check has both carry a batch. A packet that has two faults goes by itself: which of them is counted is not said.
func (w *twin) check(t testing.TB, batch []capture.Packet) (want outcome) {
	t.Helper()
	for i, p := range batch {
		_, faults := see(p.Bytes)
		slices.Sort(faults)
		if faults = slices.Compact(faults); len(faults) > 1 {
			o := w.lanes(t, batch[i:i+1])
			if n := len(o.lan) + len(o.waits) + len(o.far); n > 0 || !slices.ContainsFunc(faults, func(d forward.Drop) bool { return o.drops[d] > 0 }) {
				t.Fatalf("faults %v, and %d packets came of it; dropped: %v\n%x", faults, n, o.drops, p.Bytes[:min(len(p.Bytes), 120)])
			}
			return w.check(t, append(slices.Clone(batch[:i]), batch[i+1:]...))
		}
	}
	want = w.carry(batch)
	difference := w.compare(w.lanes(t, batch), want)
	if difference == "" {
		return want
	}
	for i := 0; i < len(batch) && len(batch) > 1; { // which packets does it take?
		less := append(slices.Clone(batch[:i]), batch[i+1:]...)
		if d := w.compare(w.lanes(t, less), w.carry(less)); d != "" {
			batch, difference = less, d
		} else {
			i++
		}
	}
	for i, p := range batch {
		t.Logf("packet %d: %d bytes, segments of %d, partial %v: %x", i, len(p.Bytes), p.GSOSize, p.Partial, p.Bytes[:min(len(p.Bytes), 120)])
	}
	t.Fatalf("path of %d bytes, many %v: %s", w.mtu, w.many, difference)
	return want
}

// seeded returns randomness that VINE_SEED repeats.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("VINE_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("VINE_SEED=%d repeats this", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// pathMTUs are paths of all kinds: half of the minimum, in between, Ethernet's, and beyond.
var pathMTUs = []int{640, 1064, 1240, 1280, 1400, 1440, 1460, 4000, 9000}

// TestLanesAgainstObvious: on random packets the lanes do what the obvious VR does: the same packets come out, in the same order,
// and the others are dropped for the same reasons.
func TestLanesAgainstObvious(t *testing.T) {
	rng := seeded(t)
	w := newTwin(t, rng)
	rounds := 4000
	if night() {
		rounds *= 20
	}
	var seen tallyOf
	for range rounds {
		w.anyPath(rng)
		g := generator{rng: rng, mtu: w.mtu}
		batch := g.batch()
		seen.add(batch, w.check(t, batch))
	}
	seen.enough(t, rounds)
}

// A tallyOf counts what a test has seen, so that one that sees nothing fails.
type tallyOf struct {
	supers, partial, lan, waits, far int
	drops, farDrops                  [forward.DropCount]int
}

func (s *tallyOf) add(batch []capture.Packet, o outcome) {
	for _, p := range batch {
		if p.GSOSize > 0 {
			s.supers++
		}
		if p.Partial {
			s.partial++
		}
	}
	s.lan, s.waits, s.far = s.lan+len(o.lan), s.waits+len(o.waits), s.far+len(o.far)
	for i := range o.drops {
		s.drops[i] += o.drops[i]
		s.farDrops[i] += o.farDrops[i]
	}
}

func (s *tallyOf) enough(t *testing.T, rounds int) {
	t.Helper()
	t.Logf("%d super-packets; %d packets on the own LAN, %d waiting, %d on the far LAN", s.supers, s.lan, s.waits, s.far)
	for d := range forward.DropCount {
		t.Logf("dropped for %-24v %5d, by the receiver %d", forward.Drop(d), s.drops[d], s.farDrops[d])
	}
	if s.supers < rounds || s.far < 20*rounds || s.lan < rounds/2 || s.waits < rounds/2 ||
		s.drops[forward.DropTTL] == 0 || s.drops[forward.DropTooBig] == 0 || s.drops[forward.DropHeader] == 0 || s.farDrops[forward.DropNotMember] == 0 {
		t.Error("the packets made show too little")
	}
}

func night() bool { return os.Getenv("VINE_NIGHT") != "" }
