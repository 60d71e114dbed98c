package tables_test

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
)

// adopt returns root 2 of f, which replaces the authority key by fresh, and the adoptions of what v holds
// under the old one.
func adopt(t *testing.T, f *tablestest.Federation, v *tables.View) (root *tables.Document, adoptions []*tables.Document, fresh ed25519.PrivateKey) {
	t.Helper()
	fresh = f.Key()
	r := f.RootBody()
	r.Version = 2
	r.Authorities = []tables.AuthorityKey{{Key: tables.PublicOf(fresh), NotAfter: f.Now.AddDate(5, 0, 0).Unix()}}
	var stand []tables.Digest
	for d := range v.Documents() {
		if d.Kind().Adoptable() && d.SignedBy(tables.PublicOf(f.Authority)) {
			stand = append(stand, d.Digest())
		}
	}
	bodies, hashes, err := tables.Adoptions(stand)
	if err != nil {
		t.Fatal(err)
	}
	r.Adopts = hashes
	for _, b := range bodies {
		adoptions = append(adoptions, tablestest.Sign(b, f.RootKeys...))
	}
	return tablestest.Sign(r, f.RootKeys...), adoptions, fresh
}

// What root adopts of a retired key stands: members, VNs, whole and installed, before and after its adoption
// has come, at a VR that had it, at one that comes later, and after a restart.
func TestAdoption(t *testing.T) {
	f := tablestest.New(1, 3)
	f.SetVN("red", f.Hosts(1, 2)...)
	root2, adoptions, fresh := adopt(t, f, f.View())
	whole := func(what string, s *tables.Store) {
		t.Helper()
		installed, problems := tables.NewInstaller(1).Update(s.Snapshot())
		if len(s.Enrolments()) != 3 || len(installed) != 1 || len(problems) != 0 || len(installed[0].Sets) != 2 {
			t.Fatalf("%s: %d enrolments, installed %+v, problems %+v", what, len(s.Enrolments()), installed, problems)
		}
	}
	s := f.Store()
	all := slices.Collect(s.Documents())
	in := tables.NewInstaller(1)
	in.Update(s.Snapshot())
	put(t, s, f.Now, adoptions[0], tables.Held, tables.ErrSigner)
	put(t, s, f.Now, root2, tables.Kept, nil)
	if s.Get(adoptions[0].Key()) == nil {
		t.Fatal("the adoption did not wait for its root")
	}
	whole("adoption first", s)
	if list, _ := in.Update(s.Snapshot()); len(list) != 1 {
		t.Errorf("installed: %+v", list)
	}

	s = f.Store()
	put(t, s, f.Now, root2, tables.Kept, nil)
	whole("root first", s)
	late := tablestest.Sign(enrolment(f, 1), f.Authority)
	put(t, s, f.Now, late, tables.Held, tables.ErrNotYet)
	put(t, s, f.Now, adoptions[0], tables.Kept, nil)
	whole("then the adoption", s)
	put(t, s, f.Now, late, tables.Refused, tables.ErrSigner)

	newcomer := tables.NewStore(f.View().FederationID())
	put(t, newcomer, f.Now, all[0], tables.Kept, nil)
	put(t, newcomer, f.Now, root2, tables.Kept, nil)
	put(t, newcomer, f.Now, f.View().Get(tables.EnrolmentKey(1)), tables.Held, tables.ErrNotYet)
	put(t, newcomer, f.Now, adoptions[0], tables.Kept, nil)
	for _, errs := range newcomer.Load(f.Now, all, tables.FromNetwork) {
		if !errors.Is(errs, tables.ErrSigner) { // the old head
			t.Error(errs)
		}
	}
	whole("newcomer", newcomer)
	if !newcomer.TrustStale(f.Now) {
		t.Error("the retired key's head counts")
	}

	// On disk the adoption may be missing still, and the marks are as they were.
	for what, docs := range map[string][]*tables.Document{"restart without": {root2}, "restart with": {root2, adoptions[0]}} {
		again := tables.NewStore(f.View().FederationID())
		again.SetHighWater(s.HighWater())
		again.Load(f.Now, append(slices.Clone(all), docs...), tables.FromDisk)
		whole(what, again)
	}

	// The new key goes on from there.
	put(t, s, f.Now, head(f, s, fresh, f.Now), tables.Kept, nil)
	e := f.Enrolment(f.Router(1))
	e.Version = 2
	put(t, s, f.Now, tablestest.Sign(e, fresh), tables.Kept, nil)
	e.Version = 3
	put(t, s, f.Now, tablestest.Sign(e, f.Authority), tables.Refused, tables.ErrSigner)
	whole("afterwards", s)
}

// What a thief has signed with the authority key after the last honest version stops counting, and the honest
// version, which he has overtaken, counts again: whatever order it all comes in.
func TestAdoptionAfterTheft(t *testing.T) {
	f := tablestest.New(1, 3)
	f.SetVN("red", f.Hosts(1, 2)...)
	root2, adoptions, fresh := adopt(t, f, f.View())
	honest := slices.Collect(f.View().Documents())
	e := f.Enrolment(f.Router(2))
	bare, swapped := f.Enrolment(f.Router(3)), f.Enrolment(f.Router(3))
	bare.Version, bare.Blocks = 2, nil
	swapped.Version, swapped.Blocks = 3, e.Blocks // each has the other's blocks, so neither honest version fits beside both
	e.Version, e.Blocks = 1<<63, f.Enrolment(f.Router(3)).Blocks
	red, _ := f.View().VN(1)
	red.Version, red.State, red.Manifest = 7, tables.VNShutdown, tables.Hash{1}
	stolen := []*tables.Document{
		tablestest.Sign(bare, f.Authority),
		tablestest.Sign(e, f.Authority),
		tablestest.Sign(swapped, f.Authority),
		tablestest.Sign(enrolment(f, 1), f.Authority),
		tablestest.Sign(tables.Revocation{Version: 1, Identity: f.Router(1).Key(), Issued: f.Now.Unix()}, f.Authority),
		tablestest.Sign(tables.Grant{Version: 1, User: tables.PublicOf(f.Key()), Name: "thief", Role: tables.RoleADM, Scope: "federation", NotAfter: f.Now.Unix() + 3600}, f.Authority),
		tablestest.Sign(red, f.Authority),
	}
	check := func(what string, s *tables.Store) {
		t.Helper()
		got, ok := s.Enrolment(2)
		third, _ := s.Enrolment(3)
		vn, _ := s.VN(1)
		_, in := s.Enrolment(1)
		_, foreign := s.Enrolment(9)
		if !ok || got.Version != 1 || third.Version != 1 || !in || foreign || vn.Version != 1 || len(s.AllGrants()) != 0 {
			t.Fatalf("%s: enrolment %+v, %v; vr1 %v; thief's VR %v; VN %+v; grants %+v", what, got, ok, in, foreign, vn, s.AllGrants())
		}
	}
	s := f.Store()
	newest, _ := s.LinkRecord(1)
	newest.Version++
	record := tablestest.Sign(newest, f.Router(1).Identity)
	put(t, s, f.Now, record, tables.Kept, nil) // what honest has is older
	for _, d := range stolen {
		put(t, s, f.Now, d, tables.Kept, nil)
	}
	if _, ok := s.Enrolment(1); ok {
		t.Fatal("the thief's revocation does not count before")
	}
	put(t, s, f.Now, record, tables.Refused, tables.ErrRevoked)
	marks := s.HighWater()
	s.TakeChanges()
	put(t, s, f.Now, root2, tables.Kept, nil)
	put(t, s, f.Now, adoptions[0], tables.Kept, nil)
	// The VR does not forget a peer whose enrolment the thief has overtaken: who else would bring the honest one?
	// But it says that it lacks it.
	if _, ok := s.Enrolment(2); !ok || s.Get(tables.LinkRecordKey(2)) == nil {
		t.Error("a peer is forgotten")
	}
	if !slices.Contains(s.TakeChanges(), tables.Change{Key: tables.EnrolmentKey(2)}) {
		t.Error("the overtaken enrolment stays in the index")
	}
	put(t, s, f.Now, head(f, s, fresh, f.Now), tables.Kept, nil)
	for range 2 { // whatever waits for something
		for _, d := range honest {
			s.Put(f.Now, d, tables.FromNetwork) //nolint:errcheck // the old head is refused
		}
	}
	for _, d := range stolen {
		put(t, s, f.Now, d, tables.Refused, tables.ErrSigner)
	}
	check("recovered", s)
	if _, ok := s.LinkRecord(1); !ok {
		t.Error("nobody finds the VR whose revocation fell")
	}

	everything := slices.Concat(honest, stolen, []*tables.Document{root2}, adoptions)
	again := tables.NewStore(f.View().FederationID())
	again.SetHighWater(marks)
	again.Load(f.Now, everything, tables.FromDisk)
	check("from disk", again)
	early := tables.NewStore(f.View().FederationID())
	early.SetHighWater(marks)
	early.Load(f.Now, slices.Concat(honest[:1], stolen, []*tables.Document{root2}, adoptions), tables.FromDisk)
	if _, ok := early.Enrolment(2); !ok {
		t.Error("from disk: a peer is forgotten before the honest version has come")
	}
	for d := range early.Digests() {
		if d.Key == tables.EnrolmentKey(2) {
			t.Error("from disk: the overtaken enrolment is in the index")
		}
	}
	early.Load(f.Now, honest, tables.FromNetwork)
	check("from disk, then the honest versions", early)

	// Without the adoption nothing stands; with the thief's documents in it they do: it is the list that tells.
	nothing := f.RootBody()
	nothing.Version, nothing.Authorities = 2, root2.Body().(tables.Root).Authorities
	none := f.Store()
	put(t, none, f.Now, tablestest.Sign(nothing, f.RootKeys...), tables.Kept, nil)
	if len(none.Enrolments()) != 0 {
		t.Error("enrolments stand though nothing was adopted")
	}
}

func TestAdoptionRules(t *testing.T) {
	f := tablestest.New(1, 1)
	one := f.View().Get(tables.EnrolmentKey(1)).Digest()
	if list, hashes, err := tables.Adoptions(nil); err != nil || len(list) != 0 || len(hashes) != 0 {
		t.Errorf("nothing to adopt: %v %v %v", list, hashes, err)
	}
	if _, _, err := tables.Adoptions(make([]tables.Digest, 700*tables.AdoptionsMax+1)); !errors.Is(err, tables.ErrTooBig) {
		t.Errorf("too many: %v", err)
	}
	for name, a := range map[string]tables.Adopted{
		"a root":        {Kind: tables.KindRoot, ID: "1", Version: 1, Hash: one.Hash},
		"a head":        {Kind: tables.KindHead, ID: "x", Version: 1, Hash: one.Hash},
		"a link record": {Kind: tables.KindLinkRecord, ID: "1", Version: 1, Hash: one.Hash},
		"no version":    {Kind: tables.KindEnrolment, ID: "1", Hash: one.Hash},
		"no hash":       {Kind: tables.KindEnrolment, ID: "1", Version: 1},
	} {
		if _, err := tables.Sign(tables.Adoption{Documents: []tables.Adopted{a}}, f.RootKeys...); !errors.Is(err, tables.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := tables.Sign(tables.Adoption{}, f.RootKeys...); !errors.Is(err, tables.ErrFormat) {
		t.Errorf("empty: %v", err)
	}
	a := tables.Adopted{Kind: tables.KindEnrolment, ID: "1", Version: 1, Hash: one.Hash}
	if _, err := tables.Sign(tables.Adoption{Documents: []tables.Adopted{a, a}}, f.RootKeys...); !errors.Is(err, tables.ErrFormat) {
		t.Errorf("twice: %v", err)
	}
}
