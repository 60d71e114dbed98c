package node

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/forward"
	"github.com/vine-mesh/vine/tables"
)

// saying returns a packet that says what of congestion (RFC 3168, Section 5).
func saying(p capture.Packet, ecn uint8) capture.Packet {
	if p.Bytes[0]>>4 == 6 {
		p.Bytes[1] = p.Bytes[1]&^0x30 | ecn<<4
		return p
	}
	sum := uint32(binary.BigEndian.Uint16(p.Bytes[10:])) + uint32(p.Bytes[1]&3) + 0xffff - uint32(ecn)
	p.Bytes[1] = p.Bytes[1]&^3 | ecn
	binary.BigEndian.PutUint16(p.Bytes[10:], uint16(sum&0xffff+sum>>16))
	return p
}

// TestCongestionIsTold: what a packet says of congestion is on the datagram around it, and what routers write there arrives
// with the packet, by the rules of RFC 6040: for single packets, bundles, chunks, runs and template runs.
func TestCongestionIsTold(t *testing.T) {
	for _, ends := range [][2]netip.Addr{{hostA4, hostB4}, {hostA6, hostB6}} {
		small := func(length int) capture.Packet { return capture.Packet{Bytes: inner(ends[0], ends[1], length, true)} }
		for _, c := range []struct {
			name  string
			list  func() []capture.Packet
			least int // datagrams
		}{
			{"a packet", func() []capture.Packet { return []capture.Packet{small(1000)} }, 1},
			{"a bundle", func() []capture.Packet { return []capture.Packet{small(100), small(101), small(102)} }, 1},
			{"chunks", func() (list []capture.Packet) {
				for range 20 {
					list = append(list, small(200))
				}
				return list
			}, 2},
			{"a template run", func() []capture.Packet { return []capture.Packet{superTCP(ends[0], ends[1], 20_000, 1300)} }, 10},
		} {
			for said := range uint8(4) {
				for marked := range uint8(4) {
					p := newLanePair(t, 1440, tables.SealEncrypt)
					p.far.keep = true
					list := c.list()
					for i := range list {
						list[i] = saying(list[i], said)
					}
					p.put(list...)
					if p.out.used < c.least {
						t.Fatalf("%s: %d datagrams", c.name, p.out.used)
					}
					for i := range p.out.used {
						if p.out.ecn[i] != said {
							t.Fatalf("%s that says %d: datagram %d says %d", c.name, said, i, p.out.ecn[i])
						}
						d := &p.receive.in[i]
						d.N, d.Addr, d.ECN = copy(d.Buf, p.out.room[i]), endpointA, said
						if i == p.out.used-1 {
							d.ECN = marked // the last of them
						}
					}
					p.receive.step(p.out.used)
					want := capture.Packet{Bytes: []byte{0x60, said << 4}}
					want.Bytes = append(want.Bytes, make([]byte, 38)...)
					whole := forward.Decapsulate(want.Bytes, marked)
					packets := wire(t, p.far.all)
					if !whole {
						if n := p.b.drops[forward.DropCongestion].Load(); n == 0 || c.least == 1 && len(packets) > 0 {
							t.Errorf("%s that says nothing, marked as congested: %d dropped, %d arrive", c.name, n, len(packets))
						}
						continue
					}
					if len(packets) == 0 {
						t.Fatalf("%s: nothing arrives", c.name)
					}
					last := packets[len(packets)-1]
					if got := forward.ECN(last); got != forward.ECN(want.Bytes) {
						t.Errorf("%s that says %d, marked %d: arrives with %d, want %d", c.name, said, marked, got, forward.ECN(want.Bytes))
					}
					if _, drop := forward.Parse(last); drop != forward.DropNone {
						t.Errorf("%s: %v", c.name, drop)
					}
				}
			}
		}
		// Packets that say different things do not share a datagram.
		p := newLanePair(t, 1440, tables.SealEncrypt)
		p.put(saying(small(100), 2), saying(small(101), 2), saying(small(102), 3), saying(small(103), 0))
		if p.out.used != 3 || p.out.ecn[0] != 2 || p.out.ecn[1] != 3 || p.out.ecn[2] != 0 {
			t.Errorf("%d datagrams, which say %v", p.out.used, p.out.ecn[:p.out.used])
		}
	}
}
