package tables

import (
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// A View is what a Store held at one moment. It is immutable and may be shared between
// goroutines. What its methods return must not be changed.
type View struct {
	federation Hash // body hash of root 1, or the pin, or zero when neither is known
	root       *Document
	docs       map[DocKey]*Document
	order      []*Document // docs by ascending key

	// The maps below are indexes into docs.
	enrolments map[RouterID]*Document
	byName     map[string]RouterID
	byIdentity map[PublicKey]RouterID
	byInvite   map[PublicKey]RouterID
	byBlock    map[netip.Prefix][]RouterID // sorted, revoked routers too; lists are not changed
	byLinkKey  map[LinkKey]RouterID
	vnByName   map[string]VNID
	grants     map[PublicKey][]*Document // by user
	delegated  map[PublicKey][]*Document // by parent
	leaves     map[VNID]map[DocKey]*Document
	revoked    map[PublicKey]*Document
	retired    map[PublicKey]bool // authority keys of earlier roots that the current one lacks
	adopted    map[DocKey]Digest  // what the adoptions of the current root list
	lacking    []DocKey           // its adoptions that have not come

	// above has the highest version ever accepted of each key whose current document, if there is
	// one, is not of that version: documents that are gone or lost.
	above map[DocKey]uint64
}

func newView(federation Hash) *View {
	return &View{
		federation: federation,
		docs:       map[DocKey]*Document{},
		enrolments: map[RouterID]*Document{},
		byName:     map[string]RouterID{},
		byIdentity: map[PublicKey]RouterID{},
		byInvite:   map[PublicKey]RouterID{},
		byBlock:    map[netip.Prefix][]RouterID{},
		byLinkKey:  map[LinkKey]RouterID{},
		vnByName:   map[string]VNID{},
		grants:     map[PublicKey][]*Document{},
		delegated:  map[PublicKey][]*Document{},
		leaves:     map[VNID]map[DocKey]*Document{},
		revoked:    map[PublicKey]*Document{},
		retired:    map[PublicKey]bool{},
		above:      map[DocKey]uint64{},
	}
}

// clone returns a View that can be changed without changing v.
func (v *View) clone() *View {
	c := *v
	c.docs = maps.Clone(v.docs)
	c.order = slices.Clone(v.order)
	c.enrolments = maps.Clone(v.enrolments)
	c.byName = maps.Clone(v.byName)
	c.byIdentity = maps.Clone(v.byIdentity)
	c.byInvite = maps.Clone(v.byInvite)
	c.byBlock = maps.Clone(v.byBlock)
	c.byLinkKey = maps.Clone(v.byLinkKey)
	c.vnByName = maps.Clone(v.vnByName)
	c.grants = maps.Clone(v.grants)
	c.delegated = maps.Clone(v.delegated)
	c.leaves = make(map[VNID]map[DocKey]*Document, len(v.leaves))
	for id, m := range v.leaves {
		c.leaves[id] = maps.Clone(m)
	}
	c.revoked = maps.Clone(v.revoked)
	c.retired = maps.Clone(v.retired)
	c.above = maps.Clone(v.above)
	return &c
}

// Len returns the number of documents.
func (v *View) Len() int { return len(v.order) }

// Get returns the document called key, or nil.
func (v *View) Get(key DocKey) *Document { return v.docs[key] }

// Documents gives every document in ascending order of key.
func (v *View) Documents() iter.Seq[*Document] { return slices.Values(v.order) }

// Digests gives the digest of every document in ascending order of key, but for those in whose place
// others have to come.
func (v *View) Digests() iter.Seq[Digest] {
	return func(yield func(Digest) bool) {
		for _, d := range v.order {
			if !v.overtaken(d) && !yield(d.Digest()) {
				return
			}
		}
	}
}

// FederationID returns the body hash of the first root document, or the pinned one before that
// has come; zero when nothing is known.
func (v *View) FederationID() Hash { return v.federation }

// Root returns the root with the highest version; false before the first has come.
func (v *View) Root() (Root, bool) {
	if v.root == nil {
		return Root{}, false
	}
	return v.root.body.(Root), true
}

// InSpace reports whether p lies wholly inside the ViNe space.
func (v *View) InSpace(p netip.Prefix) bool {
	root, _ := v.Root()
	return inside(root.Space, p)
}

// InSpaceAddr reports whether a is a ViNe address.
func (v *View) InSpaceAddr(a netip.Addr) bool {
	a = a.Unmap()
	return v.InSpace(netip.PrefixFrom(a, a.BitLen()))
}

func inside(space []netip.Prefix, p netip.Prefix) bool {
	return slices.ContainsFunc(space, func(s netip.Prefix) bool {
		return s.Bits() <= p.Bits() && s.Contains(p.Addr())
	})
}

// Authority reports whether key is an authority key of the current root at now.
func (v *View) Authority(key PublicKey, now time.Time) bool {
	a, ok := v.authority(key)
	return ok && !ended(a.NotAfter, now)
}

// authority returns the entry of key in the current root, expired or not.
func (v *View) authority(key PublicKey) (AuthorityKey, bool) {
	root, _ := v.Root()
	for _, a := range root.Authorities {
		if a.Key == key {
			return a, true
		}
	}
	return AuthorityKey{}, false
}

// Enrolment returns the enrolment of a router whose identity is not revoked. It may have
// expired: see Admitted.
func (v *View) Enrolment(id RouterID) (Enrolment, bool) {
	d := v.enrolments[id]
	if d == nil {
		return Enrolment{}, false
	}
	e := d.body.(Enrolment)
	if v.Revoked(e.Identity) {
		return Enrolment{}, false
	}
	return e, true
}

// Admitted reports whether the router is enrolled at now: neither revoked nor past the time that
// its enrolment names, give or take Grace. That an enrolment begins in the future says nothing but
// that our clock is behind: the authority signs nothing ahead, and a VR whose clock was set back must
// not lose its links.
func (v *View) Admitted(id RouterID, now time.Time) bool {
	e, ok := v.Enrolment(id)
	return ok && !ended(e.NotAfter, now)
}

// EnrolmentByName is Enrolment by the name of the VR.
func (v *View) EnrolmentByName(name string) (Enrolment, bool) { return v.Enrolment(v.byName[name]) }

// EnrolmentByIdentity is Enrolment by the identity of the VR.
func (v *View) EnrolmentByIdentity(key PublicKey) (Enrolment, bool) {
	return v.Enrolment(v.byIdentity[key])
}

// EnrolmentByRouter is Enrolment.
func (v *View) EnrolmentByRouter(id RouterID) (Enrolment, bool) { return v.Enrolment(id) }

// Enrolments returns all enrolments that Enrolment would return, by router ID.
func (v *View) Enrolments() []Enrolment {
	var list []Enrolment
	for _, id := range slices.Sorted(maps.Keys(v.enrolments)) {
		if e, ok := v.Enrolment(id); ok {
			list = append(list, e)
		}
	}
	return list
}

// Taken reports whether the router ID, name and identity were ever enrolled, revoked or not.
// Whoever enrols must not use them again.
func (v *View) Taken(id RouterID, name string, identity PublicKey) (router, called, known bool) {
	_, called = v.byName[name]
	_, known = v.byIdentity[identity]
	return v.enrolments[id] != nil, called, known
}

// InviteSpent reports whether an enrolment names the invite.
func (v *View) InviteSpent(invite PublicKey) bool { return v.byInvite[invite] != 0 }

// LinkRecord returns what the router says of itself. Routers that are not enrolled or revoked
// have none.
func (v *View) LinkRecord(id RouterID) (LinkRecord, bool) {
	d := v.docs[LinkRecordKey(id)]
	if _, ok := v.Enrolment(id); d == nil || !ok {
		return LinkRecord{}, false
	}
	return d.body.(LinkRecord), true
}

// LinkRecordByKey returns the link record with that link key. If two routers claim one key, the
// one whose claim came first holds it, which is reported as Evidence.
func (v *View) LinkRecordByKey(key LinkKey) (LinkRecord, bool) { return v.LinkRecord(v.byLinkKey[key]) }

// Sites returns the site documents by name.
func (v *View) Sites() []Site { return bodies[Site](v, KindSite) }

// VNs returns the VN headers, also of VNs that are shut down, by the text of their ID.
func (v *View) VNs() []VN {
	list := bodies[VN](v, KindVN)
	slices.SortFunc(list, func(a, b VN) int { return int(int64(a.ID) - int64(b.ID)) })
	return list
}

// VN returns the header of a VN.
func (v *View) VN(id VNID) (VN, bool) { return bodyOf[VN](v, VNKey(id)) }

// VNByName returns the header of the VN called name.
func (v *View) VNByName(name string) (VN, bool) { return v.VN(v.vnByName[name]) }

// Manifest returns the manifest that we hold for the VN, whatever its version.
func (v *View) Manifest(id VNID) (Manifest, bool) { return bodyOf[Manifest](v, ManifestKey(id)) }

// Roster returns the roster that we hold for the VN and site.
func (v *View) Roster(id VNID, site string) (Roster, bool) {
	return bodyOf[Roster](v, RosterKey(id, site))
}

// Grants returns what the user may do at now: grants that are neither revoked nor ended, none
// if the user's key is revoked. In order of key.
func (v *View) Grants(user PublicKey, now time.Time) []Grant {
	var list []Grant
	for _, d := range v.grants[user] {
		if g := d.body.(Grant); v.counts(g) && !ended(g.NotAfter, now) {
			list = append(list, g)
		}
	}
	return list
}

// counts reports whether g gives rights, its end aside.
func (v *View) counts(g Grant) bool { return !g.Revoked && !v.Revoked(g.User) }

// AllGrants returns every grant, revoked and ended ones too, in order of key.
func (v *View) AllGrants() []Grant { return bodies[Grant](v, KindGrant) }

// Request returns the request with that body hash.
func (v *View) Request(h Hash) (Request, bool) { return bodyOf[Request](v, RequestKey(h)) }

// Requests returns the request documents in order of key, open or answered.
func (v *View) Requests() []*Document { return slices.Clone(v.kind(KindRequest)) }

// Receipt returns the outcome of the request with that body hash.
func (v *View) Receipt(h Hash) (Receipt, bool) { return bodyOf[Receipt](v, ReceiptKey(h)) }

// Open reports whether the request has no final receipt yet.
func (v *View) Open(h Hash) bool {
	r, ok := v.Receipt(h)
	return !ok || r.State == StatePending
}

// Revoked reports whether a revocation names key.
func (v *View) Revoked(key PublicKey) bool { return v.revoked[key] != nil }

// Revocations returns the revocations in order of key.
func (v *View) Revocations() []Revocation { return bodies[Revocation](v, KindRevocation) }

// Head returns the head of signer.
func (v *View) Head(signer PublicKey) (Head, bool) { return bodyOf[Head](v, HeadKey(signer)) }

// kind returns the documents of kind k in order of key: a window on order, gone at the next change.
func (v *View) kind(k Kind) []*Document {
	from, _ := slices.BinarySearchFunc(v.order, DocKey{Kind: k}, byKey)
	to, _ := slices.BinarySearchFunc(v.order, DocKey{Kind: k + 1}, byKey)
	return v.order[from:to:to]
}

func byKey(d *Document, k DocKey) int { return d.key.Compare(k) }

func bodies[T Body](v *View, k Kind) []T {
	docs := v.kind(k)
	list := make([]T, len(docs))
	for i, d := range docs {
		list[i] = d.body.(T)
	}
	return list
}

func bodyOf[T Body](v *View, key DocKey) (T, bool) {
	if d := v.docs[key]; d != nil {
		return d.body.(T), true
	}
	var none T
	return none, false
}
