package policy_test

import (
	"crypto/ed25519"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
)

// What a site's policy lets an administrator of VN red do, who may not speak for the site.
func TestConsent(t *testing.T) {
	vna := tables.PublicOf(tablestest.New(77, 0).Key())
	for name, c := range map[string]struct {
		site    *tables.Site // nil: the site has no document
		state   string
		nobody  bool // not even who speaks for the site
		outcome string
	}{
		"no document":      {nil, tables.StatePending, false, "waiting"},
		"ask":              {&tables.Site{Consent: "ask"}, tables.StatePending, false, "waiting"},
		"never":            {&tables.Site{Consent: "never"}, tables.StateRefused, true, "lets none of its hosts"},
		"open":             {&tables.Site{Consent: "open"}, tables.StateDone, false, ""},
		"this VN":          {&tables.Site{Consent: "ask", Allowed: []string{"blue", "red"}}, tables.StateDone, false, ""},
		"another VN":       {&tables.Site{Consent: "ask", Allowed: []string{"blue"}}, tables.StatePending, false, "waiting"},
		"with this site":   {&tables.Site{Consent: "ask", With: []string{"s1"}}, tables.StateDone, false, ""},
		"with another":     {&tables.Site{Consent: "ask", With: []string{"s3"}}, tables.StatePending, false, "waiting"},
		"this user":        {&tables.Site{Consent: "ask", Users: []tables.PublicKey{vna}}, tables.StateDone, false, ""},
		"another user":     {&tables.Site{Consent: "ask", Users: []tables.PublicKey{tables.PublicOf(tablestest.New(5, 0).Authority)}}, tables.StatePending, false, "waiting"},
		"VN and with":      {&tables.Site{Consent: "ask", Allowed: []string{"red"}, With: []string{"s1", "s3"}}, tables.StateDone, false, ""},
		"VN but not with":  {&tables.Site{Consent: "ask", Allowed: []string{"red"}, With: []string{"s3"}}, tables.StatePending, false, "waiting"},
		"open, but left":   {&tables.Site{Consent: "open", Withdrawn: []string{"red"}}, tables.StatePending, false, "waiting"},
		"this VN but left": {&tables.Site{Consent: "ask", Allowed: []string{"red"}, Withdrawn: []string{"red"}}, tables.StatePending, false, "waiting"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 3, 2)
			w.Put(tables.Site{Version: 1, Name: "s1", Consent: "open"}, w.Authority)
			if c.site != nil {
				c.site.Version, c.site.Name = 1, "s2"
				w.Put(*c.site, w.Authority)
			}
			key := tablestest.New(77, 0).Key()
			w.Put(tables.Grant{Version: 1, User: vna, Name: "vna", Role: tables.RoleVNA, Scope: "vn/red", NotAfter: w.Now.AddDate(1, 0, 0).Unix()}, w.Authority)
			w.must(w.ask(key, policy.OpVNCreate, policy.VNCreateArgs{Name: "red", Hosts: []netip.Addr{w.at(1, 1)}}), "vn1")
			join := policy.VNHostsArgs{VN: "red", Hosts: []netip.Addr{w.at(2, 1)}}
			w.want(w.ask(key, policy.OpVNJoin, join), c.state, c.outcome)
			switch {
			case c.nobody:
				w.refuses(w.ask(w.admin, policy.OpVNJoin, join), c.outcome)
			case c.state == tables.StatePending:
				w.must(w.ask(w.admin, policy.OpVNJoin, join), "vn1")
			}
			w.replay()
		})
	}
}

// A desk is a world with an administrator of VN red, who asks, and administrators of two sites.
type consents struct {
	*world
	vna, sa1, sa2 ed25519.PrivateKey
}

func newConsents(t *testing.T) consents {
	w := newWorld(t, 3, 3)
	return consents{w, w.AddUser("vna", tables.RoleVNA, "vn/red"), w.AddUser("sa1", tables.RoleSA, "site/s1"), w.AddUser("sa2", tables.RoleSA, "site/s2")}
}

// create asks for VN red with a host at each of these VRs.
func (w consents) create(routers ...tables.RouterID) *tables.Document {
	args := policy.VNCreateArgs{Name: "red"}
	for _, id := range routers {
		args.Hosts = append(args.Hosts, w.at(id, 1))
	}
	return w.request(w.vna, policy.OpVNCreate, args)
}

func (w consents) consent(user ed25519.PrivateKey, d *tables.Document, site string) policy.Decision {
	return w.ask(user, policy.OpConsent, policy.ConsentArgs{Request: d.Hash(), Site: site})
}

// A request waits until every site whose hosts it concerns has agreed, each by somebody who may speak
// for it.
func TestConsentOfEverySite(t *testing.T) {
	w := newConsents(t)
	d := w.create(1, 2)
	w.want(w.decide(d), tables.StatePending, "site s1, site s2")
	if got := policy.WaitsFor(w.Now, w.View(), d.Hash(), d.Body().(tables.Request)); !slices.Equal(got, []string{"s1", "s2"}) {
		t.Errorf("waits for %v", got)
	}
	w.refuses(w.consent(w.vna, d, "s1"), "may not consent")
	w.refuses(w.consent(w.sa2, d, "s1"), "may not consent")
	w.refuses(w.consent(w.sa1, d, ""), "may not consent")
	w.must(w.consent(w.sa1, d, "s1"), "s1")
	w.refuses(w.consent(w.sa1, d, "s1"), "does not wait")
	w.want(w.decide(d), tables.StatePending, "site s2")
	other := w.request(w.vna, policy.OpVNCreate, policy.VNCreateArgs{Name: "red", Hosts: []netip.Addr{w.at(1, 9)}})
	w.want(w.decide(other), tables.StatePending, "site s1") // a consent is to one request
	w.must(w.consent(w.sa2, d, "s2"), "s2")
	w.must(w.decide(d), "vn1")
	w.refuses(w.consent(w.sa2, d, "s2"), "has its answer")
	w.refuses(w.ask(w.sa1, policy.OpConsent, policy.ConsentArgs{Request: tables.Hash{9}, Site: "s1"}), "no request")
	w.replay()
}

// A consent counts as long as who gave it may give it.
func TestConsentOfFormerAdministrator(t *testing.T) {
	w := newConsents(t)
	d := w.create(1, 2)
	w.decide(d)
	w.must(w.consent(w.sa1, d, "s1"), "s1")
	w.must(w.ask(w.admin, policy.OpUserRevoke, policy.UserRevokeArgs{User: tables.PublicOf(w.sa1)}), "1 right")
	w.want(w.decide(d), tables.StatePending, "site s1, site s2")
}

func TestConsentRefused(t *testing.T) {
	w := newConsents(t)
	d := w.create(1, 2)
	w.decide(d)
	w.refuses(w.ask(w.sa2, policy.OpConsent, policy.ConsentArgs{Request: d.Hash(), Site: "s2", Refuse: true, Reason: "a\x1b[2J"}), "printed")
	w.must(w.ask(w.sa2, policy.OpConsent, policy.ConsentArgs{Request: d.Hash(), Site: "s2", Refuse: true, Reason: "not this term"}), "s2")
	w.refuses(w.decide(d), "site s2 has refused: not this term")
}

// A site that is in a VN on condition of who else is in it is asked when another site enters.
func TestConsentToNewNeighbours(t *testing.T) {
	w := newConsents(t)
	w.Put(tables.Site{Version: 1, Name: "s1", Consent: "ask", With: []string{"s2"}}, w.Authority)
	w.Put(tables.Site{Version: 1, Name: "s2", Consent: "open"}, w.Authority)
	w.Put(tables.Site{Version: 1, Name: "s3", Consent: "open"}, w.Authority)
	w.must(w.decide(w.create(1, 2)), "vn1")
	d := w.request(w.vna, policy.OpVNJoin, policy.VNHostsArgs{VN: "red", Hosts: []netip.Addr{w.at(3, 1)}})
	w.want(w.decide(d), tables.StatePending, "site s1")
	w.must(w.consent(w.sa1, d, "s1"), "s1")
	w.must(w.decide(d), "vn1")
	w.must(w.ask(w.vna, policy.OpVNJoin, policy.VNHostsArgs{VN: "red", Hosts: []netip.Addr{w.at(3, 2)}}), "vn1")
	w.replay()
}

// Consent withdrawn, everything of the site leaves in one new version, and does not come back unasked.
func TestWithdraw(t *testing.T) {
	w := newConsents(t)
	w.open()
	args := policy.VNCreateArgs{Name: "red", Hosts: []netip.Addr{w.at(1, 1), w.at(2, 1), w.at(2, 2)},
		Prefixes: []policy.PrefixAt{{Prefix: netip.MustParsePrefix("10.200.0.0/24"), VR: "vr2"}}}
	w.must(w.ask(w.vna, policy.OpVNCreate, args), "vn1")
	w.refuses(w.ask(w.sa1, policy.OpWithdraw, policy.WithdrawArgs{Site: "s2", VN: "red"}), "may not withdraw")
	w.refuses(w.ask(w.vna, policy.OpWithdraw, policy.WithdrawArgs{Site: "s2", VN: "red"}), "may not withdraw")
	w.refuses(w.ask(w.admin, policy.OpWithdraw, policy.WithdrawArgs{Site: "s3", VN: "red"}), "no part")
	w.refuses(w.ask(w.admin, policy.OpWithdraw, policy.WithdrawArgs{Site: "s9", VN: "red"}), "no site")
	w.refuses(w.ask(w.admin, policy.OpWithdraw, policy.WithdrawArgs{Site: "s2", VN: "blue"}), "no VN")
	w.must(w.ask(w.sa2, policy.OpWithdraw, policy.WithdrawArgs{Site: "s2", VN: "red"}), "vn1")
	left := w.installed(1, "red")
	if len(left.Sets) != 1 || left.Sets[0].Routers[0] != 1 || left.VN.Version != 2 {
		t.Errorf("left in version %d: %v", left.VN.Version, left.Sets)
	}
	join := policy.VNHostsArgs{VN: "red", Hosts: []netip.Addr{w.at(2, 1)}}
	w.want(w.ask(w.vna, policy.OpVNJoin, join), tables.StatePending, "site s2")
	w.must(w.ask(w.sa2, policy.OpSiteSet, policy.SiteSetArgs{Site: "s2", Consent: "open"}), "s2")
	w.must(w.ask(w.vna, policy.OpVNJoin, join), "vn1")
	w.replay()
}

// A consent that was given before the site withdrew does not bring it back.
func TestWithdrawEndsConsents(t *testing.T) {
	w := newConsents(t)
	w.must(w.ask(w.admin, policy.OpVNCreate, policy.VNCreateArgs{Name: "red", Hosts: []netip.Addr{w.at(2, 1)}}), "vn1")
	d := w.request(w.vna, policy.OpVNJoin, policy.VNHostsArgs{VN: "red", Hosts: []netip.Addr{w.at(1, 1), w.at(2, 2)}})
	w.want(w.decide(d), tables.StatePending, "site s1, site s2")
	w.must(w.consent(w.sa2, d, "s2"), "s2")
	w.Now = w.Now.Add(time.Minute)
	w.must(w.ask(w.sa2, policy.OpWithdraw, policy.WithdrawArgs{Site: "s2", VN: "red"}), "vn1")
	w.Now = w.Now.Add(time.Minute)
	w.must(w.consent(w.sa1, d, "s1"), "s1")
	w.want(w.decide(d), tables.StatePending, "site s2")
	w.must(w.consent(w.sa2, d, "s2"), "s2")
	w.must(w.decide(d), "vn1")
}

func TestSiteSet(t *testing.T) {
	w := newConsents(t)
	text, wrong := "ops@example.org", "a\x07"
	set := func(args policy.SiteSetArgs) policy.Decision {
		args.Site = "s1"
		return w.ask(w.sa1, policy.OpSiteSet, args)
	}
	w.refuses(set(policy.SiteSetArgs{Consent: "maybe"}), "none of ask, open and never")
	w.refuses(set(policy.SiteSetArgs{AllowVNs: []string{"red"}}), "say ask")
	w.refuses(set(policy.SiteSetArgs{Consent: "open", With: []string{"s2"}}), "allows everything")
	w.refuses(set(policy.SiteSetArgs{Consent: "never", Users: []tables.PublicKey{{1}}}), "allows nothing")
	w.refuses(set(policy.SiteSetArgs{Consent: "ask", AllowVNs: []string{"RED"}}), "is not 1 to 63")
	w.refuses(set(policy.SiteSetArgs{Consent: "ask", Users: []tables.PublicKey{{}}}), "no key")
	w.refuses(set(policy.SiteSetArgs{Contact: &wrong}), "printed")
	var many []string
	for i := range 65 {
		many = append(many, "vn-"+string(rune('a'+i%26))+string(rune('a'+i/26)))
	}
	w.refuses(set(policy.SiteSetArgs{Consent: "ask", AllowVNs: many}), "more than 64")
	w.must(set(policy.SiteSetArgs{Consent: "ask", AllowVNs: many[:64], With: []string{"s2", "s2", "s1"}, Contact: &text}), "s1")
	w.must(set(policy.SiteSetArgs{Location: &text}), "s1")
	s := w.View().Get(tables.SiteKey("s1")).Body().(tables.Site)
	if s.Version != 2 || s.Contact != text || s.Location != text || len(s.Allowed) != 64 || len(s.With) != 2 {
		t.Errorf("%+v", s)
	}
	w.refuses(w.ask(w.admin, policy.OpSiteSet, policy.SiteSetArgs{Site: "s9", Consent: "open"}), "no site")
}
