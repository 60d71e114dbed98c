package tables_test

import (
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
)

// entry returns the next entry of the log of vn1, signed by key.
func entry(f *tablestest.Federation, v *tables.View, key ed25519.PrivateKey) *tables.Document {
	number, before := v.LastEntry(1)
	return tablestest.Sign(tables.Entry{
		VN: 1, Number: number + 1, Before: before, Version: 1, Op: "vn.join", User: tables.PublicOf(f.Authority), Issued: f.Now.Unix(),
		State: tables.VNActive, Seal: tables.SealEncrypt,
	}, key)
}

// Only who signs the VN writes its log, and only at its end.
func TestLogSigner(t *testing.T) {
	f := tablestest.New(1, 2)
	f.SetVN("red", f.Hosts(1, 2)...)
	stranger := f.AddUser("ann", tables.RoleADM, "federation")
	s := f.Store()
	if o, err := s.Put(f.Now, entry(f, s.Snapshot(), stranger), tables.FromNetwork); o == tables.Kept || !errors.Is(err, tables.ErrSigner) {
		t.Errorf("a stranger's entry: %s, %v", o, err)
	}
	first := entry(f, s.Snapshot(), f.Authority)
	put(t, s, f.Now, first, tables.Kept, nil)
	other := entry(f, f.View(), f.Authority)
	if other.Hash() != first.Hash() {
		t.Fatal("the same entry twice")
	}
	body := first.Body().(tables.Entry)
	body.Op = "vn.leave"
	if o, _ := s.Put(f.Now, tablestest.Sign(body, f.Authority), tables.FromNetwork); o != tables.Equivocation {
		t.Errorf("a rewritten entry: %s", o)
	}
	if log := s.Snapshot().Log(1); len(log) != 1 || log[0].Op != "vn.join" {
		t.Errorf("%+v", log)
	}
}

// A log has 256 entries; older ones go, and do not come back.
func TestLogEnds(t *testing.T) {
	f := tablestest.New(2, 2)
	f.SetVN("red", f.Hosts(1, 2)...)
	s := f.Store()
	var all []*tables.Document
	for range 300 {
		d := entry(f, s.Snapshot(), f.Authority)
		put(t, s, f.Now, d, tables.Kept, nil)
		all = append(all, d)
	}
	log := s.Snapshot().Log(1)
	if len(log) != 256 || log[0].Number != 45 || log[255].Number != 300 {
		t.Fatalf("%d entries, %d to %d", len(log), log[0].Number, log[len(log)-1].Number)
	}
	if _, err := s.Put(f.Now, all[43], tables.FromNetwork); !errors.Is(err, tables.ErrExpired) {
		t.Errorf("entry 44: %v", err)
	}
	// Whatever order they come in.
	r := f.Store()
	for i := range all {
		r.Put(f.Now, all[(i*77)%300], tables.FromNetwork) //nolint:errcheck // some come too late
	}
	if tables.MerkleRoot(s.Digests()) != tables.MerkleRoot(r.Digests()) {
		t.Error("another order, another log")
	}
}

// What a retired key signed stays in the log as far as a key in office has continued it, and no further.
func TestLogOutlivesItsSigner(t *testing.T) {
	f := tablestest.New(3, 2)
	f.SetVN("red", f.Hosts(1, 2)...)
	s := f.Store()
	next := f.Key()
	both, alone := f.RootBody(), f.RootBody()
	both.Version, alone.Version = 2, 3
	fresh := tables.AuthorityKey{Key: tables.PublicOf(next), NotAfter: alone.Authorities[0].NotAfter}
	both.Authorities = []tables.AuthorityKey{both.Authorities[0], fresh}
	if k := both.Authorities; string(k[0].Key[:]) > string(k[1].Key[:]) {
		k[0], k[1] = k[1], k[0]
	}
	alone.Authorities = []tables.AuthorityKey{fresh}
	put(t, s, f.Now, entry(f, s.Snapshot(), f.Authority), tables.Kept, nil)
	put(t, s, f.Now, entry(f, s.Snapshot(), f.Authority), tables.Kept, nil)
	put(t, s, f.Now, tablestest.Sign(both, f.RootKeys...), tables.Kept, nil)
	vn, _ := s.VN(1)
	put(t, s, f.Now, tablestest.Sign(vn, f.Authority, next), tables.Same, nil) // the VN outlives the old key
	put(t, s, f.Now, entry(f, s.Snapshot(), next), tables.Kept, nil)
	unsaid := entry(f, s.Snapshot(), f.Authority)
	put(t, s, f.Now, unsaid, tables.Kept, nil)
	put(t, s, f.Now, tablestest.Sign(alone, f.RootKeys...), tables.Kept, nil)
	if log := s.Snapshot().Log(1); len(log) != 3 || log[2].Number != 3 {
		t.Fatalf("%d entries stay, want 3: %+v", len(log), log)
	}
	if o, err := s.Put(f.Now, unsaid, tables.FromNetwork); o != tables.Refused {
		t.Errorf("an entry of the retired key that nothing continues: %s, %v", o, err)
	}
}
