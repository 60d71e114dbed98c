package policy_test

import (
	"crypto/ed25519"
	"net/netip"
	"strings"
	"testing"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// allowed is the matrix of rights.go again, so that one cannot change without the other.
const allowed = `
	operation    adm  sa   vna  eu
	admit        yes  yes  -    -
	refuse       yes  yes  -    -
	invite       yes  yes  -    -
	revoke       yes  yes  -    -
	consent      yes  yes  -    -
	vn.create    yes  yes  yes  yes
	vn.join      yes  yes  yes  yes
	vn.leave     yes  yes  yes  yes
	vn.shutdown  yes  -    yes  -
`

// attempts has for each operation an attempt of user on the site s1 and, where the operation is
// about one, the VN "mine", which has no host elsewhere.
var attempts = map[string]func(w *world, user ed25519.PrivateKey) policy.Decision{
	"admit": func(w *world, user ed25519.PrivateKey) policy.Decision {
		k := w.Key()
		w.ask(k, policy.OpJoin, joinArgs("new", "s1"))
		return w.ask(user, policy.OpAdmit, policy.AdmitArgs{Fingerprint: tables.PublicOf(k).Fingerprint()})
	},
	"refuse": func(w *world, user ed25519.PrivateKey) policy.Decision {
		k := w.Key()
		w.ask(k, policy.OpJoin, joinArgs("new", "s1"))
		return w.ask(user, policy.OpRefuse, policy.RefuseArgs{Fingerprint: tables.PublicOf(k).Fingerprint()})
	},
	"invite": func(w *world, user ed25519.PrivateKey) policy.Decision {
		k := w.Key()
		return w.ask(k, policy.OpJoin, w.invited(user, k, joinArgs("new", "s1"), tables.Invite{}))
	},
	"revoke": func(w *world, user ed25519.PrivateKey) policy.Decision {
		return w.ask(user, policy.OpRevoke, policy.RevokeArgs{VR: "vr1"})
	},
	"consent": func(w *world, user ed25519.PrivateKey) policy.Decision {
		w.Put(tables.Site{Version: 2, Name: "s1", Consent: "ask"}, w.Authority)
		g := tables.Grant{
			Version: 1, User: tables.PublicOf(user), Name: "u", Role: tables.RoleVNA, Scope: "vn/asks",
			NotAfter: w.Now.AddDate(1, 0, 0).Unix(),
		}
		w.Put(g, w.Authority)
		return w.ask(user, policy.OpVNCreate, policy.VNCreateArgs{Name: "asks", Hosts: []netip.Addr{w.at(1, 1)}})
	},
	"vn.create": func(w *world, user ed25519.PrivateKey) policy.Decision {
		return w.ask(user, policy.OpVNCreate, policy.VNCreateArgs{Name: "mine", Hosts: []netip.Addr{w.at(1, 1)}})
	},
	"vn.join": func(w *world, user ed25519.PrivateKey) policy.Decision {
		w.must(w.create("mine", w.at(1, 1)), "vn1")
		return w.ask(user, policy.OpVNJoin, policy.VNHostsArgs{VN: "mine", Hosts: []netip.Addr{w.at(1, 2)}})
	},
	"vn.leave": func(w *world, user ed25519.PrivateKey) policy.Decision {
		w.must(w.create("mine", w.at(1, 1)), "vn1")
		return w.ask(user, policy.OpVNLeave, policy.VNHostsArgs{VN: "mine", Hosts: []netip.Addr{w.at(1, 1)}})
	},
	"vn.shutdown": func(w *world, user ed25519.PrivateKey) policy.Decision {
		w.must(w.create("mine", w.at(1, 1)), "vn1")
		return w.ask(user, policy.OpVNShutdown, policy.VNArgs{VN: "mine"})
	},
}

func TestRights(t *testing.T) {
	var roles []string
	rows := 0
	for line := range strings.Lines(strings.TrimSpace(allowed)) {
		fields := strings.Fields(line)
		if roles == nil {
			roles = fields[1:]
			continue
		}
		rows++
		op := fields[0]
		for i, yes := range fields[1:] {
			role := tables.Role(roles[i])
			for scope, covers := range map[string]bool{
				"federation": role != tables.RoleEU,
				"site/s1":    true,
				"site/s2":    false,
				"vn/mine":    strings.HasPrefix(op, "vn."),
				"vn/yours":   false,
			} {
				t.Run(op+"/"+roles[i]+"/"+strings.ReplaceAll(scope, "/", ":"), func(t *testing.T) {
					w := newWorld(t, 1, 2)
					w.open()
					d := attempts[op](w, w.AddUser("u", role, scope))
					want := tables.StateRefused
					if yes == "yes" && covers {
						want = tables.StateDone
					}
					if d.State != want {
						t.Errorf("%s (%s), want %s", d.State, d.Reason, want)
					}
				})
			}
		}
	}
	if len(roles) != 4 || rows != len(attempts) {
		t.Errorf("%d roles, %d operations of %d", len(roles), rows, len(attempts))
	}
}

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

func TestConsent(t *testing.T) {
	for _, c := range []struct{ policy, reason string }{
		{"", "wants to be asked"}, // the site has no document
		{"ask", "wants to be asked"},
		{"never", "lets none of its hosts"},
		{"open", ""},
	} {
		t.Run(c.policy, func(t *testing.T) {
			w := newWorld(t, 3, 2)
			w.Put(tables.Site{Version: 1, Name: "s1", Consent: "open"}, w.Authority)
			if c.policy != "" {
				w.Put(tables.Site{Version: 1, Name: "s2", Consent: c.policy}, w.Authority)
			}
			vna := w.AddUser("vna", tables.RoleVNA, "vn/red")
			w.must(w.ask(vna, policy.OpVNCreate, policy.VNCreateArgs{Name: "red", Hosts: []netip.Addr{w.at(1, 1)}}), "vn1")
			join := policy.VNHostsArgs{VN: "red", Hosts: []netip.Addr{w.at(2, 1)}}
			if c.reason != "" {
				w.refuses(w.ask(vna, policy.OpVNJoin, join), c.reason)
			} else {
				w.must(w.ask(vna, policy.OpVNJoin, join), "vn1")
			}
			switch c.policy {
			case "never":
				w.refuses(w.ask(w.admin, policy.OpVNJoin, join), c.reason)
			case "", "ask":
				w.must(w.ask(w.admin, policy.OpVNJoin, join), "vn1")
			}
			w.replay()
		})
	}
}
