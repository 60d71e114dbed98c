package nodetest_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/transporttest"
)

// newKey returns the n-th of some identities.
func newKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, ed25519.SeedSize-1), n))
}

// authorityKey returns the public key of the authority, which the founding site runs.
func authorityKey(t *testing.T, w *nodetest.World) tables.PublicKey {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(w.Sites[0].Dir, "authority.key"))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return tables.PublicOf(ed25519.NewKeyFromSeed(seed))
}

// nodeOf is what Partition takes.
type nodeOf = transporttest.Node

// giveHeader puts the VN header that from holds, and nothing else, into the directory of a
// stopped site.
func giveHeader(t *testing.T, from, to *nodetest.Site, vn string) {
	t.Helper()
	from.Stop()
	store := open(t, from)
	from.Start()
	header, ok := store.Snapshot().VNByName(vn)
	if !ok {
		t.Fatalf("%s has no VN %s", from.Name, vn)
	}
	dir, err := state.Open(to.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := dir.Load(); err != nil {
		t.Fatal(err)
	}
	if err := dir.Append(store.Get(tables.VNKey(header.ID)).Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
}

// open reads the documents of a stopped site.
func open(t *testing.T, s *nodetest.Site) *tables.Store {
	t.Helper()
	dir, err := state.Open(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	store, err := node.LoadStore(dir, time.Now(), s.Log)
	if err != nil {
		t.Fatal(err)
	}
	return store
}
