package forward

import (
	"slices"

	"github.com/vine-mesh/vine/tables"
)

// A Fit says how a packet that is to be forwarded goes through the path.
type Fit uint8

// The ways through a path.
const (
	FitWhole  Fit = iota // as it is
	FitSplit             // in two sealed pieces: Split
	FitIPFrag            // in IP fragments of at most Decision.PathMTU bytes: AppendIPFrags
)

// An ICMPKind is an ICMP error that answers a packet.
type ICMPKind uint8

// The ICMP errors a VR sends.
const (
	ICMPNone         ICMPKind = iota
	ICMPTimeExceeded          // RFC 792; RFC 4443, Section 3.3
	ICMPTooBig                // RFC 1191, Section 4; RFC 4443, Section 3.2
)

// A Decision says what to do with a packet that a local host sent.
type Decision struct {
	Drop       Drop            // DropNone: forward it
	VN         tables.VNID     // the VN it goes in; zero when dropped before the VN was known
	Seal       tables.Seal     // of that VN
	Local      bool            // deliver on Attachment of this VR
	Attachment int             // where to, if Local
	To         tables.RouterID // the destination VR, if not Local
	Fit        Fit             // how it goes through the path to To
	PathMTU    int             // of the path to To, in bytes of inner packet; zero if Local
	TooBig     int             // the MTU to report with ICMPTooBig; else zero
	ICMP       ICMPKind        // answer to send with Drop, if the rate limit allows: AppendICMP
	Packet     Packet          // what Parse said; forward no more than Packet.Length bytes
}

// Decide says what becomes of the packet at the start of b, which a host behind the
// attachment sent. The VN is the lowest, of those of the attachment that have the source as a
// member, whose GNDT holds the destination and whose packets policy allows; one that is known to
// have the destination as a member comes first. Decide changes
// nothing and does not allocate; a packet that is forwarded still needs DecrementTTL.
func Decide(s *Snapshot, attachment int, b []byte) Decision { return DecideSuper(s, attachment, b, 0) }

// DecideSuper is Decide for a super-packet, whose longest segment has so many bytes: these have to go through the path, and
// an ICMP error is about them. Where the answer is not FitWhole, the segments have to be decided one by one.
func DecideSuper(s *Snapshot, attachment int, b []byte, longest int) Decision {
	return decide(s, nil, attachment, b, longest)
}

// decide is DecideSuper with a cache for s, or nil.
func decide(s *Snapshot, c *Cache, attachment int, b []byte, longest int) Decision {
	p, drop := Parse(b)
	if drop != DropNone {
		return Decision{Drop: drop}
	}
	d := Decision{Packet: p}
	var found *pair
	var at *[2]pair
	if c != nil && s.policy == nil {
		found, at = c.find(attachment, &p)
	}
	if found == nil {
		fresh, drop := s.find(attachment, &p)
		if drop != DropNone {
			d.Drop = drop
			return d
		}
		if found = &fresh; at != nil {
			at[0], at[1] = fresh, at[0] // the older one goes
		}
	}
	n, set := found.network, found.set
	d.VN, d.Seal = n.id, n.seal
	if p.TTL <= 1 {
		d.Drop, d.ICMP = DropTTL, ICMPTimeExceeded
		return d
	}
	if set.self {
		var member bool
		d.Attachment, member = n.local[p.Dst]
		if !member {
			d.Drop = DropNotMember
			return d
		}
		d.Local = true
		return d
	}
	d.To, d.PathMTU = set.routers[0], found.pathMTU
	if len(set.routers) > 1 {
		if flow := flowOf(n.id, &p, b); c != nil {
			d.To = c.member(s, n.id, set, flow, b)
		} else {
			d.To = s.choose(n.id, set, flow)
		}
		d.PathMTU = s.PathMTU(d.To)
	}
	if longest == 0 {
		longest = p.Length
	}
	d.fit(longest)
	return d
}

// find looks up what becomes of packets from p's source to its destination.
func (s *Snapshot) find(attachment int, p *Packet) (found pair, drop Drop) {
	if attachment < 0 || attachment >= len(s.lndt) {
		return found, DropAttachment
	}
	vns := s.lndt[attachment][p.Src]
	if len(vns) == 0 {
		return found, DropSource
	}
	if !s.InSpace(p.Dst) {
		return found, DropSpace
	}
	found = pair{src: p.Src, dst: p.Dst, attachment: attachment}
	if found.network, found.set, drop = s.route(vns, *p); drop != DropNone {
		return found, drop
	}
	if !found.set.self && len(found.set.routers) == 1 {
		found.pathMTU = s.PathMTU(found.set.routers[0])
	}
	return found, DropNone
}

// route finds the VN of the packet among vns, which are sorted by ID, and its delivery set: the
// lowest VN that takes the packet and knows its destination, else the lowest that takes it. Where
// two VNs hold one prefix of a site, only the first would reach a host that is in the second alone. A VN that is closing comes
// before all others, and takes only what it knows the destination of.
func (s *Snapshot) route(vns []*network, p Packet) (*network, *delivery, Drop) {
	drop := DropNoRoute
	var lowest *network
	var lowestSet *delivery
	for _, n := range vns {
		set, ok := n.gndt.Lookup(p.Dst)
		if !ok {
			continue
		}
		if s.policy != nil && !s.policy(n.id, p) {
			drop = DropPolicy
			continue
		}
		if len(vns) == 1 && !n.closing {
			return n, set, DropNone
		}
		if _, known := n.known[p.Dst]; known {
			return n, set, DropNone
		}
		if lowest == nil && !n.closing {
			lowest, lowestSet = n, set
		}
	}
	if lowest == nil {
		return nil, nil, drop
	}
	return lowest, lowestSet, DropNone
}

// fit decides how the packet goes through a path of d.PathMTU, as length bytes.
func (d *Decision) fit(length int) {
	p := &d.Packet
	switch {
	case length <= d.PathMTU:
		d.Fit = FitWhole
	case length <= MinMTU:
		d.Fit = FitSplit
	case !p.DF:
		d.Fit = FitIPFrag
	default:
		d.Drop, d.ICMP = DropTooBig, ICMPTooBig
		d.TooBig = d.PathMTU
		if !p.Is4() {
			d.TooBig = max(d.PathMTU, MinMTU)
		}
	}
}

// Arrived says what becomes of the packet b that router from sent in the VN: it is for a
// local member behind the attachment, or dropped. The link has already proven from and vn.
// Arrived changes nothing and does not allocate.
func Arrived(s *Snapshot, from tables.RouterID, vn tables.VNID, b []byte) (attachment int, drop Drop) {
	p, drop := Parse(b)
	if drop != DropNone {
		return 0, drop
	}
	if p.Length != len(b) {
		return 0, DropTrailing // whoever split or sealed it did not send this packet
	}
	n, ok := s.vns[vn]
	if !ok {
		return 0, DropVN
	}
	if !s.InSpace(p.Src) || !s.InSpace(p.Dst) {
		return 0, DropSpace
	}
	set, ok := n.gndt.Lookup(p.Src)
	if !ok || from == s.self || !slices.Contains(set.routers, from) {
		return 0, DropForeignSource
	}
	if p.TTL == 0 {
		return 0, DropTTL
	}
	if s.policy != nil && !s.policy(vn, p) {
		return 0, DropPolicy
	}
	attachment, ok = n.local[p.Dst]
	if !ok {
		return 0, DropNotMember
	}
	return attachment, DropNone
}
