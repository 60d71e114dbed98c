package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vine-mesh/vine/tables"
)

const (
	// GrantLifeMax is how long a grant of the authority may last: as long as the first administrator's.
	GrantLifeMax = authorityYears * 366 * 24 * time.Hour
	// adminLeft is how long another administrator's grant must last for one to go.
	adminLeft = 7 * 24 * time.Hour
)

// userGrant gives a user a role, or another end to one that he has.
func (c *clerk) userGrant(args UserGrantArgs) Decision {
	g := tables.Grant{User: args.User, Name: args.Name, Role: args.Role, Scope: args.Scope, NotAfter: args.NotAfter, By: c.r.User}
	switch {
	case !tables.ValidName(g.Name):
		return refused("user name %s", nameRule(g.Name))
	case !tables.ValidRole(g.Role):
		return refused("role %s is none of adm, sa, vna and eu", short(string(g.Role)))
	case !tables.ValidScope(g.Scope):
		return refused("scope %s is not federation, site/NAME or vn/NAME", short(g.Scope))
	case g.Role == tables.RoleEU && g.Scope == "federation":
		return refused("an end user's role counts at a site or in a VN only: give site/NAME or vn/NAME as the scope")
	case g.NotAfter <= c.now.Unix():
		return refused("the grant would have ended already")
	case g.NotAfter > c.now.Add(GrantLifeMax).Unix():
		return refused("a grant lasts %d years at most: it can be given again", authorityYears)
	}
	if site, ok := strings.CutPrefix(g.Scope, "site/"); ok && !c.known(site) {
		return refused("no site is called %s: vine sites lists them", short(site))
	}
	if reason := c.otherwise(g.User); reason != "" {
		return refused("%s", reason)
	}
	for _, other := range c.v.AllGrants() {
		if other.Parent.IsZero() && !other.Revoked && (other.Name == g.Name) != (other.User == g.User) {
			if other.User == g.User {
				return refused("the user with this key is called %s", other.Name)
			}
			return refused("another user, with key %s, is called %s: choose another name", other.User.Fingerprint(), g.Name)
		}
	}
	if !c.mayGive(OpUserGrant, g, true) {
		return refused("you may not give role %s in %s until then: a grant is given by an administrator of the federation, or by one of its scope and with no lower role, for no longer than his own", g.Role, g.Scope)
	}
	if old := c.v.Get(g.Key()); old != nil && isAdmin(g) && !c.adminWithout(g) &&
		!old.Body().(tables.Grant).Revoked && g.NotAfter < old.Body().(tables.Grant).NotAfter {
		return refused("%s is the last administrator of the federation: another has to be made before his right can end sooner", g.Name)
	}
	g.Version = c.v.NextVersion(g.Key())
	return done(g.Name, g)
}

// otherwise says what else a key is that keeps it from being a user's; "" if nothing.
func (c *clerk) otherwise(key tables.PublicKey) string {
	root, _ := c.v.Root()
	_, _, enrolled := c.v.Taken(0, "", key)
	switch {
	case key.IsZero():
		return "the request names no user key"
	case c.v.Revoked(key):
		return "this key is revoked, for good: the user has to make a new one with vine user key"
	case enrolled, slices.Contains(root.RootKeys, key),
		slices.ContainsFunc(root.Authorities, func(a tables.AuthorityKey) bool { return a.Key == key }):
		return "this is the key of a VR, an authority or the root: a user needs a key of his own, made with vine user key"
	}
	return ""
}

// mayGive reports whether the asking user may give g to others and, until whenever it lasts, take it
// back. With ends it must end no later than the grant by which he may.
func (c *clerk) mayGive(op string, g tables.Grant, ends bool) bool {
	about := subject{}
	switch kind, name, _ := strings.Cut(g.Scope, "/"); kind {
	case "site":
		about.sites = []string{name}
	case "vn":
		about.vn = name
	}
	r := right(op)
	return slices.ContainsFunc(c.v.Grants(c.r.User, c.now), func(own tables.Grant) bool {
		unbound := own.Role == tables.RoleADM && own.Scope == "federation"
		return r.has(own) && inScope(own, about) && slices.Contains(gives[own.Role], g.Role) &&
			(!ends || unbound || g.NotAfter <= own.NotAfter)
	})
}

func isAdmin(g tables.Grant) bool {
	return g.Parent.IsZero() && g.Role == tables.RoleADM && g.Scope == "federation"
}

// adminWithout reports whether somebody administers the federation for a while without those grants.
func (c *clerk) adminWithout(gone ...tables.Grant) bool {
	for _, g := range c.v.AllGrants() {
		if isAdmin(g) && !g.Revoked && !c.v.Revoked(g.User) && g.NotAfter >= c.now.Add(adminLeft).Unix() &&
			!slices.ContainsFunc(gone, func(other tables.Grant) bool { return other.Key() == g.Key() }) {
			return true
		}
	}
	return false
}

// userRevoke takes back grants of a user, and ends a key that holds delegations only others signed.
func (c *clerk) userRevoke(args UserRevokeArgs) Decision {
	if !plain(args.Reason) {
		return refused("the reason is longer than 256 bytes or has characters that cannot be printed: shorten it")
	}
	if args.User.IsZero() {
		return refused("the request names no user key")
	}
	whole := args.Role == "" && args.Scope == ""
	var gone, delegated []tables.Grant
	for _, g := range c.v.AllGrants() {
		switch {
		case g.User != args.User || g.Revoked || c.v.Revoked(g.User):
		case !g.Parent.IsZero():
			delegated = append(delegated, g)
		case (args.Role == "" || args.Role == g.Role) && (args.Scope == "" || args.Scope == g.Scope):
			gone = append(gone, g)
		}
	}
	if len(gone) == 0 && (len(delegated) == 0 || !whole) {
		return refused("the user with key %s has no such right: vine user list shows who has which", args.User.Fingerprint())
	}
	for _, g := range gone {
		if !c.mayGive(OpUserRevoke, g, false) {
			return refused("you may not take back role %s in %s from %s: name what you may with --role and --scope", g.Role, g.Scope, g.Name)
		}
	}
	if slices.ContainsFunc(gone, isAdmin) && !c.adminWithout(gone...) {
		return refused("this would leave the federation without an administrator for the next %d days: make another one first, with vine user add --role adm --scope federation", int(adminLeft.Hours()/24))
	}
	var bodies []tables.Body
	for _, g := range gone {
		g.Version, g.Revoked, g.By = c.v.NextVersion(g.Key()), true, c.r.User
		bodies = append(bodies, g)
	}
	// What another user delegated, only he takes back; the authority can end the key.
	if whole && len(delegated) > 0 && may(c.v, c.now, c.r.User, OpUserRevoke, subject{}) {
		if reason := c.otherwise(args.User); reason != "" {
			return refused("%s", reason)
		}
		bodies = append(bodies, tables.Revocation{Version: 1, Identity: args.User, Reason: args.Reason, Issued: c.now.Unix()})
		delegated = nil
	} else if len(gone) == 0 {
		return refused("this user's rights are delegated: the user who did takes them back with vine user revoke, or an administrator of the federation ends the key")
	}
	if len(delegated) == 0 && !slices.ContainsFunc(c.v.Grants(args.User, c.now), func(g tables.Grant) bool {
		return g.Parent.IsZero() && !slices.Contains(gone, g)
	}) {
		bodies = append(c.refuseOpen(args.User), bodies...)
	}
	result := fmt.Sprintf("%d rights", len(gone))
	switch len(gone) {
	case 0:
		result = "the key"
	case 1:
		result = "1 right"
	}
	return done(result, bodies...)
}

// refuseOpen returns the receipts that refuse the open requests of a user who has lost every right,
// and of those whose every right he had delegated. They come before what takes the rights away,
// which removes the requests.
func (c *clerk) refuseOpen(user tables.PublicKey) []tables.Body {
	lost := map[tables.PublicKey]bool{user: true}
	for _, u := range c.v.Delegates(user) {
		lost[u] = lost[u] || !slices.ContainsFunc(c.v.Grants(u, c.now), func(g tables.Grant) bool { return !lost[g.Parent] })
	}
	var bodies []tables.Body
	for _, d := range c.v.Requests() {
		if r := d.Body().(tables.Request); lost[r.User] && r.Op != OpJoin && d.Hash() != c.id && c.v.Open(d.Hash()) {
			bodies = append(bodies, c.receipt(d.Hash(), tables.StateRefused, "the right of the user who asked was taken back", ""))
		}
	}
	return bodies
}
