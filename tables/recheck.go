package tables

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// recheck takes out what is not acceptable any more now that d has been kept, so that a router
// that heard of d first ends up with the same documents. It returns the needs that this meets.
func (s *Store) recheck(now time.Time, d *Document) []DocKey {
	switch b := d.body.(type) {
	case Root:
		return s.recheckRetired(now)
	case Adoption:
		if len(s.lacking) == 0 { // until then everything stays
			return s.recheckRetired(now)
		}
	case Revocation:
		s.recheckRevoked(now, b.Identity)
	case Grant:
		s.recheckDelegations(now, b.User)
		s.recheckRequests(now, b.User)
	case VN:
		s.recheckLeaves(now, b.ID)
	case Manifest:
		s.recheckLeaves(now, b.VN)
	case Receipt:
		s.endJoin(now, b.Request)
	}
	return nil
}

// withdraw takes d out, and holds it if it may become acceptable again. It was accepted before,
// so the clock does not count against it.
func (s *Store) withdraw(d *Document, err error) {
	s.evict(d)
	var missing *NotYetError
	if errors.As(err, &missing) {
		s.hold(d, FromDisk, err)
	}
}

// recheckRetired takes out what only retired authority keys have signed, with its marks: "To
// recover from a fast-forward attack, ... delete the trusted timestamp and snapshot metadata
// files" once their keys have been rotated (TUF specification, Section 5.3.11). What the root adopts
// stays; what depends on the rest goes too.
func (s *Store) recheckRetired(now time.Time) []DocKey {
	if len(s.retired) == 0 {
		return nil
	}
	var gone []DocKey
	// Backwards, so that an entry of a log goes before the one that it continues.
	for _, d := range slices.Backward(slices.Clone(s.order)) {
		if d.Kind() != KindRoot && d.Kind() != KindAdoption && s.signedByRetired(d) && !s.continued(d) && !s.standing(d, true) {
			s.evict(d)
			gone = append(gone, d.key)
			if r, ok := d.body.(Revocation); ok {
				s.readmit(r.Identity)
			}
		}
		if s.overtaken(d) {
			s.note(d.key)
			gone = append(gone, d.key)
		}
	}
	for key, m := range s.marks {
		if key.Kind != KindRoot && s.retired[m.Signer] && s.docs[key] == nil {
			s.dropMark(key)
		}
	}
	for _, d := range slices.Clone(s.kind(KindLinkRecord)) {
		if err := s.authoriseLinkRecord(now, d, d.body.(LinkRecord), FromDisk); err != nil {
			s.withdraw(d, err)
		}
	}
	for _, parent := range slices.SortedFunc(maps.Keys(s.delegated), compareKeys) {
		s.recheckDelegations(now, parent)
	}
	for _, d := range s.Requests() {
		s.recheckRequests(now, d.body.(Request).User)
	}
	for _, id := range slices.Sorted(maps.Keys(s.leaves)) {
		s.recheckLeaves(now, id)
	}
	return gone
}

// readmit has the store take link records of a router whose revocation fell, an older one too: those who had
// the newest have all dropped it, and would not find the router again.
func (s *Store) readmit(identity PublicKey) {
	if id, ok := s.byIdentity[identity]; ok && s.docs[LinkRecordKey(id)] == nil {
		s.dropMark(LinkRecordKey(id))
	}
}

func (s *Store) recheckRevoked(now time.Time, identity PublicKey) {
	if id, ok := s.byIdentity[identity]; ok {
		s.evictKey(LinkRecordKey(id))
	}
	for _, d := range s.Requests() {
		if d.body.(Request).User == identity {
			s.evict(d)
		}
	}
	s.recheckDelegations(now, identity)
	for _, vn := range s.VNs() {
		if vn.Home == identity {
			s.recheckLeaves(now, vn.ID)
		}
	}
}

// recheckRequests takes out the requests of a user that has no grant left.
func (s *Store) recheckRequests(now time.Time, user PublicKey) {
	if len(s.Grants(user, now)) > 0 {
		return
	}
	for _, d := range s.Requests() {
		if r := d.body.(Request); r.User == user && r.Op != OpJoin {
			s.withdraw(d, notYet(nil, grantsOf(user)))
		}
	}
}

// recheckLeaves takes out the leaves of the VN that neither its home signed nor it pins.
func (s *Store) recheckLeaves(now time.Time, id VNID) {
	// Manifests come first in this order: fragments are pinned through them.
	leaves := slices.SortedFunc(maps.Values(s.leaves[id]), func(a, b *Document) int { return a.key.Compare(b.key) })
	for _, d := range leaves {
		if err := s.authoriseLeaf(now, d, FromDisk); err != nil {
			s.withdraw(d, err)
		}
	}
}

func (s *Store) evictKey(key DocKey) {
	if d := s.docs[key]; d != nil {
		s.evict(d)
	}
}
