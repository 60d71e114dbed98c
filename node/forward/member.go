package forward

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/vine-mesh/vine/tables"
)

// A Member is a router as one that delivers packets of a VN.
type Member struct {
	VN     tables.VNID
	Router tables.RouterID
}

// WithLinks returns a Snapshot that differs from s only in its path MTUs and in the Members that are avoided: packets go to
// another router of the delivery set as long as it has one that is not. It shares the tables, so it costs nothing however
// large they are. The caller must not change paths and avoid later.
func (s *Snapshot) WithLinks(paths map[tables.RouterID]int, avoid map[Member]struct{}) *Snapshot {
	next := *s
	next.paths, next.avoid = paths, avoid
	return &next
}

func (s *Snapshot) avoids(vn tables.VNID, router tables.RouterID) bool {
	if len(s.avoid) == 0 {
		return false
	}
	_, found := s.avoid[Member{vn, router}]
	return found
}

// choose returns the router of a set that a flow goes to: the one with the highest draw of those that are not avoided, or of all
// if all are. So a router that goes takes only its own flows with it, to all others in equal parts, and the choice is the same
// in every lane without a word between them ("highest random weight", Thaler and Ravishankar, 1998).
func (s *Snapshot) choose(vn tables.VNID, set *delivery, flow uint64) tables.RouterID {
	var best, last tables.RouterID
	var bestDraw, lastDraw uint64
	for _, id := range set.routers {
		draw := mix(flow^uint64(id)*0x9e3779b97f4a7c15, 0xe7037ed1a0b428db)
		if !s.avoids(vn, id) {
			if best == 0 || draw > bestDraw {
				best, bestDraw = id, draw
			}
		} else if last == 0 || draw > lastDraw {
			last, lastDraw = id, draw
		}
	}
	if best == 0 {
		return last
	}
	return best
}

// flowOf returns a number for the flow that the packet at the start of b is of: its addresses, its protocol and the ports of
// transports that begin with them. IP fragments are told apart by addresses and protocol alone, for only the first has ports.
func flowOf(vn tables.VNID, p *Packet, b []byte) uint64 {
	src, dst := p.Src.As16(), p.Dst.As16()
	rest := uint64(vn)<<8 | uint64(p.Proto)
	if p.Upper > 0 && !p.IPFrag && p.Length >= p.Upper+4 && len(b) >= p.Upper+4 && hasPorts(p.Proto) {
		rest |= uint64(binary.BigEndian.Uint32(b[p.Upper:])) << 32 // a VN ID longer than 24 bits costs nothing but a good spread
	}
	h := mix(binary.LittleEndian.Uint64(src[:])^0xa0761d6478bd642f, binary.LittleEndian.Uint64(src[8:])^0xe7037ed1a0b428db)
	h = mix(h^binary.LittleEndian.Uint64(dst[:]), binary.LittleEndian.Uint64(dst[8:])^0x8ebc6af09c88c6e3)
	return mix(h^rest, 0x589965cc75374cc3)
}

// hasPorts reports whether a protocol's header begins with two ports: TCP, UDP, DCCP, SCTP and UDP-Lite.
func hasPorts(proto uint8) bool {
	switch proto {
	case 6, 17, 33, 132, 136:
		return true
	}
	return false
}

// mix is the folded multiplication of wyhash.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// flowBits: 2,048 places of four flows in 128 KiB, which a lane has only if it sends to delivery sets of several routers. Of 1,000
// flows at once the place is too small for one in some runs.
const flowBits = 11

// flows remembers which router of a delivery set flows go to, so that one that comes back takes none away that live: they stay
// where they are until their router is avoided, or other flows have taken their place. It outlives Snapshots.
type flows [1 << flowBits][4]flow

type flow struct {
	id uint64
	to tables.RouterID // zero: the place is free
}

// member is choose with a memory.
func (c *Cache) member(s *Snapshot, vn tables.VNID, set *delivery, id uint64, b []byte) tables.RouterID {
	if c.Prefer != nil {
		if to := c.Prefer(vn, b); slices.Contains(set.routers, to) && !s.avoids(vn, to) {
			return to
		}
	}
	if c.flows == nil {
		c.flows = new(flows)
	}
	at := &c.flows[id>>(64-flowBits)]
	for i := range at {
		if at[i].to == 0 || at[i].id != id {
			continue
		}
		if !slices.Contains(set.routers, at[i].to) || s.avoids(vn, at[i].to) {
			at[i].to = s.choose(vn, set, id)
		}
		return at[i].to
	}
	to := s.choose(vn, set, id)
	copy(at[1:], at[:]) // the oldest one goes
	at[0] = flow{id, to}
	return to
}
