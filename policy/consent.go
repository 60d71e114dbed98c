package policy

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// A VN is signed only with the consent of every site whose hosts it holds (dissertation, chapter 3).
// A site consents by its policy, by a user who may speak for it asking for the change himself, or by
// such a user's answer (OpConsent) to the request, which waits for it.

// sitePolicy returns what a site says; a site without a document wants to be asked.
func (c *clerk) sitePolicy(name string) tables.Site {
	if d := c.v.Get(tables.SiteKey(name)); d != nil {
		return d.Body().(tables.Site)
	}
	return tables.Site{Name: name, Consent: "ask"}
}

// allows reports whether a site lets its hosts into a VN that holds hosts of others, unasked.
func allows(s tables.Site, vn string, others []string, user tables.PublicKey) bool {
	switch {
	case slices.Contains(s.Withdrawn, vn) || s.Consent == "never":
		return false
	case s.Consent == "open":
		return true
	}
	fits := func(list, has []string) bool {
		return len(list) == 0 || !slices.ContainsFunc(has, func(name string) bool { return !slices.Contains(list, name) })
	}
	return len(s.Allowed)+len(s.With)+len(s.Users) > 0 &&
		fits(s.Allowed, []string{vn}) && fits(s.With, others) && (len(s.Users) == 0 || slices.Contains(s.Users, user))
}

// consent refuses or holds up a change of a VN to d, in which hosts or prefixes of the sites added
// came to it, until every site concerned agrees: those, and those that are in it with the condition
// with whom, when another one enters. It notes in c.waits whom the request waits for.
func (c *clerk) consent(d *draft, added []string) (Decision, bool) {
	all := d.sites()
	entering := slices.DeleteFunc(slices.Clone(all), func(name string) bool {
		return slices.ContainsFunc(d.old.Rosters, func(leaf tables.RosterLeaf) bool { return leaf.Site == name })
	})
	c.waits = nil
	for _, name := range all {
		s := c.sitePolicy(name)
		others := slices.DeleteFunc(slices.Clone(all), func(other string) bool { return other == name })
		switch adds := slices.Contains(added, name); {
		case adds && s.Consent == "never":
			return refused("site %s lets none of its hosts into VNs", name), false
		case adds && allows(s, d.vn.Name, others, c.r.User):
		case !adds && !slices.ContainsFunc(entering, func(site string) bool { return len(s.With) > 0 && !slices.Contains(s.With, site) }):
		case c.may(OpConsent, subject{sites: []string{name}}) || c.consented(name, d.vn.Name):
		default:
			c.waits = append(c.waits, name)
		}
	}
	if len(c.waits) > 0 {
		return pending("waiting for its administrator to say vine consent %s: site %s", hex.EncodeToString(c.id[:8]), strings.Join(c.waits, ", site ")), false
	}
	return Decision{}, true
}

// consented reports whether somebody who may speak for the site has agreed to this request, and not
// withdrawn the site from the VN since.
func (c *clerk) consented(site, vn string) bool {
	var given, withdrawn int64
	for _, d := range c.v.Requests() {
		r := d.Body().(tables.Request)
		receipt, _ := c.v.Receipt(d.Hash())
		if receipt.State != tables.StateDone || r.Op != OpConsent && r.Op != OpWithdraw {
			continue
		}
		var yes ConsentArgs
		var no WithdrawArgs
		switch {
		case r.Op == OpWithdraw && tables.DecodeArgs(r.Args, &no) == nil && no.Site == site && no.VN == vn:
			withdrawn = max(withdrawn, receipt.Issued)
		case r.Op == OpConsent && tables.DecodeArgs(r.Args, &yes) == nil && yes.Request == c.id && !yes.Refuse &&
			yes.Site == site && may(c.v, c.now, r.User, OpConsent, subject{sites: []string{site}}):
			given = max(given, receipt.Issued)
		}
	}
	return given > withdrawn
}

// agree answers for a site to a request that waits for its consent.
func (c *clerk) agree(args ConsentArgs) Decision {
	text := hex.EncodeToString(args.Request[:8])
	r, known := c.v.Request(args.Request)
	switch {
	case !known:
		return refused("no request %s waits: vine pending lists those that do", text)
	case !c.v.Open(args.Request):
		return refused("request %s has its answer already", text)
	case r.Op == OpConsent || r.Op == OpJoin: // which wait for nobody's consent
		return refused("request %s is not about hosts of a site", text)
	case !plain(args.Reason):
		return refused("the reason is longer than 256 bytes or has characters that cannot be printed: shorten it")
	}
	if !c.may(OpConsent, subject{sites: sitesOf(args.Site)}) {
		return refused("you may not consent for site %s: that takes its administrator, or one of the federation", short(args.Site))
	}
	asked := &clerk{Authority: c.Authority, now: c.now, v: c.v, id: args.Request, r: r}
	asked.decide()
	if !slices.Contains(asked.waits, args.Site) {
		return refused("request %s does not wait for the consent of site %s: vine pending shows for whose", text, short(args.Site))
	}
	if args.Refuse {
		why := "site " + args.Site + " has refused"
		if args.Reason != "" {
			why += ": " + args.Reason
		}
		return done(args.Site, c.receipt(args.Request, tables.StateRefused, reason("%s", why), ""))
	}
	return done(args.Site)
}

// WaitsFor returns the sites whose consent an open request waits for.
func WaitsFor(now time.Time, v *tables.View, id tables.Hash, r tables.Request) []string {
	root, _ := v.Root()
	for _, a := range root.Authorities {
		c := &clerk{Authority: Authority{Key: a.Key}, now: now, v: v, id: id, r: r}
		if r.Op != OpConsent && r.Op != OpJoin {
			c.decide()
		}
		if len(c.waits) > 0 {
			return c.waits
		}
	}
	return nil
}

// withdraw takes everything of a site out of a VN, and has the site asked before it comes back.
func (c *clerk) withdraw(args WithdrawArgs) Decision {
	if !c.known(args.Site) {
		return refused("no site is called %s: vine sites lists them", short(args.Site))
	}
	d, refusal, ok := c.find(args.VN)
	if !ok {
		return refusal
	}
	if !c.may(OpWithdraw, subject{sites: []string{args.Site}}) {
		return refused("you may not withdraw site %s: that takes its administrator, or one of the federation", args.Site)
	}
	if !slices.Contains(d.sites(), args.Site) {
		return refused("site %s has no part in VN %s", args.Site, args.VN)
	}
	d.leaveSite(args.Site)
	s := c.sitePolicy(args.Site)
	s.Version = c.v.NextVersion(tables.SiteKey(args.Site))
	s.Allowed = slices.DeleteFunc(slices.Clone(s.Allowed), func(name string) bool { return name == args.VN })
	s.Withdrawn = slices.DeleteFunc(append(slices.Clone(s.Withdrawn), args.VN), func(name string) bool {
		vn, known := c.v.VNByName(name)
		return known && vn.State == tables.VNShutdown
	})
	slices.Sort(s.Withdrawn)
	s.Withdrawn = slices.Compact(s.Withdrawn)
	if len(s.Withdrawn) > listMax {
		return refused("site %s has withdrawn from %d VNs already: say once what it wants, with vine site set", args.Site, listMax)
	}
	decision := c.sign(same(d))
	if decision.State == tables.StateDone {
		decision.Bodies = append(decision.Bodies, s)
	}
	return decision
}

// leaveSite takes the hosts and prefixes of a site out.
func (d *draft) leaveSite(site string) {
	d.hosts = slices.DeleteFunc(d.hosts, func(h netip.Addr) bool {
		w, ok := d.way(h)
		return ok && d.site(w.routers) == site
	})
	d.sets = slices.DeleteFunc(d.sets, func(s tables.DeliverySet) bool { return d.site(s.Routers) == site })
	d.index()
}
