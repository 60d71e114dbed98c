package forward

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/fib"
)

// An InputError says why no Snapshot can be made of an Input. Where VN is not zero, an Input
// without that VN does not have the problem.
type InputError struct {
	VN     tables.VNID // zero: not one VN's fault
	Reason string
}

// Error returns the reason, after the VN if one is at fault.
func (e *InputError) Error() string {
	if e.VN == 0 {
		return "compile snapshot: " + e.Reason
	}
	return fmt.Sprintf("compile snapshot: %v: %s", e.VN, e.Reason)
}

func refuse(vn tables.VNID, format string, args ...any) error {
	return &InputError{VN: vn, Reason: fmt.Sprintf(format, args...)}
}

// NewSnapshot compiles in. It refuses, with an *InputError, whatever would leave two answers
// for one packet: a prefix that two delivery sets of a VN share, a member with two attachments
// in one VN, and a host that is on one attachment a member of two VNs that deliver an address
// to different routers.
func NewSnapshot(in Input) (*Snapshot, error) {
	if in.Self == 0 {
		return nil, refuse(0, "no router ID of our own")
	}
	s := &Snapshot{
		self:   in.Self,
		vns:    make(map[tables.VNID]*network, len(in.VNs)),
		paths:  maps.Clone(in.PathMTU),
		policy: in.Policy,
	}
	var err error
	if s.space, err = compileSpace(in.Space); err != nil {
		return nil, err
	}
	if err := s.setOwn(in.Own); err != nil {
		return nil, err
	}
	attachments := in.Attachments
	if len(attachments) == 0 {
		attachments = []Attachment{{}}
	}
	s.lndt = make([]map[netip.Addr][]*network, len(attachments))
	for i := range s.lndt {
		s.lndt[i] = make(map[netip.Addr][]*network)
	}
	// In order of VN ID, but those that are closing first, so that each host's list comes out sorted and the same Input always
	// gives the same error.
	vns := slices.Clone(in.VNs)
	slices.SortStableFunc(vns, func(a, b VNInput) int {
		switch {
		case a.Closing && !b.Closing:
			return -1
		case b.Closing && !a.Closing:
			return 1
		}
		return cmp.Compare(a.ID, b.ID)
	})
	checked := make(map[[2]tables.VNID]bool)
	for _, vn := range vns {
		n, err := s.compileVN(vn)
		if err != nil {
			return nil, err
		}
		for _, host := range vn.Local {
			if err := s.addLocal(n, host, attachments, checked); err != nil {
				return nil, err
			}
		}
		s.vns[vn.ID] = n
	}
	return s, nil
}

func compileSpace(space []netip.Prefix) (*fib.Table[struct{}], error) {
	var b fib.Builder[struct{}]
	for _, p := range space {
		if err := b.Insert(p, struct{}{}); err != nil {
			return nil, refuse(0, "ViNe space: %v", err)
		}
	}
	return b.Compile(), nil
}

// setOwn remembers the first own address of each family.
func (s *Snapshot) setOwn(own []netip.Addr) error {
	for _, addr := range own {
		switch {
		case !s.InSpace(addr) || !unicast(addr):
			return refuse(0, "own address %v is outside the ViNe space", addr)
		case addr.Is4() && !s.own4.IsValid():
			s.own4 = addr
		case addr.Is6() && !s.own6.IsValid():
			s.own6 = addr
		}
	}
	return nil
}

// compileVN compiles what concerns one VN alone, apart from its members.
func (s *Snapshot) compileVN(vn VNInput) (*network, error) {
	if vn.ID == 0 {
		return nil, refuse(0, "a VN without an ID")
	}
	if s.vns[vn.ID] != nil {
		return nil, refuse(vn.ID, "given twice")
	}
	if vn.Seal != tables.SealEncrypt && vn.Seal != tables.SealAuth {
		return nil, refuse(vn.ID, "unknown seal %q", vn.Seal)
	}
	n := &network{
		id: vn.ID, seal: vn.Seal, closing: vn.Closing, local: make(map[netip.Addr]int, len(vn.Local)),
		known: make(map[netip.Addr]struct{}, len(vn.Members)), serve: make(map[tables.RouterID]struct{}),
	}
	for _, host := range vn.Members {
		n.known[host] = struct{}{}
	}
	var b fib.Builder[*delivery]
	for _, set := range vn.Sets {
		if err := checkRouters(set.Routers); err != nil {
			return nil, refuse(vn.ID, "%v", err)
		}
		d := &delivery{routers: slices.Clone(set.Routers)}
		_, d.self = slices.BinarySearch(d.routers, s.self)
		for _, id := range d.routers {
			n.serve[id] = struct{}{}
		}
		for _, p := range set.Prefixes {
			if !s.prefixInSpace(p) {
				return nil, refuse(vn.ID, "prefix %v is outside the ViNe space", p)
			}
			for other, od := range b.Overlapping(p) {
				if od != d {
					return nil, refuse(vn.ID, "prefix %v of %v overlaps %v of %v", p, d.routers, other, od.routers)
				}
			}
			if err := b.Insert(p, d); err != nil {
				return nil, refuse(vn.ID, "%v", err)
			}
		}
	}
	n.gndt = b.Compile()
	return n, nil
}

func checkRouters(routers []tables.RouterID) error {
	if len(routers) == 0 {
		return fmt.Errorf("a delivery set without a router")
	}
	for i, id := range routers {
		if id == 0 || i > 0 && routers[i-1] >= id {
			return fmt.Errorf("delivery set %v is not sorted and distinct", routers)
		}
	}
	return nil
}

// prefixInSpace reports whether all of p lies in the ViNe space.
func (s *Snapshot) prefixInSpace(p netip.Prefix) bool {
	for q := range s.space.Overlapping(p) {
		if q.Bits() <= p.Bits() {
			return true
		}
	}
	return false
}

// addLocal puts host into the LNDT as a member of n. In checked it remembers the pairs of VNs
// that were found to deliver alike.
func (s *Snapshot) addLocal(n *network, host LocalHost, attachments []Attachment, checked map[[2]tables.VNID]bool) error {
	switch {
	case !s.InSpace(host.Addr) || !unicast(host.Addr):
		return refuse(n.id, "local host %v is outside the ViNe space", host.Addr)
	case host.Attachment < 0 || host.Attachment >= len(attachments):
		return refuse(n.id, "local host %v: there is no attachment %d", host.Addr, host.Attachment)
	}
	if serves := attachments[host.Attachment].VNs; len(serves) > 0 && !slices.Contains(serves, n.id) {
		return refuse(n.id, "local host %v: attachment %d does not serve the VN", host.Addr, host.Attachment)
	}
	if old, ok := n.local[host.Addr]; ok {
		return refuse(n.id, "local host %v is given twice, on attachments %d and %d", host.Addr, old, host.Attachment)
	}
	lndt := s.lndt[host.Attachment]
	for _, other := range lndt[host.Addr] {
		pair := [2]tables.VNID{other.id, n.id}
		if checked[pair] {
			continue
		}
		if p, q, ok := conflict(other, n); ok {
			return refuse(n.id, "host %v on attachment %d is also in %v, which delivers %v to other routers than %v here",
				host.Addr, host.Attachment, other.id, p, q)
		}
		checked[pair] = true
	}
	n.local[host.Addr] = host.Attachment
	lndt[host.Addr] = append(lndt[host.Addr], n)
	return nil
}

// conflict returns a prefix of a and one of b that share an address but not their routers.
func conflict(a, b *network) (p, q netip.Prefix, found bool) {
	small, large := a, b
	if small.gndt.Len() > large.gndt.Len() {
		small, large = b, a
	}
	for p, d := range small.gndt.All() {
		for q, e := range large.gndt.Overlapping(p) {
			if !slices.Equal(d.routers, e.routers) {
				if small == a {
					return p, q, true
				}
				return q, p, true
			}
		}
	}
	return netip.Prefix{}, netip.Prefix{}, false
}
