package policy_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
)

func (w *world) merge(vn, from string) policy.Decision {
	w.t.Helper()
	return w.ask(w.admin, policy.OpVNMerge, policy.VNMergeArgs{VN: vn, From: from})
}

// routes returns the GNDT of a VN at a router, as text.
func (w *world) routes(router tables.RouterID, name string) string {
	text := ""
	for _, s := range w.installed(router, name).Sets {
		text += fmt.Sprintf("%v%v", s.Routers, s.Prefixes)
	}
	return text
}

// Figure 5-2 of the dissertation: VN1 of domains A and B and VN2 of domains B and C become one. The GNDT entries are united,
// the LNDT of each VR has its members of both.
func TestMergeFigure(t *testing.T) {
	w := newWorld(t, 1, 3)
	w.must(w.create("vn1", w.at(1, 1), w.at(2, 1)), "vn1")
	w.must(w.create("vn2", w.at(2, 2), w.at(3, 2)), "vn2")
	d := w.must(w.merge("vn1", "vn2"), "vn1")
	if got := kinds(d); got != "vn manifest fragment roster roster entry vn manifest roster roster entry" {
		t.Errorf("bodies %s", got)
	}
	want := fmt.Sprintf("[vr1][%s][vr2][%s][vr3][%s]", w.Router(1).Block4, w.Router(2).Block4, w.Router(3).Block4)
	local := map[tables.RouterID][]netip.Addr{1: {w.at(1, 1)}, 2: {w.at(2, 1), w.at(2, 2)}, 3: {w.at(3, 2)}}
	for _, r := range []tables.RouterID{1, 2, 3} {
		if got := w.routes(r, "vn1"); got != want {
			t.Errorf("the GNDT of vr%d is %s, want %s", r, got, want)
		}
		if got := w.installed(r, "vn1").Local; !slices.Equal(got, local[r]) {
			t.Errorf("the LNDT of vr%d has %v, want %v", r, got, local[r])
		}
		if list, _ := tables.NewInstaller(r).Update(w.View()); len(list) != 1 {
			t.Errorf("vr%d has %d VNs", r, len(list))
		}
	}
	old, _ := w.View().VNByName("vn2")
	if old.State != tables.VNShutdown || old.Into != 1 {
		t.Errorf("%+v", old)
	}
	w.refuses(w.ask(w.admin, policy.OpVNJoin, policy.VNHostsArgs{VN: "vn2", Hosts: []netip.Addr{w.at(3, 3)}}), "was merged into VN vn1")
	w.replay()
}

func TestMergeRefuses(t *testing.T) {
	w := newWorld(t, 2, 3)
	w.open()
	w.must(w.create("red", w.at(1, 1)), "vn1")
	w.must(w.create("blue", w.at(2, 1)), "vn2")
	w.must(w.ask(w.admin, policy.OpVNCreate, policy.VNCreateArgs{Name: "moved", Prefixes: []policy.PrefixAt{{Prefix: w.Router(2).Block4, VR: "vr3"}}}), "vn3")
	w.must(w.ask(w.admin, policy.OpVNCreate, policy.VNCreateArgs{Name: "shared", Hosts: []netip.Addr{w.at(1, 1)}}), "vn4")
	w.must(w.ask(w.admin, policy.OpVNCreate, policy.VNCreateArgs{Name: "gone"}), "vn5")
	w.must(w.ask(w.admin, policy.OpVNShutdown, policy.VNArgs{VN: "gone"}), "vn5")
	w.refuses(w.merge("red", "red"), "with itself")
	w.refuses(w.merge("red", "nobody"), "vine vn list")
	w.refuses(w.merge("red", "gone"), "for good")
	w.refuses(w.merge("blue", "moved"), "two ways")
	vna := w.AddUser("vna", tables.RoleVNA, "vn/red")
	w.refuses(w.ask(vna, policy.OpVNMerge, policy.VNMergeArgs{VN: "red", From: "blue"}), "may not merge VN blue")
	w.refuses(w.ask(vna, policy.OpVNMerge, policy.VNMergeArgs{VN: "blue", From: "red"}), "may not merge VN blue")
	w.replay()
}

// Nobody's packets travel with less protection than before.
func TestMergeSeal(t *testing.T) {
	for _, c := range []struct{ vn, from, want tables.Seal }{
		{tables.SealAuth, tables.SealAuth, tables.SealAuth},
		{tables.SealAuth, tables.SealEncrypt, tables.SealEncrypt},
		{tables.SealEncrypt, tables.SealAuth, tables.SealEncrypt},
	} {
		w := newWorld(t, 3, 2)
		w.must(w.ask(w.admin, policy.OpVNCreate, policy.VNCreateArgs{Name: "red", Seal: c.vn, Hosts: []netip.Addr{w.at(1, 1)}}), "vn1")
		w.must(w.ask(w.admin, policy.OpVNCreate, policy.VNCreateArgs{Name: "blue", Seal: c.from, Hosts: []netip.Addr{w.at(2, 1)}}), "vn2")
		w.must(w.merge("red", "blue"), "vn1")
		if got := w.installed(1, "red").VN.Seal; got != c.want {
			t.Errorf("%s and %s: %s", c.vn, c.from, got)
		}
	}
}

// The two VNs of a merge or a split change in the same Update, whatever order the documents come in, and never one alone.
func TestTogether(t *testing.T) {
	for _, split := range []bool{false, true} {
		w := newWorld(t, 4, 3)
		w.must(w.create("red", w.at(1, 1), w.at(1, 2), w.at(2, 1), w.at(3, 1)), "vn1")
		w.must(w.create("blue", w.at(2, 2), w.at(3, 2)), "vn2")
		before := w.Store()
		var d policy.Decision
		if split {
			d = w.must(w.ask(w.admin, policy.OpVNSplit, policy.VNSplitArgs{VN: "red", Into: "green", Hosts: []netip.Addr{w.at(1, 2), w.at(3, 1)}}), "vn3")
		} else {
			d = w.must(w.merge("red", "blue"), "vn1")
		}
		var docs []*tables.Document
		for _, b := range d.Bodies {
			if b.Kind() != tables.KindEntry {
				docs = append(docs, tablestest.Sign(b, w.Authority))
			}
		}
		rapid.Check(t, func(r *rapid.T) {
			s := tables.NewStore(before.FederationID())
			s.Load(w.Now, slices.Collect(before.Documents()), tables.FromDisk)
			router := tables.RouterID(rapid.IntRange(1, 3).Draw(r, "router"))
			in := tables.NewInstaller(router)
			was, _ := in.Update(s.Snapshot())
			changed := false
			for _, d := range rapid.Permutation(docs).Draw(r, "order") {
				s.Put(w.Now, d, tables.FromNetwork) //nolint:errcheck // leaves may be held
				now, _ := in.Update(s.Snapshot())
				versions := map[string]uint64{}
				for _, i := range now {
					if !i.Closing {
						versions[i.VN.Name] = i.VN.Version
					}
				}
				old := versions["red"] == 1 && (split && versions["green"] == 0 || !split && versions["blue"] == 1)
				next := versions["red"] == 2 && (split && versions["green"] == 1 || !split && versions["blue"] == 0)
				if !old && !next || changed && old {
					r.Fatalf("mixed: %v", versions)
				}
				if old && !reflect.DeepEqual(sets(was), sets(now)) {
					r.Fatalf("sets changed in the old versions: %v, %v", sets(was), sets(now))
				}
				changed = next
			}
			if !changed {
				r.Fatal("never installed")
			}
		})
	}
}

func sets(list []tables.Installed) map[string][]tables.DeliverySet {
	m := map[string][]tables.DeliverySet{}
	for _, i := range list {
		m[i.VN.Name] = i.Sets
	}
	return m
}

// A VN that was merged goes on beside the other one until that changes, or Close is called, and not when a router begins.
func TestClosing(t *testing.T) {
	w := newWorld(t, 5, 2)
	w.must(w.create("red", w.at(1, 1)), "vn1")
	w.must(w.create("blue", w.at(2, 1), w.at(1, 2)), "vn2")
	a, b := tables.NewInstaller(1), tables.NewInstaller(1)
	a.Update(w.View())
	b.Update(w.View())
	w.must(w.merge("red", "blue"), "vn1")
	closing := func(in *tables.Installer) string {
		list, problems := in.Update(w.View())
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		text := ""
		for _, i := range list {
			text += fmt.Sprintf("%s:%v ", i.VN.Name, i.Closing)
			if i.Closing && (i.VN.Version != 1 || len(i.Local) != 1) {
				t.Errorf("closing: %+v", i)
			}
		}
		return text
	}
	for range 2 {
		if got := closing(a) + closing(b) + closing(tables.NewInstaller(1)); got != "red:false blue:true red:false blue:true red:false " {
			t.Fatal(got)
		}
	}
	a.Close(2)
	if got := closing(a); got != "red:false " {
		t.Error(got)
	}
	// A host that leaves is out at once, wherever it came from.
	w.must(w.ask(w.admin, policy.OpVNLeave, policy.VNHostsArgs{VN: "red", Hosts: []netip.Addr{w.at(1, 2)}}), "vn1")
	if got := closing(b); got != "red:false " {
		t.Error(got)
	}
}

func TestSplit(t *testing.T) {
	w := newWorld(t, 6, 3)
	w.open()
	w.must(w.create("red", w.at(1, 1), w.at(1, 2), w.at(2, 1), w.at(3, 1)), "vn1")
	split := func(into string, hosts ...netip.Addr) policy.Decision {
		return w.ask(w.admin, policy.OpVNSplit, policy.VNSplitArgs{VN: "red", Into: into, Hosts: hosts})
	}
	w.refuses(split("green"), "name the hosts")
	w.refuses(split("Green", w.at(1, 1)), "is not 1 to 63")
	w.refuses(split("red", w.at(1, 1)), "exists already")
	w.refuses(split("green", w.at(1, 9)), "no member")
	w.refuses(split("green", w.at(1, 1), w.at(1, 2), w.at(2, 1), w.at(3, 1)), "none would be left")
	vna := w.AddUser("vna", tables.RoleVNA, "vn/red")
	eu := w.AddUser("eu", tables.RoleEU, "vn/red")
	args := policy.VNSplitArgs{VN: "red", Into: "green", Hosts: []netip.Addr{w.at(1, 2), w.at(3, 1)}}
	w.refuses(w.ask(eu, policy.OpVNSplit, args), "may not split")
	w.AddUser("bob", tables.RoleVNA, "vn/violet") // whom a name is promised
	w.refuses(w.ask(vna, policy.OpVNSplit, policy.VNSplitArgs{VN: "red", Into: "violet", Hosts: args.Hosts}), "is promised")
	w.must(w.ask(vna, policy.OpVNSplit, args), "vn2")
	if got := w.routes(2, "red"); got != fmt.Sprintf("[vr1][%s][vr2][%s]", w.Router(1).Block4, w.Router(2).Block4) {
		t.Errorf("red: %s", got)
	}
	if got := w.routes(2, "green"); got != fmt.Sprintf("[vr1][%s][vr3][%s]", w.Router(1).Block4, w.Router(3).Block4) {
		t.Errorf("green: %s", got)
	}
	if a, b := w.installed(1, "red").Local, w.installed(1, "green").Local; !slices.Equal(a, []netip.Addr{w.at(1, 1)}) || !slices.Equal(b, []netip.Addr{w.at(1, 2)}) {
		t.Errorf("local hosts: %v, %v", a, b)
	}
	// The administrator of red administers green; the end user of red is none of green.
	w.must(w.ask(vna, policy.OpVNMerge, policy.VNMergeArgs{VN: "red", From: "green"}), "vn1")
	w.replay()
}

func TestVNUpdate(t *testing.T) {
	w := newWorld(t, 7, 3)
	w.must(w.create("red", w.at(1, 1), w.at(2, 1)), "vn1")
	update := func(args policy.VNUpdateArgs) policy.Decision {
		args.VN = "red"
		return w.ask(w.admin, policy.OpVNUpdate, args)
	}
	wide := netip.MustParsePrefix("10.200.0.0/16")
	w.must(update(policy.VNUpdateArgs{Add: []policy.PrefixAt{{Prefix: wide, VR: "vr3"}}}), "vn1")
	w.must(update(policy.VNUpdateArgs{Disable: []netip.Prefix{w.Router(2).Block4}}), "vn1")
	if got := w.routes(1, "red"); got != fmt.Sprintf("[vr1][%s][vr3][%s]", w.Router(1).Block4, wide) {
		t.Errorf("with a disabled prefix: %s", got)
	}
	if got := w.installed(2, "red").Local; len(got) > 0 {
		t.Errorf("vr2 has %v behind a disabled prefix", got)
	}
	w.refuses(update(policy.VNUpdateArgs{Disable: []netip.Prefix{w.Router(2).Block4}}), "disabled already")
	w.must(w.ask(w.admin, policy.OpVNJoin, policy.VNHostsArgs{VN: "red", Hosts: []netip.Addr{w.at(2, 2)}}), "vn1") // stays disabled
	if got := w.installed(2, "red").Local; len(got) > 0 {
		t.Errorf("a join enabled the prefix: %v", got)
	}
	w.must(update(policy.VNUpdateArgs{Enable: []netip.Prefix{w.Router(2).Block4}}), "vn1")
	if got := w.installed(2, "red").Local; len(got) != 2 {
		t.Errorf("vr2 has %v behind an enabled prefix", got)
	}
	w.must(update(policy.VNUpdateArgs{Remove: []netip.Prefix{wide}, Seal: tables.SealAuth}), "vn1")
	if got := w.installed(1, "red").VN.Seal; got != tables.SealAuth {
		t.Error(got)
	}
	for reason, args := range map[string]policy.VNUpdateArgs{
		"nothing would change":        {},
		"has to leave first":          {Remove: []netip.Prefix{w.Router(1).Block4}},
		"vine vn show red":            {Remove: []netip.Prefix{wide}},
		"is not disabled":             {Enable: []netip.Prefix{wide}},
		"has no prefix 10.192.0.0/24": {Disable: []netip.Prefix{netip.MustParsePrefix("10.192.0.0/24")}},
		"neither encrypt nor auth":    {Seal: "none"},
		"two ways":                    {Add: []policy.PrefixAt{{Prefix: w.Router(1).Block4, VR: "vr2"}}},
	} {
		w.Now = w.Now.Add(1)
		w.refuses(update(args), reason)
	}
	w.replay()
}

func TestVRSwitch(t *testing.T) {
	w := newWorld(t, 8, 2)
	w.must(w.create("red", w.at(1, 1), w.at(2, 1)), "vn1")
	w.must(w.ask(w.AddUser("sa", tables.RoleSA, "site/s2"), policy.OpVRDisable, policy.VRArgs{VR: "vr2"}), "vr2")
	if got := w.routes(1, "red"); got != fmt.Sprintf("[vr1][%s]", w.Router(1).Block4) {
		t.Errorf("with a disabled VR: %s", got)
	}
	w.refuses(w.ask(w.admin, policy.OpVRDisable, policy.VRArgs{VR: "vr2"}), "disabled already")
	w.refuses(w.ask(w.admin, policy.OpVREnable, policy.VRArgs{VR: "vr1"}), "enabled already")
	w.refuses(w.ask(w.AddUser("sb", tables.RoleSA, "site/s1"), policy.OpVREnable, policy.VRArgs{VR: "vr2"}), "may not")
	w.must(w.ask(w.admin, policy.OpVREnable, policy.VRArgs{VR: "vr2"}), "vr2")
	if got := w.installed(2, "red").Local; len(got) != 1 {
		t.Error(got)
	}
	w.replay()
}

// Every state of a VN can be told from its log, and be restored.
func TestLogAndRestore(t *testing.T) {
	w := newWorld(t, 9, 3)
	w.must(w.create("red", w.at(1, 1), w.at(2, 1)), "vn1")
	w.must(w.create("blue", w.at(3, 3)), "vn2")
	var states []policy.VNState
	note := func() {
		vn, _ := w.View().VN(1)
		s, err := policy.StateNow(w.View(), vn)
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, s)
	}
	note()
	for _, step := range []struct {
		op   string
		args any
	}{
		{policy.OpVNJoin, policy.VNHostsArgs{VN: "red", Hosts: []netip.Addr{w.at(1, 2), w.at(3, 1)}}},
		{policy.OpVNUpdate, policy.VNUpdateArgs{VN: "red", Disable: []netip.Prefix{w.Router(2).Block4}}},
		{policy.OpVNLeave, policy.VNHostsArgs{VN: "red", Hosts: []netip.Addr{w.at(1, 1)}}},
		{policy.OpVNMerge, policy.VNMergeArgs{VN: "red", From: "blue"}},
		{policy.OpVNUpdate, policy.VNUpdateArgs{VN: "red", Enable: []netip.Prefix{w.Router(2).Block4}, Seal: tables.SealAuth}},
		{policy.OpVNSplit, policy.VNSplitArgs{VN: "red", Into: "green", Hosts: []netip.Addr{w.at(1, 2)}}},
	} {
		w.Now = w.Now.Add(1e9)
		if d := w.ask(w.admin, step.op, step.args); d.State != tables.StateDone {
			t.Fatalf("%s: %s", step.op, d.Reason)
		}
		note()
	}
	vn, _ := w.View().VN(1)
	for i, want := range states {
		got, err := policy.StateAt(w.View(), vn, uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		if !same(got, want) {
			t.Errorf("entry %d:\n%+v, want\n%+v", i+1, got, want)
		}
	}
	if _, err := policy.StateAt(w.View(), vn, 8); err == nil {
		t.Error("entry 8 is there")
	}
	restore := func(n uint64) policy.Decision {
		return w.ask(w.admin, policy.OpVNRestore, policy.VNRestoreArgs{VN: "red", Number: n})
	}
	w.refuses(restore(99), "has no entry 99")
	w.must(restore(1), "vn1")
	vn, _ = w.View().VN(1)
	if got, _ := policy.StateNow(w.View(), vn); !same(got, states[0]) {
		t.Errorf("restored:\n%+v, want\n%+v", got, states[0])
	}
	w.Now = w.Now.Add(1e9)
	w.refuses(restore(1), "nothing would change")
	w.replay()
}

func same(a, b policy.VNState) bool {
	a.Entry, b.Entry = 0, 0
	return fmt.Sprint(a) == fmt.Sprint(b)
}

func TestPlan(t *testing.T) {
	w := newWorld(t, 10, 3)
	w.must(w.create("red", w.at(1, 1), w.at(2, 1)), "vn1")
	w.must(w.create("blue", w.at(2, 2), w.at(3, 2), w.at(1, 1)), "vn2")
	plan := func(op string, args any) policy.Plan {
		d, err := policy.NewRequest(w.Now, w.Random, w.admin, op, args)
		if err != nil {
			t.Fatal(err)
		}
		before := w.View().Len()
		p := policy.PlanOf(w.Now, w.View(), d.Hash(), d.Body().(tables.Request))
		if w.View().Len() != before {
			t.Error("a plan changed something")
		}
		return p
	}
	pairs := func(list ...netip.Addr) [][2]netip.Addr {
		var p [][2]netip.Addr
		for i := 0; i < len(list); i += 2 {
			p = append(p, [2]netip.Addr{list[i], list[i+1]})
		}
		return p
	}
	p := plan(policy.OpVNMerge, policy.VNMergeArgs{VN: "red", From: "blue"})
	// 2.1 reaches 2.2 and 3.2 from now on; 1.1 has reached them in blue.
	if want := pairs(w.at(2, 1), w.at(2, 2), w.at(2, 1), w.at(3, 2)); p.State != tables.StateDone || p.Gained.Count != 2 || !slices.Equal(p.Gained.First, want) || p.Lost.Count != 0 {
		t.Errorf("merge: %+v", p)
	}
	if len(p.VNs) != 2 || p.VNs[0].Name != "red" || len(p.VNs[0].Joined) != 2 || len(p.VNs[1].Left) != 3 || len(p.VNs[0].Gained) != 1 {
		t.Errorf("merge: %+v", p.VNs)
	}
	p = plan(policy.OpVNSplit, policy.VNSplitArgs{VN: "blue", Into: "green", Hosts: []netip.Addr{w.at(1, 1)}})
	if want := pairs(w.at(1, 1), w.at(2, 2), w.at(1, 1), w.at(3, 2)); p.Lost.Count != 2 || !slices.Equal(p.Lost.First, want) || p.Gained.Count != 0 {
		t.Errorf("split: %+v", p)
	}
	if p = plan(policy.OpVNMerge, policy.VNMergeArgs{VN: "red", From: "nobody"}); p.State != tables.StateRefused || p.Reason == "" || len(p.VNs) > 0 {
		t.Errorf("refused: %+v", p)
	}
	p = plan(policy.OpVNUpdate, policy.VNUpdateArgs{VN: "red", Disable: []netip.Prefix{w.Router(2).Block4}})
	if want := pairs(w.at(1, 1), w.at(2, 1)); p.Lost.Count != 1 || !slices.Equal(p.Lost.First, want) {
		t.Errorf("disable: %+v", p.Lost)
	}
}
