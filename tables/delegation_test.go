package tables_test

import (
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
)

// A chain is a user with a grant of the authority and those he has delegated to, one after the other.
type chain struct {
	f    *tablestest.Federation
	keys []ed25519.PrivateKey // keys[0] has the grant of the authority
}

// newChain makes a user who administers VN red until a year from now, and links delegations of the
// role eu from him on, each an hour shorter than the one before and the first of 24 hours.
func newChain(links int) chain {
	f := tablestest.New(1, 1)
	c := chain{f, []ed25519.PrivateKey{f.AddUser("ann", tables.RoleVNA, "vn/red")}}
	for range links {
		c.keys = append(c.keys, f.Key())
		f.PutDocument(c.sign(len(c.keys)-1, nil))
	}
	return c
}

// delegation returns what keys[n-1] gives to keys[n].
func (c chain) delegation(n int) tables.Grant {
	return tables.Grant{Version: 1, User: tables.PublicOf(c.keys[n]), Name: "link", Role: tables.RoleEU, Scope: "vn/red",
		NotAfter: c.f.Now.Add(time.Duration(25-n) * time.Hour).Unix(), Parent: tables.PublicOf(c.keys[n-1])}
}

func (c chain) sign(n int, change func(*tables.Grant)) *tables.Document {
	g := c.delegation(n)
	if change != nil {
		change(&g)
	}
	return tablestest.Sign(g, c.keys[n-1])
}

// Every way in which a delegation can be wider than what it comes from, at each place in a chain.
// Without the defence it would count.
func TestDelegationNeverWidens(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(*tables.Grant)
		outcome tables.Outcome
		err     error
		defence string
	}{
		"as it should be":  {func(*tables.Grant) {}, tables.Kept, nil, ""},
		"role adm":         {func(g *tables.Grant) { g.Role = tables.RoleADM }, tables.Held, tables.ErrSigner, "cover"},
		"role sa":          {func(g *tables.Grant) { g.Role = tables.RoleSA }, tables.Held, tables.ErrSigner, "cover"},
		"scope federation": {func(g *tables.Grant) { g.Scope = "federation" }, tables.Held, tables.ErrSigner, "cover"},
		"scope other VN":   {func(g *tables.Grant) { g.Scope = "vn/blue" }, tables.Held, tables.ErrSigner, "cover"},
		"scope site":       {func(g *tables.Grant) { g.Scope = "site/s1" }, tables.Held, tables.ErrSigner, "cover"},
		"one second over": {func(g *tables.Grant) {
			g.NotAfter = tablestest.Epoch.Add(tables.Grace).Unix() + tables.DelegationLifeMax + 1
		}, tables.Refused, tables.ErrExpired, "life"},
	} {
		for links := range tables.DelegationDepth {
			c := newChain(links)
			c.keys = append(c.keys, c.f.Key())
			last := len(c.keys) - 1
			holder := tables.PublicOf(c.keys[last])
			d := c.sign(last, tc.change)
			s := c.f.Store()
			o, err := s.Put(c.f.Now, d, tables.FromNetwork)
			if o != tc.outcome || !errors.Is(err, tc.err) {
				t.Errorf("%s after %d links: %s, %v", name, links, o, err)
			}
			if n := len(s.Grants(holder, c.f.Now)); (n == 1) != (tc.outcome == tables.Kept) {
				t.Errorf("%s after %d links: %d grants", name, links, n)
			}
			if tc.defence == "" || tc.defence == "life" && links > 0 {
				continue
			}
			s = c.f.Store()
			s.Skip(tc.defence)
			put(t, s, c.f.Now, d, tables.Kept, nil)
			if len(s.Grants(holder, c.f.Now)) != 1 {
				t.Errorf("%s after %d links: without the defence it does not count, so the test shows nothing", name, links)
			}
		}
	}
}

// A delegation inside the 30 days ends no later than what it comes from, also by a second.
func TestDelegationEndsWithItsParent(t *testing.T) {
	c := newChain(1)
	c.keys = append(c.keys, c.f.Key())
	end := c.delegation(1).NotAfter
	s := c.f.Store()
	put(t, s, c.f.Now, c.sign(2, func(g *tables.Grant) { g.NotAfter = end + 1 }), tables.Held, tables.ErrSigner)
	put(t, s, c.f.Now, c.sign(2, func(g *tables.Grant) { g.NotAfter = end }), tables.Kept, nil)
	at := time.Unix(end, 0).Add(tables.Grace)
	if holder := tables.PublicOf(c.keys[2]); len(s.Grants(holder, at.Add(-time.Second))) != 1 || len(s.Grants(holder, at)) != 0 {
		t.Error("it does not end when it says")
	}
}

// Only the parent signs: not the holder, not another user with the same right, not the authority.
func TestDelegationSigner(t *testing.T) {
	c := newChain(1)
	other := c.f.AddUser("bob", tables.RoleVNA, "vn/red")
	g := c.delegation(1)
	g.Version = 2
	for _, key := range []ed25519.PrivateKey{c.keys[1], other, c.f.Authority} {
		put(t, c.f.Store(), c.f.Now, tablestest.Sign(g, key), tables.Refused, tables.ErrSigner)
	}
	put(t, c.f.Store(), c.f.Now, tablestest.Sign(g, c.keys[0]), tables.Kept, nil)
}

func TestDelegationDepth(t *testing.T) {
	c := newChain(tables.DelegationDepth)
	c.keys = append(c.keys, c.f.Key())
	d := c.sign(len(c.keys)-1, nil)
	put(t, c.f.Store(), c.f.Now, d, tables.Held, tables.ErrSigner)
	s := c.f.Store()
	s.Skip("depth")
	put(t, s, c.f.Now, d, tables.Kept, nil)
}

// When a link falls, all that rests on it has no effect from then on, with the requests that were
// made by it; without the defence the links below it would count on.
func TestDelegationFallsWithAncestor(t *testing.T) {
	revoke := func(c chain, n int) *tables.Document {
		if n == 0 {
			g := c.f.View().Grants(tables.PublicOf(c.keys[0]), c.f.Now)[0]
			g.Version, g.Revoked = 2, true
			return tablestest.Sign(g, c.f.Authority)
		}
		return c.sign(n, func(g *tables.Grant) { g.Version, g.Revoked = 2, true })
	}
	ways := map[string]func(c chain, n int) *tables.Document{
		"taken back": revoke,
		"key revoked": func(c chain, n int) *tables.Document {
			return tablestest.Sign(tables.Revocation{Version: 1, Identity: tables.PublicOf(c.keys[n]), Issued: 1}, c.f.Authority)
		},
		"narrowed": func(c chain, n int) *tables.Document {
			g := c.f.View().Grants(tables.PublicOf(c.keys[n]), c.f.Now)[0]
			g.Version, g.NotAfter = 2, c.f.Now.Add(time.Minute).Unix()
			if n == 0 {
				return tablestest.Sign(g, c.f.Authority)
			}
			return tablestest.Sign(g, c.keys[n-1])
		},
	}
	for name, way := range ways {
		for n := range tables.DelegationDepth {
			c := newChain(tables.DelegationDepth)
			last := c.keys[tables.DelegationDepth]
			holder := tables.PublicOf(last)
			now := c.f.Now.Unix()
			request := tablestest.Sign(tables.Request{User: holder, Op: "vn.join", Issued: now, NotAfter: now + 3600}, last)
			for _, skip := range []string{"", "cascade"} {
				s := c.f.Store()
				s.Skip(skip)
				put(t, s, c.f.Now, request, tables.Kept, nil)
				put(t, s, c.f.Now, way(c, n), tables.Kept, nil)
				grants, requests := len(s.Grants(holder, c.f.Now)), len(s.Requests())
				switch {
				case skip == "" && (grants > 0 || requests > 0):
					t.Errorf("%s at link %d: %d grants, %d requests", name, n, grants, requests)
				case skip != "" && n < tables.DelegationDepth-1 && grants == 0:
					t.Errorf("%s at link %d: without the defence there is nothing left, so the test shows nothing", name, n)
				}
			}
		}
	}
}

// Two users who delegate to each other do not hold each other up.
func TestDelegationInACircle(t *testing.T) {
	f := tablestest.New(1, 1)
	ann, bob := f.AddUser("ann", tables.RoleVNA, "vn/red"), f.Key()
	give := func(from, to ed25519.PrivateKey) *tables.Document {
		return tablestest.Sign(tables.Grant{Version: 1, User: tables.PublicOf(to), Name: "x", Role: tables.RoleVNA, Scope: "vn/red",
			NotAfter: f.Now.Unix() + 3600, Parent: tables.PublicOf(from)}, from)
	}
	s := f.Store()
	put(t, s, f.Now, give(ann, bob), tables.Kept, nil)
	put(t, s, f.Now, give(bob, ann), tables.Kept, nil)
	g := s.Grants(tables.PublicOf(ann), f.Now)[0]
	g.Version, g.Revoked = 2, true
	put(t, s, f.Now, tablestest.Sign(g, f.Authority), tables.Kept, nil)
	if a, b := s.Grants(tables.PublicOf(ann), f.Now), s.Grants(tables.PublicOf(bob), f.Now); len(a)+len(b) > 0 {
		t.Errorf("left: %v, %v", a, b)
	}
}

// What one user's right can make others keep is bounded, however the delegations hang together, and
// ends with them.
func TestDelegationsBounded(t *testing.T) {
	c := newChain(1)
	s := c.f.Store()
	n := 1
	give := func(from ed25519.PrivateKey, version uint64) (tables.Outcome, error) {
		g := c.delegation(1)
		g.User, g.Parent, g.Version, g.NotAfter = tables.PublicOf(c.f.Key()), tables.PublicOf(from), version, c.f.Now.Unix()+3600
		return s.Put(c.f.Now, tablestest.Sign(g, from), tables.FromNetwork)
	}
	for o := tables.Kept; o == tables.Kept; n++ {
		var err error
		if o, err = give(c.keys[n%2], uint64(n%3+1)); o != tables.Kept && !errors.Is(err, tables.ErrQuota) {
			t.Fatal(o, err)
		}
		if n > 1000 {
			t.Fatal("no end")
		}
	}
	if n-1 != 64 {
		t.Errorf("%d delegations", n-1)
	}
	s.Expire(c.f.Now.Add(25 * time.Hour))
	kept := 0
	for _, g := range s.AllGrants() {
		if !g.Parent.IsZero() {
			kept++
			if g.Version == 1 {
				t.Error("a first version is kept after its end")
			}
		}
	}
	if kept == 0 {
		t.Error("later versions are not kept: an earlier one could come back")
	}
	s.Expire(c.f.Now.Add(26*time.Hour + tables.DelegationLifeMax*time.Second))
	if n := len(s.AllGrants()); n != 1 {
		t.Errorf("%d grants are left", n)
	}
}

// A delegation that was taken back cannot be brought back with its first version, not even when all
// have forgotten it.
func TestDelegationStaysTakenBack(t *testing.T) {
	c := newChain(1)
	c.keys = append(c.keys, c.f.Key())
	first := tablestest.Sign(func() tables.Grant {
		g := c.delegation(1)
		g.User, g.NotAfter = tables.PublicOf(c.keys[2]), c.f.Now.AddDate(0, 0, 30).Unix()
		return g
	}(), c.keys[0])
	g := first.Body().(tables.Grant)
	g.Version, g.Revoked, g.NotAfter = 2, true, c.f.Now.Unix()+3600
	s := c.f.Store()
	put(t, s, c.f.Now, first, tables.Kept, nil)
	put(t, s, c.f.Now, tablestest.Sign(g, c.keys[0]), tables.Kept, nil)
	for day := range 40 {
		now := c.f.Now.AddDate(0, 0, day)
		s.Expire(now)
		if o, _ := s.Put(now, first, tables.FromDisk); o == tables.Kept || len(s.Grants(g.User, now)) > 0 {
			t.Fatalf("back on day %d: %s", day, o)
		}
	}
}

// A store with more delegations than it holds back loads from disk, whatever their order.
func TestLoadManyDelegations(t *testing.T) {
	f := tablestest.New(1, 1)
	for range 40 {
		parent := f.AddUser("ann", tables.RoleVNA, "vn/red")
		for range 8 {
			from := parent
			for range tables.DelegationDepth {
				to := f.Key()
				f.Put(tables.Grant{Version: 1, User: tables.PublicOf(to), Name: "x", Role: tables.RoleEU, Scope: "vn/red",
					NotAfter: f.Now.Unix() + 3600, Parent: tables.PublicOf(from)}, from)
				from = to
			}
		}
	}
	if got, want := f.Store().Len(), f.View().Len(); got != want {
		t.Errorf("%d documents of %d", got, want)
	}
}

// What whoever brought it was refused does not count later, when what it needed has come.
func TestReleased(t *testing.T) {
	c := newChain(2)
	s := tables.NewStore(c.f.View().FederationID())
	var docs []*tables.Document
	for _, d := range c.f.Documents() {
		if g, ok := d.Body().(tables.Grant); ok && g.Parent == tables.PublicOf(c.keys[0]) {
			docs = append(docs, d)
			continue
		}
		if o, _ := s.Put(c.f.Now, d, tables.FromNetwork); o == tables.Held {
			s.Release(d)
		}
	}
	put(t, s, c.f.Now, docs[0], tables.Kept, nil)
	if s.Held() != 0 || len(s.Grants(tables.PublicOf(c.keys[2]), c.f.Now)) != 0 {
		t.Error("it counts after all")
	}
}

// First versions of delegations leave no marks on disk, later ones and grants of the authority do.
func TestDelegationMarks(t *testing.T) {
	c := newChain(2)
	c.f.PutDocument(c.sign(2, func(g *tables.Grant) { g.Version, g.Revoked = 2, true }))
	got := map[tables.DocKey]bool{}
	for _, m := range c.f.Store().HighWater() {
		got[m.Key] = true
	}
	g := c.f.View().Grants(tables.PublicOf(c.keys[0]), c.f.Now)[0]
	if !got[g.Key()] || got[c.delegation(1).Key()] || !got[c.delegation(2).Key()] {
		t.Errorf("marks %v", got)
	}
}
