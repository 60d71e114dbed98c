package tables

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"math/bits"
	"slices"
	"time"
)

// HeadLifeMax is the longest life of a head, in seconds. Hiding news works for at most this
// long.
const HeadLifeMax = 31 * 24 * 3600

// MerkleRoot returns the Merkle tree hash of the digests in the order given, as RFC 6962,
// Section 2.1: SHA-256(0x00 || leaf), SHA-256(0x01 || left || right), SHA-256("") for none. A
// leaf is kind (1 byte), length of ID (4), ID, version (8), hash (32), big-endian.
func MerkleRoot(digests iter.Seq[Digest]) Hash {
	var leaves []Hash
	var buf []byte
	for d := range digests {
		buf = append(buf[:0], 0, byte(d.Key.Kind))
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(d.Key.ID)))
		buf = append(buf, d.Key.ID...)
		buf = binary.BigEndian.AppendUint64(buf, d.Version)
		buf = append(buf, d.Hash[:]...)
		leaves = append(leaves, sha256.Sum256(buf))
	}
	return merkle(leaves)
}

func merkle(leaves []Hash) Hash {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	default:
		k := 1 << (bits.Len(uint(n-1)) - 1) // the largest power of two below n
		left, right := merkle(leaves[:k]), merkle(leaves[k:])
		buf := append(append([]byte{1}, left[:]...), right[:]...)
		return sha256.Sum256(buf)
	}
}

// signedDigests gives what a head of signer covers: every current document that it signed as an
// authority or home. Roots have their own chain; a head does not cover heads.
func (v *View) signedDigests(signer PublicKey) iter.Seq[Digest] {
	return func(yield func(Digest) bool) {
		for _, d := range v.order {
			switch d.Kind() {
			case KindRoot, KindHead, KindLinkRecord, KindRequest:
				continue
			}
			if d.SignedBy(signer) && !yield(d.Digest()) {
				return
			}
		}
	}
}

// BuildHead returns the next head of signer over what v holds: its version is one above the
// highest that v knows of. issued and expires are in Unix seconds.
func BuildHead(v *View, signer PublicKey, issued, expires int64) Head {
	digests := slices.Collect(v.signedDigests(signer))
	return Head{
		Version: v.NextVersion(HeadKey(signer)),
		Signer:  signer,
		Count:   uint64(len(digests)),
		Root:    MerkleRoot(slices.Values(digests)),
		Issued:  issued,
		Expires: expires,
	}
}

// HeadMatches reports whether v holds exactly the documents that the head of signer stands by.
// False for long means that somebody hides news, or feeds documents of different times; false
// for a moment is normal while news travels.
func (v *View) HeadMatches(signer PublicKey) bool {
	h, ok := v.Head(signer)
	now := BuildHead(v, signer, h.Issued, h.Expires)
	return ok && now.Count == h.Count && now.Root == h.Root
}

// TrustStale reports whether no authority key vouches for the present: no key of the current
// root that has not ended has a head that has not expired. Then no new enrolment, grant or
// delegation is accepted from the network; everything else goes on. A store that has never had
// a head is stale.
func (v *View) TrustStale(now time.Time) bool {
	root, _ := v.Root()
	for _, a := range root.Authorities {
		if h, ok := v.Head(a.Key); ok && !ended(h.Expires, now) && !ended(a.NotAfter, now) {
			return false
		}
	}
	return true
}
