package policy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// A Reach is what the holder of a key may see and do of a VR over the network, as its grants say. What it may ask the
// authority for is decided there: see Decide. A Reach only keeps out what cannot succeed.
type Reach struct {
	grants []tables.Grant
}

// ReachOf returns the reach of a user at now. ok is false if the user has no grant.
//
//	grant            sees                                                   drains and reloads
//	federation       everything; eu nothing                                 adm, sa
//	site/NAME        the site, its VRs and hosts, the VNs they are in;      adm, sa: VRs of the site
//	                 adm, sa: also what VRs of the site know and do
//	vn/NAME          the VN, its hosts and routes                           -
//
// Every user sees the status of the VR, and the documents that say who may sign.
func ReachOf(v *tables.View, now time.Time, user tables.PublicKey) (r Reach, ok bool) {
	r.grants = v.Grants(user, now)
	return r, len(r.grants) > 0
}

// any reports whether a grant of one of the roles counts for the federation or for the scope.
func (r Reach) any(scope string, roles ...tables.Role) bool {
	return slices.ContainsFunc(r.grants, func(g tables.Grant) bool {
		if len(roles) > 0 && !slices.Contains(roles, g.Role) {
			return false
		}
		return g.Scope == "federation" && g.Role != tables.RoleEU || g.Scope == scope && scope != ""
	})
}

// All reports whether everything may be seen.
func (r Reach) All() bool { return r.any("") }

// Site reports whether the site of that name may be seen.
func (r Reach) Site(name string) bool { return r.any("site/" + name) }

// VN reports whether the whole VN of that name may be seen.
func (r Reach) VN(name string) bool { return r.any("vn/" + name) }

// Operates reports whether VRs of a site may be looked into and told what to do.
func (r Reach) Operates(site string) bool {
	return r.any("site/"+site, tables.RoleADM, tables.RoleSA)
}

// Asks reports whether some grant gives the right to ask for an operation, on something.
func (r Reach) Asks(op string) bool {
	return slices.ContainsFunc(r.grants, right(op).has)
}

// Document reports whether news of a document with this key may be seen: of what Site and VN let see. nameOf returns the
// name of a VN.
func (r Reach) Document(key tables.DocKey, nameOf func(tables.VNID) string) bool {
	first, rest, _ := strings.Cut(key.ID, "/")
	switch key.Kind {
	case tables.KindRoot, tables.KindAdoption, tables.KindGrant, tables.KindRevocation, tables.KindHead:
		return true
	case tables.KindSite:
		return r.Site(first)
	case tables.KindRoster:
		return r.Site(rest) || r.VN(vnNamed(first, nameOf))
	case tables.KindVN, tables.KindManifest, tables.KindFragment, tables.KindEntry:
		return r.VN(vnNamed(first, nameOf))
	default:
		return r.All()
	}
}

func vnNamed(id string, nameOf func(tables.VNID) string) string {
	n, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		return ""
	}
	return nameOf(tables.VNID(n))
}
