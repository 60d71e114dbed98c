package node

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/segment"
	"github.com/vine-mesh/vine/tables"
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
		p.put(packet(200), packet(200), packet(200), packet(200), packet(200))
		p.carry(0, 2)
		if n := len(wire(t, p.far.all)); n != 4 {
			t.Errorf("%d of 4 arrived", n)
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
