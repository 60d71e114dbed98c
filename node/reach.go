package node

import (
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/vine-mesh/vine/transport/path"
)

// A reachable says which addresses our UDP socket can send to with a hope of an answer.
type reachable struct {
	v4, v6 atomic.Bool // this machine has addresses of that family
	silent atomic.Bool // UDP leads nowhere: see streaming.tidy
}

// reaches reports whether a datagram to an address may arrive, since this machine has an address of its family.
// Any goroutine may call it.
func (n *Node) reaches(a netip.Addr) bool {
	switch {
	case path.Reserved(a):
		return true
	case a.Is4() || a.Is4In6():
		return n.reach.v4.Load()
	}
	return n.reach.v6.Load()
}

// setFamilies takes note of which families this machine has addresses of. One of which nothing is known has
// all.
func (n *Node) setFamilies(own []netip.AddrPort) {
	v4 := slices.ContainsFunc(own, func(at netip.AddrPort) bool { return at.Addr().Is4() })
	v6 := slices.ContainsFunc(own, func(at netip.AddrPort) bool { return at.Addr().Is6() })
	n.reach.v4.Store(v4 || !v6)
	n.reach.v6.Store(v6 || !v4)
}
