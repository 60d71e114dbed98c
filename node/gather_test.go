package node

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/segment"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// TestEqualPacketsTravelTogether: UDP packets of one flow and size that come in one batch are one super-packet at the
// far side, among others that keep their places; what is lost costs itself; and on the wire every packet is what it was.
func TestEqualPacketsTravelTogether(t *testing.T) {
	for _, ends := range [][2]netip.Addr{{hostA4, hostB4}, {hostA6, hostB6}} {
		p := newLanePair(t, 1440, tables.SealEncrypt)
		p.far.keep = true
		packet := func(length int) capture.Packet { return capture.Packet{Bytes: inner(ends[0], ends[1], length, true)} }
		partial := packet(200)
		partial.Partial = true
		segment.Seed(partial.Bytes)
		damaged := packet(200)
		damaged.Bytes[60] ^= 1
		list := []capture.Packet{
			packet(200), packet(200), partial, packet(150), // one, with a shorter last
			packet(150), packet(151), // one each
			packet(200), damaged, packet(200), packet(200), // two that are one behind two that are not
		}
		p.put(list...)
		p.carry(0)
		var got []int
		for _, n := range p.far.all {
			got = append(got, n.Segments())
		}
		if want := []int{4, 1, 1, 1, 1, 2}; !slices.Equal(got, want) {
			t.Errorf("%v packets in those that are written, want %v", got, want)
		}
		var sent []capture.Packet
		for _, q := range list {
			sent = append(sent, aged(q))
		}
		arrived, all := wire(t, p.far.all), wire(t, sent)
		for i := range all { // but for identification and the header's checksum, which mean nothing with DF
			if len(arrived) != len(all) || !bytes.Equal(blind(arrived[i]), blind(all[i])) {
				t.Fatalf("packet %d of %d is\n%x, want\n%x", i, len(arrived), arrived[i], all[i])
			}
		}

		p = newLanePair(t, 1440, tables.SealEncrypt)
		p.far.keep = true
		list = nil
		for range 30 {
			list = append(list, packet(200))
		}
		p.put(list...)
		if p.out.used != 4 { // 8 of 172 bytes and the headers to a datagram; in IPv6, of 152
			t.Errorf("%d datagrams for 30 packets", p.out.used)
		}
		p.carry(0, 2)
		if n := len(wire(t, p.far.all)); n < 21 || n > 23 || len(p.far.all) != 2 {
			t.Errorf("without one datagram of 4 %d of 30 packets arrived, in %d writes", n, len(p.far.all))
		}
	}
}

// blind returns an IPv4 packet without identification and header checksum.
func blind(b []byte) []byte {
	b = bytes.Clone(b)
	if b[0]>>4 == 4 {
		clear(b[4:6])
		clear(b[10:12])
	}
	return b
}

// TestSmallPacketsInOneDatagram: whatever small packets go to one router in one VN, and are of one batch, share datagrams: all of
// them arrive as they were and in their order, also between large ones and those of another VN or router; and nothing that
// goes elsewhere is in the same datagram.
func TestSmallPacketsInOneDatagram(t *testing.T) {
	for _, seal := range []tables.Seal{tables.SealEncrypt, tables.SealAuth} {
		p := newLanePair(t, 1440, seal)
		p.far.keep = true
		var list, sent []capture.Packet
		add := func(b []byte) { list = append(list, capture.Packet{Bytes: b}) }
		for i := range 12 { // no two of a size behind each other: none are gathered
			add(inner(hostA4, hostB4, 40+i, true))
			add(inner(hostA6, hostB6, 60+i, true))
		}
		for _, length := range []int{100, 719, 720, 1200} {
			add(inner(hostA4, hostB4, length, true))
		}
		for _, q := range list {
			sent = append(sent, aged(q))
		}
		p.put(list...)
		if p.out.used != 3 { // the 25 small ones, the two of half the room, the large one
			t.Errorf("%d datagrams", p.out.used)
		}
		p.carry(0)
		sameWire(t, wire(t, p.far.all), wire(t, sent))
	}
}

// TestHostileBundle: of what a peer bundles each packet is judged by itself.
func TestHostileBundle(t *testing.T) {
	p := newLanePair(t, 1440, tables.SealEncrypt)
	p.far.keep = true
	peer := p.a.snapshot.Load().peers[laneB]
	good, foreign := inner(hostA4, hostB4, 100, true), inner(netip.MustParseAddr("10.192.2.9"), hostB4, 100, true)
	long := bytes.Clone(good)
	long[2], long[3] = 0xff, 0xff
	for _, c := range []struct {
		name    string
		packets [][]byte
		arrive  int
	}{
		{"two", [][]byte{good, good}, 2},
		{"a foreign one between", [][]byte{good, foreign, good}, 2},
		{"one that says it is longer", [][]byte{good, long, good}, 1},
		{"junk at the end", [][]byte{good, {1, 2, 3}}, 1},
		{"a length of zero", [][]byte{good, make([]byte, 40)}, 1},
		{"half a header", [][]byte{good, good[:19]}, 1},
		{"nothing", nil, 0},
	} {
		p.far.all = nil
		d := &p.receive.in[0]
		sealed, _ := peer.sender.Seal(d.Buf[:0], peer.index[laneVN], [3]byte{frame.MetaBundle}, laneVN, bytes.Join(c.packets, nil))
		d.N, d.Addr = len(sealed), endpointA
		p.receive.step(1)
		if len(p.far.all) != c.arrive {
			t.Errorf("%s: %d packets arrive, want %d", c.name, len(p.far.all), c.arrive)
		}
		for _, q := range p.far.all {
			if !bytes.Equal(q.Bytes, good) {
				t.Errorf("%s: %x arrived", c.name, q.Bytes)
			}
		}
	}
}
