package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/forward"
	"github.com/vine-mesh/vine/node/segment"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/underlay"
)

// superTCP returns a TCP super-packet with payload bytes in segments of size.
func superTCP(src, dst netip.Addr, payload, size int) capture.Packet {
	b := inner(src, dst, 40+payload, true)
	tcp := 20
	if src.Is6() {
		b, tcp = inner(src, dst, 60+payload, true), 40
		b[6] = 6
	} else {
		b[9] = 6
		binary.BigEndian.PutUint16(b[10:], binary.BigEndian.Uint16(b[10:])+17-6)
	}
	for i := range payload {
		b[tcp+20+i] = byte(i * 7 >> 3)
	}
	b[tcp+4], b[tcp+12], b[tcp+13] = 0xff, 0x50, 0x18
	p := capture.Packet{Bytes: b, GSOSize: uint16(size), Partial: true}
	segment.Seed(b)
	return p
}

// loose takes the don't fragment bit from an IPv4 super-packet: its segments need identifications, so it travels as a run of
// them, each with headers.
func loose(p capture.Packet) capture.Packet {
	p.Bytes[6] &^= 0x40
	sum := uint32(binary.BigEndian.Uint16(p.Bytes[10:])) + 0x4000
	binary.BigEndian.PutUint16(p.Bytes[10:], uint16(sum+sum>>16))
	return p
}

// put makes the packets the sending lane's batch and steps it.
func (p *lanePair) put(list ...capture.Packet) {
	for i, x := range list {
		p.send.packets[i] = x
		p.send.packets[i].Bytes = p.send.in[i][:copy(p.send.in[i], x.Bytes)]
	}
	p.send.step(len(list))
}

// carry gives the receiving lane the datagrams from number first on, as one batch, without those that were lost.
func (p *lanePair) carry(first int, lost ...int) {
	n := 0
datagrams:
	for i := first; i < p.out.used; i++ {
		for _, x := range lost {
			if x == i {
				continue datagrams
			}
		}
		d := &p.receive.in[n]
		d.N, d.Addr = copy(d.Buf, p.out.room[i]), endpointA
		n++
	}
	p.receive.step(n)
}

// wire returns the packets of the wire that were written, with their checksums whole.
func wire(t *testing.T, list []capture.Packet) (all [][]byte) {
	t.Helper()
	var f segment.Finisher
	for _, p := range list {
		if !f.Start(p) {
			t.Fatalf("not a packet: %+v", p)
		}
		for b, ok := f.Next(); ok; b, ok = f.Next() {
			all = append(all, bytes.Clone(b))
		}
	}
	return all
}

func sameWire(t *testing.T, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d packets arrived, want %d", len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("packet %d is\n%x, want\n%x", i, got[i], want[i])
		}
	}
}

func aged(p capture.Packet) capture.Packet {
	p.Bytes = bytes.Clone(p.Bytes)
	forward.DecrementTTL(p.Bytes)
	return p
}

// A super-packet crosses as a run and is one packet again; between others it keeps its place.
func TestSuperPacketStaysWhole(t *testing.T) {
	for _, seal := range []tables.Seal{tables.SealEncrypt, tables.SealAuth} {
		for kind, ends := range [][2]netip.Addr{{hostA4, hostB4}, {hostA6, hostB6}, {hostA4, hostB4}} {
			p := newLanePair(t, 1440, seal)
			p.far.keep = true
			big, datagrams := superTCP(ends[0], ends[1], 20_000, 1300), uint64(14)
			if kind == 2 {
				big, datagrams = loose(big), 16
			}
			small := capture.Packet{Bytes: inner(ends[0], ends[1], 100, true)}
			partial := capture.Packet{Bytes: inner(ends[0], ends[1], 200, true), Partial: true}
			segment.Seed(partial.Bytes)
			p.put(small, big, partial, big, big)
			p.carry(0)
			want := []capture.Packet{aged(small), aged(big), aged(partial), aged(big), aged(big)}
			if len(p.far.all) != len(want) {
				t.Fatalf("%d packets written, want %d", len(p.far.all), len(want))
			}
			for i, got := range p.far.all {
				if !bytes.Equal(got.Bytes, want[i].Bytes) || got.GSOSize != want[i].GSOSize || got.Partial != want[i].Partial {
					t.Errorf("packet %d: %d bytes, %d, %v; want %d, %d, %v", i,
						len(got.Bytes), got.GSOSize, got.Partial, len(want[i].Bytes), want[i].GSOSize, want[i].Partial)
				}
			}
			if got := p.b.received(); got != 2+3*datagrams {
				t.Errorf("%d datagrams counted", got)
			}
		}
	}
}

// Whatever is lost, all that arrives is written, once and in order; what comes twice is not.
func TestSuperPacketWithLoss(t *testing.T) {
	big := loose(superTCP(hostA4, hostB4, 13_000, 1300))
	want := wire(t, []capture.Packet{aged(big)})
	for lost := range want {
		p := newLanePair(t, 1440, tables.SealEncrypt)
		p.far.keep = true
		p.put(big)
		p.carry(0, lost)
		rest := append(append([][]byte{}, want[:lost]...), want[lost+1:]...)
		sameWire(t, wire(t, p.far.all), rest)
		if len(p.far.all) > 2 {
			t.Errorf("without segment %d %d packets are written", lost, len(p.far.all))
		}
		p.carry(0, lost) // a replay
		sameWire(t, wire(t, p.far.all), rest)
	}
}

// What does not open, in the middle of a run, costs itself and no other.
func TestForgedSegmentLeavesRun(t *testing.T) {
	p := newLanePair(t, 1440, tables.SealEncrypt)
	p.far.keep = true
	big := superTCP(hostA4, hostB4, 13_000, 1300)
	p.put(big)
	n := 0
	for i := range p.out.used {
		for _, forged := range []bool{true, false} {
			d := &p.receive.in[n]
			d.N, d.Addr = copy(d.Buf, p.out.room[i]), endpointA
			if forged {
				d.Buf[d.N-1] ^= 1
			}
			n++
		}
	}
	p.receive.step(n)
	if len(p.far.all) != 1 || p.b.junk.Load() != uint64(p.out.used) {
		t.Errorf("%d packets written, %d forged counted of %d", len(p.far.all), p.b.junk.Load(), p.out.used)
	}
	sameWire(t, wire(t, p.far.all), wire(t, []capture.Packet{aged(big)}))
}

// Segments that the path does not carry go as single packets would: split, in IP fragments, or answered.
func TestSuperPacketOnNarrowPath(t *testing.T) {
	p := newLanePair(t, 1064, tables.SealEncrypt)
	p.far.keep = true
	big := superTCP(hostA4, hostB4, 5000, 1200)
	p.put(big)
	p.carry(0)
	sameWire(t, wire(t, p.far.all), wire(t, []capture.Packet{aged(big)}))
	if p.out.used != 4*2+1 {
		t.Errorf("%d datagrams", p.out.used)
	}
	p = newLanePair(t, 1064, tables.SealEncrypt)
	p.put(superTCP(hostA6, hostB6, 5000, 1300))
	if got := p.a.drops[forward.DropTooBig].Load(); got != 3 || p.lan.packets != 3 || p.out.used != 2 {
		t.Errorf("%d dropped, %d answers, %d datagrams; want 3, 3, and 2 of the last, which is short enough to be split", got, p.lan.packets, p.out.used)
	}
}

// A packet that stays here is not cut. One that waits for a channel waits as its segments.
func TestSuperPacketLocalAndWaiting(t *testing.T) {
	p := newLanePair(t, 1440, tables.SealEncrypt)
	p.lan.keep = true
	big := superTCP(hostA4, localA4, 5000, 1200)
	p.put(big)
	if len(p.lan.all) != 1 || p.lan.all[0].GSOSize != 1200 || !bytes.Equal(p.lan.all[0].Bytes, aged(big).Bytes) || p.a.local.Load() != 5 {
		t.Errorf("%d packets delivered here, %d counted", len(p.lan.all), p.a.local.Load())
	}
	next := *p.a.snapshot.Load()
	next.peers = nil
	p.a.snapshot.Store(&next)
	big = superTCP(hostA4, hostB4, 5000, 1200)
	p.put(big)
	var got []capture.Packet
	for len(p.a.waiting) > 0 {
		got = append(got, capture.Packet{Bytes: (<-p.a.waiting).packet})
	}
	sameWire(t, wire(t, got), wire(t, []capture.Packet{aged(big)}))
}

// A peer that breaks the rules of runs gets its packets dropped, and reaches no other flow.
func TestHostileRun(t *testing.T) {
	p := newLanePair(t, 1440, tables.SealEncrypt)
	p.far.keep = true
	peer := p.a.snapshot.Load().peers[laneB]
	n := 0
	send := func(at segment.Position, size uint16, b []byte) {
		d := &p.receive.in[n]
		sealed, ok := peer.sender.Seal(d.Buf[:0], peer.index[laneVN], frame.RunMeta(byte(at), size), laneVN, b)
		if !ok {
			t.Fatal("spent")
		}
		d.N, d.Addr = len(sealed), endpointA
		n++
	}
	one := func(src, dst netip.Addr) []byte { return wire(t, []capture.Packet{superTCP(src, dst, 2000, 1000)})[0] }
	good := one(hostA4, hostB4)
	send(segment.First, 1000, good)
	send(segment.Mid, 1000, one(hostB4, hostA4))                              // another flow
	send(segment.Mid, 1000, one(hostA6, hostB6))                              // another family
	send(segment.First, 999, good)                                            // a wrong size
	send(segment.Last, 500, good)                                             // longer than it may be
	send(segment.First, 1000, one(netip.MustParseAddr("10.192.2.9"), hostB4)) // a foreign source
	send(segment.Mid, 1000, one(netip.MustParseAddr("10.192.2.9"), hostB4))
	send(segment.First, 8, inner(hostA4, hostB4, 28, true)) // nothing in it
	seeded := capture.Packet{Bytes: inner(hostA4, hostB4, 100, true), Partial: true}
	segment.Seed(seeded.Bytes)
	lied := bytes.Clone(seeded.Bytes)
	lied[26] ^= 0x55 // the sum of the pseudo-header is made here, whatever the peer says
	send(segment.Single, 0, lied)
	p.receive.step(n)
	if last := p.far.all[len(p.far.all)-1]; !bytes.Equal(last.Bytes, seeded.Bytes) {
		t.Errorf("the peer's sum was taken: %x", last.Bytes)
	}
	sameWire(t, wire(t, p.far.all), [][]byte{good, wire(t, []capture.Packet{seeded})[0]})
	if h, s := p.b.drops[forward.DropHeader].Load(), p.b.drops[forward.DropForeignSource].Load(); h != 5 || s != 2 {
		t.Errorf("%d malformed, %d foreign; want 5 and 2", h, s)
	}
}

// Neither lane allocates for super-packets.
func TestSuperPacketsDoNotAllocate(t *testing.T) {
	p := newLanePair(t, 1440, tables.SealEncrypt)
	big := superTCP(hostA4, hostB4, 40_000, 1300)
	if n := testing.AllocsPerRun(20, func() {
		p.out.used = 0
		p.put(big)
		p.carry(0)
	}); n != 0 {
		t.Errorf("%v allocations per super-packet", n)
	}
	if p.far.packets != 21*31 {
		t.Errorf("%d packets of 21 times 31 arrived", p.far.packets)
	}
}

// BenchmarkLane is what the lanes need for 64 KB: as 46 packets, and as one super-packet.
func BenchmarkLane(b *testing.B) {
	const size = 1400
	big := superTCP(hostA4, hostB4, 46*size, size)
	packets := make([]capture.Packet, 0, 46)
	var f segment.Finisher
	f.Start(big)
	for s, ok := f.Next(); ok; s, ok = f.Next() {
		packets = append(packets, capture.Packet{Bytes: bytes.Clone(s)})
	}
	for name, batches := range map[string][][]capture.Packet{"packets": {packets[:23], packets[23:]}, "super": {{big}}} {
		b.Run(name, func(b *testing.B) {
			p := newLanePair(b, 1440, tables.SealEncrypt)
			b.ReportAllocs()
			b.SetBytes(46 * size)
			for b.Loop() {
				p.out.used = 0
				for _, batch := range batches {
					p.put(batch...)
				}
				p.carry(0)
			}
			if p.far.bytes < b.N*46*size {
				b.Fatalf("%d bytes arrived", p.far.bytes)
			}
		})
	}
}

// TestSuperPacketOverStream: over a stream connection a super-packet is one datagram, real sockets between the lanes; one that is too
// long for that, and everything else, goes as on any path, and in order.
func TestSuperPacketOverStream(t *testing.T) {
	for _, ends := range [][2]netip.Addr{{hostA4, hostB4}, {hostA6, hostB6}} {
		p := newLanePair(t, 1440, tables.SealEncrypt)
		p.far.keep = true
		listener, dialler := underlay.NewStreams(underlay.StreamsConfig{}), underlay.NewStreams(underlay.StreamsConfig{})
		at, err := listener.Listen(underlay.TCP, netip.MustParseAddrPort("127.0.0.1:0"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for _, s := range []*underlay.Streams{listener, dialler} {
			running.Go(func() { s.Run(ctx) })
		}
		to, err := dialler.Dial(ctx, underlay.StreamTarget{Protocol: underlay.TCP, Endpoint: at})
		if err != nil {
			t.Fatal(err)
		}
		// The dialler is B: it takes long datagrams without further ado.
		p.a.streams, p.b.streams = listener, dialler
		greet := []underlay.Datagram{{Buf: make([]byte, 32), N: 32, Addr: to}}
		if _, err := dialler.WriteBatch(greet); err != nil {
			t.Fatal(err)
		}
		if _, err := listener.ReadBatch(greet); err != nil {
			t.Fatal(err)
		}
		peer := *p.a.snapshot.Load().peers[laneB]
		peer.endpoint = greet[0].Addr
		next := *p.a.snapshot.Load()
		next.peers = map[tables.RouterID]*sendPeer{laneB: &peer}
		p.a.snapshot.Store(&next)

		list := []capture.Packet{
			{Bytes: inner(ends[0], ends[1], 100, true)}, superTCP(ends[0], ends[1], 60_000, 1300),
			{Bytes: inner(ends[0], ends[1], 1300, true)}, superTCP(ends[0], ends[1], 65_470, 1300),
		}
		p.put(list...)
		p.receive = newSocketLane(p.b, dialler)
		for p.far.packets < 1+47+1+51 {
			n, err := dialler.ReadBatch(p.receive.in)
			if err != nil {
				t.Fatal(err)
			}
			p.receive.take(n)
			if !p.receive.run.Unfinished() {
				p.receive.flush()
			}
		}
		var sent []capture.Packet
		for _, q := range list {
			sent = append(sent, aged(q))
		}
		if got, want := wire(t, p.far.all), wire(t, sent); len(got) != len(want) || len(p.far.all) != 4 {
			t.Errorf("%d packets written, %d on the wire, want 4 and %d", len(p.far.all), len(got), len(want))
		} else {
			sameWire(t, got, want)
		}
		if got := p.a.sent(); got != 3+46 {
			t.Errorf("%d datagrams", got)
		}
		stop()
		listener.Close()
		dialler.Close()
		running.Wait()
	}
}
