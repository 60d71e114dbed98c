package tables

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// logMax is how many entries the log of a VN has: older ones make room.
const logMax = 256

// Log returns the entries of the VN's log that we hold, oldest first.
func (v *View) Log(id VNID) []Entry {
	docs := v.log(id)
	list := make([]Entry, len(docs))
	for i, d := range docs {
		list[i] = d.body.(Entry)
	}
	return list
}

// LastEntry returns the number and the body hash of the newest entry of the VN's log; zeros if there is none.
func (v *View) LastEntry(id VNID) (number uint64, hash Hash) {
	if docs := v.log(id); len(docs) > 0 {
		last := docs[len(docs)-1]
		return last.body.(Entry).Number, last.hash
	}
	return 0, Hash{}
}

// log returns the documents of the log: a window on order, gone at the next change.
func (v *View) log(id VNID) []*Document {
	from, _ := slices.BinarySearchFunc(v.order, EntryKey(id, 0), byKey)
	to, found := slices.BinarySearchFunc(v.order, EntryKey(id, math.MaxUint64), byKey)
	if found {
		to++
	}
	return v.order[from:to:to]
}

// continued reports whether d is an entry of a log that the next one holds the hash of: whoever signed that vouches for d.
func (v *View) continued(d *Document) bool {
	e, ok := d.body.(Entry)
	if !ok || e.Number == math.MaxUint64 {
		return false
	}
	next, ok := bodyOf[Entry](v, EntryKey(e.VN, e.Number+1))
	return ok && next.Before == d.hash
}

// authoriseEntry admits an entry that the VN's home or an authority signed, or that the next entry continues.
func (s *Store) authoriseEntry(now time.Time, d *Document, b Entry, origin Origin) error {
	vn, known := s.VN(b.VN)
	if !known {
		return notYet(nil, VNKey(b.VN))
	}
	if last, _ := s.LastEntry(b.VN); last >= logMax && b.Number <= last-logMax {
		return fmt.Errorf("%w: the log of %s begins later", ErrExpired, b.VN)
	}
	if s.continued(d) || d.SignedBy(vn.Home) && !s.Revoked(vn.Home) && s.inOffice(now, vn.Home, origin) {
		return nil
	}
	if err := s.byAuthority(now, d, origin); err != nil {
		return notYet(fmt.Errorf("%w: not the home of %s", ErrSigner, b.VN), VNKey(b.VN), EntryKey(b.VN, b.Number+1), RootKey(s.root.Version()+1))
	}
	return nil
}

// trimLog takes out what the log of the VN has no room for. The same entries are refused from then on, so routers that have
// heard of the same changes hold the same ones.
func (s *Store) trimLog(id VNID) {
	last, _ := s.LastEntry(id)
	for _, d := range slices.Clone(s.log(id)) {
		if d.body.(Entry).Number+logMax <= last {
			s.forget(d)
		}
	}
}
