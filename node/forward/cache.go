package forward

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/vine-mesh/vine/tables"
)

// cacheBits: 128 places of two pairs are more than the flows that a lane has at work at once, and 20 KiB, which leaves room
// for packets in a processor's nearest memory.
const cacheBits = 7

// A Cache remembers which VN, delivery set and path MTU Decide has found for pairs of hosts, so that the packets of a flow
// are looked up once. What is remembered holds for one Snapshot: with another all is forgotten, so that a Cache never
// decides otherwise than Decide, but for which router of a delivery set a flow goes to: see flows. It remembers nothing that was
// dropped, and of pairs nothing where a policy looks at each packet.
//
// The zero value is ready to use. A Cache belongs to one goroutine.
type Cache struct {
	of    *Snapshot
	pairs [1 << cacheBits][2]pair
	flows *flows // nil: none was needed yet

	// Prefer, if it is not nil, names the router of a delivery set that a packet for it should go to, before any draw; zero: none.
	// It must not allocate, nor keep b.
	Prefer func(vn tables.VNID, b []byte) tables.RouterID
}

// A pair is what is known of packets from one host to another.
type pair struct {
	src, dst   netip.Addr
	attachment int
	network    *network // nil: nothing is known
	set        *delivery
	pathMTU    int // where the set has one router
}

// DecideSuper is the function DecideSuper.
func (c *Cache) DecideSuper(s *Snapshot, attachment int, b []byte, longest int) Decision {
	if c.of != s {
		c.of = s
		clear(c.pairs[:])
	}
	return decide(s, c, attachment, b, longest)
}

// is reports whether the pair is that of a packet from a host of the attachment.
func (e *pair) is(attachment int, p *Packet) bool {
	return e.network != nil && e.src == p.Src && e.dst == p.Dst && e.attachment == attachment
}

// find returns what is known of a packet's pair, or nil, and the place for it.
func (c *Cache) find(attachment int, p *Packet) (known *pair, at *[2]pair) {
	at = &c.pairs[place(p.Src, p.Dst)]
	for i := range at {
		if at[i].is(attachment, p) {
			return &at[i], at
		}
	}
	return nil, at
}

// place mixes two addresses, each as two words, by multiplication with odd constants (those of wyhash).
func place(src, dst netip.Addr) uint64 {
	a, b := src.As16(), dst.As16()
	hi, lo := bits.Mul64(binary.LittleEndian.Uint64(a[:])^binary.LittleEndian.Uint64(b[8:])^0xa0761d6478bd642f,
		binary.LittleEndian.Uint64(a[8:])^binary.LittleEndian.Uint64(b[:])^0xe7037ed1a0b428db)
	return (hi ^ lo) * 0x9e3779b97f4a7c15 >> (64 - cacheBits)
}
