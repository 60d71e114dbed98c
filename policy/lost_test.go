package policy_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
)

// An authority that has lost documents and has their marks gives no number twice and signs versions
// that those who lost nothing take.
func TestNumbersAfterLoss(t *testing.T) {
	w := newWorld(t, 1, 2)
	w.auto = "open"
	w.open()
	w.must(w.ask(w.admin, policy.OpVNCreate, policy.VNCreateArgs{Name: "red", Hosts: addrs("10.192.1.1")}), "vn1")
	w.must(w.ask(w.Key(), policy.OpJoin, joinArgs("lab", "uf")), "vr3")
	whole := w.Store()

	lost := tables.NewStore(w.View().FederationID())
	lost.SetHighWater(whole.HighWater())
	for d := range w.View().Documents() {
		switch d.Key() {
		case tables.EnrolmentKey(3), tables.SiteKey("uf"), tables.VNKey(1), tables.ManifestKey(1), tables.FragmentKey(1, "1"), tables.RosterKey(1, "s1"), tables.EntryKey(1, 1):
			continue
		}
		if _, err := lost.Put(w.Now, d, tables.FromDisk); err != nil {
			t.Fatal(err)
		}
	}
	decide := func(d *tables.Document) policy.Decision {
		t.Helper()
		for _, s := range []*tables.Store{whole, lost} {
			if _, err := s.Put(w.Now, d, tables.FromNetwork); err != nil {
				t.Fatal(err)
			}
		}
		decision := w.authority().Decide(w.Now, lost.Snapshot(), d.Hash(), d.Body().(tables.Request))
		if decision.State != tables.StateDone {
			t.Fatalf("%s: %s", decision.State, decision.Reason)
		}
		for _, b := range decision.Bodies {
			if e, ok := b.(tables.Enrolment); ok { // the lost block is given again: a matter of exchanges
				e.Blocks = []netip.Prefix{netip.MustParsePrefix("10.192.77.0/24")}
				b = e
			}
			if o, err := whole.Put(w.Now, tablestest.Sign(b, w.Authority), tables.FromNetwork); o != tables.Kept {
				t.Errorf("%s of version %d after the loss: %s, %v", b.Kind(), tablestest.Sign(b, w.Authority).Version(), o, err)
			}
		}
		return decision
	}
	join, err := policy.NewRequest(w.Now, w.Random, w.Key(), policy.OpJoin, joinArgs("lab2", "uf"))
	if err != nil {
		t.Fatal(err)
	}
	if d := decide(join); d.Result != "vr4" {
		t.Errorf("the next router is %s", d.Result)
	}
	create, err := policy.NewRequest(w.Now, w.Random, w.admin, policy.OpVNCreate, policy.VNCreateArgs{Name: "blue", Hosts: addrs("10.192.2.1")})
	if err != nil {
		t.Fatal(err)
	}
	if d := decide(create); d.Result != "vn2" {
		t.Errorf("the next VN is %s", d.Result)
	}
}

func TestCheckJoin(t *testing.T) {
	w := newWorld(t, 1, 1)
	request := func(op string, args any) tables.Request {
		d, err := policy.NewRequest(w.Now, w.Random, w.Key(), op, args)
		if err != nil {
			t.Fatal(err)
		}
		return d.Body().(tables.Request)
	}
	if err := policy.CheckJoin(request(policy.OpJoin, joinArgs("lab", "uf"))); err != nil {
		t.Error(err)
	}
	for name, r := range map[string]tables.Request{
		"name":            request(policy.OpJoin, joinArgs("NOT A NAME", "uf")),
		"site":            request(policy.OpJoin, joinArgs("lab", "NOT A SITE")),
		"other arguments": request(policy.OpJoin, policy.VNArgs{VN: "x"}),
		"other operation": request(policy.OpVNCreate, joinArgs("lab", "uf")),
	} {
		if err := policy.CheckJoin(r); !errors.Is(err, tables.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
