package tables

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Mark is the high-water mark of one document: the highest version that was ever accepted.
// Signer is who signed it; when root retires that key, the mark goes (recovery from a
// compromised signer that has used up the version numbers).
type Mark struct {
	Key     DocKey
	Version uint64
	Hash    Hash
	Signer  PublicKey
}

// MarkOf returns the mark that d leaves when it is kept.
func MarkOf(d *Document) Mark { return Mark{d.key, d.Version(), d.hash, d.signers[0]} }

// Marked reports whether marks of kind k are worth the disk: those of requests and receipts end with
// them, and an entry of a log and an adoption have one version.
func Marked(k Kind) bool {
	return k != KindRequest && k != KindReceipt && k != KindEntry && k != KindAdoption
}

// HighWater returns the marks that are worth the disk in order of key: those of kinds that Marked names,
// but for first versions of delegations, which keep nothing away and come every day. A store that
// has lost documents but has the marks does not take older versions.
func (s *Store) HighWater() []Mark {
	list := make([]Mark, 0, len(s.marks))
	for _, m := range s.marks {
		if Marked(m.Key.Kind) && !(m.Version == 1 && m.Key.delegation()) {
			list = append(list, m)
		}
	}
	slices.SortFunc(list, func(a, b Mark) int { return a.Key.Compare(b.Key) })
	return list
}

// delegation reports whether k is the key of a delegation.
func (k DocKey) delegation() bool { return k.Kind == KindGrant && strings.Contains(k.ID, "/by/") }

// SetHighWater raises the marks of the store to those given; it lowers none. Call it before the
// first Put: documents that the store already has stay.
func (s *Store) SetHighWater(marks []Mark) {
	for _, m := range marks {
		if have, ok := s.marks[m.Key]; !ok || have.Version < m.Version {
			s.marks[m.Key] = m
			s.mutable().above[m.Key] = m.Version
		}
	}
}

// NextVersion returns the version above the highest of key that was ever accepted, also where
// that is lost, revoked or of a retired signer and only its mark is left. Signers count from there.
func (v *View) NextVersion(key DocKey) uint64 {
	last := v.above[key]
	if d := v.docs[key]; d != nil {
		last = max(last, d.Version())
	}
	return last + 1
}

// NextRouter returns the router ID above the highest that was ever enrolled, also where only the
// mark of its enrolment is left; zero when every ID has been given.
func (v *View) NextRouter() RouterID {
	top := RouterID(v.highest(KindEnrolment))
	for id := range v.enrolments {
		top = max(top, id)
	}
	return top + 1
}

// NextVN returns the VN ID above the highest that was ever used; zero when every ID has been given.
func (v *View) NextVN() VNID {
	top := VNID(v.highest(KindVN))
	for _, vn := range v.VNs() {
		top = max(top, vn.ID)
	}
	return top + 1
}

// highest returns the highest number among the keys of kind k whose documents are gone.
func (v *View) highest(k Kind) uint32 {
	var top uint32
	for key := range v.above {
		if n, err := strconv.ParseUint(key.ID, 10, 32); key.Kind == k && err == nil {
			top = max(top, uint32(n))
		}
	}
	return top
}

// A markRecord is a Mark on disk: the deterministic CBOR array [kind, ID, version, hash, signer].
type markRecord struct {
	_       struct{} `cbor:",toarray"`
	Kind    Kind
	ID      string
	Version uint64
	Hash    Hash
	Signer  PublicKey
}

// AppendMarks appends marks, as HighWater gives them, to b: a CBOR array of markRecord.
func AppendMarks(b []byte, marks []Mark) []byte {
	records := make([]markRecord, len(marks))
	for i, m := range marks {
		records[i] = markRecord{Kind: m.Key.Kind, ID: m.Key.ID, Version: m.Version, Hash: m.Hash, Signer: m.Signer}
	}
	return append(b, must(encMode.Marshal(records))...)
}

// ParseMarks reads what AppendMarks wrote, and nothing after it.
func ParseMarks(b []byte) ([]Mark, error) {
	var records []markRecord
	if err := decodeStrict(b, &records); err != nil {
		return nil, fmt.Errorf("parse high-water marks: %w", err)
	}
	marks := make([]Mark, len(records))
	for i, r := range records {
		marks[i] = Mark{DocKey{r.Kind, r.ID}, r.Version, r.Hash, r.Signer}
	}
	return marks, nil
}

// evidenceMax bounds what a signer that misbehaves can make us remember; one piece is kept
// for each document, and one is enough to ask its signer what happened.
const evidenceMax = 64

// Evidence says that somebody signed what cannot both be true: two contents for one version, or
// a name, number or block that another has. It changes nothing; people decide.
type Evidence struct {
	Key     DocKey
	Version uint64
	Kept    Hash      // body hash of what stays
	Refused *Document // what does not
	Seen    time.Time
	Reason  string
}

// Evidence returns the evidence gathered, oldest first, and how many pieces there was no room
// for.
func (s *Store) Evidence() (list []Evidence, dropped int) {
	return slices.Clone(s.evidence), s.missed
}

func (s *Store) report(now time.Time, d *Document, mark Mark, conflict error) {
	known := slices.ContainsFunc(s.evidence, func(e Evidence) bool { return e.Key == d.key })
	if known {
		return
	}
	if len(s.evidence) >= evidenceMax {
		s.missed++
		return
	}
	reason := "two contents for one version"
	if conflict != nil {
		reason = conflict.Error()
	}
	s.evidence = append(s.evidence, Evidence{d.key, d.Version(), mark.Hash, d, now, reason})
}
