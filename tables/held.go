package tables

import (
	"slices"
	"time"
)

// A NotYetError says that a document may become acceptable when one of Needs comes. It is
// ErrNotYet to errors.Is, and Cause too where that is not nil.
type NotYetError struct {
	Needs []DocKey
	Cause error
}

// Error names the needs.
func (e *NotYetError) Error() string {
	text := ErrNotYet.Error() + ":"
	for _, k := range e.Needs {
		text += " " + k.String()
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap returns ErrNotYet and the cause.
func (e *NotYetError) Unwrap() []error { return []error{ErrNotYet, e.Cause} }

func notYet(cause error, needs ...DocKey) error { return &NotYetError{needs, cause} }

// anyHead and grantsOf are needs that no single document has the key of.
var anyHead = DocKey{KindHead, "any"}

func grantsOf(user PublicKey) DocKey { return DocKey{KindGrant, user.Fingerprint() + "/any"} }

// meets returns the needs that d meets once it is kept.
func (s *Store) meets(d *Document) []DocKey {
	keys := []DocKey{d.key}
	switch b := d.body.(type) {
	case Head:
		keys = append(keys, anyHead)
	case Grant:
		// What rests on this grant by way of others may now be nearer to the authority.
		for _, user := range s.below(b.User) {
			keys = append(keys, grantsOf(user))
		}
	case Revocation:
		keys = append(keys, grantsOf(b.Identity))
		if id, ok := s.byIdentity[b.Identity]; ok {
			keys = append(keys, EnrolmentKey(id))
		}
	}
	return keys
}

const (
	// heldMax and heldBytesMax bound what strangers' documents can take: enough for the
	// stragglers of a change, while anti-entropy brings back what fell out.
	heldMax      = 256
	heldBytesMax = 4 << 20
)

type heldDocument struct {
	doc    *Document
	origin Origin
	needs  []DocKey
}

// hold remembers d. The oldest held documents make room.
func (s *Store) hold(d *Document, origin Origin, err error) {
	needs := needsOf(err)
	i := slices.IndexFunc(s.held, func(h heldDocument) bool {
		return h.doc.key == d.key && h.doc.hash == d.hash && slices.Equal(h.doc.signers, d.signers)
	})
	if i >= 0 {
		s.held[i].needs = needs
		return
	}
	s.held = append(s.held, heldDocument{d, origin, needs})
	s.heldSize += len(d.raw)
	for len(s.held) > heldMax || s.heldSize > heldBytesMax {
		s.heldSize -= len(s.held[0].doc.raw)
		s.held = slices.Delete(s.held, 0, 1)
	}
}

// Release gives up a document that Put has held: whoever brought it was told that it does not count,
// so it must not count later.
func (s *Store) Release(d *Document) {
	s.held = slices.DeleteFunc(s.held, func(h heldDocument) bool {
		if h.doc != d {
			return false
		}
		s.heldSize -= len(d.raw)
		return true
	})
}

// Held returns how many documents wait for others.
func (s *Store) Held() int { return len(s.held) }

// wake does what follows from d having been kept: documents that no longer hold go, held ones
// that now do are kept, until nothing changes any more.
func (s *Store) wake(now time.Time, d *Document) {
	kept := []*Document{d}
	for len(kept) > 0 {
		d, kept = kept[0], kept[1:]
		met := s.recheck(now, d)
		met = append(met, s.meets(d)...)
		ready := s.takeHeld(met)
		for _, h := range ready {
			switch o, err := s.put(now, h.doc, h.origin); o {
			case Held:
				s.hold(h.doc, h.origin, err)
			case Kept:
				kept = append(kept, h.doc)
			}
		}
	}
}

// takeHeld removes and returns the held documents that need one of met.
func (s *Store) takeHeld(met []DocKey) []heldDocument {
	var ready []heldDocument
	s.held = slices.DeleteFunc(s.held, func(h heldDocument) bool {
		if !slices.ContainsFunc(h.needs, func(k DocKey) bool { return slices.Contains(met, k) }) {
			return false
		}
		ready = append(ready, h)
		s.heldSize -= len(h.doc.raw)
		return true
	})
	// Lower versions first: version n+1 of some kinds needs version n.
	slices.SortStableFunc(ready, func(a, b heldDocument) int {
		return int(min(1, max(-1, int64(a.doc.Version()-b.doc.Version()))))
	})
	return ready
}
