package policy_test

import (
	"net/netip"
	"testing"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// MayJoin says what Decide does, for every role and scope, and for each consent of the site.
func TestMayJoin(t *testing.T) {
	for _, consent := range []string{"ask", "open", "never"} {
		for _, role := range []tables.Role{"", tables.RoleADM, tables.RoleSA, tables.RoleVNA, tables.RoleEU} {
			for _, scope := range []string{"federation", "site/s1", "site/s2", "vn/red", "vn/blue"} {
				for _, vn := range []string{"red", "blue", "nothing"} {
					w := newWorld(t, 9, 2)
					w.must(w.create("red", w.at(1, 1), w.at(2, 1)), "vn1")
					w.must(w.create("blue", w.at(2, 1)), "vn2") // has no part at s1
					old := w.View().Get(tables.SiteKey("s1"))
					site := tables.Site{Version: 1, Name: "s1", Consent: consent}
					if old != nil {
						site = old.Body().(tables.Site)
						site.Version, site.Consent = site.Version+1, consent
					}
					w.Put(site, w.Authority)
					user := w.Key()
					if role != "" {
						w.Put(tables.Grant{
							Version: 1, User: tables.PublicOf(user), Name: "someone", Role: role, Scope: scope, NotAfter: w.Now.AddDate(1, 0, 0).Unix(),
						}, w.Authority)
					}
					got := policy.MayJoin(w.View(), w.Now, tables.PublicOf(user), vn, "s1")
					want := false
					if role != "" {
						d := w.ask(user, policy.OpVNJoin, policy.VNHostsArgs{VN: vn, Hosts: addrs(w.at(1, 9).String())})
						want = d.State == tables.StateDone
					}
					if got != want {
						t.Errorf("consent %s, %s of %s, VN %s: %v, but Decide says %v", consent, role, scope, vn, got, want)
					}
				}
			}
		}
	}
}

// A new VR gets no block out of what a site says to be its LAN's own subnet.
func TestBlocksAvoidSubnets(t *testing.T) {
	w := newWorld(t, 10, 1)
	w.auto = "open"
	next := netip.MustParsePrefix("10.192.2.0/24") // that it would get
	join := func(name string) netip.Prefix {
		if d := w.ask(w.Key(), policy.OpJoin, joinArgs(name, "uf")); d.State != tables.StateDone {
			t.Fatalf("%+v", d)
		}
		e, _ := w.View().EnrolmentByName(name)
		return e.Blocks[0]
	}
	site := tables.Site{Version: 9, Name: "s1", Consent: "ask", Subnets: []netip.Prefix{next}}
	w.Put(site, w.Authority)
	if got := join("lab"); got.Overlaps(next) {
		t.Errorf("a VR gets %v", got)
	}
	site.Version, site.Subnets = 10, nil
	w.Put(site, w.Authority)
	if got := join("other"); got != next {
		t.Errorf("without the subnet a VR gets %v, want %v: the test proves nothing", got, next)
	}
}
