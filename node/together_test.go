package node

import (
	"bytes"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/secure"
	"github.com/vine-mesh/vine/transport/underlay"
)

// together gives the lane pieces of b of so many bytes each, as one element of a batch; apart, each as an element of its own,
// in batches of one.
func (l *receiveLane) together(b []byte, size int) {
	d := &l.in[0]
	d.N, d.Addr, d.Segment = copy(d.Buf, b), endpointA, size
	l.step(1)
}

func (l *receiveLane) apart(b []byte, size int) {
	d := &l.in[0]
	for len(b) > 0 {
		n := min(size, len(b))
		d.N, d.Addr, d.Segment = copy(d.Buf, b[:n]), endpointA, 0
		l.step(1)
		b = b[n:]
	}
}

func manyLane(n *Node) *receiveLane {
	return newReceiveLane(n, newDatagrams(manyBatch, underlay.OffloadBytes))
}

// TestSuperPacketsTogether: a super-packet whose datagrams come as one or more elements is one packet again, also when the
// arena is full, and nothing is allocated.
func TestSuperPacketsTogether(t *testing.T) {
	const size, count = 1300, 46
	p := newLanePair(t, 1440, tables.SealEncrypt)
	p.receive = manyLane(p.b)
	big := loose(superTCP(hostA4, hostB4, count*size, size))
	length := 40 + size + frame.DataHeaderLen + frame.TagLen
	step := func() {
		p.out.used = 0
		elements := 0
		for range 12 { // more than the arena holds
			p.put(big)
		}
		for i := 0; i < p.out.used; {
			d := &p.receive.in[elements]
			d.N, d.Addr, d.Segment = 0, endpointA, length
			for ; i < p.out.used && d.N+length <= len(d.Buf); i++ {
				d.N += copy(d.Buf[d.N:], p.out.room[i])
			}
			elements++
		}
		p.receive.step(elements)
	}
	if n := testing.AllocsPerRun(5, step); n != 0 {
		t.Errorf("%v allocations", n)
	}
	p.far.keep, p.far.all, p.out.used = true, nil, 0
	step()
	var want []capture.Packet
	for range 12 {
		want = append(want, aged(big))
	}
	if len(p.far.all) != 12 {
		t.Errorf("%d packets written for 12 super-packets", len(p.far.all))
	}
	sameWire(t, wire(t, p.far.all), wire(t, want))
}

// A script is a Socket that gives one datagram for each read, some only to a reader that waits.
type script struct {
	*outbox
	batches []scripted
}

type scripted struct {
	wait bool
	b    []byte
}

func (s *script) next(dgs []underlay.Datagram, wait bool) (int, error) {
	switch {
	case len(s.batches) == 0:
		return 0, net.ErrClosed
	case s.batches[0].wait && !wait:
		return 0, nil
	}
	d := &dgs[0]
	d.N, d.Addr = copy(d.Buf, s.batches[0].b), endpointA
	s.batches = s.batches[1:]
	return 1, nil
}
func (s *script) ReadBatch(dgs []underlay.Datagram) (int, error)    { return s.next(dgs, true) }
func (s *script) TryReadBatch(dgs []underlay.Datagram) (int, error) { return s.next(dgs, false) }

// TestRestOfRun: what is there of a run when a batch ends in it is read before the run is written; it is not waited for.
func TestRestOfRun(t *testing.T) {
	p := newLanePair(t, 1440, tables.SealEncrypt)
	big := loose(superTCP(hostA4, hostB4, 13_000, 1300))
	p.put(big, big, big)
	s := &script{outbox: p.out}
	for i, b := range p.out.room[:p.out.used] {
		// The second super-packet's rest must be waited for, and so must the begin of the third.
		s.batches = append(s.batches, scripted{i == 0 || i == 15 || i == 20, b})
	}
	p.far.keep, p.b.socket = true, s
	if err := p.b.receiveLane(s); err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for _, got := range p.far.all {
		sizes = append(sizes, got.Segments())
	}
	if !slices.Equal(sizes, []int{10, 5, 5, 10}) {
		t.Errorf("packets of %v segments written, want 10, 5 and 5, 10", sizes)
	}
	sameWire(t, wire(t, p.far.all), wire(t, []capture.Packet{aged(big), aged(big), aged(big)}))
}

// TestSplitPacketsTogether: packets that two sealed pieces make, many in one element.
func TestSplitPacketsTogether(t *testing.T) {
	p := newLanePair(t, 1064, tables.SealEncrypt)
	p.receive = manyLane(p.b)
	p.far.keep = true
	packet := inner(hostA4, hostB4, 1280, true)
	p.fill(packet)
	p.send.step(laneBatch)
	var b []byte
	for _, d := range p.out.room[:p.out.used] {
		b = append(b, d...)
	}
	p.receive.together(b, len(p.out.room[0]))
	if len(p.far.all) != laneBatch {
		t.Fatalf("%d of %d packets arrived", len(p.far.all), laneBatch)
	}
	for _, got := range p.far.all {
		if !bytes.Equal(got.Bytes, aged(capture.Packet{Bytes: packet}).Bytes) {
			t.Fatalf("%x arrived", got.Bytes)
		}
	}
}

// TestRelayTogether: relay datagrams that come as one element go on as they would one by one, though each is made anew in place.
func TestRelayTogether(t *testing.T) {
	const count, size = 40, 1400
	var all [2][][]byte
	for i := range all {
		r, out := newRelayRig(t, 0, false), newOutbox(count)
		r.n.socket = out
		lane := manyLane(r.n)
		r.seal(count, size)
		b := bytes.Join(r.sealed, nil)
		if i == 0 {
			lane.apart(b, size+frame.RelayOverhead)
		} else {
			lane.together(b, size+frame.RelayOverhead)
		}
		if got := r.n.relayed.Load(); got != count || r.n.unhopped.Load()+r.n.refused.Load() != 0 {
			t.Fatalf("%d of %d relayed, %d not of a hop", got, count, r.n.unhopped.Load())
		}
		all[i] = out.room
		allocs := testing.AllocsPerRun(1, func() {
			r.seal(count, size)
			lane.together(bytes.Join(r.sealed, nil), size+frame.RelayOverhead)
		})
		if floor := testing.AllocsPerRun(1, func() {
			r.seal(count, size)
			bytes.Join(r.sealed, nil)
		}); i == 1 && allocs > floor {
			t.Errorf("%v allocations, %v without the lane", allocs, floor)
		}
	}
	for i := range all[0] {
		if !bytes.Equal(all[0][i], all[1][i]) {
			t.Fatalf("datagram %d differs", i)
		}
	}
}

// FuzzTogether: whatever comes as one element is judged as the same bytes are that come one by one.
func FuzzTogether(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3}, uint16(1332), uint8(0), uint16(0))
	f.Add([]byte{0, 0, 0}, uint16(1372), uint8(3), uint16(700))
	f.Add([]byte{4, 5, 6, 0, 1}, uint16(100), uint8(1), uint16(3))
	f.Add([]byte{2, 2, 2, 2, 2}, uint16(656), uint8(0), uint16(9))
	f.Add([]byte{0, 6, 7, 1}, uint16(1), uint8(0), uint16(0))
	f.Fuzz(func(t *testing.T, what []byte, size uint16, flips uint8, flip uint16) {
		if len(what) > 20 || size == 0 {
			return
		}
		var pairs [2]*lanePair
		for i := range pairs {
			p := newLanePair(t, 1440, tables.SealEncrypt)
			p.receive, p.far.keep = manyLane(p.b), true
			gate, err := secure.NewGate(tables.LinkKey{}, time.Unix(1e9, 0), &steady{})
			if err != nil {
				t.Fatal(err)
			}
			p.b.gate, p.b.underLoad = gate, underLoad
			p.b.directory.Store(&directory{view: tables.NewStore(tables.Hash{}).Snapshot()})
			if p.b.pouch, err = newPouch(p.b); err != nil {
				t.Fatal(err)
			}
			pairs[i] = p
		}
		var b []byte
		for _, p := range pairs {
			for _, w := range what {
				switch w % 8 {
				case 0:
					p.put(superTCP(hostA4, hostB4, 4000+int(w), 1292))
				case 1:
					p.put(capture.Packet{Bytes: inner(hostA4, hostB4, 1332, true)})
				case 2:
					p.put(capture.Packet{Bytes: inner(hostA6, hostB6, 60, true)})
				case 3:
					p.put(superTCP(hostA6, hostB6, 3000, int(w)+1))
				default: // what is no data: of no type, for a link, gossip, for a hop
					at := p.out.room[p.out.used]
					p.out.room[p.out.used] = append(at[:0], bytes.Repeat([]byte{[]byte{0, 9, 10, 11}[w%8-4]}, 40)...)
					p.out.used++
				}
			}
			b = b[:0]
			for _, d := range p.out.room[:p.out.used] {
				if len(b)+len(d) <= underlay.OffloadBytes {
					b = append(b, d...)
				}
			}
		}
		for i := range int(flips) {
			if len(b) > 0 {
				b[(int(flip)*(i+1)*37)%len(b)] ^= byte(i + 1)
			}
		}
		pairs[0].receive.apart(bytes.Clone(b), int(size))
		pairs[1].receive.together(b, int(size))
		one, many := pairs[0].b, pairs[1].b
		sameWire(t, wire(t, pairs[1].far.all), wire(t, pairs[0].far.all))
		for i := range one.drops {
			if one.drops[i].Load() != many.drops[i].Load() {
				t.Errorf("drop %d: %d one by one, %d together", i, one.drops[i].Load(), many.drops[i].Load())
			}
		}
		for name, pair := range map[string][2]uint64{
			"received": {one.received(), many.received()}, "junk": {one.junk.Load(), many.junk.Load()},
			"gated": {one.gated.Load(), many.gated.Load()}, "unhopped": {one.unhopped.Load(), many.unhopped.Load()},
			"gossiped": {one.gossiped.Load(), many.gossiped.Load()}, "unknown": {one.unknown.Load(), many.unknown.Load()},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s: %d one by one, %d together", name, pair[0], pair[1])
			}
		}
	})
}
