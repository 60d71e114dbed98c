package policy

import (
	"slices"

	"github.com/vine-mesh/vine/tables"
)

// listMax is how many names or keys one list of a site's policy may have (docs/wire.md).
const listMax = 64

// siteSet changes what a site says of itself, and whom it lets have its hosts.
func (c *clerk) siteSet(args SiteSetArgs) Decision {
	if !c.known(args.Site) {
		return refused("no site is called %s: vine sites lists them", short(args.Site))
	}
	if !c.may(OpSiteSet, subject{sites: []string{args.Site}}) {
		return refused("you may not speak for site %s: that takes its administrator, or one of the federation", args.Site)
	}
	s := c.sitePolicy(args.Site)
	conditions := len(args.AllowVNs) + len(args.With) + len(args.Users)
	switch {
	case args.Consent == "" && conditions > 0:
		return refused("conditions without a policy: say ask with them")
	case args.Consent == "":
	case args.Consent != "ask" && args.Consent != "open" && args.Consent != "never":
		return refused("consent %s is none of ask, open and never", short(args.Consent))
	case args.Consent != "ask" && conditions > 0:
		return refused("what needs no asking says something only with ask: %s allows %s", args.Consent, map[string]string{"open": "everything", "never": "nothing"}[args.Consent])
	default:
		for _, list := range [][]string{args.AllowVNs, args.With} {
			if i := slices.IndexFunc(list, func(name string) bool { return !tables.ValidName(name) }); i >= 0 {
				return refused("%s", nameRule(list[i]))
			}
		}
		s.Consent, s.Allowed, s.With, s.Users, s.Withdrawn = args.Consent, sortedNames(args.AllowVNs), sortedNames(args.With), sortedKeys(args.Users), nil
		if max(len(s.Allowed), len(s.With), len(s.Users)) > listMax {
			return refused("a list has more than %d entries", listMax)
		}
		if slices.ContainsFunc(s.Users, tables.PublicKey.IsZero) {
			return refused("a user has no key")
		}
	}
	for _, text := range []struct {
		to   *string
		from *string
	}{{&s.Contact, args.Contact}, {&s.Location, args.Location}} {
		if text.from != nil {
			if !plain(*text.from) {
				return refused("contact and location have at most 256 bytes and no characters that cannot be printed")
			}
			*text.to = *text.from
		}
	}
	s.Version = c.v.NextVersion(tables.SiteKey(args.Site))
	return done(args.Site, s)
}

func sortedNames(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

func sortedKeys(list []tables.PublicKey) []tables.PublicKey {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b tables.PublicKey) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(list)
}
