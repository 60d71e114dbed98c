package tables

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// A DeliverySet is one row of a VN's GNDT: packets to Prefixes go to one of Routers.
type DeliverySet struct {
	Routers  []RouterID
	Prefixes []netip.Prefix
}

// An LNDT is the local network description table (dissertation table 3-4): to which VNs each
// local host belongs, in ascending order.
type LNDT map[netip.Addr][]VNID

// A GNDT is the global network description tables of all VNs (dissertation table 3-5).
type GNDT map[VNID][]DeliverySet

// An Installed is one version of one VN as one router has it: whole, never mixed with another
// version. It is immutable.
type Installed struct {
	VN    VN
	Sets  []DeliverySet // revoked routers left out, and sets that have no other
	Local []netip.Addr  // members at this router's site inside the prefixes that it delivers, sorted
	// Documents are the header, manifest, fragments and own roster it was made of. Kept together
	// on disk they give the same version again (Restore), whatever has come since.
	Documents []*Document
}

// A Problem says why the newest version of a VN is not installed.
type Problem struct {
	VN      VNID
	Version uint64
	Missing []DocKey // what has yet to come; empty when the version is wrong in itself
	Reason  string
}

// An Installer decides which version of each VN a router uses: the newest one that is complete.
// It belongs to one goroutine.
type Installer struct {
	self     RouterID
	current  map[VNID]*base
	problems []Problem
}

// A base is an installed version before revocations are taken off.
type base struct {
	vn        VN
	signers   []PublicKey
	manifest  *Document
	fragments []*Document
	header    *Document
	roster    *Document // of the own site; nil when the VN has none there
}

// NewInstaller returns an Installer for the router self with nothing installed.
func NewInstaller(self RouterID) *Installer {
	return &Installer{self: self, current: map[VNID]*base{}}
}

// Update installs what is complete in v and takes off what is shut down or withdrawn. It returns
// what is installed now, by VN ID, and what stands in the way of newer versions.
func (in *Installer) Update(v *View) ([]Installed, []Problem) {
	in.problems = nil
	for id := range in.current {
		if _, ok := v.VN(id); !ok && v.root != nil {
			delete(in.current, id) // its signer was retired
		}
	}
	for _, vn := range v.VNs() {
		in.updateVN(v, vn)
	}
	var list []Installed
	for _, id := range slices.Sorted(maps.Keys(in.current)) {
		list = append(list, in.compile(v, in.current[id]))
	}
	return list, in.problems
}

func (in *Installer) updateVN(v *View, vn VN) {
	have := in.current[vn.ID]
	if vn.State == VNShutdown {
		delete(in.current, vn.ID)
		return
	}
	if have != nil && vn.Version < have.vn.Version && !v.withdrawn(have) {
		return
	}
	next, problem := in.assemble(v, v.docs[VNKey(vn.ID)])
	if problem != nil {
		in.problems = append(in.problems, *problem)
		if have != nil && v.withdrawn(have) {
			delete(in.current, vn.ID)
		}
	} else {
		in.current[vn.ID] = next
		return
	}
	// The rosters of the installed version go their own way, by version.
	if have != nil && in.current[vn.ID] == have {
		in.current[vn.ID] = have.withRoster(v, in.site(v))
	}
}

// withdrawn reports whether root has retired every key that signed the header of b.
func (v *View) withdrawn(b *base) bool {
	return !slices.ContainsFunc(b.signers, func(k PublicKey) bool { return !v.retired[k] })
}

func (in *Installer) site(v *View) string {
	e, _ := v.Enrolment(in.self)
	return e.Site
}

// assemble collects the version that header names, if all that this router needs of it is here.
func (in *Installer) assemble(v *View, header *Document) (*base, *Problem) {
	vn := header.body.(VN)
	p := &Problem{VN: vn.ID, Version: vn.Version}
	manifest := v.docs[ManifestKey(vn.ID)]
	if manifest == nil || manifest.hash != vn.Manifest {
		p.Missing, p.Reason = []DocKey{ManifestKey(vn.ID)}, "manifest is not here"
		return nil, p
	}
	m := manifest.body.(Manifest)
	if m.Version != vn.Version {
		p.Reason = "manifest is of another version"
		return nil, p
	}
	b := &base{vn: vn, signers: header.signers, header: header, manifest: manifest}
	for _, leaf := range m.Fragments {
		key := FragmentKey(vn.ID, leaf.Set)
		d := v.docs[key]
		if d == nil || d.hash != leaf.Hash || d.Version() != leaf.Version {
			p.Missing = append(p.Missing, key)
			continue
		}
		b.fragments = append(b.fragments, d)
	}
	for _, leaf := range m.Rosters {
		if leaf.Site != in.site(v) {
			continue
		}
		key := RosterKey(vn.ID, leaf.Site)
		if d := v.docs[key]; d != nil && d.Version() >= leaf.Version {
			b.roster = d
		} else {
			p.Missing = append(p.Missing, key)
		}
	}
	if len(p.Missing) > 0 {
		p.Reason = "parts are not here"
		return nil, p
	}
	if err := b.overlap(); err != nil {
		p.Reason = err.Error()
		return nil, p
	}
	return b, nil
}

// withRoster returns b with the roster of site that v has, if it is newer.
func (b *base) withRoster(v *View, site string) *base {
	d := v.docs[RosterKey(b.vn.ID, site)]
	if b.roster == nil || d == nil || d.Version() <= b.roster.Version() {
		return b
	}
	next := *b
	next.roster = d
	return &next
}

// overlap reports two delivery sets that share an address: a packet would have two ways.
func (b *base) overlap() error {
	type owned struct {
		prefix netip.Prefix
		key    DocKey
	}
	var all []owned
	for _, d := range b.fragments {
		for _, p := range d.body.(Fragment).Prefixes {
			all = append(all, owned{p, d.key})
		}
	}
	// In this order a prefix comes right before those that it contains.
	slices.SortFunc(all, func(a, c owned) int { return ComparePrefixes(a.prefix, c.prefix) })
	for i := 1; i < len(all); i++ {
		if all[i-1].prefix.Overlaps(all[i].prefix) {
			return fmt.Errorf("%w: delivery sets %s and %s overlap", ErrConflict, all[i-1].key, all[i].key)
		}
	}
	return nil
}

func (in *Installer) compile(v *View, b *base) Installed {
	out := Installed{VN: b.vn, Documents: append([]*Document{b.header, b.manifest}, b.fragments...)}
	var own []netip.Prefix
	for _, d := range b.fragments {
		f := d.body.(Fragment)
		routers := slices.DeleteFunc(slices.Clone(f.Routers), v.routerRevoked)
		if len(routers) > 0 {
			out.Sets = append(out.Sets, DeliverySet{routers, f.Prefixes})
		}
		if slices.Contains(routers, in.self) {
			own = append(own, f.Prefixes...)
		}
	}
	slices.SortFunc(out.Sets, func(a, c DeliverySet) int { return slices.CompareFunc(a.Routers, c.Routers, cmp.Compare) })
	if b.roster != nil {
		out.Documents = append(out.Documents, b.roster)
		for _, h := range b.roster.body.(Roster).Hosts {
			if inside(own, netip.PrefixFrom(h, h.BitLen())) {
				out.Local = append(out.Local, h)
			}
		}
	}
	return out
}

func (v *View) routerRevoked(id RouterID) bool {
	d := v.enrolments[id]
	return d != nil && v.Revoked(d.body.(Enrolment).Identity)
}

// Restore installs a version from the Documents of an Installed, read from our own disk, before
// the first Update. v must hold the roots, enrolments and VN headers from the same disk.
func (in *Installer) Restore(v *View, docs []*Document) error {
	w := v.clone()
	var header *Document
	for _, d := range docs {
		switch d.Kind() {
		case KindVN:
			header = d
		case KindManifest, KindFragment, KindRoster:
		default:
			return fmt.Errorf("restore: %w: %s", ErrFormat, d.Kind())
		}
		w.insert(d)
	}
	if header == nil {
		return fmt.Errorf("restore: %w: no VN header", ErrFormat)
	}
	b, problem := in.assemble(w, header)
	if problem != nil {
		return fmt.Errorf("restore %s: %s", problem.VN, problem.Reason)
	}
	if v.withdrawn(b) {
		return fmt.Errorf("restore %s: %w: root has retired the key", b.vn.ID, ErrSigner)
	}
	if have := in.current[b.vn.ID]; have == nil || have.vn.Version < b.vn.Version {
		in.current[b.vn.ID] = b
	}
	return nil
}

// Tables returns the LNDT and GNDT of what is installed.
func Tables(installed []Installed) (LNDT, GNDT) {
	lndt, gndt := LNDT{}, GNDT{}
	for _, i := range installed {
		gndt[i.VN.ID] = i.Sets
		for _, h := range i.Local {
			lndt[h] = append(lndt[h], i.VN.ID)
		}
	}
	for _, ids := range lndt {
		slices.Sort(ids)
	}
	return lndt, gndt
}
