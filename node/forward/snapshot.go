package forward

import (
	"net/netip"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/fib"
)

// An Input is what a Snapshot is compiled from: plain values, taken from verified documents.
// NewSnapshot keeps no reference to its slices and maps.
type Input struct {
	Self        tables.RouterID
	Space       []netip.Prefix          // the ViNe space
	Own         []netip.Addr            // this VR's own ViNe addresses; ICMP errors come from the first of each family
	Attachments []Attachment            // by index; none means one that serves every VN
	VNs         []VNInput               // the installed VNs that carry packets, in any order
	PathMTU     map[tables.RouterID]int // largest inner packet, in bytes, that reaches a peer whole
	Policy      Policy                  // nil allows everything
}

// A Policy reports whether packet policy lets p into the VN. It must be a pure function and
// must not allocate.
type Policy func(vn tables.VNID, p Packet) bool

// An Attachment is a LAN interface of the VR and the VNs it serves. Where two hosts of one LAN
// side have the same address in two VNs, two attachments tell them apart.
type Attachment struct {
	VNs []tables.VNID // none means every VN
}

// A VNInput is one VN as this VR has it installed.
type VNInput struct {
	ID    tables.VNID
	Seal  tables.Seal
	Sets  []Set       // the GNDT: no two sets may share an address
	Local []LocalHost // the LNDT: the members behind this VR
	// Members are the VN's hosts everywhere, as far as known. They only choose: of several VNs
	// that would take a packet, the one that the destination is a member of. The destination VR
	// alone decides who is one.
	Members []netip.Addr
	// Closing says that the VN was merged into another one, lately: that one takes every packet that this one takes. Packets
	// between Members go on in this one, which routers that have not heard of the merge know; all others go in another.
	Closing bool
}

// A Set is a delivery set: any of Routers delivers packets to Prefixes. Routers is sorted and
// distinct, and holds this VR's own ID where it is one of them.
type Set struct {
	Routers  []tables.RouterID
	Prefixes []netip.Prefix
}

// A LocalHost is a member host behind this VR.
type LocalHost struct {
	Addr       netip.Addr
	Attachment int // index into Input.Attachments
}

// Bounds of what a path carries whole, in bytes of inner packet.
const (
	// MinMTU is the size up to which every inner packet passes, whole or split in two, whatever
	// the path: "IPv6 requires that every link in the Internet have an MTU of 1280 octets or
	// greater" (RFC 8200, Section 5).
	MinMTU = 1280

	// pathMTUMin is the narrowest path: half of MinMTU, so that two pieces always do.
	pathMTUMin = MinMTU / 2

	// pathMTUMax is the longest inner packet there is: an IPv6 packet of a full payload.
	pathMTUMax = ipv6HeaderLen + 0xffff
)

// A Snapshot is the immutable value that packet code reads. It may be shared between
// goroutines; each change of tables makes a new one. The zero Snapshot drops every packet.
type Snapshot struct {
	self   tables.RouterID
	space  *fib.Table[struct{}]
	own4   netip.Addr
	own6   netip.Addr
	lndt   []map[netip.Addr][]*network // by attachment: VNs of the host, those that are closing first, then by ID
	vns    map[tables.VNID]*network
	paths  map[tables.RouterID]int
	avoid  map[Member]struct{}
	policy Policy
}

// A network is one VN within a Snapshot.
type network struct {
	id      tables.VNID
	seal    tables.Seal
	closing bool
	gndt    *fib.Table[*delivery]
	local   map[netip.Addr]int           // member -> attachment
	known   map[netip.Addr]struct{}      // members anywhere; a hint
	serve   map[tables.RouterID]struct{} // the routers of all delivery sets
}

// A delivery is a delivery set within a Snapshot. Because no two sets of a VN share an
// address, the one that delivers to an address is also the one that may send from it.
type delivery struct {
	routers []tables.RouterID // sorted
	self    bool              // this VR is one of routers
}

// Self returns the VR's own router ID.
func (s *Snapshot) Self() tables.RouterID { return s.self }

// InSpace reports whether addr is in the ViNe space. An underlay endpoint there would be
// inside the overlay, and must be refused.
func (s *Snapshot) InSpace(addr netip.Addr) bool {
	_, ok := s.space.Lookup(addr)
	return ok
}

// Seal returns how packets of the VN are protected, and whether the VN is installed.
func (s *Snapshot) Seal(vn tables.VNID) (tables.Seal, bool) {
	n, ok := s.vns[vn]
	if !ok {
		return "", false
	}
	return n.seal, true
}

// Serves reports whether a router is in a delivery set of the VN, as installed here.
func (s *Snapshot) Serves(vn tables.VNID, router tables.RouterID) bool {
	n := s.vns[vn]
	if n == nil {
		return false
	}
	_, ok := n.serve[router]
	return ok
}

// Attachments returns the number of attachments.
func (s *Snapshot) Attachments() int { return len(s.lndt) }

// PathMTU returns the largest inner packet that reaches the router whole, in bytes. For a
// router whose path is not measured it is MinMTU; it is never below half of that.
func (s *Snapshot) PathMTU(router tables.RouterID) int {
	mtu, ok := s.paths[router]
	if !ok {
		return MinMTU
	}
	return min(max(mtu, pathMTUMin), pathMTUMax)
}
