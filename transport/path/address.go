package path

import (
	"encoding/binary"
	"net/netip"

	"github.com/vine-mesh/vine/tables"
)

// Paths that are no UDP endpoint are named by addresses of 100::/64, the discard-only prefix
// (RFC 6666): no underlay carries packets from or to them, so they can be mistaken for no endpoint.
// The port tells the kinds apart.
const (
	portRelay  = 1
	portStream = 2
)

// discard is the first half of 100::/64.
var discard = [8]byte{0x01}

// Relay names the path to router through another router, the relay.
func Relay(relay, router tables.RouterID) netip.AddrPort {
	return named(uint64(relay)<<32|uint64(router), portRelay)
}

// Stream names the path over stream connection n of this VR.
func Stream(n uint64) netip.AddrPort { return named(n, portStream) }

func named(n uint64, port uint16) netip.AddrPort {
	var a [16]byte
	copy(a[:], discard[:])
	binary.BigEndian.PutUint64(a[8:], n)
	return netip.AddrPortFrom(netip.AddrFrom16(a), port)
}

// Reserved reports whether an address is of the prefix that names paths. What comes over UDP from
// such an address is a forgery, and what goes there over UDP a mistake.
func Reserved(a netip.Addr) bool {
	if !a.Is6() {
		return false
	}
	b := a.As16()
	return [8]byte(b[:8]) == discard
}

// A Kind says what an address names.
type Kind uint8

// The kinds of paths.
const (
	Direct   Kind = iota // a UDP endpoint of the router
	Relayed              // through another router
	Streamed             // a stream connection with the router
)

// String returns the word that status output shows.
func (k Kind) String() string {
	switch k {
	case Relayed:
		return "relayed"
	case Streamed:
		return "stream"
	}
	return "direct"
}

// KindOf returns what at names.
func KindOf(at netip.AddrPort) Kind {
	switch {
	case !Reserved(at.Addr()):
		return Direct
	case at.Port() == portRelay:
		return Relayed
	}
	return Streamed
}

// RelayOf returns the relay and the router of a relayed path, zeroes for any other.
func RelayOf(at netip.AddrPort) (relay, router tables.RouterID) {
	if KindOf(at) != Relayed {
		return 0, 0
	}
	a := at.Addr().As16()
	return tables.RouterID(binary.BigEndian.Uint32(a[8:])), tables.RouterID(binary.BigEndian.Uint32(a[12:]))
}

// StreamOf returns the number of a stream connection, false for any other path.
func StreamOf(at netip.AddrPort) (uint64, bool) {
	if KindOf(at) != Streamed {
		return 0, false
	}
	a := at.Addr().As16()
	return binary.BigEndian.Uint64(a[8:]), true
}
