package gossip

import (
	"encoding/binary"
	"net/netip"

	"github.com/vine-mesh/vine/tables"
)

// Port is the port of every member's SWIM address. It is memberlist's default and has no
// meaning on the underlay: no socket is bound to it.
const Port = 7946

// addrPrefix is the constant part of every SWIM address: a unique local prefix (RFC 4193)
// of our own, "vine" in ASCII after the fd byte. It never appears on a wire outside gossip
// messages. A ULA keeps memberlist from warning about public addresses without encryption.
var addrPrefix = [12]byte{0xfd, 'v', 'i', 'n', 'e'}

// Addr returns the address of a VR inside SWIM: a constant 96-bit unique local prefix and
// the router ID, big-endian. memberlist takes the address for the identity of a name and
// refuses a live member's changed address, so it must not depend on anything that changes.
func Addr(id tables.RouterID) netip.Addr {
	a := addr16(id)
	return netip.AddrFrom16(a)
}

// addr16 is Addr as the 16 bytes that memberlist's messages carry.
func addr16(id tables.RouterID) [16]byte {
	var a [16]byte
	copy(a[:], addrPrefix[:])
	binary.BigEndian.PutUint32(a[12:], uint32(id))
	return a
}

// routerOf is the inverse of Addr. It reports false for an address that Addr never returns
// for an enrolled VR.
func routerOf(a netip.Addr) (tables.RouterID, bool) {
	if !a.Is6() || a.Zone() != "" {
		return 0, false
	}
	b := a.As16()
	if [12]byte(b[:12]) != addrPrefix {
		return 0, false
	}
	id := tables.RouterID(binary.BigEndian.Uint32(b[12:]))
	return id, id != 0
}

// isAddrOf reports whether b, the address bytes of a gossip message, is Addr(id).
func isAddrOf(b []byte, id tables.RouterID) bool {
	a := addr16(id)
	return string(b) == string(a[:])
}
