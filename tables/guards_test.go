package tables_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
)

// Each test here has one guard of the verifier or the installer that nothing else would notice
// missing.

func TestGuardBlocksOfRevoked(t *testing.T) {
	f := tablestest.New(1, 2)
	s := f.Store()
	e := enrolment(f, 1)
	e.Blocks = []netip.Prefix{f.Router(2).Block4}
	put(t, s, f.Now, tablestest.Sign(e, f.Authority), tables.Held, tables.ErrConflict)
	put(t, s, f.Now, f.Revoke(f.Router(2)), tables.Kept, nil)
	if _, ok := s.Enrolment(e.Router); !ok {
		t.Error("the block of a revoked VR is not free")
	}
}

// twoAuthorities adds an authority key to f.
func twoAuthorities(f *tablestest.Federation, years int) ed25519.PrivateKey {
	key := f.Key()
	r := f.RootBody()
	r.Version = 2
	r.Authorities = append(r.Authorities, tables.AuthorityKey{Key: tables.PublicOf(key), NotAfter: f.Now.AddDate(years, 0, 0).Unix()})
	slices.SortFunc(r.Authorities, func(a, b tables.AuthorityKey) int { return slices.Compare(a.Key[:], b.Key[:]) })
	f.Put(r, f.RootKeys...)
	return key
}

func TestGuardHeadOfAnother(t *testing.T) {
	f := tablestest.New(1, 1)
	second := twoAuthorities(f, 1)
	h := tables.BuildHead(f.View(), tables.PublicOf(f.Authority), f.Now.Unix(), f.Now.Unix()+3600)
	put(t, f.Store(), f.Now, tablestest.Sign(h, second), tables.Refused, tables.ErrSigner)
}

func TestGuardHeadOfEndedKey(t *testing.T) {
	f := tablestest.New(1, 1)
	s := f.Store()
	f.Now = f.Now.AddDate(5, 0, -1)
	put(t, s, f.Now, f.SignHead(), tables.Kept, nil)
	if s.TrustStale(f.Now) || !s.TrustStale(f.Now.AddDate(0, 0, 2)) {
		t.Error("a head counts after its key has ended")
	}
}

func TestGuardRequestSigner(t *testing.T) {
	f := tablestest.New(1, 1)
	s, joiner := f.Store(), f.Key()
	r := tables.Request{User: tables.PublicOf(joiner), Op: tables.OpJoin, Issued: f.Now.Unix(), NotAfter: f.Now.Unix() + 60}
	put(t, s, f.Now, tablestest.Sign(r, f.Router(1).Identity), tables.Refused, tables.ErrSigner)
	put(t, s, f.Now, tablestest.Sign(tables.Revocation{Version: 1, Identity: r.User, Issued: 1}, f.Authority), tables.Kept, nil)
	put(t, s, f.Now, tablestest.Sign(r, joiner), tables.Refused, tables.ErrRevoked)
}

func TestGuardHomeEnded(t *testing.T) {
	f := tablestest.New(1, 2)
	second := twoAuthorities(f, 1)
	vn := f.SetVN("red", f.Hosts(1)...)
	vn.Version, vn.Home = 2, tables.PublicOf(second)
	f.Put(vn, f.Authority)
	vn.Version = 3
	later := f.Now.AddDate(1, 0, 1)
	put(t, f.Store(), later, tablestest.Sign(vn, second), tables.Held, tables.ErrSigner)
	put(t, f.Store(), later, tablestest.Sign(tables.Roster{Version: 9, VN: vn.ID, Site: "s1"}, second), tables.Held, tables.ErrSigner)
}

func TestGuardHomeMovesOnlyWhenFresh(t *testing.T) {
	f := tablestest.New(1, 1)
	vn := f.SetVN("red", f.Hosts(1)...)
	vn.Version, vn.Home = 2, tables.PublicOf(f.Key())
	put(t, f.Store(), f.Now.AddDate(0, 2, 0), tablestest.Sign(vn, f.Authority), tables.Held, tables.ErrStale)
}

func TestGuardLeavesOfStrangers(t *testing.T) {
	f := tablestest.New(1, 2)
	vn := f.SetVN("red", f.Hosts(1, 2)...)
	s, stranger := f.Store(), f.Key()
	put(t, s, f.Now, tablestest.Sign(tables.Manifest{Version: 9, VN: vn.ID}, stranger), tables.Held, tables.ErrSigner)
	// A fragment that only a superseded manifest pins, signed by who is not the home.
	old := s.Get(tables.FragmentKey(vn.ID, "2"))
	fresh := tables.NewStore(s.FederationID())
	for d := range s.Documents() {
		if d.Kind() != tables.KindFragment {
			put(t, fresh, f.Now, d, outcomeOf(fresh, f, d), nil)
		}
	}
	next := f.NextVN("red", f.Hosts(1)...)
	put(t, fresh, f.Now, next[0], tables.Kept, nil) // the header alone: the manifest here is old
	put(t, fresh, f.Now, tablestest.Sign(old.Body(), stranger), tables.Held, tables.ErrSigner)
}

// outcomeOf puts d from disk first, so that put sees Same.
func outcomeOf(s *tables.Store, f *tablestest.Federation, d *tables.Document) tables.Outcome {
	s.Put(f.Now, d, tables.FromDisk) //nolint:errcheck // put checks it
	return tables.Same
}

// "Two versions never mix": what has the right number but not the pinned content is not used.
func TestGuardPinnedByHash(t *testing.T) {
	f := tablestest.New(1, 2)
	f.SetVN("red", f.Hosts(1)...)
	base := f.Store()
	next := f.NextVN("red", f.Hosts(1, 2)...) // header, manifest, fragment of 2, roster of s2
	forge := map[tables.Kind]tables.Body{
		tables.KindManifest: tables.Manifest{Version: 2, VN: 1},
		tables.KindFragment: tables.Fragment{Version: 1, VN: 1, Routers: []tables.RouterID{2}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.200.0.0/24")}},
	}
	for kind, body := range forge {
		s := tables.NewStore(base.FederationID())
		s.Load(f.Now, slices.Collect(base.Documents()), tables.FromDisk)
		put(t, s, f.Now, tablestest.Sign(body, f.Authority), tables.Kept, nil)
		for _, d := range next {
			want := tables.Kept
			if d.Kind() == kind {
				want = tables.Equivocation
			}
			put(t, s, f.Now, d, want, nil)
		}
		got, problems := tables.NewInstaller(1).Update(s.Snapshot())
		if len(got) != 0 || len(problems) != 1 {
			t.Errorf("%s of the same version and another content: %+v, %+v", kind, got, problems)
		}
	}
	// A header that pins the manifest of another version.
	s := base
	vn, _ := s.VN(1)
	vn.Version = 2
	put(t, s, f.Now, tablestest.Sign(vn, f.Authority), tables.Kept, nil)
	if got, problems := tables.NewInstaller(1).Update(s.Snapshot()); len(got) != 0 || len(problems) != 1 {
		t.Errorf("manifest of version 1 for version 2: %+v, %+v", got, problems)
	}
}

func TestGuardNeverLower(t *testing.T) {
	f := tablestest.New(1, 2)
	f.SetVN("red", f.Hosts(1)...)
	older := f.View()
	f.SetVN("red", f.Hosts(1, 2)...)
	in := tables.NewInstaller(1)
	in.Update(f.View())
	if got, _ := in.Update(older); len(got) != 1 || got[0].VN.Version != 2 {
		t.Errorf("%+v", got)
	}
}

func TestGuardRestoreRetired(t *testing.T) {
	f := tablestest.New(1, 1)
	f.SetVN("red", f.Hosts(1)...)
	installed, _ := tables.NewInstaller(1).Update(f.View())
	root2, _ := rotate(f)
	f.PutDocument(root2)
	if err := tables.NewInstaller(1).Restore(f.View(), installed[0].Documents); !errors.Is(err, tables.ErrSigner) {
		t.Errorf("restored: %v", err)
	}
}

// The envelope itself has one encoding too.
func TestGuardEnvelopeEncoding(t *testing.T) {
	d := samples()[0]
	long := append([]byte{0xa3, 0x01, 0x18, 0x01}, d.Bytes()[3:]...) // kind 1 in two bytes
	if !bytes.Equal(d.Bytes()[:3], []byte{0xa3, 0x01, 0x01}) {
		t.Fatal("the sample is not a root")
	}
	if _, _, err := tables.ParseEnvelope(long); !errors.Is(err, tables.ErrFormat) {
		t.Errorf("parsed: %v", err)
	}
}
