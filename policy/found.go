package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// A Founding is what `vine init` decides about a new federation.
type Founding struct {
	Name      string         // of the federation
	Space     []netip.Prefix // ViNe space, in any order; room for a /24 or a /64 at least
	VR, Site  string
	Root      tables.PublicKey
	Authority tables.PublicKey
	Identity  tables.PublicKey // of the first VR
	User      tables.PublicKey // of the first administrator
	UserName  string
}

// A Founded is the documents of a new federation, by who signs them.
type Founded struct {
	Root      tables.Root   // the root key
	Authority []tables.Body // the authority key, in order
}

// authorityYears is how long the first authority key and the first administrator's grant last.
// The root key, which is kept elsewhere, has to be fetched this often; longer, and nobody
// remembers where it is.
const authorityYears = 2

// Found returns the documents of a new federation: its root, the first VR and its site, the first
// administrator. A store takes them in that order from disk; the authority's first head comes
// after them (tables.BuildHead). It fails on names and spaces that no store would take.
func Found(now time.Time, f Founding) (Founded, error) {
	names := []struct{ what, name string }{{"federation", f.Name}, {"VR", f.VR}, {"site", f.Site}, {"user", f.UserName}}
	for _, n := range names {
		if !tables.ValidName(n.name) {
			return Founded{}, fmt.Errorf("found federation: %s name %s", n.what, nameRule(n.name))
		}
	}
	space, err := cleanSpace(f.Space)
	if err != nil {
		return Founded{}, fmt.Errorf("found federation: %w", err)
	}
	blocks, err := firstBlocks(space, nil, nil)
	if err != nil {
		return Founded{}, fmt.Errorf("found federation: %w", err)
	}
	end := now.AddDate(authorityYears, 0, 0).Unix()
	return Founded{
		Root: tables.Root{
			Version: 1, Federation: f.Name,
			RootKeys: []tables.PublicKey{f.Root}, Threshold: 1,
			Authorities: []tables.AuthorityKey{{Key: f.Authority, NotAfter: end}}, AuthThreshold: 1,
			Space: space,
		},
		Authority: []tables.Body{
			newSite(f.Site),
			tables.Enrolment{
				Version: 1, Router: 1, Name: f.VR, Site: f.Site, Identity: f.Identity,
				Blocks: blocks, MayQueue: true,
				NotBefore: now.Unix(), NotAfter: now.Add(enrolmentLife).Unix(),
			},
			tables.Grant{
				Version: 1, User: f.User, Name: f.UserName, Role: tables.RoleADM, Scope: "federation", NotAfter: end,
			},
		},
	}, nil
}

// newSite returns the first version of a site, which wants to be asked before its hosts join VNs.
func newSite(name string) tables.Site {
	return tables.Site{Version: 1, Name: name, Consent: "ask"}
}

// cleanSpace returns space sorted, or says what is wrong with it.
func cleanSpace(space []netip.Prefix) ([]netip.Prefix, error) {
	sorted := slices.Clone(space)
	slices.SortFunc(sorted, tables.ComparePrefixes)
	for i, p := range sorted {
		switch {
		case !p.IsValid() || p.Addr().Is4In6() || p.Addr().IsMulticast():
			return nil, fmt.Errorf("ViNe space: %s is not a prefix of unicast addresses", p)
		case p != p.Masked():
			return nil, fmt.Errorf("ViNe space: %s has host bits set: do you mean %s?", p, p.Masked())
		case i > 0 && sorted[i-1].Overlaps(p):
			return nil, fmt.Errorf("ViNe space: %s and %s overlap", sorted[i-1], p)
		}
	}
	if len(sorted) == 0 {
		return nil, fmt.Errorf("ViNe space is empty: give at least one prefix, such as 10.192.0.0/10")
	}
	return sorted, nil
}
