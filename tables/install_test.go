package tables_test

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
)

// A version is installed when the last part of it is here, whatever part that is, and until then
// the version before stays whole.
func TestInstallWhole(t *testing.T) {
	f := tablestest.New(1, 3)
	f.SetVN("red", f.Hosts(1, 2)...)
	before := f.Store()
	moved := tablestest.Member{Router: 3, Hosts: []netip.Addr{f.Router(1).Host(1)}, Prefixes: []netip.Prefix{f.Router(1).Block4}}
	next := f.NextVN("red", f.Hosts(2)[0], moved)
	rapid.Check(t, func(t *rapid.T) {
		s := tables.NewStore(before.FederationID())
		s.Load(f.Now, slices.Collect(before.Documents()), tables.FromDisk)
		in := tables.NewInstaller(3)
		for i, d := range rapid.Permutation(next).Draw(t, "order") {
			got, problems := in.Update(s.Snapshot())
			if len(got) != 1 || got[0].VN.Version != 1 || len(got[0].Sets) != 2 {
				t.Fatalf("before part %d: %+v, %v", i, got, problems)
			}
			if owners(got, f.Router(1).Host(1)) != "1" {
				t.Fatalf("before part %d the host is at %s", i, owners(got, f.Router(1).Host(1)))
			}
			s.Put(f.Now, d, tables.FromNetwork) //nolint:errcheck // leaves may be held
		}
		got, problems := in.Update(s.Snapshot())
		if len(problems) > 0 || got[0].VN.Version != 2 || owners(got, f.Router(1).Host(1)) != "3" {
			t.Fatalf("after all parts: %+v, %v", got, problems)
		}
		if !slices.Equal(got[0].Local, []netip.Addr{f.Router(1).Host(1)}) {
			t.Fatalf("local hosts %v", got[0].Local)
		}
	})
}

// owners returns the delivery sets that deliver a, which must be at most one.
func owners(installed []tables.Installed, a netip.Addr) string {
	text := ""
	for _, i := range installed {
		for _, s := range i.Sets {
			if slices.ContainsFunc(s.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) }) {
				text += tables.SetID(s.Routers)
			}
		}
	}
	return text
}

func TestInstallShutdown(t *testing.T) {
	f := tablestest.New(1, 2)
	vn := f.SetVN("red", f.Hosts(1, 2)...)
	in := tables.NewInstaller(1)
	if got, _ := in.Update(f.View()); len(got) != 1 {
		t.Fatal("not installed")
	}
	vn.Version, vn.State = 2, tables.VNShutdown
	f.Put(vn, f.Authority)
	if got, problems := in.Update(f.View()); len(got) != 0 || len(problems) != 0 {
		t.Fatalf("%v, %v", got, problems)
	}
}

// "Revocation voids the VR's fragments at once."
func TestInstallRevoked(t *testing.T) {
	f := tablestest.New(1, 3)
	f.SetVN("red", f.Hosts(1, 2)...)
	in := tables.NewInstaller(1)
	f.Revoke(f.Router(2))
	got, _ := in.Update(f.View())
	if len(got) != 1 || owners(got, f.Router(2).Host(1)) != "" || owners(got, f.Router(1).Host(1)) != "1" {
		t.Fatalf("%+v", got)
	}
}

// "Overlap between delivery sets inside one VN is refused at signing and again at install."
func TestInstallOverlap(t *testing.T) {
	f := tablestest.New(1, 3)
	f.SetVN("red", f.Hosts(1, 2)...)
	in := tables.NewInstaller(1)
	in.Update(f.View())
	inside := netip.PrefixFrom(f.Router(1).Host(128), 25)
	f.SetVN("red", append(f.Hosts(1, 2), tablestest.Member{Router: 3, Prefixes: []netip.Prefix{inside}})...)
	got, problems := in.Update(f.View())
	if len(problems) != 1 || len(problems[0].Missing) != 0 || got[0].VN.Version != 1 {
		t.Fatalf("%+v, %+v", got, problems)
	}
	if got, problems := tables.NewInstaller(1).Update(f.View()); len(got) != 0 || len(problems) != 1 {
		t.Fatalf("%+v, %+v", got, problems)
	}
}

// A host that joins inside a prefix is one new roster, not a new VN version. Hosts outside the
// prefixes that the router delivers are not its members.
func TestInstallRoster(t *testing.T) {
	f := tablestest.New(1, 2)
	vn := f.SetVN("red", f.Hosts(1, 2)...)
	in := tables.NewInstaller(1)
	in.Update(f.View())
	f.SetRoster(vn.ID, "s1", f.Router(1).Host(1), f.Router(1).Host(7), f.Router(2).Host(1))
	got, _ := in.Update(f.View())
	if want := []netip.Addr{f.Router(1).Host(1), f.Router(1).Host(7)}; !slices.Equal(got[0].Local, want) {
		t.Errorf("local %v, want %v", got[0].Local, want)
	}
	// While a newer VN version is incomplete, rosters go on.
	s := f.Store()
	next := f.NextVN("red", f.Hosts(2)...)
	put(t, s, f.Now, next[0], tables.Kept, nil)
	put(t, s, f.Now, f.SetRoster(vn.ID, "s1", f.Router(1).Host(9)), tables.Kept, nil)
	got, problems := in.Update(s.Snapshot())
	if got[0].VN.Version != 1 || !slices.Equal(got[0].Local, []netip.Addr{f.Router(1).Host(9)}) || len(problems) != 1 {
		t.Errorf("%+v, %v", got, problems)
	}
}

// The roster that the manifest names must be here, of at least that version: an older one would
// put hosts back that have left.
func TestInstallRosterPinned(t *testing.T) {
	f := tablestest.New(1, 2)
	f.SetVN("red", f.Hosts(1, 2)...)
	s := f.Store()
	first := s.Get(tables.RosterKey(1, "s1"))
	next := f.NextVN("red", tablestest.Member{Router: 1, Hosts: []netip.Addr{f.Router(1).Host(3), f.Router(1).Host6(3)}}, f.Hosts(2)[0])
	for _, d := range next {
		if d.Kind() != tables.KindRoster {
			put(t, s, f.Now, d, tables.Kept, nil)
		}
	}
	if got, problems := tables.NewInstaller(1).Update(s.Snapshot()); len(got) != 0 || len(problems) != 1 || problems[0].Missing[0] != first.Key() {
		t.Errorf("router 1: %+v, %+v", got, problems)
	}
	if got, problems := tables.NewInstaller(2).Update(s.Snapshot()); len(got) != 1 || got[0].VN.Version != 2 || len(problems) != 0 {
		t.Errorf("router 2 does not need that roster: %+v, %+v", got, problems)
	}
}

// A restart while a newer version is half here gives the installed version again.
func TestInstallRestore(t *testing.T) {
	f := tablestest.New(1, 3)
	f.SetVN("red", f.Hosts(1, 2)...)
	in := tables.NewInstaller(1)
	installed, _ := in.Update(f.View())
	s := f.Store()
	next := f.NextVN("red", f.Hosts(1, 3)...)
	put(t, s, f.Now, next[0], tables.Kept, nil)
	put(t, s, f.Now, next[1], tables.Kept, nil)
	again := tables.NewInstaller(1)
	if got, _ := again.Update(s.Snapshot()); len(got) != 0 {
		t.Fatal("half a version installed")
	}
	if err := again.Restore(s.Snapshot(), installed[0].Documents); err != nil {
		t.Fatal(err)
	}
	got, problems := again.Update(s.Snapshot())
	if len(got) != 1 || got[0].VN.Version != 1 || len(got[0].Sets) != 2 || len(got[0].Local) != 2 || len(problems) != 1 {
		t.Fatalf("%+v, %+v", got, problems)
	}
	if err := again.Restore(s.Snapshot(), installed[0].Documents[:1]); err == nil {
		t.Error("an incomplete bundle is restored")
	}
}

// A VN whose signer root has retired goes; when the new authority signs it again, with whatever
// version, it comes back.
func TestInstallRetired(t *testing.T) {
	f := tablestest.New(1, 2)
	f.SetVN("red", f.Hosts(1, 2)...)
	f.SetVN("red", f.Hosts(1)...)
	s := f.Store()
	in := tables.NewInstaller(1)
	in.Update(s.Snapshot())
	root2, fresh := rotate(f)
	put(t, s, f.Now, root2, tables.Kept, nil)
	if got, _ := tables.NewInstaller(1).Update(s.Snapshot()); len(got) != 0 {
		t.Fatalf("installed: %+v", got)
	}
	manifest := tablestest.Sign(tables.Manifest{Version: 1, VN: 1}, fresh)
	vn := tables.VN{Version: 1, ID: 1, Name: "red", State: tables.VNActive, Home: tables.PublicOf(fresh), Seal: tables.SealAuth, Manifest: manifest.Hash()}
	put(t, s, f.Now, tablestest.Sign(vn, fresh), tables.Kept, nil)
	put(t, s, f.Now, manifest, tables.Kept, nil)
	if got, problems := in.Update(s.Snapshot()); len(got) != 1 || got[0].VN.Version != 1 || len(got[0].Sets) != 0 {
		t.Fatalf("%+v, %+v", got, problems)
	}
}

func TestTables(t *testing.T) {
	f := tablestest.New(1, 3)
	f.SetVN("red", f.Hosts(1, 2)...)
	f.SetVN("blue", f.Hosts(1, 3)...)
	installed, _ := tables.NewInstaller(1).Update(f.View())
	lndt, gndt := tables.Tables(installed)
	if got := lndt[f.Router(1).Host(1)]; !slices.Equal(got, []tables.VNID{1, 2}) {
		t.Errorf("host is in %v", got)
	}
	if _, ok := lndt[f.Router(2).Host(1)]; ok {
		t.Error("a remote host is in the LNDT")
	}
	if len(gndt[1]) != 2 || len(gndt[2]) != 2 || gndt[2][1].Routers[0] != 3 {
		t.Errorf("GNDT %v", gndt)
	}
}
