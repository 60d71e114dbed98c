package node

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/capture/capturetest"
	"github.com/vine-mesh/vine/node/forward"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport"
	"github.com/vine-mesh/vine/transport/secure"
	"github.com/vine-mesh/vine/transport/underlay"
)

// steady is randomness without end for keys that only have to differ.
type steady struct{ n uint64 }

func (s *steady) Read(p []byte) (int, error) {
	for i := range p {
		s.n = s.n*6364136223846793005 + 1442695040888963407
		p[i] = byte(s.n >> 56)
	}
	return len(p), nil
}

// outbox is a Socket that keeps what is sent, in room made before.
type outbox struct {
	ecn  []uint8 // of each
	room [][]byte
	used int
}

func newOutbox(count int) *outbox {
	o := &outbox{ecn: make([]uint8, count)}
	for range count {
		o.room = append(o.room, make([]byte, 0, packetMax))
	}
	return o
}

func (o *outbox) WriteBatch(dgs []underlay.Datagram) (int, error) {
	for _, d := range dgs {
		o.room[o.used] = append(o.room[o.used][:0], d.Buf[:d.N]...)
		o.ecn[o.used] = d.ECN
		if o.used++; o.used == len(o.room) {
			o.used = 0
		}
	}
	return len(dgs), nil
}
func (o *outbox) TryReadBatch([]underlay.Datagram) (int, error) { return 0, nil }
func (o *outbox) ReadBatch([]underlay.Datagram) (int, error)    { return 0, net.ErrClosed }
func (o *outbox) LocalAddr() netip.AddrPort                     { return netip.AddrPort{} }
func (o *outbox) Offload() (underlay.Offloads, error)           { return underlay.Offloads{}, nil }
func (o *outbox) Close() error                                  { return nil }

// tally is a Device that counts what is written, as packets of the wire.
type tally struct {
	packets, bytes int
	last           [packetMax]byte
	keep           bool
	all            []capture.Packet // if keep
}

func (d *tally) WriteBatch(pkts []capture.Packet) (int, error) {
	for _, pkt := range pkts {
		p := pkt.Bytes
		d.packets += pkt.Segments()
		d.bytes += len(p) + (pkt.Segments()-1)*(pkt.SegmentLength()-int(pkt.GSOSize))
		copy(d.last[:], p)
		if d.keep {
			pkt.Bytes = append([]byte(nil), p...)
			d.all = append(d.all, pkt)
		}
	}
	return len(pkts), nil
}
func (d *tally) ReadBatch([][]byte, []capture.Packet) (int, error) { return 0, io.EOF }
func (d *tally) MTU() int                                          { return 1500 }
func (d *tally) Name() string                                      { return "tally" }
func (d *tally) Close() error                                      { return nil }

// The two VRs of the lane tests, and the VN between them.
const (
	laneA, laneB = tables.RouterID(1), tables.RouterID(2)
	laneVN       = tables.VNID(7)
)

var (
	laneSpace = []netip.Prefix{netip.MustParsePrefix("10.192.0.0/10"), netip.MustParsePrefix("fd00:1::/48")}
	hostA4    = netip.MustParseAddr("10.192.1.5")
	hostB4    = netip.MustParseAddr("10.192.2.5")
	localA4   = netip.MustParseAddr("10.192.1.6")
	hostA6    = netip.MustParseAddr("fd00:1:0:1::5")
	hostB6    = netip.MustParseAddr("fd00:1:0:2::5")
	endpointA = netip.MustParseAddrPort("192.0.2.1:8463")
	endpointB = netip.MustParseAddrPort("192.0.2.2:8463")
)

// lanePair is a VR that sends and one that receives, with a live channel between them and no
// goroutine: their lanes are stepped by hand.
type lanePair struct {
	a, b     *Node
	send     *sendLane
	receive  *receiveLane
	out      *outbox
	lan, far *tally
}

func newLanePair(t testing.TB, pathMTU int, seal tables.Seal) *lanePair {
	t.Helper()
	channels, granted := establish(t, laneVN)
	p := &lanePair{out: newOutbox(1 << 14), lan: &tally{}, far: &tally{}}
	mk := func(self tables.RouterID, device *tally) *Node {
		n := &Node{
			socket: p.out, attachments: []*attachment{{device: device}}, hints: make(chan struct{}, 1),
			commands: make(chan func(time.Time, *loop), commandsMax), waiting: make(chan waitingPacket, waitingMax), arrived: forward.Arrived,
		}
		in := forward.Input{
			Self: self, Space: laneSpace, Own: []netip.Addr{laneSpace[0].Addr().Next(), laneSpace[1].Addr().Next()},
			PathMTU: map[tables.RouterID]int{laneA: pathMTU, laneB: pathMTU},
			VNs: []forward.VNInput{{
				ID: laneVN, Seal: seal,
				Sets: []forward.Set{
					{Routers: []tables.RouterID{laneA}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.192.1.0/24"), netip.MustParsePrefix("fd00:1:0:1::/64")}},
					{Routers: []tables.RouterID{laneB}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.192.2.0/24"), netip.MustParsePrefix("fd00:1:0:2::/64")}},
				},
			}},
		}
		local := []netip.Addr{hostA4, localA4, hostA6}
		if self == laneB {
			local = []netip.Addr{hostB4, hostB6}
		}
		for _, h := range local {
			in.VNs[0].Local = append(in.VNs[0].Local, forward.LocalHost{Addr: h})
		}
		compiled, err := forward.NewSnapshot(in)
		if err != nil {
			t.Fatal(err)
		}
		n.snapshot.Store(&snapshot{forward: compiled})
		n.grants.Store(&map[uint32]grant{})
		n.hops.Store(&map[uint32]hop{})
		return n
	}
	p.a, p.b = mk(laneA, p.lan), mk(laneB, p.far)
	next := *p.a.snapshot.Load()
	next.peers = map[tables.RouterID]*sendPeer{laneB: {endpoint: endpointB, sender: channels.Sender, index: channels.Index, used: new(atomic.Bool)}}
	p.a.snapshot.Store(&next)
	grants := map[uint32]grant{}
	for _, g := range granted.Grants {
		grants[g.Index] = grant{laneA, g.VN, g.Receiver, endpointA, new(atomic.Bool), new(atomic.Bool)}
	}
	p.b.grants.Store(&grants)
	p.send, p.receive = newSendLane(p.a, 0), newReceiveLane(p.b, newDatagrams(underlay.BatchMax, packetMax))
	return p
}

// establish makes a link between two Links and returns how A sends in the VNs and what B granted it.
func establish(t testing.TB, vns ...tables.VNID) (channels transport.Channels, granted transport.Granted) {
	t.Helper()
	keys := [3]secure.StaticKey{1: secure.NewStaticKey([32]byte{1: 1}), 2: secure.NewStaticKey([32]byte{1: 2})}
	ends := [3]netip.AddrPort{1: endpointA, 2: endpointB}
	random := &steady{}
	links := [3]*transport.Links{}
	for i := 1; i <= 2; i++ {
		links[i] = transport.NewLinks(transport.Config{
			Self: tables.RouterID(i), Static: keys[i], Boot: 1, FastAES: fastAES(), Rand: random,
			Accept: func(static tables.LinkKey, _ []byte) (tables.RouterID, error) {
				for id := 1; id <= 2; id++ {
					if keys[id].Public() == static {
						return tables.RouterID(id), nil
					}
				}
				return 0, errStranger
			},
			Peer: func(id tables.RouterID) (transport.Peer, bool) {
				return transport.Peer{Link: keys[id].Public(), Endpoints: []netip.AddrPort{ends[id]}}, true
			},
		})
	}
	now := time.Unix(1e9, 0)
	var carry func(at int, actions []transport.Action)
	carry = func(at int, actions []transport.Action) {
		for _, a := range actions {
			switch a := a.(type) {
			case transport.Send:
				carry(3-at, links[3-at].Handle(now, ends[at], a.Datagram))
			case transport.Channels:
				if at == 1 {
					channels = a
				}
			case transport.Granted:
				if at == 2 {
					granted = a
				}
			}
		}
	}
	carry(1, links[1].SetChannels(now, laneB, vns))
	carry(2, links[2].SetChannels(now, laneA, vns))
	carry(1, links[1].Dial(now, laneB))
	for range 100 {
		now = now.Add(10 * time.Millisecond)
		carry(1, links[1].Advance(now))
		carry(2, links[2].Advance(now))
	}
	if len(channels.Index) != len(vns) || len(granted.Grants) != len(vns) {
		t.Fatalf("no channel: %+v, %+v, %+v, %+v, %+v", channels, granted, links[1].Counters(), links[2].Counters(), links[1].Status(now))
	}
	return channels, granted
}

// fill puts the packet into every place of the sending lane's next batch.
func (p *lanePair) fill(packet []byte) {
	for i := range p.send.in {
		p.send.packets[i] = capture.Packet{Bytes: p.send.in[i][:copy(p.send.in[i], packet)]}
	}
}

// inner returns a packet of a length between the hosts of a family.
func inner(src, dst netip.Addr, length int, df bool) []byte {
	header := 28
	if src.Is6() {
		header = 48
	}
	b := capturetest.AppendUDP(nil, netip.AddrPortFrom(src, 1), netip.AddrPortFrom(dst, 2), make([]byte, length-header))
	if src.Is4() && !df {
		b[6] = 0
		sum := uint32(binary.BigEndian.Uint16(b[10:])) + 0x4000 // RFC 1624: 0x4000 less in the header
		binary.BigEndian.PutUint16(b[10:], uint16(sum+sum>>16))
	}
	return b
}

// TestLanesDoNotAllocate: between reading a batch and writing it neither lane allocates, for
// whole, split and fragmented packets, for packets that stay here, and for those that are dropped
// or answered.
func TestLanesDoNotAllocate(t *testing.T) {
	cases := []struct {
		name      string
		packet    []byte
		mtu       int
		datagrams int // sealed for one packet
		arrive    int // packets at the other LAN for one packet
		answers   bool
		local     bool
	}{
		{"IPv4 whole", inner(hostA4, hostB4, 1400, true), 1440, 1, 1, false, false},
		{"IPv4 bundled", inner(hostA4, hostB4, 28, true), 1440, 1, 1, false, false},
		{"IPv4 chunked", inner(hostA4, hostB4, 64, true), 1440, 1, 1, false, false},
		{"IPv4 split", inner(hostA4, hostB4, 1280, true), 1064, 2, 1, false, false},
		{"IPv4 fragmented", inner(hostA4, hostB4, 1400, false), 1064, 2, 2, false, false},
		{"IPv4 too big", inner(hostA4, hostB4, 1400, true), 1064, 0, 0, true, false},
		{"IPv4 local", inner(hostA4, localA4, 1400, true), 1064, 0, 0, false, true},
		{"IPv4 foreign source", inner(hostB4, hostA4, 1400, true), 1064, 0, 0, false, false},
		{"IPv6 whole", inner(hostA6, hostB6, 1400, true), 1440, 1, 1, false, false},
		{"IPv6 split", inner(hostA6, hostB6, 1280, true), 1064, 2, 1, false, false},
		{"IPv6 too big", inner(hostA6, hostB6, 1400, true), 1064, 0, 0, true, false},
	}
	const runs = 50
	for _, seal := range []tables.Seal{tables.SealEncrypt, tables.SealAuth} {
		for _, tc := range cases {
			t.Run(fmt.Sprintf("%s, %s", tc.name, seal), func(t *testing.T) {
				p := newLanePair(t, tc.mtu, seal)
				allocs := testing.AllocsPerRun(runs, func() {
					p.fill(tc.packet)
					p.send.step(laneBatch)
				})
				if allocs != 0 {
					t.Errorf("sending %d packets allocates %v times", laneBatch, allocs)
				}
				sent := (runs + 1) * laneBatch
				datagrams := tc.datagrams * sent
				if len(tc.packet) < 100 {
					datagrams /= laneBatch // all packets of a batch have room in one
				}
				if got := int(p.a.sent()); got != datagrams || p.out.used != got {
					t.Fatalf("%d packets went as %d datagrams, %d of them out", sent, got, p.out.used)
				}
				switch {
				case tc.local && p.lan.packets != sent:
					t.Errorf("%d of %d packets delivered here", p.lan.packets, sent)
				case tc.answers && p.lan.packets == 0:
					t.Error("no ICMP answer")
				case !tc.local && !tc.answers && p.lan.packets != 0:
					t.Errorf("%d packets came back", p.lan.packets)
				}
				if tc.datagrams == 0 {
					return
				}
				next := 0
				allocs = testing.AllocsPerRun(runs, func() {
					n := 0
					for ; n < laneBatch && next < p.out.used; n, next = n+1, next+1 {
						d := &p.receive.in[n]
						d.N, d.Addr = copy(d.Buf, p.out.room[next]), endpointA
					}
					p.receive.step(n)
				})
				for next < p.out.used { // what is more than one datagram a packet
					d := &p.receive.in[0]
					d.N, d.Addr = copy(d.Buf, p.out.room[next]), endpointA
					next++
					p.receive.step(1)
				}
				if allocs != 0 {
					t.Errorf("receiving %d datagrams allocates %v times", laneBatch, allocs)
				}
				if p.far.packets != tc.arrive*sent || p.b.junk.Load() != 0 {
					t.Errorf("%d packets arrived of %d, %d datagrams not opened", p.far.packets, tc.arrive*sent, p.b.junk.Load())
				}
				if tc.arrive == 1 && p.far.bytes != sent*len(tc.packet) {
					t.Errorf("%d bytes arrived of %d", p.far.bytes, sent*len(tc.packet))
				}
				// Datagrams that name no channel, and those seen before, cost nothing either.
				junk := testing.AllocsPerRun(runs, func() {
					for i := range laneBatch {
						d := &p.receive.in[i]
						d.N, d.Addr = copy(d.Buf, p.out.room[i]), endpointA
						if i%2 == 0 {
							d.Buf[4] ^= 1
						}
					}
					p.receive.step(laneBatch)
				})
				if junk != 0 || p.far.packets != tc.arrive*sent {
					t.Errorf("junk allocates %v times; %d packets arrived", junk, p.far.packets)
				}
			})
		}
	}
}
