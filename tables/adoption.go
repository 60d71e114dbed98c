package tables

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
)

// When root retires an authority key, what only that key has signed does not count any more, unless the
// root adopts it: the root names adoptions by their hash, and they list documents, each with its version
// and hash. So the holders of the root keys say with one signature which documents stand, whether the
// old key is lost or stolen, and nothing has to be signed again.

// adoptedMax is how many documents one adoption lists at most: 80 KiB, so that what a newcomer is given to start
// with has room for one. AdoptionsMax adoptions list some 180,000 documents.
const adoptedMax = 700

// AdoptionsMax is how many adoptions a root may name.
const AdoptionsMax = 256

// An Adoption lists documents that still count although root has retired the authority keys that signed
// them. Whose signature it has does not matter: a root names it by its hash.
type Adoption struct {
	Documents []Adopted `cbor:"1,keyasint"` // sorted by key, distinct
}

// An Adopted is one document that stands, of exactly that version and content.
type Adopted struct {
	Kind    Kind   `cbor:"1,keyasint"`
	ID      string `cbor:"2,keyasint"`
	Version uint64 `cbor:"3,keyasint"`
	Hash    Hash   `cbor:"4,keyasint"` // body hash
}

// Key returns the key of the document.
func (a Adopted) Key() DocKey { return DocKey{a.Kind, a.ID} }

// Lists reports whether b lists some version of the document called key.
func (b Adoption) Lists(key DocKey) bool {
	_, found := slices.BinarySearchFunc(b.Documents, key, func(a Adopted, key DocKey) int { return a.Key().Compare(key) })
	return found
}

func (b Adoption) check() error {
	err := checkSorted("documents", b.Documents, 1, adoptedMax, func(a, c Adopted) int { return a.Key().Compare(c.Key()) })
	for _, a := range b.Documents {
		if !a.Kind.Adoptable() || len(a.ID) == 0 || len(a.ID) > textMax || a.Version == 0 || a.Hash.IsZero() {
			return cmp.Or(err, bad("a document is none that can be adopted"))
		}
	}
	return err
}

// Adoptable reports whether documents of kind k are signed by authorities and count longer than a head.
func (k Kind) Adoptable() bool {
	switch k {
	case KindEnrolment, KindSite, KindGrant, KindVN, KindManifest, KindFragment, KindRoster, KindRevocation, KindReceipt, KindEntry:
		return true
	}
	return false
}

// AdoptionKey returns the key of the adoption with that body hash.
func AdoptionKey(h Hash) DocKey { return DocKey{KindAdoption, hex.EncodeToString(h[:])} }

// Adoptions returns adoptions that list the documents that digests names, and their hashes in the order
// in which a root names them. It fails on more than they have room for.
func Adoptions(digests []Digest) (list []Adoption, hashes []Hash, err error) {
	sorted := slices.SortedFunc(slices.Values(digests), func(a, b Digest) int { return a.Key.Compare(b.Key) })
	if len(sorted) > adoptedMax*AdoptionsMax {
		return nil, nil, fmt.Errorf("adopt %d documents: %w: the limit is %d", len(sorted), ErrTooBig, adoptedMax*AdoptionsMax)
	}
	for part := range slices.Chunk(sorted, adoptedMax) {
		var a Adoption
		for _, d := range part {
			a.Documents = append(a.Documents, Adopted{d.Key.Kind, d.Key.ID, d.Version, d.Hash})
		}
		h, err := HashBody(a)
		if err != nil {
			return nil, nil, err
		}
		list, hashes = append(list, a), append(hashes, h)
	}
	slices.SortFunc(hashes, compareHashes)
	return list, hashes, nil
}

func compareHashes(a, b Hash) int { return bytes.Compare(a[:], b[:]) }

// readAdoptions works out which documents of retired keys stand. The map is made anew, as other views
// have the old one.
func (v *View) readAdoptions() {
	root, _ := v.Root()
	v.adopted, v.lacking = nil, nil
	for _, h := range root.Adopts {
		a, ok := bodyOf[Adoption](v, AdoptionKey(h))
		if !ok {
			v.lacking = append(v.lacking, AdoptionKey(h))
			continue
		}
		if v.adopted == nil {
			v.adopted = make(map[DocKey]Digest, len(a.Documents))
		}
		for _, d := range a.Documents {
			v.adopted[d.Key()] = Digest{d.Key(), d.Version, d.Hash}
		}
	}
}

// Retired reports whether key was an authority key and the current root lists it no more.
func (v *View) Retired(key PublicKey) bool { return v.retired[key] }

// Adopted reports whether the current root adopts d: it counts although every key that signed it is
// retired.
func (v *View) Adopted(d *Document) bool { return v.adopted[d.key] == d.Digest() }

// standing reports whether d, which only retired keys have signed, counts all the same; had says that we had
// it before. While an adoption that the root names has not come, what we had stays: to keep it from us hides
// news and no more. So does an enrolment while the version that is adopted in its place has not come, or a
// thief could have VRs forget each other, and nobody would be left to bring it.
func (v *View) standing(d *Document, had bool) bool {
	if v.Adopted(d) || !had {
		return v.Adopted(d)
	}
	have := v.docs[d.key]
	return len(v.lacking) > 0 && d.Kind().Adoptable() || v.overtaken(d) && (have == nil || v.overtaken(have))
}

// overtaken reports whether d is an enrolment in whose place the root adopts another version.
func (v *View) overtaken(d *Document) bool {
	a, listed := v.adopted[d.key]
	return listed && d.Kind() == KindEnrolment && a != d.Digest() && v.signedByRetired(d)
}

// authoriseAdoption admits what a root names.
func (s *Store) authoriseAdoption(d *Document) error {
	for _, r := range s.kind(KindRoot) {
		if slices.Contains(r.body.(Root).Adopts, d.hash) {
			return nil
		}
	}
	return notYet(fmt.Errorf("%w: no root names this adoption", ErrSigner), RootKey(s.root.Version()+1))
}
