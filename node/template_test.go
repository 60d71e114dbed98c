package node

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/forward"
	"github.com/vine-mesh/vine/node/segment"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// arrivals gives the receiving lane datagrams by number, as batches.
func (p *lanePair) arrivals(batches ...[]int) {
	for _, batch := range batches {
		for n, i := range batch {
			d := &p.receive.in[n]
			d.N, d.Addr = copy(d.Buf, p.out.room[i]), endpointA
		}
		p.receive.step(len(batch))
	}
}

// streamOf returns which bytes of the payload of big were written to the far device, and fails if one is at a wrong place.
func (p *lanePair) streamOf(t *testing.T, payload []byte, seq uint32, head int) []bool {
	t.Helper()
	got := make([]bool, len(payload))
	for _, b := range wire(t, p.far.all) {
		at := int(binary.BigEndian.Uint32(b[head-16:]) - seq)
		if at < 0 || at+len(b)-head > len(payload) || !bytes.Equal(b[head:], payload[at:at+len(b)-head]) {
			t.Fatalf("%d bytes at %d are not what was sent", len(b)-head, at)
		}
		for i := range b[head:] {
			if got[at+i] {
				t.Fatalf("byte %d was written twice", at+i)
			}
			got[at+i] = true
		}
	}
	return got
}

// TestTemplateRunInLanes: through the lanes, one lost datagram of a template run costs its own bytes and no others, whichever
// it is and however the rest is batched; what is overtaken comes nevertheless; a replay brings nothing.
func TestTemplateRunInLanes(t *testing.T) {
	for _, ends := range [][2]netip.Addr{{hostA4, hostB4}, {hostA6, hostB6}} {
		head := 40
		if ends[0].Is6() {
			head = 60
		}
		big := superTCP(ends[0], ends[1], 20_000, 1300)
		payload, seq := bytes.Clone(big.Bytes[head:]), binary.BigEndian.Uint32(big.Bytes[head-16:])
		for lost := -1; lost < 14; lost++ {
			for _, way := range []string{"one batch", "batches of 3", "reversed"} {
				p := newLanePair(t, 1440, tables.SealEncrypt)
				p.far.keep = true
				p.put(big)
				if p.out.used != 14 {
					t.Fatalf("%d datagrams", p.out.used)
				}
				var list []int
				missing := 0
				for i, b := range p.out.room[:p.out.used] {
					n := len(b) - frame.DataHeaderLen - frame.TagLen
					if i == 0 || i == 13 {
						n -= head
					}
					switch {
					case i == lost:
						missing = n
					case way == "reversed":
						list = append([]int{i}, list...)
					default:
						list = append(list, i)
					}
				}
				batches := [][]int{list}
				if way == "batches of 3" {
					batches = nil
					for ; len(list) > 3; list = list[3:] {
						batches = append(batches, list[:3])
					}
					batches = append(batches, list)
				}
				p.arrivals(batches...)
				p.arrivals(batches...)
				absent := 0
				for _, there := range p.streamOf(t, payload, seq, head) {
					if !there {
						absent++
					}
				}
				if absent != missing {
					t.Errorf("%v, without datagram %d, %s: %d bytes are missing, want %d", ends, lost, way, absent, missing)
				}
				if most := map[bool]int{true: 1, false: 2}[lost < 0]; way == "one batch" && len(p.far.all) > most {
					t.Errorf("without datagram %d: %d packets written", lost, len(p.far.all))
				}
			}
		}
		// Both ends lost: the rest has no headers.
		p := newLanePair(t, 1440, tables.SealEncrypt)
		p.put(big)
		p.arrivals([]int{1, 2, 3, 4, 5})
		if p.far.packets != 0 {
			t.Error("pieces without headers were delivered")
		}
		p.out.used = 0
		p.put(big)
		p.arrivals([]int{1, 2, 3})
		if got := p.b.drops[forward.DropHeadless].Load(); got != 5 {
			t.Errorf("%d pieces counted as lost for good, want 5", got)
		}
	}
}

// TestTemplateCountersAreTogether: whoever else seals for the same peer, the pieces of a run have consecutive counters.
func TestTemplateCountersAreTogether(t *testing.T) {
	p := newLanePair(t, 1440, tables.SealEncrypt)
	p.far.keep = true
	peer := p.a.snapshot.Load().peers[laneB]
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 0, 4096)
		for {
			select {
			case <-stop:
				return
			default:
				peer.sender.Seal(buf, peer.index[laneVN], [3]byte{}, laneVN, []byte{1})
			}
		}
	}()
	for range 100 {
		p.out.used = 0
		p.put(superTCP(hostA4, hostB4, 20_000, 1300))
		p.carry(0)
	}
	close(stop)
	<-done
	if len(p.far.all) != 100 {
		t.Errorf("%d packets of 100 super-packets", len(p.far.all))
	}
}

// TestHostileTemplate: a peer that breaks the rules of template runs reaches no other flow, and gets no packet past the check
// of its source.
func TestHostileTemplate(t *testing.T) {
	p := newLanePair(t, 1440, tables.SealEncrypt)
	p.far.keep = true
	peer := p.a.snapshot.Load().peers[laneB]
	run, ok := peer.sender.Run(100)
	if !ok {
		t.Fatal("spent")
	}
	send := func(at segment.Position, size uint16, b []byte) {
		d := &p.receive.in[0]
		sealed, ok := run.Seal(d.Buf[:0], peer.index[laneVN], frame.PieceMeta(byte(at), size), laneVN, b)
		if !ok {
			t.Fatal("spent")
		}
		d.N, d.Addr = len(sealed), endpointA
		p.receive.step(1)
	}
	one := func(src, dst netip.Addr) []byte { return wire(t, []capture.Packet{superTCP(src, dst, 2000, 1000)})[0] }
	good, foreign, bare := one(hostA4, hostB4), one(netip.MustParseAddr("10.192.2.9"), hostB4), make([]byte, 1000)
	written := func(what string, want int) {
		t.Helper()
		if len(p.far.all) != want {
			t.Errorf("%s: %d packets written, want %d", what, len(p.far.all), want)
		}
	}
	send(segment.First, 1000, foreign) // its headers are not remembered either
	send(segment.Mid, 1, bare)
	send(segment.Last, 2, foreign)
	written("a foreign source", 0)
	send(segment.First, 1, good)
	send(segment.Mid, 1, bare)
	written("segments of one byte", 0)
	send(segment.First, 1000, one(hostB4, hostA4))
	send(segment.Mid, 1, bare)
	written("our own host as source", 0)
	send(segment.First, 1000, inner(hostA4, hostB4, 100, true)) // UDP
	send(segment.Mid, 1, bare)
	written("UDP", 0)
	send(segment.First, 1000, good[:30])
	send(segment.Mid, 1, bare)
	written("half a header", 0)
	send(segment.First, 1000, good)
	written("a good piece", 1)
	send(segment.Mid, 1, bare)
	written("what follows it", 2)
	send(segment.Last, 2, one(netip.MustParseAddr("10.192.2.9"), hostB4)) // another flow at the end
	written("another flow's end", 2)
	for _, b := range wire(t, p.far.all) {
		if !bytes.Equal(b[12:24], good[12:24]) {
			t.Errorf("written: %x", b[:40])
		}
	}
}
