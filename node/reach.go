package node

import (
	"encoding/binary"
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

// origin returns the endpoint that the limits per network go by: of a stream connection its other side; of a relayed
// path an address in a network of the relay's own, so that one relay cannot use up another's share. Any
// goroutine may call it.
func (n *Node) origin(at netip.AddrPort) netip.AddrPort {
	switch path.KindOf(at) {
	case path.Streamed:
		if n.streams != nil {
			if remote, ok := n.streams.Remote(at); ok {
				return remote
			}
		}
	case path.Relayed:
		relay, router := path.RelayOf(at)
		a := [16]byte{0: 0xfd} // a /48 for each relay; no datagram goes there
		binary.BigEndian.PutUint32(a[1:], uint32(relay))
		binary.BigEndian.PutUint32(a[12:], uint32(router))
		return netip.AddrPortFrom(netip.AddrFrom16(a), at.Port())
	}
	return at
}

// setFamilies takes note of which families this machine has addresses of. One of which nothing is known has
// all.
func (n *Node) setFamilies(own []netip.AddrPort) {
	v4 := slices.ContainsFunc(own, func(at netip.AddrPort) bool { return at.Addr().Is4() })
	v6 := slices.ContainsFunc(own, func(at netip.AddrPort) bool { return at.Addr().Is6() })
	n.reach.v4.Store(v4 || !v6)
	n.reach.v6.Store(v6 || !v4)
}
