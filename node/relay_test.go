package node

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/forward"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/secure"
	"github.com/vine-mesh/vine/transport/underlay"
)

// The relay of these tests is laneB; it carries datagrams from laneA to laneC.
const laneC = tables.RouterID(3)

var endpointC = netip.MustParseAddrPort("192.0.2.3:8463")

// hopsOf makes a link between two routers and returns how relay datagrams go over it, from each side.
func hopsOf(t testing.TB, ids [2]tables.RouterID) (hops [2]transport.Hop) {
	t.Helper()
	var keys [2]secure.StaticKey
	var links [2]*transport.Links
	ends := [2]netip.AddrPort{endpointA, endpointB}
	for i := range links {
		keys[i] = secure.NewStaticKey([32]byte{1: byte(ids[i])})
	}
	for i := range links {
		links[i] = transport.NewLinks(transport.Config{
			Self: ids[i], Static: keys[i], Boot: 1, FastAES: fastAES(), Rand: &steady{n: uint64(ids[i])},
			Accept: func(tables.LinkKey, []byte) (tables.RouterID, error) { return ids[1-i], nil },
			Peer: func(tables.RouterID) (transport.Peer, bool) {
				return transport.Peer{Link: keys[1-i].Public(), Endpoints: ends[1-i : 2-i]}, true
			},
		})
	}
	now := time.Unix(1e9, 0)
	var carry func(at int, actions []transport.Action)
	carry = func(at int, actions []transport.Action) {
		for _, a := range actions {
			switch a := a.(type) {
			case transport.Send:
				carry(1-at, links[1-at].Handle(now, ends[at], a.Datagram))
			case transport.Hop:
				hops[at] = a
			}
		}
	}
	carry(0, links[0].Dial(now, ids[1]))
	if hops[0].Sender == nil || hops[1].Receiver == nil {
		t.Fatal("no link")
	}
	return hops
}

// bin is a Socket that counts what is sent.
type bin struct{ datagrams, bytes int }

func (s *bin) WriteBatch(dgs []underlay.Datagram) (int, error) {
	for _, d := range dgs {
		s.datagrams++
		s.bytes += d.N
	}
	return len(dgs), nil
}
func (s *bin) TryReadBatch([]underlay.Datagram) (int, error) { return 0, nil }
func (s *bin) ReadBatch([]underlay.Datagram) (int, error)    { return 0, net.ErrClosed }
func (s *bin) LocalAddr() netip.AddrPort                     { return netip.AddrPort{} }
func (s *bin) Offload() (underlay.Offloads, error)           { return underlay.Offloads{}, nil }
func (s *bin) Close() error                                  { return nil }

// A relayRig is a queue-VR whose receive lane is stepped by hand, with what a limited VR sends through it to
// another.
type relayRig struct {
	n      *Node
	lane   *receiveLane
	out    *bin
	in     *secure.HopSender // of laneA
	sealed [][]byte
	next   int
}

func newRelayRig(t testing.TB, rate int64, polls bool) *relayRig {
	t.Helper()
	from, to := hopsOf(t, [2]tables.RouterID{laneA, laneB}), hopsOf(t, [2]tables.RouterID{laneB, laneC})
	rig := &relayRig{out: &bin{}, in: from[0].Sender}
	rig.n = &Node{self: self{Router: laneB}, socket: rig.out}
	rig.n.held.init(rig.n)
	rig.n.held.setRate(rate)
	compiled, err := forward.NewSnapshot(forward.Input{
		Self: laneB, Space: laneSpace,
		VNs: []forward.VNInput{{ID: laneVN, Seal: tables.SealEncrypt, Sets: []forward.Set{
			{Routers: []tables.RouterID{laneA}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.192.1.0/24")}},
			{Routers: []tables.RouterID{laneC}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.192.3.0/24")}},
			{Routers: []tables.RouterID{4}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.192.4.0/24")}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	rig.n.snapshot.Store(&snapshot{forward: compiled, relays: true, hops: map[tables.RouterID]*hopPeer{
		laneA: {endpoint: endpointA, sender: from[1].Sender, served: &served{}, attached: true},
		laneC: {endpoint: endpointC, sender: to[0].Sender, served: &served{}, attached: true, polls: polls},
	}})
	p := newPeer()
	rig.n.grants.Store(&map[uint32]grant{})
	rig.n.hops.Store(&map[uint32]hop{from[1].Index: {router: laneA, receiver: from[1].Receiver, used: p.got, served: p.served, missed: p.missed}})
	rig.lane = newReceiveLane(rig.n, newDatagrams(underlay.BatchMax, packetMax))
	return rig
}

// seal makes count relay datagrams ready that carry size bytes each.
func (r *relayRig) seal(count, size int) {
	r.sealed, r.next = r.sealed[:0], 0
	for range count {
		b := make([]byte, frame.RelayHeaderLen+size, frame.RelayOverhead+size+secure.HopScratch)
		b[frame.RelayHeaderLen] = byte(frame.TypeData)
		whole, _ := r.in.Wrap(b, frame.RelayQueue, laneVN, laneA, laneC)
		r.sealed = append(r.sealed, whole)
	}
}

// step has the lane take one batch of them.
func (r *relayRig) step() {
	for i := range laneBatch {
		d := &r.lane.in[i]
		d.N, d.Addr = copy(d.Buf, r.sealed[r.next]), endpointA
		r.next++
	}
	r.lane.step(laneBatch)
}

// TestRelayDoesNotAllocate: passing on costs no allocation, at once, under a rate, and for a client that polls.
func TestRelayDoesNotAllocate(t *testing.T) {
	const runs = 50
	for _, tc := range []struct {
		name  string
		rate  int64
		polls bool
	}{{"at once", 0, false}, {"rate", 100e6, false}, {"low rate", 1e5, false}, {"poll", 0, true}, {"poll and rate", 100e6, true}} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRelayRig(t, tc.rate, tc.polls)
			once := func() {
				r.step()
				if tc.polls {
					r.n.held.release(laneC)
				}
				if tc.rate > 0 {
					r.n.held.pump()
				}
			}
			const warm = 300 // until as many have waited as ever will
			r.seal((warm+runs+1)*laneBatch, 1400)
			for range warm {
				once()
			}
			if allocs := testing.AllocsPerRun(runs, once); allocs != 0 {
				t.Errorf("passing on %d datagrams allocates %v times", laneBatch, allocs)
			}
			relayed, all := int(r.n.relayed.Load()), (warm+runs+1)*laneBatch
			if relayed != r.out.datagrams || r.out.bytes != relayed*(1400+frame.RelayOverhead) || r.n.refused.Load()+r.n.unhopped.Load() != 0 {
				t.Errorf("%d relayed, %d datagrams of %d bytes out", relayed, r.out.datagrams, r.out.bytes)
			}
			if tc.rate == 0 && relayed != all || relayed == 0 {
				t.Errorf("%d of %d relayed", relayed, all)
			}
			dropped := 0
			for _, count := range r.n.held.tally() {
				dropped += int(count)
			}
			if held := r.n.held.bytes(); relayed+dropped+held/(1400+frame.RelayOverhead) != all {
				t.Errorf("%d relayed, %d dropped, %d bytes held, of %d datagrams", relayed, dropped, held, all)
			}
		})
	}
}

// TestRelayRules: what a member, with a link and right hop tags, may not have a VR do with relay datagrams. The VR passes nothing
// on and takes nothing in; with the rule off it does.
func TestRelayRules(t *testing.T) {
	const laneD = tables.RouterID(4)
	for _, tc := range []struct {
		name     string
		role     frame.RelayRole
		from, to tables.RouterID
		mayQueue bool // the member is a queue-VR
		off      relayDefences
	}{
		{"hands on without being a queue-VR", frame.RelayForward, laneC, laneB, false, relayDefences{anyRelay: true}},
		{"sends in another's name", frame.RelayQueue, laneD, laneC, false, relayDefences{anyName: true}},
		// Two queue-VRs that did so would pass it between them for ever.
		{"hands on what is to be handed on again", frame.RelayForward, laneD, laneC, true, relayDefences{twice: true, anyName: true}},
	} {
		for _, off := range []bool{false, true} {
			r := newRelayRig(t, 0, false)
			if off {
				r.n.off = tc.off
			}
			hops := map[uint32]hop{}
			for index, h := range *r.n.hops.Load() {
				h.mayQueue = tc.mayQueue
				hops[index] = h
			}
			r.n.hops.Store(&hops)
			r.sealed, r.next = nil, 0
			for range laneBatch {
				b := make([]byte, frame.RelayHeaderLen+100, frame.RelayOverhead+100+secure.HopScratch)
				b[frame.RelayHeaderLen] = byte(frame.TypeData)
				whole, ok := r.in.Wrap(b, tc.role, laneVN, tc.from, tc.to)
				if !ok {
					t.Fatal("not wrapped")
				}
				r.sealed = append(r.sealed, whole)
			}
			r.step()
			refused := int(r.n.refused.Load())
			done := r.out.datagrams + int(r.n.junk.Load()) // junk: opened as if it came from another
			if want := map[bool][2]int{false: {laneBatch, 0}, true: {0, laneBatch}}[off]; refused != want[0] || done != want[1] {
				t.Errorf("%s, defence off %v: %d of %d refused, %d done", tc.name, off, refused, laneBatch, done)
			}
		}
	}
}

// TestHeldIsRefused: what waits for a poll is looked at again when it goes, so that a VR that has lost its VN
// meanwhile gets none of it.
func TestHeldIsRefused(t *testing.T) {
	r := newRelayRig(t, 0, true)
	r.seal(laneBatch, 100)
	r.step()
	s := *r.n.snapshot.Load()
	var err error
	if s.forward, err = forward.NewSnapshot(forward.Input{Self: laneB, Space: laneSpace}); err != nil {
		t.Fatal(err)
	}
	r.n.snapshot.Store(&s)
	r.n.held.release(laneC)
	if r.out.datagrams != 0 || r.n.refused.Load() != laneBatch {
		t.Errorf("%d datagrams out, %d refused", r.out.datagrams, r.n.refused.Load())
	}
}

// BenchmarkRelay is what a queue-VR does for a datagram of 1,400 bytes, without the system calls.
func BenchmarkRelay(b *testing.B) {
	for _, bc := range []struct {
		name string
		rate int64
	}{{"no rate", 0}, {"rate", 100e9}} {
		b.Run(bc.name, func(b *testing.B) {
			r := newRelayRig(b, bc.rate, false)
			b.ReportAllocs()
			b.SetBytes(1400)
			b.StopTimer()
			for done := 0; done < b.N; done += laneBatch {
				if r.next+laneBatch > len(r.sealed) {
					b.StopTimer()
					r.seal(256*laneBatch, 1400)
					b.StartTimer()
				}
				r.step()
				if bc.rate > 0 {
					r.n.held.pump()
				}
			}
		})
	}
}
