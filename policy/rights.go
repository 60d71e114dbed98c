package policy

import (
	"slices"
	"strings"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// Rights that no request asks for by themselves.
const (
	opInvite  = "invite"  // sign invites
	opConsent = "consent" // let hosts of a site into VNs where the site wants to be asked
)

// rights says which roles may do what, as dissertation tables 5-1 and 5-2. Joining is not in it:
// anybody may ask to.
//
//	operation    adm  sa   vna  eu
//	admit        yes  yes  -    -
//	refuse       yes  yes  -    -
//	invite       yes  yes  -    -
//	revoke       yes  yes  -    -
//	consent      yes  yes  -    -
//	vn.create    yes  yes  yes  yes
//	vn.join      yes  yes  yes  yes
//	vn.leave     yes  yes  yes  yes
//	vn.shutdown  yes  -    yes  -
//	vn.merge     yes  -    yes  -    for both VNs
//	vn.split     yes  -    yes  -
//	vn.update    yes  -    yes  -
//	vn.restore   yes  -    yes  -
//	vr.disable   yes  yes  -    -
//	vr.enable    yes  yes  -    -
//
// A right counts within the scope of the grant and nowhere else:
//
//	federation   everything; nothing for eu, whose grants name a site or a VN
//	site/NAME    what concerns VRs and hosts of this site only; vn.join where the VN has a part
//	             at the site already, so that no site can enter a VN of others uninvited
//	vn/NAME      this VN, also to create it
//
// Beyond that a site whose consent is "ask" has to agree to every one of its hosts that is put
// into a VN: by a user who may consent for it. "never" lets nobody do so.
var rights = map[string][]tables.Role{
	OpAdmit:      {tables.RoleADM, tables.RoleSA},
	OpRefuse:     {tables.RoleADM, tables.RoleSA},
	opInvite:     {tables.RoleADM, tables.RoleSA},
	OpRevoke:     {tables.RoleADM, tables.RoleSA},
	opConsent:    {tables.RoleADM, tables.RoleSA},
	OpVNCreate:   {tables.RoleADM, tables.RoleSA, tables.RoleVNA, tables.RoleEU},
	OpVNJoin:     {tables.RoleADM, tables.RoleSA, tables.RoleVNA, tables.RoleEU},
	OpVNLeave:    {tables.RoleADM, tables.RoleSA, tables.RoleVNA, tables.RoleEU},
	OpVNShutdown: {tables.RoleADM, tables.RoleVNA},
	OpVNMerge:    {tables.RoleADM, tables.RoleVNA},
	OpVNSplit:    {tables.RoleADM, tables.RoleVNA},
	OpVNUpdate:   {tables.RoleADM, tables.RoleVNA},
	OpVNRestore:  {tables.RoleADM, tables.RoleVNA},
	OpVRDisable:  {tables.RoleADM, tables.RoleSA},
	OpVREnable:   {tables.RoleADM, tables.RoleSA},
}

// A subject is what an operation is about.
type subject struct {
	vn       string   // name of the VN; empty when it is about none
	sites    []string // of the VRs and hosts that it concerns
	entering bool     // one of sites has no part in the VN so far
}

// may reports whether one of the user's grants gives the right to do op to s.
func may(v *tables.View, now time.Time, user tables.PublicKey, op string, s subject) bool {
	return slices.ContainsFunc(v.Grants(user, now), func(g tables.Grant) bool {
		return slices.Contains(rights[op], g.Role) && inScope(g, s)
	})
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
