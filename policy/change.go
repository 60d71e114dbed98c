package policy

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vine-mesh/vine/tables"
)

const (
	// setsMax is how many leaves a manifest may have (docs/wire.md).
	setsMax = 4096
	// envelopeMax is above what an envelope with one signature adds to its body: some 120 bytes.
	envelopeMax = 256
	// withMax leaves room for one more in a VN header.
	withMax = 255
)

// bodies returns the documents that make d of what is signed: the header and manifest of the next
// version, then the fragments and rosters that have changed. Where only members inside present
// prefixes have changed there is no new version, just the rosters.
func (d *draft) bodies(c change, request tables.Hash) ([]tables.Body, error) {
	m := tables.Manifest{Version: d.vn.Version + 1, VN: d.vn.ID}
	var leaves []tables.Body
	for _, s := range d.sets {
		leaf, body, err := d.fragment(s)
		if err != nil {
			return nil, err
		}
		m.Fragments = append(m.Fragments, leaf)
		leaves = appendBody(leaves, body)
	}
	slices.SortFunc(m.Fragments, func(a, b tables.FragmentLeaf) int { return strings.Compare(a.Set, b.Set) })
	for _, site := range d.sites() {
		version, body := d.roster(site)
		m.Rosters = append(m.Rosters, tables.RosterLeaf{Site: site, Version: version})
		leaves = appendBody(leaves, body)
	}
	for _, leaf := range d.old.Rosters {
		if !slices.ContainsFunc(m.Rosters, sameSite(leaf)) {
			_, body := d.roster(leaf.Site) // has nobody left
			leaves = appendBody(leaves, body)
		}
	}
	if err := d.fits(append(leaves, m)); err != nil {
		return nil, err
	}
	if d.vn.Version > 0 && c.state == d.vn.State && c.seal == d.vn.Seal && sameParts(m, d.old) && len(c.with) == 0 && !d.moved {
		return leaves, nil
	}
	next := d.vn
	next.Version, next.State, next.Seal, next.Request, next.Into = m.Version, c.state, c.seal, request, c.into
	next.With = together(d.vn.With, c.with)
	hash, err := tables.HashBody(m)
	if err != nil {
		return nil, err
	}
	next.Manifest = hash
	return append([]tables.Body{next, m}, leaves...), nil
}

// appendBody is append, except for nil.
func appendBody(list []tables.Body, b tables.Body) []tables.Body {
	if b == nil {
		return list
	}
	return append(list, b)
}

func sameSite(leaf tables.RosterLeaf) func(tables.RosterLeaf) bool {
	return func(other tables.RosterLeaf) bool { return other.Site == leaf.Site }
}

// sameParts reports whether a and b name the same fragments, and rosters of the same sites.
func sameParts(a, b tables.Manifest) bool {
	return slices.Equal(a.Fragments, b.Fragments) &&
		slices.EqualFunc(a.Rosters, b.Rosters, func(x, y tables.RosterLeaf) bool { return x.Site == y.Site })
}

// fits reports what would be too big to sign.
func (d *draft) fits(bodies []tables.Body) error {
	if len(d.sets) > setsMax {
		return fmt.Errorf("a VN has room for %d VRs: make another VN", setsMax)
	}
	if len(d.vn.With) >= withMax {
		return fmt.Errorf("VN %s has been merged and split %d times: make another VN", d.vn.Name, withMax)
	}
	for _, b := range bodies {
		enc, err := tables.EncodeArgs(b)
		if err != nil {
			return err
		}
		if most := tables.SizeMax(b.Kind()) - envelopeMax; len(enc) > most {
			return fmt.Errorf("a %s of VN %s would have %d bytes and may have %d: make another VN", b.Kind(), d.vn.Name, len(enc), most)
		}
	}
	return nil
}

// fragment returns the leaf of s, and its body unless the fragment that is signed says the same.
func (d *draft) fragment(s tables.DeliverySet) (tables.FragmentLeaf, tables.Body, error) {
	set := tables.SetID(s.Routers)
	key := tables.FragmentKey(d.vn.ID, set)
	b := tables.Fragment{Version: d.v.NextVersion(key), VN: d.vn.ID, Routers: s.Routers, Prefixes: s.Prefixes, Disabled: d.disabledOf(s)}
	if old := d.v.Get(key); old != nil {
		if f := old.Body().(tables.Fragment); slices.Equal(f.Prefixes, b.Prefixes) && slices.Equal(f.Disabled, b.Disabled) {
			return tables.FragmentLeaf{Set: set, Version: old.Version(), Hash: old.Hash()}, nil, nil
		}
	}
	hash, err := tables.HashBody(b)
	return tables.FragmentLeaf{Set: set, Version: b.Version, Hash: hash}, b, err
}

// disabledOf returns the prefixes of s that are disabled.
func (d *draft) disabledOf(s tables.DeliverySet) []netip.Prefix {
	var list []netip.Prefix
	for _, p := range s.Prefixes {
		if slices.Contains(d.disabled, p) {
			list = append(list, p)
		}
	}
	return list
}

// together returns the versions of both lists, by VN, of each VN the higher one.
func together(a, b []tables.VNVersion) []tables.VNVersion {
	list := slices.Concat(a, b)
	slices.SortFunc(list, func(a, b tables.VNVersion) int {
		return cmp.Or(cmp.Compare(a.VN, b.VN), cmp.Compare(b.Version, a.Version))
	})
	return slices.CompactFunc(list, func(a, b tables.VNVersion) bool { return a.VN == b.VN })
}

// roster returns the version of the roster of site, and its body unless the roster that is signed
// says the same.
func (d *draft) roster(site string) (uint64, tables.Body) {
	b := tables.Roster{Version: d.v.NextVersion(tables.RosterKey(d.vn.ID, site)), VN: d.vn.ID, Site: site, Hosts: d.members(site)}
	if old, ok := d.v.Roster(d.vn.ID, site); ok {
		if slices.Equal(old.Hosts, b.Hosts) && !d.moved {
			return old.Version, nil
		}
	}
	return b.Version, b
}

// members returns the hosts at site, sorted.
func (d *draft) members(site string) []netip.Addr {
	var list []netip.Addr
	for _, h := range d.hosts {
		if w, ok := d.way(h); ok && d.site(w.routers) == site {
			list = append(list, h)
		}
	}
	return list
}

// join makes hosts members. A host outside every prefix of the VN brings the block it is in.
func (d *draft) join(hosts []netip.Addr) error {
	for _, h := range hosts {
		if _, member := slices.BinarySearchFunc(d.hosts, h, netip.Addr.Compare); member {
			return fmt.Errorf("%s is a member of VN %s already", h, d.vn.Name)
		}
		if _, ok := d.way(h); ok {
			continue
		}
		block, router, ok := blockOf(d.v, h)
		if !ok {
			return fmt.Errorf("%s is in no VR's block and in no prefix of VN %s: name its VR with --prefix PREFIX@VR when the VN is created", h, d.vn.Name)
		}
		if err := d.add([]netip.Prefix{block}, []tables.RouterID{router}); err != nil {
			return fmt.Errorf("%s: %w; name who delivers it with --prefix PREFIX@VR when the VN is created", h, err)
		}
	}
	d.hosts = append(d.hosts, hosts...)
	slices.SortFunc(d.hosts, netip.Addr.Compare)
	return nil
}

// blockOf returns the narrowest block of an enrolled VR that holds h.
func blockOf(v *tables.View, h netip.Addr) (block netip.Prefix, router tables.RouterID, found bool) {
	for _, e := range v.Enrolments() {
		for _, b := range e.Blocks {
			if b.Contains(h) && (!found || b.Bits() > block.Bits()) {
				block, router, found = b, e.Router, true
			}
		}
	}
	return block, router, found
}

// leave makes hosts members no more. A block that came with its hosts goes with the last of them;
// prefixes that were given otherwise stay.
func (d *draft) leave(hosts []netip.Addr) error {
	var left []way
	for _, h := range hosts {
		i, member := slices.BinarySearchFunc(d.hosts, h, netip.Addr.Compare)
		if !member {
			return fmt.Errorf("%s is no member of VN %s: vine vn show %s lists them", h, d.vn.Name, d.vn.Name)
		}
		d.hosts = slices.Delete(d.hosts, i, i+1)
		w, _ := d.way(h)
		left = append(left, w)
	}
	for _, w := range left {
		used := slices.ContainsFunc(d.hosts, w.prefix.Contains)
		if !used && d.isBlock(w) {
			d.drop(w)
		}
	}
	return nil
}

// isBlock reports whether the prefix is a block of a VR that delivers it.
func (d *draft) isBlock(w way) bool {
	return slices.ContainsFunc(w.routers, func(id tables.RouterID) bool {
		e, _ := d.v.Enrolment(id)
		return slices.Contains(e.Blocks, w.prefix)
	})
}

// cleanHosts returns hosts sorted and distinct, each a plain address inside the ViNe space.
func cleanHosts(v *tables.View, hosts []netip.Addr) ([]netip.Addr, error) {
	var list []netip.Addr
	for _, h := range hosts {
		h = h.Unmap()
		switch {
		case !h.IsValid() || h.Zone() != "" || h.IsUnspecified() || h.IsMulticast():
			return nil, errors.New("a host is not a plain unicast address")
		case !v.InSpaceAddr(h):
			root, _ := v.Root()
			return nil, fmt.Errorf("%s is not a ViNe address: the ViNe space is %s", h, root.Space)
		}
		list = append(list, h)
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list), nil
}
