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
	Routers  []RouterID     `cbor:"1,keyasint"`
	Prefixes []netip.Prefix `cbor:"2,keyasint"`
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
	Sets  []DeliverySet // revoked and disabled routers left out, and sets that have no other; disabled prefixes too
	Local []netip.Addr  // members at this router's site inside the prefixes that it delivers, sorted
	// Closing says that the VN was merged into another one, which is installed too: see Update.
	Closing bool
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
	closing  map[VNID]closing
	problems []Problem
}

// A closing is a VN that was merged into another.
type closing struct {
	base *base
	into VNID
	with *base // the version of into that took it over
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
	return &Installer{self: self, current: map[VNID]*base{}, closing: map[VNID]closing{}}
}

// Update installs what is complete in v and takes off what is shut down or withdrawn. It returns
// what is installed now, by VN ID, and what stands in the way of newer versions.
//
// Versions that name each other (VN.With) are installed in the same Update or not at all. A VN that
// was merged into another stays, as Closing, until that other changes again or Close is called: what it
// carries the other one carries too, but a router that has not installed the merge yet knows only the
// old one.
func (in *Installer) Update(v *View) ([]Installed, []Problem) {
	in.problems = nil
	for id := range in.current {
		if _, ok := v.VN(id); !ok && v.root != nil {
			delete(in.current, id) // its signer was retired
			delete(in.closing, id)
		}
	}
	in.install(v, in.candidates(v))
	for id, c := range in.closing {
		if into := in.current[c.into]; into == nil || !into.same(c.with) || v.withdrawn(c.base) {
			delete(in.closing, id)
		}
	}
	var list []Installed
	for _, id := range slices.Sorted(maps.Keys(in.current)) {
		list = append(list, in.compile(v, in.current[id]))
	}
	for _, id := range slices.Sorted(maps.Keys(in.closing)) {
		i := in.compile(v, in.closing[id].base)
		i.Closing = true
		list = append(list, i)
	}
	slices.SortStableFunc(list, func(a, b Installed) int { return cmp.Compare(a.VN.ID, b.VN.ID) })
	return list, in.problems
}

// Close takes off a VN that is Closing: there has been time for every router to install what it was merged into.
func (in *Installer) Close(id VNID) { delete(in.closing, id) }

// A candidate is the newest version of a VN, if it could be installed as far as that VN is concerned.
type candidate struct {
	vn   VN
	base *base // nil: the VN is shut down
}

// candidates returns them by VN ID.
func (in *Installer) candidates(v *View) map[VNID]candidate {
	list := map[VNID]candidate{}
	for _, vn := range v.VNs() {
		have := in.current[vn.ID]
		if vn.State == VNShutdown {
			list[vn.ID] = candidate{vn: vn}
			continue
		}
		if have != nil && vn.Version < have.vn.Version && !v.withdrawn(have) {
			continue
		}
		next, problem := in.assemble(v, v.docs[VNKey(vn.ID)])
		if problem == nil {
			list[vn.ID] = candidate{vn, next}
			continue
		}
		in.problems = append(in.problems, *problem)
		if have != nil && v.withdrawn(have) {
			delete(in.current, vn.ID)
		}
	}
	// One that lacks a version it goes with holds back those that go with it, and so on.
	for again := true; again; {
		again = false
		for _, id := range slices.Sorted(maps.Keys(list)) {
			c := list[id]
			i := slices.IndexFunc(c.vn.With, func(w VNVersion) bool { return !in.reaches(list, w) })
			if i < 0 {
				continue
			}
			in.problems = append(in.problems, Problem{VN: id, Version: c.vn.Version, Missing: []DocKey{VNKey(c.vn.With[i].VN)},
				Reason: fmt.Sprintf("waits for version %d of %s, with which it takes effect", c.vn.With[i].Version, c.vn.With[i].VN)})
			delete(list, id)
			again = true
			if have := in.current[id]; have != nil && v.withdrawn(have) {
				delete(in.current, id)
			}
		}
	}
	return list
}

// reaches reports whether w is installed, or is about to be.
func (in *Installer) reaches(list map[VNID]candidate, w VNVersion) bool {
	if c, ok := list[w.VN]; ok {
		return c.vn.Version >= w.Version
	}
	have := in.current[w.VN]
	return have != nil && have.vn.Version >= w.Version
}

// install makes the candidates current.
func (in *Installer) install(v *View, list map[VNID]candidate) {
	for _, id := range slices.Sorted(maps.Keys(list)) {
		c, have := list[id], in.current[id]
		if c.base != nil {
			in.current[id] = c.base
			continue
		}
		delete(in.current, id)
		if next := list[c.vn.Into].base; have != nil && c.vn.Into != 0 && next != nil {
			in.closing[id] = closing{base: have, into: c.vn.Into, with: next}
		}
	}
	// The rosters of an installed version whose successor is not here yet go their own way, by version.
	for id, have := range in.current {
		if _, newer := list[id]; !newer {
			in.current[id] = have.withRoster(v, in.site(v))
		}
	}
}

// same reports whether b and other are made of the same documents: the manifest follows from the header.
func (b *base) same(other *base) bool { return b.header == other.header && b.roster == other.roster }

// withdrawn reports whether root has retired every key that signed the header of b, and not adopted it.
func (v *View) withdrawn(b *base) bool {
	return !v.standing(b.header, true) && !slices.ContainsFunc(b.signers, func(k PublicKey) bool { return !v.retired[k] })
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
		routers := slices.DeleteFunc(v.Deliverers(f.Routers), v.routerUnused)
		prefixes := f.Prefixes
		if len(f.Disabled) > 0 {
			prefixes = slices.DeleteFunc(slices.Clone(prefixes), func(p netip.Prefix) bool { return slices.Contains(f.Disabled, p) })
		}
		if len(routers) == 0 || len(prefixes) == 0 {
			continue
		}
		out.Sets = addSet(out.Sets, routers, prefixes)
		if slices.Contains(routers, in.self) {
			own = append(own, prefixes...)
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

// addSet lets routers deliver prefixes. Fragments that name different routers of one site are one delivery set where these
// share a block.
func addSet(sets []DeliverySet, routers []RouterID, prefixes []netip.Prefix) []DeliverySet {
	i := slices.IndexFunc(sets, func(s DeliverySet) bool { return slices.Equal(s.Routers, routers) })
	if i < 0 {
		return append(sets, DeliverySet{routers, prefixes})
	}
	sets[i].Prefixes = slices.Concat(sets[i].Prefixes, prefixes)
	slices.SortFunc(sets[i].Prefixes, ComparePrefixes)
	return sets
}

// routerUnused reports whether the router is revoked or disabled.
func (v *View) routerUnused(id RouterID) bool {
	d := v.enrolments[id]
	if d == nil {
		return false
	}
	e := d.body.(Enrolment)
	return e.Disabled || v.Revoked(e.Identity)
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
		if i.Closing {
			continue
		}
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
