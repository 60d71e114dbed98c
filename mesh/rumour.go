package mesh

import (
	"encoding/binary"

	"github.com/vine-mesh/vine/tables"
)

// InlineBytesMax is the largest document that a rumour carries whole. Up to here the cost of
// sending it some 20 times stays below that of a pull by everyone who hears of it.
const InlineBytesMax = 1 << 10

// A Rumour is the news of one version of one document. The encoding, big-endian:
//
//	key (kind 1, ID length, ID) | version | hash 32 | holder 4 | body length | body
//
// Numbers without a size are unsigned LEB128 in shortest form; the body fills the rest. A rumour
// proves nothing: the receiver verifies the body before it keeps it or passes it on.
type Rumour struct {
	Digest tables.Digest
	// Holder says from whom the document can be pulled. Never zero.
	Holder tables.RouterID
	// Body is the document's envelope, at most InlineBytesMax; empty if it must be pulled.
	Body []byte
}

// AppendRumour appends the encoding of r to b.
func AppendRumour(b []byte, r Rumour) []byte {
	b = appendKey(b, r.Digest.Key)
	b = binary.AppendUvarint(b, r.Digest.Version)
	b = append(b, r.Digest.Hash[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(r.Holder))
	b = binary.AppendUvarint(b, uint64(len(r.Body)))
	return append(b, r.Body...)
}

// ParseRumour reads one rumour that fills b. The body shares the memory of b.
func ParseRumour(b []byte) (Rumour, error) {
	r := reader{b: b}
	var u Rumour
	u.Digest.Key, u.Digest.Version = r.key(), r.uvarint()
	copy(u.Digest.Hash[:], r.bytes(len(u.Digest.Hash)))
	if p := r.bytes(4); p != nil {
		u.Holder = tables.RouterID(binary.BigEndian.Uint32(p))
	}
	n := r.uvarint()
	if r.failed || n != uint64(len(r.b)) || n > InlineBytesMax || u.Holder == 0 {
		return Rumour{}, errMalformed
	}
	if n > 0 {
		u.Body = r.b
	}
	return u, nil
}

// A Verdict says what to do about a rumour.
type Verdict uint8

// The verdicts.
const (
	// VerdictNone: known, or older than ours. It is not passed on.
	VerdictNone Verdict = iota
	// VerdictVerify: the body is here; verify it, and if it is good, store it and pass it on.
	VerdictVerify
	// VerdictPull: fetch the document from the holder (View's Wanted), then as VerdictVerify.
	VerdictPull
)

// String returns the name of the verdict.
func (v Verdict) String() string {
	switch v {
	case VerdictNone:
		return "none"
	case VerdictVerify:
		return "verify"
	case VerdictPull:
		return "pull"
	}
	return "invalid"
}

// Heard decides about a rumour that came in, against what we hold. A version that we hold with
// another hash gets the same verdict as a new one: it may be evidence that its signer said two
// things, and the store must see it. A document of a kind that this program does not know is
// VerdictNone.
func Heard(held *Index, r Rumour) Verdict {
	d, found := held.Get(r.Digest.Key)
	switch {
	case !r.Digest.Key.Kind.Valid():
		return VerdictNone
	case found && (r.Digest.Version < d.Version || r.Digest == d):
		return VerdictNone
	case len(r.Body) > 0:
		return VerdictVerify
	}
	return VerdictPull
}
