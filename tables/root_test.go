package tables_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
)

func publics(keys ...ed25519.PrivateKey) []tables.PublicKey {
	var list []tables.PublicKey
	for _, k := range keys {
		list = append(list, tables.PublicOf(k))
	}
	slices.SortFunc(list, func(a, b tables.PublicKey) int { return bytes.Compare(a[:], b[:]) })
	return list
}

// "A threshold of keys specified in the trusted root metadata file (version N), and a threshold
// of keys specified in the new root metadata file": who must sign root 2 when the keys a, b, c
// (two of three) become c, d, e (two of three).
func TestRootThresholds(t *testing.T) {
	f := tablestest.Found(1, 5)
	k := f.RootKeys
	a, b, c, d, e := k[0], k[1], k[2], k[3], k[4]
	root1 := f.RootBody()
	root1.RootKeys, root1.Threshold = publics(a, b, c), 2
	root2 := root1
	root2.Version, root2.RootKeys = 2, publics(c, d, e)
	tests := []struct {
		name    string
		signers []ed25519.PrivateKey
		want    tables.Outcome
	}{
		{"both thresholds", []ed25519.PrivateKey{a, b, d, e}, tables.Kept},
		{"one key on both sides", []ed25519.PrivateKey{a, c, d}, tables.Kept},
		{"only the old", []ed25519.PrivateKey{a, b}, tables.Refused},
		{"only the new", []ed25519.PrivateKey{d, e}, tables.Refused},
		{"one of the old", []ed25519.PrivateKey{a, d, e}, tables.Refused},
		{"one of the new", []ed25519.PrivateKey{a, b, d}, tables.Refused},
		{"a stranger does not count", []ed25519.PrivateKey{a, d, e, f.Authority}, tables.Refused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := tables.NewStore(tables.Hash{})
			put(t, s, f.Now, tablestest.Sign(root1, a, b), tables.Kept, nil)
			o, err := s.Put(f.Now, tablestest.Sign(root2, tt.signers...), tables.FromNetwork)
			if o != tt.want || o == tables.Refused && !errors.Is(err, tables.ErrSigner) {
				t.Errorf("%s, %v; want %s", o, err, tt.want)
			}
			s.Skip("threshold")
			if o, err := s.Put(f.Now, tablestest.Sign(root2, tt.signers...), tables.FromNetwork); o != tables.Kept && o != tables.Same {
				t.Errorf("with the threshold off: %s, %v", o, err)
			}
		})
	}
}

func TestRootFirst(t *testing.T) {
	f := tablestest.Found(1, 3)
	root1 := f.RootBody()
	s := tables.NewStore(tables.Hash{})
	put(t, s, f.Now, tablestest.Sign(root1, f.RootKeys[:2]...), tables.Refused, tables.ErrSigner)
	whole := tablestest.Sign(root1, f.RootKeys...)
	put(t, tables.NewStore(tables.Hash{1}), f.Now, whole, tables.Refused, tables.ErrSigner)
	pinned := tables.NewStore(whole.Hash())
	put(t, pinned, f.Now, whole, tables.Kept, nil)
	other := tablestest.Found(2, 1)
	put(t, pinned, f.Now, other.View().Get(tables.RootKey(1)), tables.Refused, tables.ErrSigner)
	if pinned.FederationID() != whole.Hash() {
		t.Error("federation ID is not the hash of the first root")
	}
}

// Versions come one by one, whatever order they arrive in.
func TestRootSequence(t *testing.T) {
	f := tablestest.Found(1, 1)
	var roots []*tables.Document
	for v := range uint64(5) {
		r := f.RootBody()
		r.Version = v + 1
		roots = append(roots, tablestest.Sign(r, f.RootKeys...))
	}
	s := tables.NewStore(roots[0].Hash())
	for _, i := range []int{3, 1, 4, 2} {
		put(t, s, f.Now, roots[i], tables.Held, tables.ErrNotYet)
	}
	put(t, s, f.Now, roots[0], tables.Kept, nil)
	if r, _ := s.Root(); r.Version != 5 || s.Held() != 0 || s.Len() != 5 {
		t.Fatalf("at version %d with %d held", r.Version, s.Held())
	}
	put(t, s, f.Now, roots[1], tables.Same, nil)
	fork := f.RootBody()
	fork.Version, fork.AuthThreshold = 3, 1
	fork.Authorities = append([]tables.AuthorityKey{}, fork.Authorities...)
	fork.Authorities[0].NotAfter++
	put(t, s, f.Now, tablestest.Sign(fork, f.RootKeys...), tables.Equivocation, nil)

	skipping := tables.NewStore(roots[0].Hash())
	put(t, skipping, f.Now, roots[0], tables.Kept, nil)
	skipping.Skip("sequential")
	put(t, skipping, f.Now, roots[3], tables.Kept, nil)
}

func TestRootRules(t *testing.T) {
	f := tablestest.Found(1, 1)
	next := func(change func(*tables.Root)) tables.Root {
		r := f.RootBody()
		r.Version = 2
		change(&r)
		return r
	}
	s := f.Store()
	put(t, s, f.Now, tablestest.Sign(next(func(r *tables.Root) { r.Federation = "other" }), f.RootKeys...), tables.Refused, tables.ErrConflict)
	put(t, s, f.Now, tablestest.Sign(next(func(r *tables.Root) { r.Space = r.Space[:1] }), f.RootKeys...), tables.Refused, tables.ErrConflict)

	for name, change := range map[string]func(*tables.Root){
		"threshold zero":          func(r *tables.Root) { r.Threshold = 0 },
		"threshold out of reach":  func(r *tables.Root) { r.Threshold = 2 },
		"a root key twice":        func(r *tables.Root) { r.RootKeys = append(r.RootKeys, r.RootKeys[0]) },
		"an authority key twice":  func(r *tables.Root) { r.Authorities = append(r.Authorities, r.Authorities[0]) },
		"no authority":            func(r *tables.Root) { r.Authorities = nil },
		"no space":                func(r *tables.Root) { r.Space = nil },
		"a key of small order":    func(r *tables.Root) { r.RootKeys = []tables.PublicKey{{1}} },
		"authority threshold two": func(r *tables.Root) { r.AuthThreshold = 2 },
		"version zero":            func(r *tables.Root) { r.Version = 0 },
	} {
		if _, err := tables.Sign(next(change), f.RootKeys...); !errors.Is(err, tables.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
