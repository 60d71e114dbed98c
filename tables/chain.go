package tables

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// openPerUser bounds requests of one user that nobody has answered yet (architecture, "Management").
const openPerUser = 16

// authorise reports whether the signers of d may sign it, given what the store has. The answer
// does not depend on versions of d itself other than the current one.
func (s *Store) authorise(now time.Time, d *Document, origin Origin) error {
	if b, ok := d.body.(Root); ok {
		return s.authoriseRoot(d, b)
	}
	if s.root == nil {
		return notYet(nil, RootKey(1))
	}
	if d.Kind() == KindAdoption {
		return s.authoriseAdoption(d)
	}
	if s.signedByRetired(d) && !s.continued(d) && !s.standing(d, origin == FromDisk) {
		if len(s.lacking) > 0 && d.Kind().Adoptable() {
			return notYet(fmt.Errorf("%w: root has retired the key", ErrSigner), s.lacking...)
		}
		return fmt.Errorf("%w: root has retired the key", ErrSigner)
	}
	switch b := d.body.(type) {
	case Enrolment:
		return s.authoriseEnrolment(now, d, b, origin)
	case Site, Receipt:
		if r, ok := b.(Receipt); ok && s.receiptEnded(now, r) {
			return ErrExpired
		}
		return s.byAuthority(now, d, origin)
	case Revocation:
		return s.byAuthority(now, d, origin)
	case Grant:
		return s.authoriseGrant(now, d, b, origin)
	case VN:
		return s.authoriseVN(now, d, b, origin)
	case Manifest, Fragment, Roster:
		return s.authoriseLeaf(now, d, origin)
	case Entry:
		return s.authoriseEntry(now, d, b, origin)
	case Head:
		return s.authoriseHead(now, d, b, origin)
	case LinkRecord:
		return s.authoriseLinkRecord(now, d, b, origin)
	case Request:
		return s.authoriseRequest(now, d, b, origin)
	default:
		return fmt.Errorf("%w: %s documents are not kept", ErrFormat, d.Kind())
	}
}

// authoriseRoot follows the TUF specification, Section 5.3: versions one by one, each "signed
// by (1) a threshold of keys specified in the trusted root metadata file (version N), and (2) a
// threshold of keys specified in the new root metadata file".
func (s *Store) authoriseRoot(d *Document, b Root) error {
	if !s.met(b, d) {
		return fmt.Errorf("%w: too few of its own root keys", ErrSigner)
	}
	if b.Version == 1 {
		if !s.federation.IsZero() && d.hash != s.federation {
			return fmt.Errorf("%w: root of another federation", ErrSigner)
		}
		return nil
	}
	before, ok := bodyOf[Root](s.view, RootKey(b.Version-1))
	switch {
	case !ok && !s.skip["sequential"]:
		return notYet(nil, RootKey(b.Version-1))
	case !ok:
		return nil
	case !s.met(before, d):
		return fmt.Errorf("%w: too few root keys of the version before", ErrSigner)
	case b.Federation != before.Federation:
		return fmt.Errorf("%w: federation renamed", ErrConflict)
	}
	for _, p := range before.Space {
		if !inside(b.Space, p) {
			return fmt.Errorf("%w: ViNe space shrinks", ErrConflict)
		}
	}
	return nil
}

// met reports whether threshold distinct root keys of r have signed d. The envelope has no key
// twice, and r lists none twice.
func (s *Store) met(r Root, d *Document) bool {
	n := 0
	for _, k := range r.RootKeys {
		if d.SignedBy(k) {
			n++
		}
	}
	return n >= int(r.Threshold) || s.skip["threshold"]
}

// signedByRetired reports whether root has retired every key that signed d.
func (v *View) signedByRetired(d *Document) bool {
	for _, k := range d.signers {
		if !v.retired[k] {
			return false
		}
	}
	return true
}

// byAuthority admits what an authority key of the current root has signed, and what the root has
// adopted. From the network the key must not have ended.
func (s *Store) byAuthority(now time.Time, d *Document, origin Origin) error {
	if s.skip["signer"] {
		return nil
	}
	if s.signedByRetired(d) && s.standing(d, origin == FromDisk) {
		return nil
	}
	found := fmt.Errorf("%w: no authority key", ErrSigner)
	for _, k := range d.signers {
		a, ok := s.authority(k)
		if ok && (origin == FromDisk || !ended(a.NotAfter, now) || s.skip["expiry"]) {
			return nil
		}
		if ok {
			found = fmt.Errorf("%w: the authority key", ErrExpired)
		}
	}
	// The next root may list the key, or let it live longer.
	return notYet(found, RootKey(s.root.Version()+1))
}

// fresh admits new rights from the network only while a head vouches for the present, or the root itself
// vouches for them.
func (s *Store) fresh(now time.Time, d *Document, origin Origin) error {
	if origin == FromNetwork && !s.Adopted(d) && s.TrustStale(now) && !s.skip["freeze"] {
		return notYet(ErrStale, anyHead, RootKey(s.root.Version()+1))
	}
	return nil
}

func (s *Store) authoriseEnrolment(now time.Time, d *Document, b Enrolment, origin Origin) error {
	if err := s.byAuthority(now, d, origin); err != nil {
		return err
	}
	old, known := bodyOf[Enrolment](s.view, d.key)
	if known && !s.Adopted(d) && (old.Name != b.Name || old.Identity != b.Identity) {
		return fmt.Errorf("%w: %s is %s", ErrConflict, b.Router, old.Name)
	}
	if id, taken := s.byName[b.Name]; taken && id != b.Router {
		return fmt.Errorf("%w: the name belongs to %s", ErrConflict, id)
	}
	if id, taken := s.byIdentity[b.Identity]; taken && id != b.Router {
		return fmt.Errorf("%w: the identity belongs to %s", ErrConflict, id)
	}
	if id, spent := s.byInvite[b.Invite]; spent && id != b.Router {
		return fmt.Errorf("%w: the invite is spent on %s", ErrConflict, id)
	}
	if err := s.checkBlocks(b); err != nil {
		return err
	}
	if !known {
		return s.fresh(now, d, origin)
	}
	return nil
}

// checkBlocks admits blocks inside the ViNe space that no VR of another site has. Blocks of
// revoked VRs are free.
func (s *Store) checkBlocks(b Enrolment) error {
	for _, p := range b.Blocks {
		if !s.InSpace(p) {
			return fmt.Errorf("%w: block outside the ViNe space", ErrConflict)
		}
	}
	for id, d := range s.enrolments {
		e := d.body.(Enrolment)
		if id == b.Router || e.Site == b.Site || s.Revoked(e.Identity) || s.overtaken(d) {
			continue
		}
		for _, p := range b.Blocks {
			if slices.ContainsFunc(e.Blocks, p.Overlaps) {
				// The other VR may be about to give the block up.
				return notYet(fmt.Errorf("%w: block overlaps one of %s", ErrConflict, id), EnrolmentKey(id))
			}
		}
	}
	return nil
}

func (s *Store) authoriseHead(now time.Time, d *Document, b Head, origin Origin) error {
	if !d.SignedBy(b.Signer) {
		return fmt.Errorf("%w: not the signer that the head names", ErrSigner)
	}
	if err := s.byAuthority(now, d, origin); err != nil {
		return err
	}
	if origin == FromNetwork && now.Add(Grace).Unix() < b.Issued {
		return fmt.Errorf("%w: issued in the future", ErrExpired)
	}
	return nil
}

func (s *Store) authoriseLinkRecord(now time.Time, d *Document, b LinkRecord, origin Origin) error {
	e, known := bodyOf[Enrolment](s.view, EnrolmentKey(b.Router))
	switch {
	case !known:
		return notYet(nil, EnrolmentKey(b.Router))
	case !d.SignedBy(e.Identity) && !s.skip["signer"]:
		return fmt.Errorf("%w: not the identity of %s", ErrSigner, b.Router)
	case s.Revoked(e.Identity) && !s.skip["revocation"]:
		return fmt.Errorf("%w: %s", ErrRevoked, b.Router)
	case origin == FromNetwork && ended(e.NotAfter, now):
		return notYet(fmt.Errorf("%w: the enrolment of %s", ErrExpired, b.Router), EnrolmentKey(b.Router))
	}
	for _, ep := range b.Endpoints {
		if s.InSpaceAddr(ep.Addr()) {
			return fmt.Errorf("%w: endpoint inside the ViNe space", ErrConflict)
		}
	}
	for _, at := range b.Streams {
		if s.InSpaceAddr(at.Endpoint.Addr()) {
			return fmt.Errorf("%w: stream endpoint inside the ViNe space", ErrConflict)
		}
	}
	return nil
}

// authoriseRequest admits what its user signed and has a right to ask for, while there is time and
// room. What is on our own disk is in the quotas already.
func (s *Store) authoriseRequest(now time.Time, d *Document, b Request, origin Origin) error {
	switch {
	case !d.SignedBy(b.User):
		return fmt.Errorf("%w: not the user", ErrSigner)
	case s.Revoked(b.User):
		return fmt.Errorf("%w: the user", ErrRevoked)
	case b.NotAfter > now.Add(Grace).Unix()+RequestLifeMax:
		return fmt.Errorf("%w: ends later than 30 days from now", ErrExpired)
	case b.Op == OpJoin && b.Issued > now.Add(Grace).Unix():
		return fmt.Errorf("%w: issued in the future", ErrExpired)
	case b.Op != OpJoin && len(s.Grants(b.User, now)) == 0 && !ended(b.NotAfter, now):
		return notYet(fmt.Errorf("%w: the user has no grant", ErrSigner), grantsOf(b.User))
	}
	if b.Op == OpJoin && origin == FromNetwork {
		if _, err := s.checkJoin(b); err != nil {
			return err
		}
	}
	if ended(s.requestEnd(now, d), now) {
		return ErrExpired
	}
	if origin == FromDisk {
		return nil
	}
	return s.roomForRequest(now, d, b)
}

func needsOf(err error) []DocKey {
	var e *NotYetError
	if errors.As(err, &e) {
		return e.Needs
	}
	return nil
}
