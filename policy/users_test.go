package policy_test

import (
	"crypto/ed25519"
	"net/netip"
	"testing"
	"time"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// grantArgs ask for a role for a fresh key, until a month from now.
func (w *world) grantArgs(name string, role tables.Role, scope string) policy.UserGrantArgs {
	return policy.UserGrantArgs{User: tables.PublicOf(w.Key()), Name: name, Role: role, Scope: scope, NotAfter: w.Now.AddDate(0, 1, 0).Unix()}
}

func TestUserGrant(t *testing.T) {
	w := newWorld(t, 1, 2)
	year := w.Now.AddDate(1, 0, 0).Unix()
	args := w.grantArgs("ann", tables.RoleVNA, "vn/red")
	d := w.must(w.ask(w.admin, policy.OpUserGrant, args), "ann")
	g := d.Bodies[0].(tables.Grant)
	if g.Version != 1 || g.By != tables.PublicOf(w.admin) || !g.Parent.IsZero() || g.NotAfter != args.NotAfter {
		t.Errorf("%+v", g)
	}
	for name, tc := range map[string]struct {
		change func(*policy.UserGrantArgs)
		reason string
	}{
		"name":             {func(a *policy.UserGrantArgs) { a.Name = "Bob" }, "is not 1 to 63"},
		"role":             {func(a *policy.UserGrantArgs) { a.Role = "root" }, "none of adm"},
		"scope":            {func(a *policy.UserGrantArgs) { a.Scope = "vn/" }, "not federation"},
		"no site":          {func(a *policy.UserGrantArgs) { a.Scope = "site/s9" }, "no site is called"},
		"everywhere":       {func(a *policy.UserGrantArgs) { a.Role, a.Scope = tables.RoleEU, "federation" }, "at a site or in a VN only"},
		"ended":            {func(a *policy.UserGrantArgs) { a.NotAfter = w.Now.Unix() }, "ended already"},
		"too long":         {func(a *policy.UserGrantArgs) { a.NotAfter = w.Now.AddDate(3, 0, 0).Unix() }, "years at most"},
		"name of another":  {func(a *policy.UserGrantArgs) { a.Name = "ann" }, "another user"},
		"key of another":   {func(a *policy.UserGrantArgs) { a.User = args.User }, "is called ann"},
		"no key":           {func(a *policy.UserGrantArgs) { a.User = tables.PublicKey{} }, "names no user key"},
		"key of a VR":      {func(a *policy.UserGrantArgs) { a.User = w.Router(1).Key() }, "key of a VR"},
		"authority's key":  {func(a *policy.UserGrantArgs) { a.User = tables.PublicOf(w.Authority) }, "key of a VR"},
		"key of the root":  {func(a *policy.UserGrantArgs) { a.User = tables.PublicOf(w.RootKeys[0]) }, "key of a VR"},
		"nothing is wrong": {func(a *policy.UserGrantArgs) { a.NotAfter = year }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			args := w.grantArgs("bob", tables.RoleEU, "vn/red")
			tc.change(&args)
			d := w.ask(w.admin, policy.OpUserGrant, args)
			if tc.reason == "" {
				w.must(d, "bob")
			} else {
				w.refuses(d, tc.reason)
			}
		})
	}
	// Another end, and another role.
	args.NotAfter = year
	w.must(w.ask(w.admin, policy.OpUserGrant, args), "ann")
	args.Role, args.Scope = tables.RoleSA, "site/s1"
	w.must(w.ask(w.admin, policy.OpUserGrant, args), "ann")
	if n := len(w.View().Grants(args.User, w.Now)); n != 2 {
		t.Errorf("%d grants", n)
	}
	w.replay()
}

// Nobody gives more than he has: not a higher role, not elsewhere, not for longer.
func TestGrantsDoNotGrow(t *testing.T) {
	w := newWorld(t, 1, 2)
	sa, vna, eu := w.AddUser("sa", tables.RoleSA, "site/s1"), w.AddUser("vna", tables.RoleVNA, "vn/red"), w.AddUser("eu", tables.RoleEU, "vn/red")
	for _, tc := range []struct {
		key   ed25519.PrivateKey
		role  tables.Role
		scope string
		years int
		ok    bool
	}{
		{sa, tables.RoleSA, "site/s1", 0, true},
		{sa, tables.RoleVNA, "site/s1", 0, true},
		{sa, tables.RoleEU, "site/s1", 0, true},
		{sa, tables.RoleEU, "site/s1", 1, false}, // its own ends a year after the epoch
		{sa, tables.RoleADM, "site/s1", 0, false},
		{sa, tables.RoleSA, "site/s2", 0, false},
		{sa, tables.RoleVNA, "vn/red", 0, false},
		{sa, tables.RoleSA, "federation", 0, false},
		{vna, tables.RoleVNA, "vn/red", 0, true},
		{vna, tables.RoleEU, "vn/red", 0, true},
		{vna, tables.RoleSA, "vn/red", 0, false},
		{vna, tables.RoleADM, "vn/red", 0, false},
		{vna, tables.RoleVNA, "vn/blue", 0, false},
		{vna, tables.RoleVNA, "site/s1", 0, false},
		{vna, tables.RoleEU, "vn/red", 1, false},
		{eu, tables.RoleEU, "vn/red", 0, false},
		{w.admin, tables.RoleADM, "federation", 1, true},
	} {
		args := w.grantArgs("u-"+tables.PublicOf(w.Key()).Fingerprint(), tc.role, tc.scope)
		args.NotAfter = w.Now.AddDate(tc.years, 1, 0).Unix()
		if d := w.ask(tc.key, policy.OpUserGrant, args); (d.State == tables.StateDone) != tc.ok {
			t.Errorf("%s in %s: %s (%s)", tc.role, tc.scope, d.State, d.Reason)
		}
	}
}

// delegate signs a delegation of a right for half a day and returns the key of its holder.
func (w *world) delegate(from ed25519.PrivateKey, role tables.Role, scope string) ed25519.PrivateKey {
	k := w.Key()
	w.Put(tables.Grant{Version: 1, User: tables.PublicOf(k), Name: "job", Role: role, Scope: scope, NotAfter: w.Now.Add(12 * time.Hour).Unix(), Parent: tables.PublicOf(from)}, from)
	return k
}

// A delegation does what its role may and its parent may, and nothing that reaches other users.
func TestDelegationIsNarrower(t *testing.T) {
	w := newWorld(t, 1, 2)
	w.open()
	job := w.delegate(w.admin, tables.RoleADM, "federation")
	helper := w.delegate(job, tables.RoleVNA, "vn/red")
	w.must(w.ask(helper, policy.OpVNCreate, policy.VNCreateArgs{Name: "red", Hosts: []netip.Addr{w.at(1, 1)}}), "vn1")
	w.refuses(w.ask(helper, policy.OpVNCreate, policy.VNCreateArgs{Name: "blue", Hosts: []netip.Addr{w.at(1, 1)}}), "may not create")
	w.refuses(w.ask(job, policy.OpUserGrant, w.grantArgs("bob", tables.RoleEU, "vn/red")), "may not give")
	w.refuses(w.ask(job, policy.OpUserRevoke, policy.UserRevokeArgs{User: tables.PublicOf(w.admin)}), "may not take back")
	w.refuses(w.ask(job, policy.OpRevoke, policy.RevokeArgs{VR: "vr2", Reason: "x"}), "may not revoke")
	w.refuses(w.ask(job, policy.OpSiteSet, policy.SiteSetArgs{Site: "s1", Consent: "never"}), "may not speak")
	w.Now = w.Now.Add(13 * time.Hour)
	r := tables.Request{User: tables.PublicOf(helper), Op: policy.OpVNShutdown, NotAfter: w.Now.Unix() + 60}
	r.Args, _ = tables.EncodeArgs(policy.VNArgs{VN: "red"})
	w.refuses(w.authority().Decide(w.Now, w.View(), tables.Hash{1}, r), "may not shut")
}

// Nobody can leave the federation without an administrator, in whatever way he tries.
func TestLastAdministrator(t *testing.T) {
	w := newWorld(t, 1, 1)
	me := tables.PublicOf(w.admin)
	revoke := func(user tables.PublicKey) policy.Decision {
		return w.ask(w.admin, policy.OpUserRevoke, policy.UserRevokeArgs{User: user})
	}
	shorter := policy.UserGrantArgs{User: me, Name: "root", Role: tables.RoleADM, Scope: "federation", NotAfter: w.Now.Unix() + 60}
	w.refuses(revoke(me), "without an administrator")
	w.refuses(w.ask(w.admin, policy.OpUserRevoke, policy.UserRevokeArgs{User: me, Role: tables.RoleADM, Scope: "federation"}), "without an administrator")
	w.refuses(w.ask(w.admin, policy.OpUserGrant, shorter), "last administrator")
	w.delegate(w.admin, tables.RoleADM, "federation")
	w.AddUser("sa", tables.RoleSA, "federation")
	w.refuses(revoke(me), "without an administrator") // neither of these is one
	brief := w.grantArgs("brief", tables.RoleADM, "federation")
	brief.NotAfter = w.Now.Add(time.Hour).Unix()
	w.must(w.ask(w.admin, policy.OpUserGrant, brief), "brief")
	w.refuses(revoke(me), "without an administrator") // it is gone in an hour
	heir := w.grantArgs("heir", tables.RoleADM, "federation")
	w.must(w.ask(w.admin, policy.OpUserGrant, heir), "heir")
	w.must(revoke(heir.User), "1 right")
	w.refuses(revoke(me), "without an administrator")
	heir.User, heir.Name = tables.PublicOf(w.Key()), "heiress"
	w.must(w.ask(w.admin, policy.OpUserGrant, heir), "heiress")
	w.must(w.ask(w.admin, policy.OpUserGrant, shorter), "root")
	w.must(revoke(me), "1 right")
}

// What a user who has lost his rights asked for is refused, and so is what those asked for to whom he
// had delegated them.
func TestRevokedUserIsRefused(t *testing.T) {
	w := newWorld(t, 1, 2)
	ann := w.AddUser("ann", tables.RoleVNA, "vn/red")
	job := w.delegate(ann, tables.RoleVNA, "vn/red")
	other := w.AddUser("other", tables.RoleVNA, "vn/red")
	create := policy.VNCreateArgs{Name: "red", Hosts: []netip.Addr{w.at(1, 1)}}
	var docs []*tables.Document
	for _, key := range []ed25519.PrivateKey{ann, job, other} {
		d := w.request(key, policy.OpVNCreate, create)
		w.want(w.decide(d), tables.StatePending, "site s1")
		docs = append(docs, d)
	}
	w.must(w.ask(w.admin, policy.OpUserRevoke, policy.UserRevokeArgs{User: tables.PublicOf(ann)}), "1 right")
	for i, want := range []string{tables.StateRefused, tables.StateRefused, tables.StatePending} {
		if r, _ := w.View().Receipt(docs[i].Hash()); r.State != want {
			t.Errorf("request %d is %s (%s), want %s", i, r.State, r.Reason, want)
		}
	}
	if n := len(w.View().Grants(tables.PublicOf(job), w.Now)); n != 0 {
		t.Errorf("the delegation is in force")
	}
}

func TestUserRevoke(t *testing.T) {
	w := newWorld(t, 1, 2)
	ann := w.AddUser("ann", tables.RoleVNA, "vn/red")
	key := tables.PublicOf(ann)
	w.must(w.ask(w.admin, policy.OpUserGrant, policy.UserGrantArgs{User: key, Name: "ann", Role: tables.RoleEU, Scope: "site/s1", NotAfter: w.Now.AddDate(0, 1, 0).Unix()}), "ann")
	sa := w.AddUser("sa", tables.RoleSA, "site/s1")
	w.refuses(w.ask(w.admin, policy.OpUserRevoke, policy.UserRevokeArgs{}), "names no user key")
	w.refuses(w.ask(w.admin, policy.OpUserRevoke, policy.UserRevokeArgs{User: tables.PublicOf(w.Key())}), "no such right")
	w.refuses(w.ask(w.admin, policy.OpUserRevoke, policy.UserRevokeArgs{User: key, Role: tables.RoleSA}), "no such right")
	w.refuses(w.ask(sa, policy.OpUserRevoke, policy.UserRevokeArgs{User: key}), "--role and --scope")
	w.must(w.ask(sa, policy.OpUserRevoke, policy.UserRevokeArgs{User: key, Scope: "site/s1"}), "1 right")
	w.must(w.ask(ann, policy.OpUserRevoke, policy.UserRevokeArgs{User: key}), "1 right")
	w.refuses(w.ask(w.admin, policy.OpUserRevoke, policy.UserRevokeArgs{User: key}), "no such right")
	// The same right can be given again.
	w.must(w.ask(w.admin, policy.OpUserGrant, policy.UserGrantArgs{User: key, Name: "ann", Role: tables.RoleVNA, Scope: "vn/red", NotAfter: w.Now.AddDate(0, 1, 0).Unix()}), "ann")
	if n := len(w.View().Grants(key, w.Now)); n != 1 {
		t.Errorf("%d grants", n)
	}
	// A key that has only what others delegated: an administrator of the federation ends it, for good.
	job := tables.PublicOf(w.delegate(ann, tables.RoleEU, "vn/red"))
	w.refuses(w.ask(sa, policy.OpUserRevoke, policy.UserRevokeArgs{User: job}), "delegated")
	w.refuses(w.ask(ann, policy.OpUserRevoke, policy.UserRevokeArgs{User: job}), "delegated")
	w.must(w.ask(w.admin, policy.OpUserRevoke, policy.UserRevokeArgs{User: job}), "the key")
	if !w.View().Revoked(job) {
		t.Error("the key lives on")
	}
	// Nobody ends the identity of a VR in this way.
	w.Put(tables.Grant{Version: 1, User: w.Router(2).Key(), Name: "trap", Role: tables.RoleEU, Scope: "vn/red", NotAfter: w.Now.Unix() + 3600, Parent: key}, ann)
	w.refuses(w.ask(w.admin, policy.OpUserRevoke, policy.UserRevokeArgs{User: w.Router(2).Key()}), "key of a VR")
	w.replay()
}
