package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vine-mesh/vine/tables"
)

// A draft is what a VN is to become: its delivery sets and members. Operations change it; bodies
// turns it into the documents that differ from what is signed.
//
// Invariant: no two delivery sets overlap (add refuses), and every host is inside one.
type draft struct {
	v    *tables.View
	vn   tables.VN       // of the version before; version 0 for a new one
	old  tables.Manifest // of that version
	sets []tables.DeliverySet
	// ways has every prefix of sets, sorted: being disjoint, the last one that starts at or below
	// an address is the only one that can hold it.
	ways  []way
	hosts []netip.Addr // sorted, distinct
	// disabled are prefixes that are kept and not used. Those that no set delivers any more do not matter.
	disabled []netip.Prefix
	// moved says that the VN has another home than the version before. Its rosters, which nothing but their signer vouches for,
	// are signed anew then.
	moved bool
}

// A way is one prefix of a draft and who delivers it.
type way struct {
	prefix  netip.Prefix
	routers []tables.RouterID
}

// move makes key the home of the VN.
func (d *draft) move(key tables.PublicKey) { d.vn.Home, d.moved = key, true }

// newDraft returns an empty VN.
func newDraft(v *tables.View, vn tables.VN) *draft {
	return &draft{v: v, vn: vn, old: tables.Manifest{VN: vn.ID}}
}

// loadDraft returns the present version of a VN, without revoked routers and what only they
// deliver. It fails while parts of that version are missing here.
func loadDraft(v *tables.View, vn tables.VN) (*draft, error) {
	manifest := v.Get(tables.ManifestKey(vn.ID))
	if manifest == nil || manifest.Hash() != vn.Manifest {
		return nil, missing(vn)
	}
	d := newDraft(v, vn)
	d.old = manifest.Body().(tables.Manifest)
	for _, leaf := range d.old.Fragments {
		doc := v.Get(tables.FragmentKey(vn.ID, leaf.Set))
		if doc == nil || doc.Hash() != leaf.Hash {
			return nil, missing(vn)
		}
		f := doc.Body().(tables.Fragment)
		routers := d.deliverers(f.Routers)
		if len(routers) == 0 {
			continue
		}
		if err := d.add(f.Prefixes, routers); err != nil {
			return nil, err
		}
		d.disabled = append(d.disabled, f.Disabled...)
	}
	for _, leaf := range d.old.Rosters {
		r, ok := v.Roster(vn.ID, leaf.Site)
		if !ok || r.Version < leaf.Version {
			return nil, missing(vn)
		}
		for _, h := range r.Hosts {
			if w, ok := d.way(h); ok && d.site(w.routers) == leaf.Site {
				d.hosts = append(d.hosts, h)
			}
		}
	}
	slices.SortFunc(d.hosts, netip.Addr.Compare)
	return d, nil
}

func missing(vn tables.VN) error {
	return fmt.Errorf("waiting for parts of VN %s that have not come to the authority yet", vn.Name)
}

// deliverers returns the whole delivery set of routers, of those that are enrolled.
func (d *draft) deliverers(routers []tables.RouterID) []tables.RouterID {
	return slices.DeleteFunc(d.v.Deliverers(routers), func(id tables.RouterID) bool {
		_, ok := d.v.Enrolment(id)
		return !ok
	})
}

// add lets routers, and all who share a block with them, deliver prefixes too. It fails if another delivery set has part of one.
func (d *draft) add(prefixes []netip.Prefix, routers []tables.RouterID) error {
	routers = d.deliverers(routers)
	i := slices.IndexFunc(d.sets, func(s tables.DeliverySet) bool { return slices.Equal(s.Routers, routers) })
	if i < 0 {
		i = len(d.sets)
		d.sets = append(d.sets, tables.DeliverySet{Routers: routers})
	}
	d.sets[i].Prefixes = widest(append(slices.Clone(d.sets[i].Prefixes), prefixes...))
	d.index()
	for j := 1; j < len(d.ways); j++ {
		a, b := d.ways[j-1], d.ways[j]
		if a.prefix.Overlaps(b.prefix) {
			return fmt.Errorf("%s of %s overlaps %s of %s: a packet would have two ways", b.prefix, d.names(b.routers), a.prefix, d.names(a.routers))
		}
	}
	return nil
}

// widest returns prefixes sorted and without those that another contains.
func widest(prefixes []netip.Prefix) []netip.Prefix {
	slices.SortFunc(prefixes, tables.ComparePrefixes)
	var list []netip.Prefix
	for _, p := range prefixes {
		if len(list) == 0 || !list[len(list)-1].Overlaps(p) {
			list = append(list, p)
		}
	}
	return list
}

// index makes ways anew from sets, and drops sets that deliver nothing.
func (d *draft) index() {
	d.sets = slices.DeleteFunc(d.sets, func(s tables.DeliverySet) bool { return len(s.Prefixes) == 0 })
	slices.SortFunc(d.sets, func(a, b tables.DeliverySet) int { return slices.CompareFunc(a.Routers, b.Routers, cmp.Compare) })
	d.ways = nil
	for _, s := range d.sets {
		for _, p := range s.Prefixes {
			d.ways = append(d.ways, way{p, s.Routers})
		}
	}
	slices.SortFunc(d.ways, func(a, b way) int { return tables.ComparePrefixes(a.prefix, b.prefix) })
}

// way returns who delivers packets to h.
func (d *draft) way(h netip.Addr) (way, bool) {
	i, found := slices.BinarySearchFunc(d.ways, h, func(w way, h netip.Addr) int { return w.prefix.Addr().Compare(h) })
	if !found {
		i--
	}
	if i < 0 || !d.ways[i].prefix.Contains(h) {
		return way{}, false
	}
	return d.ways[i], true
}

// drop takes one prefix out.
func (d *draft) drop(w way) {
	for i, s := range d.sets {
		if slices.Equal(s.Routers, w.routers) {
			d.sets[i].Prefixes = slices.DeleteFunc(slices.Clone(s.Prefixes), func(p netip.Prefix) bool { return p == w.prefix })
		}
	}
	d.index()
}

// site returns the site of a delivery set.
func (d *draft) site(routers []tables.RouterID) string {
	e, _ := d.v.Enrolment(routers[0])
	return e.Site
}

// sites returns the sites of all delivery sets, sorted.
func (d *draft) sites() []string {
	var list []string
	for _, s := range d.sets {
		list = append(list, d.site(s.Routers))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// names returns the names of the VRs for people.
func (d *draft) names(routers []tables.RouterID) string {
	e, _ := d.v.Enrolment(routers[0])
	if len(routers) > 1 {
		return fmt.Sprintf("%s and %d more", e.Name, len(routers)-1)
	}
	return e.Name
}

// crossing reports a packet that would have two ways because a host is both in d and in other:
// its router tells the VNs of a packet apart by the destination only when no address is
// delivered differently in the two.
func (d *draft) crossing(other *draft) error {
	i := slices.IndexFunc(d.hosts, func(h netip.Addr) bool {
		if _, member := slices.BinarySearchFunc(other.hosts, h, netip.Addr.Compare); !member {
			return false
		}
		mine, _ := d.way(h)
		theirs, _ := other.way(h)
		// The same address behind another VR is another host.
		return slices.ContainsFunc(mine.routers, func(id tables.RouterID) bool { return slices.Contains(theirs.routers, id) })
	})
	if i < 0 {
		return nil
	}
	a, b, found := d.differ(other)
	if !found {
		return nil
	}
	return fmt.Errorf("%s is in VN %s as well, where %s is behind %s, here %s behind %s: give both VNs the same --prefix, or take the host out of one",
		d.hosts[i], other.vn.Name, b.prefix, d.names(b.routers), a.prefix, d.names(a.routers))
}

// differ returns a prefix of d and one of other that share an address and have different ways.
func (d *draft) differ(other *draft) (mine, theirs way, found bool) {
	a, b := d.ways, other.ways
	for len(a) > 0 && len(b) > 0 {
		if a[0].prefix.Overlaps(b[0].prefix) && !slices.Equal(a[0].routers, b[0].routers) {
			return a[0], b[0], true
		}
		// Each list is disjoint, so of the two the one that ends first meets nothing further.
		if lastAddr(a[0].prefix).Compare(lastAddr(b[0].prefix)) <= 0 {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return way{}, way{}, false
}
