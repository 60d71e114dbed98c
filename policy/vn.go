package policy

import (
	"net/netip"
	"slices"

	"github.com/vine-mesh/vine/tables"
)

// vnCreate makes a VN of hosts and prefixes.
func (c *clerk) vnCreate(args VNCreateArgs) Decision {
	if !tables.ValidName(args.Name) {
		return refused("VN name %s", nameRule(args.Name))
	}
	if old, taken := c.v.VNByName(args.Name); taken {
		return refused("VN %s exists already as %s, and names are unique for ever: choose another", args.Name, old.ID)
	}
	seal := args.Seal
	if seal == "" {
		seal = tables.SealEncrypt
	}
	if seal != tables.SealEncrypt && seal != tables.SealAuth {
		return refused("seal %s is neither encrypt nor auth", short(string(args.Seal)))
	}
	hosts, err := cleanHosts(c.v, args.Hosts)
	if err != nil {
		return refused("%v", err)
	}
	id := c.v.NextVN()
	if id == 0 {
		return refused("every VN ID has been given: found a new federation")
	}
	d := newDraft(c.v, tables.VN{ID: id, Name: args.Name, Home: c.Key})
	for _, at := range args.Prefixes {
		if refusal, ok := c.addPrefix(d, at); !ok {
			return refusal
		}
	}
	if err := d.join(hosts); err != nil {
		return refused("%v", err)
	}
	sites := d.sites()
	if !c.may(OpVNCreate, subject{vn: args.Name, sites: sites}) {
		return refused("you may not create VN %s with these hosts: that takes a grant for all their sites or for vn/%s", args.Name, args.Name)
	}
	if refusal, ok := c.apart(d); !ok {
		return refusal
	}
	if refusal, ok := c.consent(d, sites); !ok {
		return refusal
	}
	return c.sign(change{draft: d, state: tables.VNActive, seal: seal})
}

// addPrefix lets the VR that is named deliver a prefix.
func (c *clerk) addPrefix(d *draft, at PrefixAt) (Decision, bool) {
	switch {
	case !at.Prefix.IsValid() || at.Prefix.Addr().Is4In6() || at.Prefix.Addr().IsMulticast():
		return refused("a prefix is not one of unicast addresses"), false
	case at.Prefix != at.Prefix.Masked():
		return refused("prefix %s has host bits set: do you mean %s?", at.Prefix, at.Prefix.Masked()), false
	case !c.v.InSpace(at.Prefix):
		root, _ := c.v.Root()
		return refused("prefix %s is outside the ViNe space, which is %s", at.Prefix, root.Space), false
	}
	e, ok := c.v.EnrolmentByName(at.VR)
	if !ok {
		return refused("no VR is called %s: vine vrs lists them", short(at.VR)), false
	}
	if err := d.add([]netip.Prefix{at.Prefix}, []tables.RouterID{e.Router}); err != nil {
		return refused("%v", err), false
	}
	return Decision{}, true
}

// find returns the VN called name, or why nothing can be done to it.
func (c *clerk) find(name string) (*draft, Decision, bool) {
	vn, ok := c.v.VNByName(name)
	switch {
	case !ok:
		return nil, refused("no VN is called %s: vine vn list shows them", short(name)), false
	case vn.Into != 0:
		into, _ := c.v.VN(vn.Into)
		return nil, refused("VN %s was merged into VN %s", name, into.Name), false
	case vn.State == tables.VNShutdown:
		return nil, refused("VN %s is shut down, for good: create one with another name", name), false
	case vn.Home != c.Key && !c.planning && !c.succeeds(vn):
		return nil, refused("VN %s is signed with key %s and not by this authority: ask its holder", name, vn.Home.Fingerprint()), false
	}
	d, err := loadDraft(c.v, vn)
	if err != nil {
		return nil, pending("%v", err), false
	}
	if vn.Home != c.Key && c.succeeds(vn) {
		d.move(c.Key)
	}
	return d, Decision{}, true
}

// succeeds reports whether it falls to this authority to sign the next version of a VN whose home signs nothing any more,
// being retired by root or revoked.
func (c *clerk) succeeds(vn tables.VN) bool {
	gone := c.v.Retired(vn.Home) || c.v.Revoked(vn.Home)
	return gone && c.responsible(c.now, c.v, tables.VNKey(vn.ID))
}

// vnJoin makes hosts members of a VN.
func (c *clerk) vnJoin(args VNHostsArgs) Decision {
	d, refusal, ok := c.find(args.VN)
	if !ok {
		return refusal
	}
	hosts, err := cleanHosts(c.v, args.Hosts)
	if err != nil {
		return refused("%v", err)
	}
	if len(hosts) == 0 {
		return refused("name at least one host")
	}
	before := d.sites()
	if err := d.join(hosts); err != nil {
		return refused("%v", err)
	}
	sites := d.sitesOf(hosts)
	entering := slices.ContainsFunc(sites, func(s string) bool { return !slices.Contains(before, s) })
	if !c.may(OpVNJoin, subject{vn: args.VN, sites: sites, entering: entering}) {
		if entering {
			return refused("VN %s has no part at your site yet: an administrator of the VN or the federation has to add the first host", args.VN)
		}
		return refused("you may not add these hosts to VN %s: that takes a grant for their site or for vn/%s", args.VN, args.VN)
	}
	if refusal, ok := c.apart(d); !ok {
		return refusal
	}
	if refusal, ok := c.consent(d, sites); !ok {
		return refusal
	}
	return c.sign(same(d))
}

// sitesOf returns the sites of hosts, sorted.
func (d *draft) sitesOf(hosts []netip.Addr) []string {
	var list []string
	for _, h := range hosts {
		if w, ok := d.way(h); ok {
			list = append(list, d.site(w.routers))
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// vnLeave takes hosts out of a VN. The VN stays when it has none left.
func (c *clerk) vnLeave(args VNHostsArgs) Decision {
	d, refusal, ok := c.find(args.VN)
	if !ok {
		return refusal
	}
	hosts, err := cleanHosts(c.v, args.Hosts)
	if err != nil {
		return refused("%v", err)
	}
	if len(hosts) == 0 {
		return refused("name at least one host")
	}
	sites := d.sitesOf(hosts)
	if err := d.leave(hosts); err != nil {
		return refused("%v", err)
	}
	if !c.may(OpVNLeave, subject{vn: args.VN, sites: sites}) {
		return refused("you may not take these hosts out of VN %s: that takes a grant for their site or for vn/%s", args.VN, args.VN)
	}
	return c.sign(same(d))
}

// vnShutdown ends a VN for good: its last version has no parts.
func (c *clerk) vnShutdown(args VNArgs) Decision {
	d, refusal, ok := c.find(args.VN)
	if !ok {
		return refusal
	}
	if !c.may(OpVNShutdown, subject{vn: args.VN, sites: d.sites()}) {
		return refused("you may not shut VN %s down: that takes a grant as its administrator or as one of the federation", args.VN)
	}
	end := newDraft(c.v, d.vn)
	return c.sign(change{draft: end, state: tables.VNShutdown, seal: d.vn.Seal})
}

// apart refuses d if a host of it is in another VN too, but for those in except, and a packet would have two ways.
func (c *clerk) apart(d *draft, except ...tables.VNID) (Decision, bool) {
	for _, vn := range c.v.VNs() {
		if vn.ID == d.vn.ID || slices.Contains(except, vn.ID) || vn.State == tables.VNShutdown || len(d.hosts) == 0 {
			continue
		}
		other, err := loadDraft(c.v, vn)
		if err != nil {
			return pending("%v", err), false
		}
		if err := d.crossing(other); err != nil {
			return refused("%v", err), false
		}
	}
	return Decision{}, true
}

// A change is what becomes of one VN.
type change struct {
	draft *draft
	state tables.VNState
	seal  tables.Seal
	with  []tables.VNVersion // what takes effect together with it
	into  tables.VNID        // the VN that it is merged into
	other tables.VNID        // the other VN of a merge or split, for the log
}

// same returns a change that touches neither state nor seal.
func same(d *draft) change { return change{draft: d, state: d.vn.State, seal: d.vn.Seal} }

// sign returns the decision that makes changes of what is signed, each with an entry in the log of its VN. Its result is the
// first one's VN.
func (c *clerk) sign(changes ...change) Decision {
	result := done(changes[0].draft.vn.ID.String())
	for _, ch := range changes {
		bodies, err := ch.draft.bodies(ch, c.id)
		if err != nil {
			return refused("%v", err)
		}
		if len(bodies) == 0 {
			continue
		}
		result.Bodies = append(append(result.Bodies, bodies...), c.entry(ch, bodies))
	}
	result.changes = changes
	return result
}
