package policy

import (
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// MayJoin reports whether a vn.join of user for hosts of a site would be let through by the rights of the user and
// the site's consent. A VR asks it before it takes a host's request as cleared: so "by itself" means no more than
// that somebody who may has given the VR's identity a grant for its site. The authority decides all the same.
func MayJoin(v *tables.View, now time.Time, user tables.PublicKey, vn, site string) bool {
	if len(v.Grants(user, now)) == 0 {
		return false // of most VRs; to look further would cost
	}
	header, ok := v.VNByName(vn)
	if !ok || header.State != tables.VNActive {
		return false
	}
	d, err := loadDraft(v, header)
	if err != nil {
		return false // parts of it are missing here: the authority may have them, but nobody has to guess
	}
	c := &clerk{now: now, v: v, r: tables.Request{User: user}}
	sites := []string{site}
	if !c.may(OpVNJoin, subject{vn: vn, sites: sites, entering: !slices.Contains(d.sites(), site)}) {
		return false
	}
	if at := slices.IndexFunc(v.Enrolments(), func(e tables.Enrolment) bool { return e.Site == site }); at >= 0 {
		// Of one of its VRs, as if it delivered something.
		d.sets = append(d.sets, tables.DeliverySet{Routers: []tables.RouterID{v.Enrolments()[at].Router}})
	}
	_, ok = c.consent(d, sites)
	return ok
}
