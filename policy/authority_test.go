package policy_test

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
)

// Of two authorities each renews what it has signed and leaves the other's invites alone, so that
// they never sign two contents for one version.
func TestTwoAuthorities(t *testing.T) {
	w := newWorld(t, 1, 2)
	second := w.Key()
	root := w.RootBody()
	root.Version = 2
	root.Authorities = append(root.Authorities, tables.AuthorityKey{Key: tables.PublicOf(second), NotAfter: w.Now.AddDate(5, 0, 0).Unix()})
	slices.SortFunc(root.Authorities, func(a, b tables.AuthorityKey) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	w.Put(root, w.RootKeys...)
	one, two := w.authority(), policy.Authority{Key: tables.PublicOf(second), AutoAdmit: "open"}

	k := w.Key()
	args := w.invited(w.admin, k, joinArgs("lab", "uf"), tables.Invite{Authority: two.Key})
	join := w.request(k, policy.OpJoin, args)
	w.want(w.decide(join), tables.StatePending, "redeems this invite")
	d := two.Decide(w.Now, w.View(), join.Hash(), join.Body().(tables.Request))
	w.must(d, "vr3")
	for _, b := range d.Bodies {
		w.Put(b, second)
	}
	later := w.Now.AddDate(0, 0, 250)
	if a, b := one.Renewals(later, w.View()), two.Renewals(later, w.View()); len(a) != 2 || len(b) != 1 || b[0].(tables.Enrolment).Router != 3 {
		t.Errorf("renewals %+v and %+v", a, b)
	}
	// When the second key has ended, the first takes over.
	root.Version = 3
	i := slices.IndexFunc(root.Authorities, func(a tables.AuthorityKey) bool { return a.Key == two.Key })
	root.Authorities = slices.Clone(root.Authorities)
	root.Authorities[i].NotAfter = w.Now.Add(time.Hour).Unix()
	w.Put(root, w.RootKeys...)
	if a, b := one.Renewals(later, w.View()), two.Renewals(later, w.View()); len(a) != 3 || len(b) != 0 {
		t.Errorf("renewals %+v and %+v", a, b)
	}
}

// Whatever bytes the arguments are, the answer can be signed, and nobody without a grant gets
// anything but a join.
func FuzzDecide(f *testing.F) {
	ops := []string{policy.OpJoin, policy.OpAdmit, policy.OpRefuse, policy.OpVNCreate, policy.OpVNJoin, policy.OpVNLeave, policy.OpVNShutdown, policy.OpRevoke}
	host := []netip.Addr{netip.MustParseAddr("10.192.1.9")}
	for op, args := range []any{
		joinArgs("lab", "uf"), policy.AdmitArgs{Fingerprint: "x"}, policy.RefuseArgs{Fingerprint: "x", Reason: "y"},
		policy.VNCreateArgs{Name: "blue", Hosts: host, Prefixes: []policy.PrefixAt{{Prefix: netip.MustParsePrefix("10.200.0.0/16"), VR: "vr1"}}},
		policy.VNHostsArgs{VN: "red", Hosts: host}, policy.VNHostsArgs{VN: "red", Hosts: host},
		policy.VNArgs{VN: "red"}, policy.RevokeArgs{VR: "vr1", Reason: "lost"},
	} {
		b, err := tables.EncodeArgs(args)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(op), b)
		f.Add(uint8(op), b[:len(b)/2])
	}
	w := newWorld(f, 1, 2)
	w.auto = "open"
	w.must(w.create("red", w.at(1, 1), w.at(2, 1)), "vn1")
	stranger := w.Key()
	f.Fuzz(func(t *testing.T, n uint8, args []byte) {
		op := ops[int(n)%len(ops)]
		for _, user := range []tables.PublicKey{tables.PublicOf(w.admin), tables.PublicOf(stranger)} {
			r := tables.Request{User: user, Op: op, Args: args, Issued: w.Now.Unix(), NotAfter: w.Now.Unix() + 60}
			d := w.authority().Decide(w.Now, w.View(), tables.Hash{1}, r)
			if d.State == tables.StateDone && op != policy.OpJoin && user == tables.PublicOf(stranger) {
				t.Fatalf("a stranger's %s is done", op)
			}
			receipt := tables.Receipt{Version: 1, Request: tables.Hash{1}, State: d.State, Reason: d.Reason, Result: d.Result, Issued: w.Now.Unix()}
			s := w.Store()
			for _, b := range append(d.Bodies, receipt) {
				doc := tablestest.Sign(b, w.Authority)
				if o, err := s.Put(w.Now, doc, tables.FromDisk); o != tables.Kept {
					t.Fatalf("%s: %s %v", doc.Key(), o, err)
				}
			}
		}
	})
}
