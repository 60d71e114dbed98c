package policy

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vine-mesh/vine/tables"
)

// The sizes of the blocks that a VR gets. 254 hosts are a LAN; an IPv6 LAN is always a /64
// (RFC 4291, Section 2.5.4). The default space, a /10, has 16,384 of the first.
const (
	blockBits4 = 24
	blockBits6 = 64
)

// firstBlocks returns one free block of each address family that the ViNe space has: the lowest
// that overlaps neither avoid nor used, or if there is none the lowest that does not overlap used.
func firstBlocks(space, used, avoid []netip.Prefix) ([]netip.Prefix, error) {
	var blocks []netip.Prefix
	for _, bits := range []int{blockBits4, blockBits6} {
		family := slices.DeleteFunc(slices.Clone(space), func(p netip.Prefix) bool {
			return p.Addr().Is4() != (bits == blockBits4)
		})
		if len(family) == 0 {
			continue
		}
		b, ok := lowestFree(family, slices.Concat(used, avoid), bits)
		if !ok {
			b, ok = lowestFree(family, used, bits)
		}
		if !ok {
			return nil, fmt.Errorf("no free /%d is left in the ViNe space: revoke VRs that are gone, or add a prefix to the space (a new root)", bits)
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

// lowestFree returns the lowest prefix of that many bits inside space, which is sorted, that
// overlaps none of used.
func lowestFree(space, used []netip.Prefix, bits int) (netip.Prefix, bool) {
	sorted := slices.Clone(used)
	slices.SortFunc(sorted, tables.ComparePrefixes)
	for _, s := range space {
		if s.Bits() > bits {
			continue
		}
		free := netip.PrefixFrom(s.Addr(), bits)
		for _, u := range sorted {
			// In this order a prefix comes before those that it contains, so one pass will do.
			if !free.IsValid() || !u.Overlaps(free) {
				continue
			}
			free = blockAfter(u, bits)
		}
		if free.IsValid() && s.Contains(free.Addr()) {
			return free, true
		}
	}
	return netip.Prefix{}, false
}

// blockAfter returns the first prefix of that many bits beyond p, and the zero Prefix beyond the
// last address.
func blockAfter(p netip.Prefix, bits int) netip.Prefix {
	if p.Bits() > bits {
		p = netip.PrefixFrom(p.Addr(), bits).Masked()
	}
	next := lastAddr(p).Next()
	if !next.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(next, bits)
}

// lastAddr returns the highest address of p, which is masked.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
