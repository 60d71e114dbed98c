package tables

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Grace is how far the clocks of a signer and a reader may differ before an end date counts.
const Grace = 5 * time.Minute

// ended reports whether a time given in Unix seconds has passed, with Grace.
func ended(end int64, now time.Time) bool { return now.Add(-Grace).Unix() >= end }

// An Origin says where a document came from.
type Origin uint8

// The origins.
const (
	// FromNetwork documents are checked against the clock.
	FromNetwork Origin = iota
	// FromDisk documents were accepted before, or have just been made here: signers' end dates
	// and the age of heads do not count against them, so a VR restarts with no authority.
	FromDisk
)

// An Outcome says what Put did.
type Outcome uint8

// The outcomes. Refused and Held come with an error, the others without.
const (
	Refused      Outcome = iota // not acceptable; nothing changed
	Held                        // not acceptable yet (ErrNotYet); tried again when what it needs comes
	Kept                        // the newest version; stored
	Same                        // what we have
	Stale                       // older than what we have or had
	Equivocation                // as old as what we have, with another content: kept as Evidence, nothing else changed
)

// String returns the outcome's name in lower case.
func (o Outcome) String() string {
	names := [...]string{"refused", "held", "kept", "same", "stale", "equivocation"}
	if int(o) < len(names) {
		return names[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// A Change is a document that has become current, or with Doc nil a key that has none any more
// (an identity revoked, a signer gone, a request ended).
type Change struct {
	Key DocKey
	Doc *Document
}

// A Store keeps the documents of one federation: for every DocKey the acceptable document with
// the highest version. What it ends up with does not depend on the order in which documents
// arrive, as long as signers do not equivocate.
//
// The methods of View read the present state. A Store belongs to one goroutine; Snapshot gives
// a View for others.
type Store struct {
	*view
	shared bool // a Snapshot is out: the next change works on a copy

	marks    map[DocKey]Mark
	invites  map[DocKey]Invite // of the join requests that are kept; zero: none, or none that holds
	held     []heldDocument
	heldSize int
	evidence []Evidence
	missed   int // evidence beyond evidenceMax

	changed []DocKey
	pending map[DocKey]bool // the keys in changed

	// skip switches off one defence, for tests that show what it defends against. Nil outside
	// tests of this package.
	skip map[string]bool
}

type view = View

// NewStore returns an empty store for the federation whose first root has that body hash.
// With a zero hash it trusts the first root that it is given.
func NewStore(federation Hash) *Store {
	return &Store{
		view:    newView(federation),
		marks:   map[DocKey]Mark{},
		invites: map[DocKey]Invite{},
		pending: map[DocKey]bool{},
	}
}

// Snapshot returns the present state. It costs nothing now and a copy of the indexes at the
// next change.
func (s *Store) Snapshot() *View {
	s.shared = true
	return s.view
}

// mutable returns the View to change.
func (s *Store) mutable() *View {
	if s.shared {
		s.view, s.shared = s.view.clone(), false
	}
	return s.view
}

// PutBytes is ParseDocument and Put.
func (s *Store) PutBytes(now time.Time, envelope []byte, origin Origin) (*Document, Outcome, error) {
	d, err := ParseDocument(envelope)
	if err != nil {
		return nil, Refused, err
	}
	o, err := s.Put(now, d, origin)
	return d, o, err
}

// Put verifies that the signers of d may sign it and keeps it if it is newer than what the
// store has. Documents that were held for want of it are kept with it; TakeChanges tells.
//
// Errors are those of errors.go; the store is unchanged then, except that with ErrNotYet it
// holds d for a while.
func (s *Store) Put(now time.Time, d *Document, origin Origin) (Outcome, error) {
	o, err := s.put(now, d, origin)
	if o == Held {
		s.hold(d, origin, err)
	}
	if o == Kept {
		s.wake(now, d)
	}
	return o, err
}

func (s *Store) put(now time.Time, d *Document, origin Origin) (Outcome, error) {
	mark, marked := s.marks[d.key]
	old := s.docs[d.key]
	if old != nil && s.overtaken(old) && s.Adopted(d) {
		marked = false
	}
	if marked && d.Version() < mark.Version && !s.skip["rollback"] {
		return Stale, nil
	}
	if old != nil && old.hash == d.hash && slices.Equal(old.signers, d.signers) {
		return Same, nil
	}
	if err := s.authorise(now, d, origin); err != nil {
		var notYet *NotYetError
		if errors.As(err, &notYet) {
			return Held, fmt.Errorf("%s: %w", d.key, err)
		}
		if errors.Is(err, ErrConflict) {
			s.report(now, d, mark, err)
		}
		return Refused, fmt.Errorf("%s: %w", d.key, err)
	}
	switch {
	case old != nil && old.hash == d.hash:
		if s.outlives(d, old) {
			s.keep(d)
		}
		return Same, nil
	case marked && d.Version() == mark.Version && d.hash != mark.Hash:
		s.report(now, d, mark, nil)
		return Equivocation, nil
	}
	s.keep(d)
	if r, ok := d.body.(LinkRecord); ok && s.byLinkKey[r.Link] != r.Router {
		s.report(now, d, mark, fmt.Errorf("%w: the link key belongs to %s", ErrConflict, s.byLinkKey[r.Link]))
	}
	return Kept, nil
}

// outlives reports whether the signature of d will count for longer than that of old, which has
// the same body: the document then survives the retirement of old's signer.
func (s *Store) outlives(d, old *Document) bool {
	return s.signedUntil(d) > s.signedUntil(old)
}

func (s *Store) signedUntil(d *Document) int64 {
	var last int64
	for _, k := range d.signers {
		if a, ok := s.authority(k); ok {
			last = max(last, a.NotAfter)
		}
	}
	return last
}

// keep makes d current.
func (s *Store) keep(d *Document) {
	if r, ok := d.body.(Request); ok && r.Op == OpJoin {
		s.invites[d.key], _ = s.checkJoin(r) // zero if it does not hold
	}
	s.mutable().insert(d)
	delete(s.above, d.key)
	s.marks[d.key] = MarkOf(d)
	s.note(d.key)
	if e, ok := d.body.(Entry); ok {
		s.trimLog(e.VN)
	}
}

// evict takes a document out that is not acceptable any more. Its mark stays.
func (s *Store) evict(d *Document) {
	s.mutable().remove(d.key)
	s.above[d.key] = s.marks[d.key].Version
	delete(s.invites, d.key)
	s.note(d.key)
}

// dropMark lets the store take any version of key again.
func (s *Store) dropMark(key DocKey) {
	delete(s.marks, key)
	delete(s.mutable().above, key)
}

func (s *Store) note(key DocKey) {
	if !s.pending[key] {
		s.pending[key] = true
		s.changed = append(s.changed, key)
	}
}

// TakeChanges returns what has changed since the last call, each key once, in the order of
// first change. The caller writes it to disk, spreads it and installs it.
func (s *Store) TakeChanges() []Change {
	changes := make([]Change, len(s.changed))
	for i, k := range s.changed {
		changes[i] = Change{k, s.docs[k]}
		if d := s.docs[k]; d != nil && s.overtaken(d) {
			changes[i].Doc = nil // so that the version in its place is asked for
		}
	}
	s.changed = nil
	clear(s.pending)
	return changes
}

// loadOrder is the order in which documents need each other.
var loadOrder = [...]Kind{KindRoot, KindAdoption, KindRevocation, KindHead, KindGrant, KindEnrolment, KindSite, KindVN,
	KindManifest, KindFragment, KindRoster, KindEntry, KindLinkRecord, KindRequest, KindReceipt}

// SortForLoad puts documents in the order in which they need each other.
func SortForLoad(docs []*Document) {
	slices.SortStableFunc(docs, func(a, b *Document) int {
		if c := slices.Index(loadOrder[:], a.Kind()) - slices.Index(loadOrder[:], b.Kind()); c != 0 {
			return c
		}
		return cmp.Or(compareParents(a, b), cmp.Compare(a.Version(), b.Version()))
	})
}

// Load puts documents of that origin in the order in which they need each other. It returns one
// error for each document that was not acceptable in the end.
func (s *Store) Load(now time.Time, docs []*Document, origin Origin) []error {
	var errs []error
	sorted := slices.Clone(docs)
	SortForLoad(sorted)
	held := map[*Document]error{}
	for _, d := range sorted {
		switch o, err := s.Put(now, d, origin); o {
		case Held:
			held[d] = err
		case Refused:
			errs = append(errs, err)
		}
	}
	// More are held in a store of many delegations than it remembers, so those are tried again here.
	for range DelegationDepth {
		for _, d := range sorted {
			if have := s.docs[d.key]; held[d] != nil && (have == nil || have.Version() < d.Version()) {
				_, held[d] = s.Put(now, d, origin)
			}
		}
	}
	for _, d := range sorted {
		if have := s.docs[d.key]; held[d] != nil && (have == nil || have.Version() < d.Version()) {
			errs = append(errs, held[d])
		}
	}
	return errs
}

// compareParents puts grants of the authority before delegated ones.
func compareParents(a, b *Document) int {
	rank := func(d *Document) int {
		if g, ok := d.body.(Grant); ok && !g.Parent.IsZero() {
			return 1
		}
		return 0
	}
	return rank(a) - rank(b)
}

// Expire removes what time has ended: delegations, requests past their end or whose user has no
// grant left, and receipts that nobody needs any more. Call it every few minutes, and TakeChanges after it: a
// Change without a Doc leaves the index.
//
// What it removes Put refuses as ErrExpired from then on, so routers that have heard of the same
// documents come to hold the same ones again.
func (s *Store) Expire(now time.Time) {
	s.expireDelegations(now)
	for _, d := range s.Requests() {
		r := d.body.(Request)
		if ended(s.requestEnd(now, d), now) || r.Op != OpJoin && len(s.Grants(r.User, now)) == 0 {
			s.forget(d)
		}
	}
	for _, d := range slices.Clone(s.kind(KindReceipt)) {
		if s.receiptEnded(now, d.body.(Receipt)) {
			s.forget(d)
		}
	}
}
