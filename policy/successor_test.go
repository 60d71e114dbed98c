package policy_test

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// rotate replaces the authority key of w, which is lost, and adopts what it has signed.
func (w *world) rotate() {
	w.t.Helper()
	w.Authority = w.Key()
	r, _ := w.View().Root()
	r.Version++
	r.Authorities = []tables.AuthorityKey{{Key: tables.PublicOf(w.Authority), NotAfter: r.Authorities[0].NotAfter}}
	s, err := policy.Succeed(w.View(), nil, r, nil, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	var stand []tables.Digest
	for _, d := range s.Stand {
		stand = append(stand, d.Digest())
	}
	adoptions, hashes, err := tables.Adoptions(stand)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Adopts = hashes
	w.Put(r, w.RootKeys...)
	for _, a := range adoptions {
		w.Put(a, w.RootKeys...)
	}
	w.SignHead()
}

// The key that root has put in the place of a lost one does to VNs of before whatever is asked for.
func TestSuccessor(t *testing.T) {
	w := newWorld(t, 1, 3)
	vns := []string{"join", "leave", "shut", "merge", "from", "split", "update", "restore", "left"}
	for i, name := range vns {
		w.must(w.create(name, w.at(1, 10+i), w.at(2, 10+i)), tables.VNID(i+1).String())
	}
	w.must(w.ask(w.admin, policy.OpVNLeave, policy.VNHostsArgs{VN: "restore", Hosts: []netip.Addr{w.at(2, 17)}}), "vn8")
	w.rotate()

	w.must(w.ask(w.admin, policy.OpVNJoin, policy.VNHostsArgs{VN: "join", Hosts: []netip.Addr{w.at(3, 10)}}), "vn1")
	w.must(w.ask(w.admin, policy.OpVNLeave, policy.VNHostsArgs{VN: "leave", Hosts: []netip.Addr{w.at(2, 11)}}), "vn2")
	w.must(w.ask(w.admin, policy.OpVNShutdown, policy.VNArgs{VN: "shut"}), "vn3")
	w.must(w.merge("merge", "from"), "vn4")
	w.must(w.ask(w.admin, policy.OpVNSplit, policy.VNSplitArgs{VN: "split", Into: "part", Hosts: []netip.Addr{w.at(2, 15)}}), "vn10")
	w.must(w.ask(w.admin, policy.OpVNUpdate, policy.VNUpdateArgs{VN: "update", Seal: tables.SealAuth}), "vn7")
	w.must(w.ask(w.admin, policy.OpVNRestore, policy.VNRestoreArgs{VN: "restore", Number: 1}), "vn8")
	w.must(w.ask(w.admin, policy.OpRevoke, policy.RevokeArgs{VR: w.Enrolment(w.Router(3)).Name, Reason: "stolen"}), "vr3")

	// Every VN is whole at every VR, the one that nobody has changed too.
	for _, r := range []tables.RouterID{1, 2} {
		if _, problems := tables.NewInstaller(r).Update(w.View()); len(problems) > 0 {
			t.Errorf("at %s: %+v", r, problems)
		}
	}
	local := map[string][]netip.Addr{"join": {w.at(2, 10)}, "merge": {w.at(2, 13), w.at(2, 14)}, "part": {w.at(2, 15)}, "update": {w.at(2, 16)}, "restore": {w.at(2, 17)}, "left": {w.at(2, 18)}}
	for name, want := range local {
		if got := w.installed(2, name).Local; !slices.Equal(got, want) {
			t.Errorf("VN %s has %v at vr2, want %v", name, got, want)
		}
	}
	for _, vn := range w.View().VNs() {
		if moved := vn.Home == tables.PublicOf(w.Authority); moved != (vn.Name != "left") {
			t.Errorf("VN %s: home moved %v", vn.Name, moved)
		}
	}
	// What is due later: every enrolment has a new life by the new key.
	w.Now = w.Now.Add(250 * 24 * time.Hour)
	due := w.authority().Renewals(w.Now, w.View())
	if len(due) != 2 {
		t.Fatalf("%d renewals", len(due))
	}
	for _, b := range due {
		w.Put(b, w.Authority)
	}

	// And once more: what the first key signed still stands, and what the second did.
	before := w.View().Len()
	w.rotate()
	if after := w.View().Len(); after != before+2 { // the root, its list, a head for a head
		t.Errorf("%d documents before the second change and %d after it", before, after)
	}
	w.must(w.ask(w.admin, policy.OpVNShutdown, policy.VNArgs{VN: "left"}), "vn9")
	w.must(w.ask(w.admin, policy.OpVNShutdown, policy.VNArgs{VN: "join"}), "vn1")
	for _, r := range []tables.RouterID{1, 2} {
		if _, problems := tables.NewInstaller(r).Update(w.View()); len(problems) > 0 {
			t.Errorf("at %s after the second change: %+v", r, problems)
		}
	}
}

// Of several authorities exactly one signs for a home that is gone, and nobody for one in office.
func TestOneSuccessor(t *testing.T) {
	w := newWorld(t, 1, 2)
	w.must(w.create("red", w.at(1, 1), w.at(2, 1)), "vn1")
	old := w.Authority
	w.rotate()
	second := w.Key()
	r, _ := w.View().Root()
	r.Version = 3
	r.Authorities = append(r.Authorities, tables.AuthorityKey{Key: tables.PublicOf(second), NotAfter: r.Authorities[0].NotAfter})
	slices.SortFunc(r.Authorities, func(a, b tables.AuthorityKey) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	w.Put(r, w.RootKeys...)
	d := w.request(w.admin, policy.OpVNShutdown, policy.VNArgs{VN: "red"})
	var done int
	for _, key := range []tables.PublicKey{tables.PublicOf(w.Authority), tables.PublicOf(second), tables.PublicOf(old)} {
		if (policy.Authority{Key: key}).Decide(w.Now, w.View(), d.Hash(), d.Body().(tables.Request)).State == tables.StateDone {
			done++
		}
	}
	if done != 1 {
		t.Errorf("%d authorities would sign", done)
	}
	w.must(w.create("blue", w.at(1, 2)), "vn2") // its home is in office
	b := w.request(w.admin, policy.OpVNShutdown, policy.VNArgs{VN: "blue"})
	w.refuses((policy.Authority{Key: tables.PublicOf(second)}).Decide(w.Now, w.View(), b.Hash(), b.Body().(tables.Request)), "ask its holder")
}
