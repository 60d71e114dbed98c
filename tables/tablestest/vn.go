package tablestest

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/vine-mesh/vine/tables"
)

// A Member is the part that one VR has in a VN.
type Member struct {
	Router   tables.RouterID
	Hosts    []netip.Addr   // roster entries
	Prefixes []netip.Prefix // what the VR delivers; none means its blocks that hold a host
}

// Hosts returns one Member for each router, with its hosts Host(1) and Host6(1).
func (f *Federation) Hosts(routers ...tables.RouterID) []Member {
	var list []Member
	for _, id := range routers {
		r := f.Router(id)
		list = append(list, Member{Router: id, Hosts: []netip.Addr{r.Host(1), r.Host6(1)}})
	}
	return list
}

// SetVN signs a VN with these members: version 1 if the name is new, else the next version, of
// which only changed fragments and rosters are signed anew.
func (f *Federation) SetVN(name string, members ...Member) tables.VN {
	docs := f.NextVN(name, members...)
	for _, d := range docs {
		f.PutDocument(d)
	}
	return docs[0].Body().(tables.VN)
}

// NextVN signs the next version of a VN without putting it into the federation: the header, the
// manifest, then the fragments and rosters that have changed.
func (f *Federation) NextVN(name string, members ...Member) []*tables.Document {
	vn, known := f.store.VNByName(name)
	if !known {
		id := tables.VNID(len(f.store.VNs()) + 1)
		vn = tables.VN{ID: id, Name: name, State: tables.VNActive, Home: tables.PublicOf(f.Authority), Seal: tables.SealEncrypt}
	}
	vn.Version++
	var docs []*tables.Document
	m := tables.Manifest{Version: vn.Version, VN: vn.ID}
	hosts := map[string][]netip.Addr{}
	for _, member := range members {
		r := f.Router(member.Router)
		hosts[r.Site] = append(hosts[r.Site], member.Hosts...)
		m.Fragments = append(m.Fragments, f.leaf(&docs, vn.ID, member))
	}
	for _, site := range slices.Sorted(maps.Keys(hosts)) {
		m.Rosters = append(m.Rosters, f.roster(&docs, vn.ID, site, hosts[site]))
	}
	slices.SortFunc(m.Fragments, func(a, b tables.FragmentLeaf) int { return strings.Compare(a.Set, b.Set) })
	slices.SortFunc(m.Rosters, func(a, b tables.RosterLeaf) int { return strings.Compare(a.Site, b.Site) })
	manifest := Sign(m, f.Authority)
	vn.Manifest = manifest.Hash()
	return append([]*tables.Document{Sign(vn, f.Authority), manifest}, docs...)
}

func (f *Federation) leaf(docs *[]*tables.Document, id tables.VNID, m Member) tables.FragmentLeaf {
	prefixes := slices.Clone(m.Prefixes)
	if len(prefixes) == 0 {
		r := f.Router(m.Router)
		for _, p := range []netip.Prefix{r.Block4, r.Block6} {
			if slices.ContainsFunc(m.Hosts, p.Contains) {
				prefixes = append(prefixes, p)
			}
		}
	}
	slices.SortFunc(prefixes, tables.ComparePrefixes)
	set := tables.SetID([]tables.RouterID{m.Router})
	key := tables.FragmentKey(id, set)
	b := tables.Fragment{Version: 1, VN: id, Routers: []tables.RouterID{m.Router}, Prefixes: prefixes}
	if old := f.store.Get(key); old != nil {
		if slices.Equal(old.Body().(tables.Fragment).Prefixes, prefixes) {
			return tables.FragmentLeaf{Set: set, Version: old.Version(), Hash: old.Hash()}
		}
		b.Version = old.Version() + 1
	}
	d := Sign(b, f.Authority)
	*docs = append(*docs, d)
	return tables.FragmentLeaf{Set: set, Version: b.Version, Hash: d.Hash()}
}

func (f *Federation) roster(docs *[]*tables.Document, id tables.VNID, site string, hosts []netip.Addr) tables.RosterLeaf {
	slices.SortFunc(hosts, netip.Addr.Compare)
	b := tables.Roster{Version: 1, VN: id, Site: site, Hosts: hosts}
	if old, ok := f.store.Roster(id, site); ok {
		if slices.Equal(old.Hosts, hosts) {
			return tables.RosterLeaf{Site: site, Version: old.Version}
		}
		b.Version = old.Version + 1
	}
	*docs = append(*docs, Sign(b, f.Authority))
	return tables.RosterLeaf{Site: site, Version: b.Version}
}

// SetRoster signs the next roster of a VN and site, without a new VN version.
func (f *Federation) SetRoster(vn tables.VNID, site string, hosts ...netip.Addr) *tables.Document {
	old, ok := f.store.Roster(vn, site)
	if !ok {
		panic(fmt.Sprintf("tablestest: %s has no roster of %s", vn, site))
	}
	slices.SortFunc(hosts, netip.Addr.Compare)
	return f.Put(tables.Roster{Version: old.Version + 1, VN: vn, Site: site, Hosts: hosts}, f.Authority)
}
