package tables_test

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/vine-mesh/vine/tables"
)

// The tree of RFC 6962, Section 2.1, written out for up to five leaves.
func TestMerkleRoot(t *testing.T) {
	var digests []tables.Digest
	var l []tables.Hash
	for i := range 5 {
		d := tables.Digest{Key: tables.VNKey(tables.VNID(i + 1)), Version: uint64(i), Hash: tables.Hash{byte(i)}}
		digests = append(digests, d)
		b := []byte{0, byte(tables.KindVN), 0, 0, 0, 1, byte('1' + i)}
		b = binary.BigEndian.AppendUint64(b, uint64(i))
		l = append(l, sha256.Sum256(append(b, d.Hash[:]...)))
	}
	n := func(a, b tables.Hash) tables.Hash {
		return sha256.Sum256(append(append([]byte{1}, a[:]...), b[:]...))
	}
	want := []tables.Hash{
		sha256.Sum256(nil),
		l[0],
		n(l[0], l[1]),
		n(n(l[0], l[1]), l[2]),
		n(n(l[0], l[1]), n(l[2], l[3])),
		n(n(n(l[0], l[1]), n(l[2], l[3])), l[4]),
	}
	for i, w := range want {
		if got := tables.MerkleRoot(slices.Values(digests[:i])); got != w {
			t.Errorf("%d leaves: %s, want %s", i, got, w)
		}
	}
}
