package policy

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// enrolmentLife is how long an enrolment counts. Renewal begins at half of it, so an authority
// may be away for 200 days before the first VR is out.
const enrolmentLife = 400 * 24 * time.Hour

// join answers the identity that wants to become a VR.
func (c *clerk) join(args JoinArgs) Decision {
	identity := c.r.User
	if c.v.Revoked(identity) {
		return refused("this identity is revoked: remove the state directory and join with a new one")
	}
	if e, ok := c.v.EnrolmentByIdentity(identity); ok {
		return done(e.Router.String())
	}
	if args.Link.IsZero() {
		return refused("the request has no link key: update vine and ask again")
	}
	if d, ok := checkNames(args.Name, args.Site); !ok {
		return d
	}
	var d Decision
	var ok bool
	if args.Site, d, ok = c.siteWith(args.Site, args.With); !ok {
		return d
	}
	invite, err := c.invite(args)
	var elsewhere *otherAuthorityError
	switch {
	case errors.As(err, &elsewhere):
		return pending("the authority with key %s redeems this invite", elsewhere.key.Fingerprint())
	case err != nil:
		return refused("%v: ask for a new invite, or join without one", err)
	case args.With != "" && invite.Site != args.Site:
		// Who shares a block gets the traffic of its hosts. An invite to no site in particular does not mean that.
		return pending("waiting for an administrator, since it asks to share the blocks of VR %s: vine admit %s", args.With, identity.Fingerprint())
	case c.AutoAdmit == "open", c.AutoAdmit == "invite" && !invite.Key.IsZero():
		return c.enrol(identity, c.id, args.Name, cmp.Or(invite.Site, args.Site), args.With, invite.Key)
	default:
		return pending("waiting for an administrator: vine admit %s", identity.Fingerprint())
	}
}

// checkNames refuses names that cannot stand in an enrolment. Empty ones get a default.
func checkNames(name, site string) (Decision, bool) {
	if name != "" && !tables.ValidName(name) {
		return refused("VR name %s: choose another with --name", nameRule(name)), false
	}
	if site != "" && !tables.ValidName(site) {
		return refused("site name %s: choose another with --site", nameRule(site)), false
	}
	return Decision{}, true
}

// An otherAuthorityError says that not this authority but another one in office redeems an invite.
type otherAuthorityError struct{ key tables.PublicKey }

func (e *otherAuthorityError) Error() string { return "invite: another authority redeems it" }

// invite returns the invite that comes with a join request, the zero Invite if there is none, and
// an error if it may not be redeemed for the asking identity.
func (c *clerk) invite(args JoinArgs) (tables.Invite, error) {
	if len(args.Invite) == 0 {
		return tables.Invite{}, nil
	}
	d, err := tables.ParseDocument(args.Invite)
	if err != nil {
		return tables.Invite{}, errors.New("invite: malformed")
	}
	invite, ok := d.Body().(tables.Invite)
	if !ok {
		return tables.Invite{}, errors.New("invite: a document of another kind")
	}
	if invite.Authority != c.Key && c.v.Authority(invite.Authority, c.now) {
		return tables.Invite{}, &otherAuthorityError{invite.Authority}
	}
	if err := c.v.CheckInvite(c.now, d, c.r.User, args.Proof, c.Key); err != nil {
		return tables.Invite{}, err
	}
	site := cmp.Or(invite.Site, args.Site)
	if !may(c.v, c.now, invite.User, opInvite, subject{sites: sitesOf(site)}) {
		return tables.Invite{}, fmt.Errorf("invite: who signed it may not invite to site %s", short(site))
	}
	return invite, nil
}

// sitesOf is the list of one site; of none if the name is empty, so that no site's administrator
// may act on it.
func sitesOf(site string) []string {
	if site == "" {
		return nil
	}
	return []string{site}
}

// siteWith returns the site of a VR that is to share the blocks of the one called with: that one's. Without with it is site.
func (c *clerk) siteWith(site, with string) (string, Decision, bool) {
	if with == "" {
		return site, Decision{}, true
	}
	e, ok := c.v.EnrolmentByName(with)
	switch {
	case !ok:
		return "", refused("no VR is called %s: to share its blocks takes one that is enrolled", short(with)), false
	case site != "" && site != e.Site:
		return "", refused("VR %s is of site %s, not of %s: VRs share blocks only within a site", e.Name, e.Site, short(site)), false
	case len(c.v.Sharers(e.Router)) >= tables.SharersMax:
		return "", refused("%d VRs share the blocks of VR %s already, the most that may: revoke one", tables.SharersMax, e.Name), false
	}
	return e.Site, Decision{}, true
}

// enrol makes identity a VR: its enrolment and, on first use, its site. Its blocks are those of the VR called with, or else new.
func (c *clerk) enrol(identity tables.PublicKey, request tables.Hash, name, site, with string, invite tables.PublicKey) Decision {
	router, used, avoid, err := c.given()
	if err != nil {
		return refused("%v", err)
	}
	root, _ := c.v.Root()
	shared, _ := c.v.EnrolmentByName(with)
	blocks := shared.Blocks
	if with == "" {
		blocks, err = firstBlocks(root.Space, used, avoid)
	}
	if err != nil {
		return refused("%v", err)
	}
	name = c.freeName(cmp.Or(name, router.String()))
	site = cmp.Or(site, name)
	var bodies []tables.Body
	if c.v.Get(tables.SiteKey(site)) == nil {
		s := newSite(site)
		s.Version = c.v.NextVersion(tables.SiteKey(site))
		bodies = append(bodies, s)
	}
	bodies = append(bodies, tables.Enrolment{
		Version: 1, Router: router, Name: name, Site: site, Identity: identity,
		Blocks: blocks, MayQueue: true,
		NotBefore: c.now.Unix(), NotAfter: c.now.Add(enrolmentLife).Unix(),
		Invite: invite, Request: request,
	})
	return done(router.String(), bodies...)
}

// given returns the router ID after the highest ever given (by marks, so also where the enrolment is
// lost), the blocks of VRs, and what else is
// better left alone: blocks of revoked VRs, which VNs may still name, prefixes of VNs, and the
// LANs' own subnets, where they are part of the ViNe space.
func (c *clerk) given() (next tables.RouterID, used, avoid []netip.Prefix, err error) {
	if next = c.v.NextRouter(); next == 0 {
		return 0, nil, nil, errors.New("every router ID has been given: found a new federation")
	}
	for d := range c.v.Documents() {
		switch b := d.Body().(type) {
		case tables.Enrolment:
			if c.v.Revoked(b.Identity) {
				avoid = append(avoid, b.Blocks...)
			} else {
				used = append(used, b.Blocks...)
			}
		case tables.Fragment:
			avoid = append(avoid, b.Prefixes...)
		case tables.Site:
			avoid = append(avoid, b.Subnets...)
		}
	}
	return next, used, avoid, nil
}

// freeName returns name, with a number if a VR has or had it.
func (c *clerk) freeName(name string) string {
	const nameMax = 63
	free := name
	for n := 2; ; n++ {
		if _, taken, _ := c.v.Taken(0, free, tables.PublicKey{}); !taken {
			return free
		}
		number := fmt.Sprintf("-%d", n)
		free = name[:min(len(name), nameMax-len(number))] + number
	}
}

// admit enrols an identity that has asked to join, and answers its request too.
func (c *clerk) admit(args AdmitArgs) Decision {
	joins := c.openJoins(args.Fingerprint)
	if len(joins) == 0 {
		return c.notAsked(args.Fingerprint)
	}
	if d, ok := checkNames(args.Name, args.Site); !ok {
		return d
	}
	last := joins[len(joins)-1]
	site, refusal, ok := c.siteWith(cmp.Or(args.Site, last.args.Site), last.args.With)
	if !ok {
		return refusal
	}
	sites := sitesOf(site)
	if asked := last.args.Site; asked != site && c.known(asked) {
		sites = append(sites, asked) // no site takes away who wants to another
	}
	if !c.may(OpAdmit, subject{sites: sites}) {
		return refused("you may not admit VRs of site %s: that takes its administrator, or one of the federation", short(last.args.Site))
	}
	name := cmp.Or(args.Name, last.args.Name)
	if d, ok := checkNames(name, site); !ok {
		return d
	}
	identity := last.doc.Body().(tables.Request).User
	if c.v.Revoked(identity) {
		return refused("this identity is revoked: it has to join with a new one")
	}
	e, enrolled := c.v.EnrolmentByIdentity(identity)
	decision := done(e.Router.String())
	if !enrolled {
		decision = c.enrol(identity, last.doc.Hash(), name, site, last.args.With, c.spend(identity, site, last.args))
	}
	if decision.State == tables.StateDone {
		for _, j := range joins {
			decision.Bodies = append(decision.Bodies, c.receipt(j.doc.Hash(), tables.StateDone, "", decision.Result))
		}
	}
	return decision
}

// known reports whether there is a site called name.
func (c *clerk) known(name string) bool {
	return c.v.Get(tables.SiteKey(name)) != nil ||
		slices.ContainsFunc(c.v.Enrolments(), func(e tables.Enrolment) bool { return e.Site == name })
}

// spend returns the key of the invite that the newcomer brought, if it was good: it has served its
// purpose, though a person has admitted.
func (c *clerk) spend(identity tables.PublicKey, site string, args JoinArgs) tables.PublicKey {
	newcomer := *c
	newcomer.r.User, args.Site = identity, site
	invite, _ := newcomer.invite(args)
	return invite.Key
}

// turnAway refuses every open join request of an identity. It may ask again.
func (c *clerk) turnAway(args RefuseArgs) Decision {
	joins := c.openJoins(args.Fingerprint)
	if len(joins) == 0 {
		return c.notAsked(args.Fingerprint)
	}
	if !plain(args.Reason) {
		return refused("the reason is longer than 256 bytes or has characters that cannot be printed: shorten it")
	}
	var bodies []tables.Body
	for _, j := range joins {
		if !c.may(OpRefuse, subject{sites: sitesOf(j.args.Site)}) {
			return refused("you may not refuse VRs of site %s: that takes its administrator, or one of the federation", short(j.args.Site))
		}
		bodies = append(bodies, c.receipt(j.doc.Hash(), tables.StateRefused, cmp.Or(args.Reason, "an administrator has refused it"), ""))
	}
	return done("", bodies...)
}

// notAsked answers who admits or refuses an identity without an open join request.
func (c *clerk) notAsked(fingerprint string) Decision {
	for _, e := range c.v.Enrolments() {
		if matches(fingerprint, e.Identity) {
			if c.r.Op == OpAdmit && c.may(OpAdmit, subject{sites: []string{e.Site}}) {
				return done(e.Router.String())
			}
			return refused("%s is %s already: vine revoke ends its trust", e.Name, e.Router)
		}
	}
	return refused("nobody with fingerprint %s asks to join: vine pending lists who does", short(fingerprint))
}

// An openJoin is a join request without a final receipt.
type openJoin struct {
	doc  *tables.Document
	args JoinArgs
}

// openJoins returns the open join requests of the identity with that fingerprint, oldest first.
func (c *clerk) openJoins(fingerprint string) []openJoin {
	var list []openJoin
	for _, d := range c.v.Requests() {
		r := d.Body().(tables.Request)
		if r.Op != OpJoin || !matches(fingerprint, r.User) || !c.v.Open(d.Hash()) || c.now.Unix() >= r.NotAfter {
			continue
		}
		var args JoinArgs
		if tables.DecodeArgs(r.Args, &args) == nil {
			list = append(list, openJoin{d, args})
		}
	}
	slices.SortStableFunc(list, func(a, b openJoin) int {
		return cmp.Compare(a.doc.Body().(tables.Request).Issued, b.doc.Body().(tables.Request).Issued)
	})
	return list
}

func matches(fingerprint string, key tables.PublicKey) bool {
	return tables.MatchFingerprint(fingerprint, sha256.Sum256(key[:]))
}

// revoke ends the trust in the identity of a VR. Every router leaves it out of every VN at once;
// the next version of each VN does without it.
func (c *clerk) revoke(args RevokeArgs) Decision {
	e, ok := c.v.EnrolmentByName(args.VR)
	if !ok {
		if _, was, _ := c.v.Taken(0, args.VR, tables.PublicKey{}); was {
			return refused("VR %s is revoked already", short(args.VR))
		}
		return refused("no VR is called %s: vine vrs lists them", short(args.VR))
	}
	if !c.may(OpRevoke, subject{sites: []string{e.Site}}) {
		return refused("you may not revoke VRs of site %s: that takes its administrator, or one of the federation", short(e.Site))
	}
	if !plain(args.Reason) {
		return refused("the reason is longer than 256 bytes or has characters that cannot be printed: shorten it")
	}
	return done(e.Router.String(), tables.Revocation{Version: 1, Identity: e.Identity, Reason: args.Reason, Issued: c.now.Unix()})
}
