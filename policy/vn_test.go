package policy_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// at returns the nth IPv4 host of a router.
func (w *world) at(router tables.RouterID, n int) netip.Addr { return w.Router(router).Host(n) }

func (w *world) create(name string, hosts ...netip.Addr) policy.Decision {
	w.t.Helper()
	return w.ask(w.admin, policy.OpVNCreate, policy.VNCreateArgs{Name: name, Hosts: hosts})
}

func TestVNCreate(t *testing.T) {
	w := newWorld(t, 1, 3)
	d := w.must(w.create("red", w.at(2, 1), w.at(1, 1), w.Router(1).Host6(1), w.at(1, 1)), "vn1")
	if got := kinds(d); got != "vn manifest fragment fragment roster roster entry" {
		t.Errorf("bodies %s", got)
	}
	vn := d.Bodies[0].(tables.VN)
	if vn.Version != 1 || vn.Seal != tables.SealEncrypt || vn.State != tables.VNActive || vn.Request.IsZero() {
		t.Errorf("%+v", vn)
	}
	in := w.installed(1, "red")
	if len(in.Sets) != 2 || !slices.Equal(in.Sets[0].Prefixes, []netip.Prefix{w.Router(1).Block4, w.Router(1).Block6}) ||
		!slices.Equal(in.Local, []netip.Addr{w.at(1, 1), w.Router(1).Host6(1)}) {
		t.Errorf("vr1 installs %+v", in)
	}
	// The same space again, sealed otherwise, delivered by a VR that has no block there.
	d = w.must(w.ask(w.admin, policy.OpVNCreate, policy.VNCreateArgs{
		Name: "blue", Seal: tables.SealAuth, Hosts: []netip.Addr{w.at(2, 1)},
		Prefixes: []policy.PrefixAt{{Prefix: w.Router(2).Block4, VR: "vr3"}, {Prefix: netip.MustParsePrefix("10.200.0.0/16"), VR: "vr1"}},
	}), "vn2")
	in = w.installed(3, "blue")
	if in.VN.Seal != tables.SealAuth || !slices.Equal(in.Local, []netip.Addr{w.at(2, 1)}) || len(in.Sets) != 2 {
		t.Errorf("vr3 installs %+v", in)
	}
	if got := kinds(d); got != "vn manifest fragment fragment roster roster entry" {
		t.Errorf("bodies %s", got) // vr1's site has a roster, though nobody on it yet
	}
	w.must(w.create("empty"), "vn3")
	w.replay()
}

func TestVNCreateRefuses(t *testing.T) {
	w := newWorld(t, 2, 3)
	w.must(w.create("red", w.at(1, 1), w.at(2, 1)), "vn1")
	w.must(w.create("gone", w.at(1, 1)), "vn2")
	w.must(w.ask(w.admin, policy.OpVNShutdown, policy.VNArgs{VN: "gone"}), "vn2")
	ok := []netip.Addr{w.at(1, 1)}
	at := func(prefix, vr string) []policy.PrefixAt {
		return []policy.PrefixAt{{Prefix: netip.MustParsePrefix(prefix), VR: vr}}
	}
	for _, c := range []struct {
		name, reason string
		args         policy.VNCreateArgs
	}{
		{"no name", "is not 1 to 63", policy.VNCreateArgs{Hosts: ok}},
		{"bad name", "is not 1 to 63", policy.VNCreateArgs{Name: "Red", Hosts: ok}},
		{"taken", "unique for ever", policy.VNCreateArgs{Name: "red", Hosts: ok}},
		{"name of a VN shut down", "unique for ever", policy.VNCreateArgs{Name: "gone", Hosts: ok}},
		{"seal", "neither encrypt nor auth", policy.VNCreateArgs{Name: "x", Seal: "none", Hosts: ok}},
		{"host outside the space", "the ViNe space is [10.192.0.0/10", policy.VNCreateArgs{Name: "x", Hosts: addrs("192.0.2.1")}},
		{"no host", "plain unicast", policy.VNCreateArgs{Name: "x", Hosts: []netip.Addr{{}}}},
		{"zone", "plain unicast", policy.VNCreateArgs{Name: "x", Hosts: addrs("fe80::1%eth0")}},
		{"host of no VR", "--prefix PREFIX@VR", policy.VNCreateArgs{Name: "x", Hosts: addrs("10.255.0.1")}},
		{"no VR", "vine vrs", policy.VNCreateArgs{Name: "x", Prefixes: at("10.200.0.0/16", "nobody")}},
		{"prefix outside", "outside the ViNe space", policy.VNCreateArgs{Name: "x", Prefixes: at("192.0.2.0/24", "vr1")}},
		{"prefix wider than the space", "outside the ViNe space", policy.VNCreateArgs{Name: "x", Prefixes: at("10.0.0.0/8", "vr1")}},
		{"host bits", "do you mean 10.200.0.0/16?", policy.VNCreateArgs{Name: "x", Prefixes: at("10.200.0.1/16", "vr1")}},
		{"no prefix", "not one of unicast", policy.VNCreateArgs{Name: "x", Prefixes: []policy.PrefixAt{{VR: "vr1"}}}},
		{"overlap", "two ways", policy.VNCreateArgs{Name: "x", Prefixes: append(at("10.200.0.0/16", "vr1"), at("10.200.1.0/24", "vr2")...)}},
		{"overlap with a block", "name who delivers it", policy.VNCreateArgs{
			Name: "x", Hosts: ok, Prefixes: at(netip.PrefixFrom(w.at(1, 128), 25).String(), "vr2"),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.t = t
			w.Now = w.Now.Add(1)
			w.refuses(w.ask(w.admin, policy.OpVNCreate, c.args), c.reason)
			if len(w.View().VNs()) != 2 {
				t.Error("a VN came to be")
			}
		})
	}
	w.t = t
	w.replay()
}

// A host in two VNs must find every address behind the same VR in both.
func TestSharedHost(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		hosts        []int // routers, of each the first host
		prefix, vr   string
	}{
		{"same ways", "", []int{1, 2}, "10.200.0.0/16", "vr3"},
		{"the same prefix at another VR", "vr2, here", []int{1}, "VR2", "vr3"},
		{"a part of it", "is in VN red as well", []int{1}, "PART", "vr3"},
		{"more than it", "is in VN red as well", []int{1}, "WHOLE", "vr3"},
		{"no host shared", "", []int{}, "VR2", "vr3"},
		{"the same address behind another VR", "", []int{2}, "VR2", "vr3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 3, 3)
			w.must(w.create("red", w.at(1, 1), w.at(2, 1)), "vn1")
			text := strings.NewReplacer("VR2", w.Router(2).Block4.String(),
				"PART", netip.PrefixFrom(w.at(2, 128), 25).String(),
				"WHOLE", "10.192.2.0/23").Replace(c.prefix)
			args := policy.VNCreateArgs{Name: "blue", Prefixes: []policy.PrefixAt{{Prefix: netip.MustParsePrefix(text), VR: c.vr}}}
			for _, r := range c.hosts {
				args.Hosts = append(args.Hosts, w.at(tables.RouterID(r), 1))
			}
			d := w.ask(w.admin, policy.OpVNCreate, args)
			if c.reason == "" {
				w.must(d, "vn2")
				return
			}
			w.refuses(d, c.reason)
			// Nor by way of join, when the host comes later.
			args.Hosts = nil
			w.must(w.ask(w.admin, policy.OpVNCreate, args), "vn2")
			w.refuses(w.ask(w.admin, policy.OpVNJoin, policy.VNHostsArgs{VN: "blue", Hosts: []netip.Addr{w.at(1, 1)}}), "is in VN red as well")
			w.must(w.ask(w.admin, policy.OpVNShutdown, policy.VNArgs{VN: "red"}), "vn1")
			w.must(w.ask(w.admin, policy.OpVNJoin, policy.VNHostsArgs{VN: "blue", Hosts: []netip.Addr{w.at(1, 1)}}), "vn2")
			w.replay()
		})
	}
}

func TestVNJoinLeave(t *testing.T) {
	w := newWorld(t, 4, 3)
	w.must(w.create("red", w.at(1, 1), w.at(2, 1)), "vn1")
	join := func(hosts ...netip.Addr) policy.Decision {
		return w.ask(w.admin, policy.OpVNJoin, policy.VNHostsArgs{VN: "red", Hosts: hosts})
	}
	leave := func(hosts ...netip.Addr) policy.Decision {
		return w.ask(w.admin, policy.OpVNLeave, policy.VNHostsArgs{VN: "red", Hosts: hosts})
	}
	step := func(d policy.Decision, want string, version uint64) {
		t.Helper()
		w.must(d, "vn1")
		if got := kinds(d); got != want {
			t.Errorf("bodies %s, want %s", got, want)
		}
		if vn, _ := w.View().VN(1); vn.Version != version {
			t.Errorf("version %d, want %d", vn.Version, version)
		}
		w.replay()
	}
	first := w.View().Get(tables.FragmentKey(1, "1")).Hash()
	step(join(w.at(1, 2), w.at(1, 3)), "roster entry", 1)
	step(join(w.at(3, 1)), "vn manifest fragment roster entry", 2)
	step(join(w.Router(3).Host6(1)), "vn manifest fragment roster entry", 3)
	if f := w.View().Get(tables.FragmentKey(1, "3")); f.Version() != 2 {
		t.Errorf("fragment version %d", f.Version())
	}
	if f := w.View().Get(tables.FragmentKey(1, "1")); f.Version() != 1 || f.Hash() != first {
		t.Error("a fragment that has not changed was signed again")
	}
	if m, _ := w.View().Manifest(1); m.Version != 3 || len(m.Fragments) != 3 || m.Fragments[0].Version != 1 || m.Rosters[0].Version != 2 {
		t.Errorf("manifest %+v", m)
	}
	step(leave(w.at(1, 2)), "roster entry", 3)
	step(leave(w.at(3, 1)), "vn manifest fragment roster entry", 4)
	step(leave(w.Router(3).Host6(1)), "vn manifest roster entry", 5)
	step(join(w.at(3, 1)), "vn manifest fragment roster entry", 6) // the fragment takes up where it was
	step(leave(w.at(1, 1), w.at(1, 3), w.at(2, 1), w.at(3, 1)), "vn manifest roster roster roster entry", 7)
	if vn, _ := w.View().VN(1); vn.State != tables.VNActive {
		t.Error("an empty VN went away")
	}
	step(join(w.at(2, 1)), "vn manifest roster entry", 8)
	if in := w.installed(2, "red"); !slices.Equal(in.Local, []netip.Addr{w.at(2, 1)}) || len(in.Sets) != 1 {
		t.Errorf("vr2 installs %+v", in)
	}
	w.refuses(join(w.at(2, 1)), "is a member of VN red already")
	w.refuses(join(w.at(2, 9), w.at(2, 1)), "is a member of VN red already")
	w.refuses(join(), "at least one host")
	w.refuses(join(netip.MustParseAddr("192.0.2.1")), "not a ViNe address")
	w.refuses(join(netip.MustParseAddr("10.255.0.1")), "in no VR's block")
	w.refuses(leave(w.at(1, 1)), "vine vn show red")
	w.refuses(leave(), "at least one host")
	w.refuses(w.ask(w.admin, policy.OpVNJoin, policy.VNHostsArgs{VN: "blue\n", Hosts: addrs("10.192.1.1")}), `"blue\n"`)
}

// A prefix that was given stays when its last host leaves: it is no block of the VR.
func TestGivenPrefixStays(t *testing.T) {
	w := newWorld(t, 5, 2)
	h := netip.MustParseAddr("10.200.0.1")
	w.must(w.ask(w.admin, policy.OpVNCreate, policy.VNCreateArgs{
		Name: "red", Hosts: []netip.Addr{h}, Prefixes: []policy.PrefixAt{{Prefix: netip.MustParsePrefix("10.200.0.0/16"), VR: "vr1"}},
	}), "vn1")
	d := w.must(w.ask(w.admin, policy.OpVNLeave, policy.VNHostsArgs{VN: "red", Hosts: []netip.Addr{h}}), "vn1")
	if kinds(d) != "roster entry" {
		t.Errorf("bodies %s", kinds(d))
	}
	d = w.must(w.ask(w.admin, policy.OpVNJoin, policy.VNHostsArgs{VN: "red", Hosts: addrs("10.200.255.1")}), "vn1")
	if kinds(d) != "roster entry" {
		t.Errorf("bodies %s", kinds(d))
	}
	w.replay()
}

func TestVNShutdown(t *testing.T) {
	w := newWorld(t, 6, 2)
	w.must(w.create("red", w.at(1, 1), w.at(2, 1)), "vn1")
	d := w.must(w.ask(w.admin, policy.OpVNShutdown, policy.VNArgs{VN: "red"}), "vn1")
	if kinds(d) != "vn manifest entry" {
		t.Errorf("bodies %s", kinds(d))
	}
	if vn, _ := w.View().VN(1); vn.State != tables.VNShutdown || vn.Version != 2 {
		t.Errorf("%+v", vn)
	}
	w.refuses(w.ask(w.admin, policy.OpVNShutdown, policy.VNArgs{VN: "red"}), "for good")
	w.refuses(w.ask(w.admin, policy.OpVNJoin, policy.VNHostsArgs{VN: "red", Hosts: addrs("10.192.1.9")}), "for good")
	w.refuses(w.ask(w.admin, policy.OpVNLeave, policy.VNHostsArgs{VN: "red", Hosts: addrs("10.192.1.1")}), "for good")
	w.refuses(w.ask(w.admin, policy.OpVNShutdown, policy.VNArgs{VN: "blue"}), "vine vn list")
	w.must(w.create("blue", w.at(1, 1)), "vn2") // the ID is not used again
	w.replay()
}

// An authority that lacks a part of a VN waits for it instead of signing over it.
func TestVNIncomplete(t *testing.T) {
	w := newWorld(t, 7, 2)
	w.must(w.create("red", w.at(1, 1), w.at(2, 1)), "vn1")
	args := policy.VNHostsArgs{VN: "red", Hosts: []netip.Addr{w.at(1, 2)}}
	d := w.request(w.admin, policy.OpVNJoin, args)
	for _, lost := range []tables.DocKey{tables.ManifestKey(1), tables.FragmentKey(1, "2"), tables.RosterKey(1, "s1")} {
		s := tables.NewStore(w.View().FederationID())
		for _, doc := range w.Documents() {
			if doc.Key() != lost {
				_, _ = s.Put(w.Now, doc, tables.FromDisk)
			}
		}
		w.want(w.authority().Decide(w.Now, s.Snapshot(), d.Hash(), d.Body().(tables.Request)), tables.StatePending, "waiting for parts of VN red")
	}
	w.must(w.decide(d), "vn1")
}

func TestForeignHome(t *testing.T) {
	w := newWorld(t, 8, 2)
	w.must(w.create("red", w.at(1, 1)), "vn1")
	vn, _ := w.View().VN(1)
	vn.Version++
	vn.Home = tables.PublicOf(w.admin)
	w.Put(vn, w.Authority)
	w.refuses(w.ask(w.admin, policy.OpVNJoin, policy.VNHostsArgs{VN: "red", Hosts: []netip.Addr{w.at(1, 2)}}), "ask its holder")
}
