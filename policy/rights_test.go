package policy_test

import (
	"net/netip"
	"testing"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// A user without any grant, and one whose grant has ended or was taken back, may nothing.
func TestNoGrant(t *testing.T) {
	for name, grant := range map[string]func(*tables.Grant, *world){
		"ended":   func(g *tables.Grant, w *world) { g.NotAfter = w.Now.AddDate(0, 0, -1).Unix() },
		"revoked": func(g *tables.Grant, w *world) { g.Revoked = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, 2)
			k := w.Key()
			g := tables.Grant{
				Version: 1, User: tables.PublicOf(k), Name: "u", Role: tables.RoleADM, Scope: "federation",
				NotAfter: w.Now.AddDate(1, 0, 0).Unix(),
			}
			grant(&g, w)
			w.Put(g, w.Authority)
			r := tables.Request{User: tables.PublicOf(k), Op: policy.OpRevoke, NotAfter: w.Now.Unix() + 60}
			r.Args, _ = tables.EncodeArgs(policy.RevokeArgs{VR: "vr1"})
			w.refuses(w.authority().Decide(w.Now, w.View(), tables.Hash{1}, r), "may not")
		})
	}
}

// A site's administrator decides about the site's own hosts only, and does not get into VNs that
// have no part there.
func TestSiteBounds(t *testing.T) {
	w := newWorld(t, 2, 3)
	sa := w.AddUser("sa", tables.RoleSA, "site/s1")
	hosts := func(r ...tables.RouterID) []netip.Addr {
		var list []netip.Addr
		for _, id := range r {
			list = append(list, w.at(id, 5))
		}
		return list
	}
	w.refuses(w.ask(sa, policy.OpVNCreate, policy.VNCreateArgs{Name: "a", Hosts: hosts(1, 2)}), "may not create")
	w.refuses(w.ask(sa, policy.OpVNCreate, policy.VNCreateArgs{Name: "a"}), "may not create")
	w.refuses(w.ask(sa, policy.OpVNCreate, policy.VNCreateArgs{
		Name: "a", Hosts: hosts(1), Prefixes: []policy.PrefixAt{{Prefix: netip.MustParsePrefix("10.200.0.0/16"), VR: "vr2"}},
	}), "may not create")
	w.must(w.create("theirs", w.at(2, 1), w.at(3, 1)), "vn1")
	w.refuses(w.ask(sa, policy.OpVNJoin, policy.VNHostsArgs{VN: "theirs", Hosts: hosts(1)}), "no part at your site yet")
	w.must(w.create("ours", w.at(1, 1), w.at(2, 1)), "vn2")
	w.must(w.ask(sa, policy.OpVNJoin, policy.VNHostsArgs{VN: "ours", Hosts: hosts(1)}), "vn2")
	w.refuses(w.ask(sa, policy.OpVNJoin, policy.VNHostsArgs{VN: "ours", Hosts: hosts(2)}), "may not add")
	w.refuses(w.ask(sa, policy.OpVNLeave, policy.VNHostsArgs{VN: "ours", Hosts: append(hosts(1), w.at(2, 1))}), "may not take")
	w.must(w.ask(sa, policy.OpVNLeave, policy.VNHostsArgs{VN: "ours", Hosts: hosts(1)}), "vn2")
	w.replay()
}
