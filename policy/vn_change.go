package policy

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/vine-mesh/vine/tables"
)

// vnMerge lets one VN carry all that another carries too, and ends the other: the GNDT entries of both are united
// (dissertation, figure 5-2). Both change at once at every VR.
func (c *clerk) vnMerge(args VNMergeArgs) Decision {
	if args.VN == args.From {
		return refused("a VN cannot be merged with itself")
	}
	d, refusal, ok := c.find(args.VN)
	if !ok {
		return refusal
	}
	from, refusal, ok := c.find(args.From)
	if !ok {
		return refusal
	}
	for _, one := range []*draft{d, from} {
		if !c.may(OpVNMerge, subject{vn: one.vn.Name, sites: one.sites()}) {
			return refused("you may not merge VN %s: that takes a grant as administrator of both VNs or of the federation", one.vn.Name)
		}
	}
	for _, s := range from.sets {
		if err := d.add(s.Prefixes, s.Routers); err != nil {
			return refused("VN %s cannot take VN %s: %v", args.VN, args.From, err)
		}
	}
	d.disabled = append(d.disabled, from.disabled...)
	for _, h := range d.disabled {
		if w, ok := d.way(h.Addr()); ok && w.prefix != h {
			return refused("prefix %s is disabled in one of the VNs and used, within %s, in the other: enable it first, or remove it", h, w.prefix)
		}
	}
	d.hosts = append(d.hosts, from.hosts...)
	slices.SortFunc(d.hosts, netip.Addr.Compare)
	d.hosts = slices.Compact(d.hosts)
	if refusal, ok := c.apart(d, from.vn.ID); !ok {
		return refusal
	}
	if refusal, ok := c.consent(d, from.sites()); !ok {
		return refusal
	}
	seal := d.vn.Seal
	if from.vn.Seal == tables.SealEncrypt {
		seal = tables.SealEncrypt // nobody's packets travel with less than before
	}
	end := newDraft(c.v, from.vn)
	end.old = from.old
	return c.sign(
		change{draft: d, state: tables.VNActive, seal: seal, other: from.vn.ID, with: []tables.VNVersion{{VN: from.vn.ID, Version: from.vn.Version + 1}}},
		change{draft: end, state: tables.VNShutdown, seal: from.vn.Seal, into: d.vn.ID, with: []tables.VNVersion{{VN: d.vn.ID, Version: d.vn.Version + 1}}},
	)
}

// vnSplit moves hosts of a VN into a new one. Both change at once at every VR. Whoever administers the old VN, and nothing
// above it, administers the new one too.
func (c *clerk) vnSplit(args VNSplitArgs) Decision {
	d, refusal, ok := c.find(args.VN)
	if !ok {
		return refusal
	}
	if !c.may(OpVNSplit, subject{vn: args.VN, sites: d.sites()}) {
		return refused("you may not split VN %s: that takes a grant as its administrator or as one of the federation", args.VN)
	}
	if !tables.ValidName(args.Into) {
		return refused("VN name %s", nameRule(args.Into))
	}
	if old, taken := c.v.VNByName(args.Into); taken {
		return refused("VN %s exists already as %s, and names are unique for ever: choose another", args.Into, old.ID)
	}
	promised := slices.ContainsFunc(c.v.AllGrants(), func(g tables.Grant) bool {
		return g.Scope == "vn/"+args.Into && !g.Revoked && g.NotAfter > c.now.Unix()
	})
	if promised && !c.may(OpVNSplit, subject{vn: args.Into}) {
		// These would have rights over the hosts that go there, and the name would be lost to them.
		return refused("the name %s is promised: others have grants for vn/%s already. Choose another", args.Into, args.Into)
	}
	id := c.v.NextVN()
	if id == 0 {
		return refused("every VN ID has been given: found a new federation")
	}
	hosts, err := cleanHosts(c.v, args.Hosts)
	if err != nil {
		return refused("%v", err)
	}
	switch {
	case len(hosts) == 0:
		return refused("name the hosts that are to be in VN %s", args.Into)
	case len(hosts) == len(d.hosts):
		return refused("these are all hosts of VN %s: none would be left in it", args.VN)
	}
	part := newDraft(c.v, tables.VN{ID: id, Name: args.Into, Home: d.vn.Home})
	for _, h := range hosts {
		w, ok := d.way(h)
		if !ok {
			continue // leave says who is no member
		}
		if err := part.add([]netip.Prefix{w.prefix}, w.routers); err != nil {
			return refused("%v", err)
		}
	}
	part.disabled, part.hosts = slices.Clone(d.disabled), hosts
	if err := d.leave(hosts); err != nil {
		return refused("%v", err)
	}
	if refusal, ok := c.apart(part, d.vn.ID); !ok {
		return refusal
	}
	if refusal, ok := c.consent(part, part.sites()); !ok {
		return refusal
	}
	decision := c.sign(
		change{draft: part, state: tables.VNActive, seal: d.vn.Seal, other: d.vn.ID, with: []tables.VNVersion{{VN: d.vn.ID, Version: d.vn.Version + 1}}},
		change{draft: d, state: d.vn.State, seal: d.vn.Seal, other: id, with: []tables.VNVersion{{VN: id, Version: 1}}},
	)
	if decision.State == tables.StateDone {
		decision.Bodies = append(decision.Bodies, c.inherit(args.VN, args.Into)...)
	}
	return decision
}

// inherit returns the grants that give every administrator of VN old the same over VN part.
func (c *clerk) inherit(old, part string) []tables.Body {
	var grants []tables.Body
	for _, g := range c.v.AllGrants() {
		if g.Scope != "vn/"+old || !slices.Contains(right(OpVNUpdate).Roles, g.Role) || g.Revoked || !g.Parent.IsZero() || g.NotAfter <= c.now.Unix() {
			continue
		}
		g.Scope = "vn/" + part
		g.Version = c.v.NextVersion(g.Key())
		grants = append(grants, g)
	}
	return grants
}

// vnUpdate gives a VN other prefixes, or another seal.
func (c *clerk) vnUpdate(args VNUpdateArgs) Decision {
	d, refusal, ok := c.find(args.VN)
	if !ok {
		return refusal
	}
	before := d.sites()
	for _, p := range args.Remove {
		if refusal, ok := d.remove(p); !ok {
			return refusal
		}
	}
	for _, at := range args.Add {
		if refusal, ok := c.addPrefix(d, at); !ok {
			return refusal
		}
	}
	for _, p := range args.Disable {
		if w, ok := d.way(p.Addr()); !ok || w.prefix != p {
			return refused("VN %s has no prefix %s: vine vn show %s lists them", args.VN, p, args.VN)
		}
		if slices.Contains(d.disabled, p) {
			return refused("prefix %s of VN %s is disabled already", p, args.VN)
		}
		d.disabled = append(slices.Clone(d.disabled), p)
	}
	for _, p := range args.Enable {
		i := slices.Index(d.disabled, p)
		if i < 0 {
			return refused("prefix %s of VN %s is not disabled", p, args.VN)
		}
		d.disabled = slices.Delete(slices.Clone(d.disabled), i, i+1)
	}
	seal := cmp.Or(args.Seal, d.vn.Seal)
	if seal != tables.SealEncrypt && seal != tables.SealAuth {
		return refused("seal %s is neither encrypt nor auth", short(string(args.Seal)))
	}
	if !c.may(OpVNUpdate, subject{vn: args.VN, sites: slices.Concat(before, d.sites())}) {
		return refused("you may not change VN %s: that takes a grant as its administrator or as one of the federation", args.VN)
	}
	if refusal, ok := c.apart(d); !ok {
		return refusal
	}
	var added []string
	for _, at := range args.Add {
		e, _ := c.v.EnrolmentByName(at.VR)
		added = append(added, e.Site)
	}
	if refusal, ok := c.consent(d, added); !ok {
		return refusal
	}
	decision := c.sign(change{draft: d, state: d.vn.State, seal: seal})
	if decision.State == tables.StateDone && len(decision.Bodies) == 0 {
		return refused("VN %s is like that already: nothing would change", args.VN)
	}
	return decision
}

// remove takes out a prefix that no host is in.
func (d *draft) remove(p netip.Prefix) (Decision, bool) {
	w, ok := d.way(p.Addr())
	if !ok || w.prefix != p {
		return refused("VN %s has no prefix %s: vine vn show %s lists them", d.vn.Name, p, d.vn.Name), false
	}
	if i := slices.IndexFunc(d.hosts, p.Contains); i >= 0 {
		return refused("%s is a member of VN %s and in %s: it has to leave first", d.hosts[i], d.vn.Name, p), false
	}
	d.drop(w)
	return Decision{}, true
}

// vnRestore gives a VN what it had after an entry of its log. What only VRs deliver that have been revoked since stays away,
// as it does in every version.
func (c *clerk) vnRestore(args VNRestoreArgs) Decision {
	now, refusal, ok := c.find(args.VN)
	if !ok {
		return refusal
	}
	then, err := StateAt(c.v, now.vn, args.Number)
	if err != nil {
		return refused("%v", err)
	}
	d := newDraft(c.v, now.vn)
	d.old, d.disabled, d.moved = now.old, then.Disabled, now.moved
	for _, s := range then.Sets {
		routers := d.deliverers(s.Routers)
		if len(routers) == 0 {
			continue
		}
		if err := d.add(s.Prefixes, routers); err != nil {
			return refused("%v", err)
		}
	}
	for _, h := range then.Hosts {
		if _, ok := d.way(h); ok {
			d.hosts = append(d.hosts, h)
		}
	}
	if !c.may(OpVNRestore, subject{vn: args.VN, sites: slices.Concat(now.sites(), d.sites())}) {
		return refused("you may not restore VN %s: that takes a grant as its administrator or as one of the federation", args.VN)
	}
	if refusal, ok := c.apart(d); !ok {
		return refusal
	}
	back := slices.Concat(d.sitesOf(without(d.hosts, now.hosts)), without(d.sites(), now.sites()))
	if refusal, ok := c.consent(d, back); !ok {
		return refusal
	}
	decision := c.sign(change{draft: d, state: now.vn.State, seal: then.Seal})
	if decision.State == tables.StateDone && len(decision.Bodies) == 0 {
		return refused("VN %s is as it was after entry %d: nothing would change", args.VN, args.Number)
	}
	return decision
}

// vrSwitch has the rows of a VR in all tables not used, or used again.
func (c *clerk) vrSwitch(args VRArgs) Decision {
	e, ok := c.v.EnrolmentByName(args.VR)
	if !ok {
		return refused("no VR is called %s: vine vrs lists them", short(args.VR))
	}
	if !c.may(c.r.Op, subject{sites: []string{e.Site}}) {
		return refused("you may not disable or enable VRs of site %s: that takes its administrator, or one of the federation", e.Site)
	}
	disabled := c.r.Op == OpVRDisable
	if e.Disabled == disabled {
		return refused("VR %s is %s already", e.Name, map[bool]string{true: "disabled", false: "enabled"}[disabled])
	}
	e.Version, e.Disabled = c.v.NextVersion(tables.EnrolmentKey(e.Router)), disabled
	return done(e.Router.String(), e)
}
