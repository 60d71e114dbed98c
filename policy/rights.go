package policy

import (
	"slices"
	"strings"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// Rights that no request asks for by themselves.
const opInvite = "invite" // sign invites

// A Subject is what an operation is about, which decides whether a grant's scope holds it.
type Subject string

// The subjects.
const (
	AboutSite  Subject = "site"  // VRs of a site, or what the site says
	AboutVN    Subject = "vn"    // a VN and hosts of it
	AboutUsers Subject = "users" // grants in a scope
)

// A Right is one row of the matrix: who may do an operation, within the scope of his grant.
type Right struct {
	Op    string
	About Subject
	Roles []tables.Role
	// Delegated says that a delegation gives the right too. It does not where what is done would
	// outlive the delegation, or reach other users.
	Delegated bool
}

// rights is the matrix of dissertation tables 5-1 and 5-2, and of what came since. Joining is not in
// it: anybody may ask to. docs/rights.md shows every cell; the test that makes it runs each one.
//
// A right counts within the scope of the grant and nowhere else:
//
//	federation   everything; nothing for eu, whose grants name a site or a VN
//	site/NAME    what concerns VRs and hosts of this site only; vn.join where the VN has a part
//	             at the site already, so that no site can enter a VN of others uninvited; users
//	             whose grants have this very scope
//	vn/NAME      this VN, also to create it; users whose grants have this very scope
//
// Who gives and takes back grants (user.grant, user.revoke) gives only roles that stand in gives, and,
// unless he is adm of the federation, none that ends later than his own. Nobody takes back the last
// adm of the federation.
//
// Beyond that every site whose hosts a VN holds has to agree; see consent.go.
var rights = []Right{
	{OpAdmit, AboutSite, roles("adm sa"), true},
	{OpRefuse, AboutSite, roles("adm sa"), true},
	{opInvite, AboutSite, roles("adm sa"), true},
	{OpRevoke, AboutSite, roles("adm sa"), false},
	{OpConsent, AboutSite, roles("adm sa"), true},
	{OpWithdraw, AboutSite, roles("adm sa"), true},
	{OpSiteSet, AboutSite, roles("adm sa"), false},
	{OpUserGrant, AboutUsers, roles("adm sa vna"), false},
	{OpUserRevoke, AboutUsers, roles("adm sa vna"), false},
	{OpVNCreate, AboutVN, roles("adm sa vna eu"), true},
	{OpVNJoin, AboutVN, roles("adm sa vna eu"), true},
	{OpVNLeave, AboutVN, roles("adm sa vna eu"), true},
	{OpVNShutdown, AboutVN, roles("adm vna"), true},
	{OpVNMerge, AboutVN, roles("adm vna"), false}, // of both VNs; one ends, for good
	{OpVNSplit, AboutVN, roles("adm vna"), true},
	{OpVNUpdate, AboutVN, roles("adm vna"), true},
	{OpVNRestore, AboutVN, roles("adm vna"), true},
	{OpVRDisable, AboutSite, roles("adm sa"), true},
	{OpVREnable, AboutSite, roles("adm sa"), true},
}

// gives says which roles a role may give to others, and take back from them.
var gives = map[tables.Role][]tables.Role{
	tables.RoleADM: roles("adm sa vna eu"),
	tables.RoleSA:  roles("sa vna eu"), // vna of a site reaches VNs that have no hosts elsewhere
	tables.RoleVNA: roles("vna eu"),
}

func roles(text string) []tables.Role {
	var list []tables.Role
	for name := range strings.FieldsSeq(text) {
		list = append(list, tables.Role(name))
	}
	return list
}

// Rights returns the matrix.
func Rights() []Right { return slices.Clone(rights) }

// right returns the row of op; nobody has a right that is not in the matrix.
func right(op string) Right {
	i := slices.IndexFunc(rights, func(r Right) bool { return r.Op == op })
	if i < 0 {
		return Right{}
	}
	return rights[i]
}

// has reports whether a grant has the right, in its scope.
func (r Right) has(g tables.Grant) bool {
	return slices.Contains(r.Roles, g.Role) && (g.Parent.IsZero() || r.Delegated)
}

// A subject is what one request is about.
type subject struct {
	vn       string   // name of the VN; empty when it is about none
	sites    []string // of the VRs and hosts that it concerns
	entering bool     // one of sites has no part in the VN so far
}

// may reports whether one of the user's grants gives the right to do op to s.
func may(v *tables.View, now time.Time, user tables.PublicKey, op string, s subject) bool {
	r := right(op)
	return slices.ContainsFunc(v.Grants(user, now), func(g tables.Grant) bool { return r.has(g) && inScope(g, s) })
}

func inScope(g tables.Grant, s subject) bool {
	kind, name, _ := strings.Cut(g.Scope, "/")
	switch kind {
	case "federation":
		return g.Role != tables.RoleEU
	case "site":
		return len(s.sites) > 0 && !s.entering && !slices.ContainsFunc(s.sites, func(site string) bool { return site != name })
	case "vn":
		return s.vn == name
	default:
		return false
	}
}
