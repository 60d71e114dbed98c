package node

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// Users implements control.Router.
func (a api) Users(context.Context) ([]control.User, error) {
	v, now := a.view(), time.Now()
	list := []control.User{}
	for _, g := range v.AllGrants() {
		u := control.User{
			Name: g.Name, Fingerprint: g.User.Fingerprint(), Key: hex.EncodeToString(g.User[:]), Role: string(g.Role), Scope: g.Scope,
			Until: time.Unix(g.NotAfter, 0).UTC(), State: "ended", Delegated: !g.Parent.IsZero(),
		}
		switch {
		case g.Revoked || v.Revoked(g.User):
			u.State = "revoked"
		case slices.Contains(v.Grants(g.User, now), g):
			u.State = "active"
		}
		by := g.By
		if u.Delegated {
			by = g.Parent
		}
		if !by.IsZero() {
			u.By, u.ByFingerprint = userIn(v, by), by.Fingerprint()
		}
		list = append(list, u)
	}
	slices.SortStableFunc(list, func(x, y control.User) int { return strings.Compare(x.Name, y.Name) })
	return list, nil
}

// userIn returns what people call a user: the name that the authority knows before that of a
// delegation, or the fingerprint.
func userIn(v *tables.View, key tables.PublicKey) string {
	name := key.Fingerprint()
	for _, g := range v.AllGrants() {
		switch {
		case g.User != key:
		case g.Parent.IsZero():
			return g.Name
		default:
			name = g.Name
		}
	}
	return name
}

// describePolicy adds what a site says about its hosts.
func describePolicy(v *tables.View, s tables.Site, out *control.Site) {
	list := func(names []string) []string { return append([]string{}, names...) }
	out.Consent, out.AllowVNs, out.With, out.Withdrawn = s.Consent, list(s.Allowed), list(s.With), list(s.Withdrawn)
	out.Users = []string{}
	for _, key := range s.Users {
		out.Users = append(out.Users, userIn(v, key))
	}
}

// Requests implements control.Router.
func (a api) Requests(context.Context) ([]control.OpenRequest, error) {
	v, now := a.view(), time.Now()
	list := []control.OpenRequest{}
	for _, d := range v.Requests() {
		r := d.Body().(tables.Request)
		if r.Op == policy.OpJoin || !v.Open(d.Hash()) {
			continue
		}
		id := d.Hash()
		open := control.OpenRequest{
			ID: hex.EncodeToString(id[:]), Op: r.Op, About: policy.About(r), User: userIn(v, r.User),
			Asked: time.Unix(r.Issued, 0).UTC(), State: "accepted", WaitsFor: []string{},
		}
		if receipt, answered := v.Receipt(id); answered {
			open.State, open.Reason = receipt.State, receipt.Reason
			open.WaitsFor = append(open.WaitsFor, policy.WaitsFor(now, v, id, r)...)
		}
		list = append(list, open)
	}
	return list, nil
}

// Publish implements control.Router.
func (a api) Publish(ctx context.Context, envelope []byte) (control.Published, error) {
	d, err := tables.ParseDocument(envelope)
	if err != nil {
		return control.Published{}, fmt.Errorf("%w: %v", control.ErrRefused, err)
	}
	if g, ok := d.Body().(tables.Grant); !ok || g.Parent.IsZero() {
		return control.Published{}, fmt.Errorf("%w: this %s is not a delegation; what the authority signs is asked for", control.ErrRefused, d.Kind())
	}
	if err := a.take(ctx, d); err != nil {
		return control.Published{}, err
	}
	return control.Published{Key: d.Key().String(), Version: d.Version()}, nil
}
