package main

import (
	"crypto/ed25519"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vine-mesh/vine/internal/durable/durabletest"
	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// TestSignedOutlivesACrash: what an authority without a network has signed is beside its key before it is in the file that leaves the
// machine, whenever the power goes; else it could sign another document of the same version later.
func TestSignedOutlivesACrash(t *testing.T) {
	now := time.Now()
	founded, err := node.Found(now, node.Founding{Name: "grid", VR: "alpha", Site: "alpha", UserName: "admin", Rand: rand.NewChaCha8([32]byte{1})})
	if err != nil {
		t.Fatal(err)
	}
	var raw [][]byte
	store := tables.NewStore(tables.Hash{})
	var list []*tables.Document
	for d := range founded.View.Documents() {
		raw, list = append(raw, d.Bytes()), append(list, d)
	}
	store.Load(now, list, tables.FromDisk)
	asked := filepath.Join(t.TempDir(), "asked")
	if err := os.WriteFile(asked, state.AppendBundle(nil, raw), 0o600); err != nil {
		t.Fatal(err)
	}
	seed := founded.Keys["authority"]
	private := ed25519.NewKeyFromSeed(seed[:])
	disk, rng, points, whole := durabletest.New(), rand.New(rand.NewPCG(1, 1)), 0, 0
	d := &desktop{private: private, Authority: policy.Authority{Key: tables.PublicOf(private), AutoAdmit: "never"}, store: store, signed: "/authority.key.signed"}
	look := func(op durabletest.Op) {
		for range 50 {
			points++
			after := disk.Crash(rng)
			out, err := after.ReadFile("/signed.vine")
			if err != nil {
				continue
			}
			left, err := state.ParseBundle(out)
			if err != nil {
				t.Fatalf("crash after %s of %s: a part of the file is there", op.Kind, op.Name)
			}
			kept, _ := after.ReadFile(d.signed)
			beside, err := state.ParseBundle(kept)
			known := map[string]bool{}
			for _, b := range beside {
				known[string(b)] = true
			}
			for _, b := range left {
				if err != nil || !known[string(b)] {
					t.Fatalf("crash after %s of %s: what is in the file is not beside the key", op.Kind, op.Name)
				}
			}
			whole++
		}
	}
	disk.After = look
	if err := d.work(now.Add(10*time.Hour), nil, nil, func(policy.Answer) {}); err != nil { // a head is due
		t.Fatal(err)
	}
	if err := d.write(disk, asked, "/signed.vine"); err != nil {
		t.Fatal(err)
	}
	if points < 400 || whole == 0 || whole == points {
		t.Errorf("%d crash points, the file is there after %d", points, whole)
	}
}
