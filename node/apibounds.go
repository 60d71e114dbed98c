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

// As implements control.Gate.
func (a api) As(key tables.PublicKey) (control.Router, error) {
	b := bounded{a, key}
	_, err := b.reach()
	return b, err
}

// bounded is the api as the holder of a key may use it over the network. What its grants let it see is asked for anew at every
// call. It embeds nothing, so that a method which Router gets is not open to everybody by oversight.
type bounded struct {
	api api
	key tables.PublicKey
}

var _ control.Router = bounded{}

func (b bounded) reach() (policy.Reach, error) {
	r, ok := policy.ReachOf(b.api.view(), time.Now(), b.key)
	if !ok {
		return r, fmt.Errorf("%w: the tables of this VR give the key %s no right, or none any more", control.ErrForbidden, b.key.Fingerprint())
	}
	return r, nil
}

// operator returns an error unless the caller may look into this VR and tell it what to do.
func (b bounded) operator() error {
	r, err := b.reach()
	if err != nil {
		return err
	}
	e, _ := b.api.view().Enrolment(b.api.n.self.Router)
	if !r.Operates(e.Site) {
		return fmt.Errorf("%w: this takes an administrator (adm or sa) of the site %s", control.ErrForbidden, e.Site)
	}
	return nil
}

// observer returns an error unless the caller may look into this VR.
func (b bounded) observer() error {
	if r, err := b.reach(); err != nil || r.All() {
		return err
	}
	return b.operator()
}

// allowed returns what get returns if may allows it.
func allowed[T any](ctx context.Context, may func() error, get func(context.Context) (T, error)) (T, error) {
	if err := may(); err != nil {
		var none T
		return none, err
	}
	return get(ctx)
}

// filtered returns those of the list that the caller may see.
func filtered[T any](ctx context.Context, b bounded, get func(context.Context) ([]T, error), see func(policy.Reach, T) bool) ([]T, error) {
	r, err := b.reach()
	if err != nil {
		return nil, err
	}
	list, err := get(ctx)
	if r.All() || err != nil {
		return list, err
	}
	return slices.DeleteFunc(list, func(v T) bool { return !see(r, v) }), nil
}

// Status implements control.Router.
func (b bounded) Status(ctx context.Context) (control.Status, error) {
	return allowed(ctx, func() error { _, err := b.reach(); return err }, b.api.Status)
}

// Members implements control.Router.
func (b bounded) Members(ctx context.Context) ([]control.Member, error) {
	return allowed(ctx, b.observer, b.api.Members)
}

// Sites implements control.Router.
func (b bounded) Sites(ctx context.Context) ([]control.Site, error) {
	return filtered(ctx, b, b.api.Sites, func(r policy.Reach, s control.Site) bool { return r.Site(s.Name) })
}

// VRs implements control.Router.
func (b bounded) VRs(ctx context.Context) ([]control.VR, error) {
	return filtered(ctx, b, b.api.VRs, func(r policy.Reach, v control.VR) bool { return r.Site(v.Site) })
}

// Hosts implements control.Router.
func (b bounded) Hosts(ctx context.Context) ([]control.Host, error) {
	return filtered(ctx, b, b.api.Hosts, func(r policy.Reach, h control.Host) bool { return r.VN(h.VN) || r.Site(h.Site) })
}

// VNs implements control.Router. Of a VN that it sees for a site only, the caller does not see the hosts of others.
func (b bounded) VNs(ctx context.Context) ([]control.VN, error) {
	r, err := b.reach()
	if err != nil {
		return nil, err
	}
	list, err := b.api.VNs(ctx)
	if r.All() || err != nil {
		return list, err
	}
	return slices.DeleteFunc(list, func(vn control.VN) bool { return !b.narrow(r, &vn) }), nil
}

// narrow takes out of vn what the caller may not see, and reports whether anything is left.
func (b bounded) narrow(r policy.Reach, vn *control.VN) bool {
	if r.VN(vn.Name) {
		return true
	}
	here := slices.DeleteFunc(slices.Clone(vn.Hosts), func(h control.Host) bool { return !r.Site(h.Site) })
	vn.Hosts = here
	return len(here) > 0
}

// VN implements control.Router. What may not be seen is not there.
func (b bounded) VN(ctx context.Context, name string) (control.VN, error) {
	r, err := b.reach()
	if err != nil {
		return control.VN{}, err
	}
	vn, err := b.api.VN(ctx, name)
	if err == nil && !r.All() && !b.narrow(r, &vn) {
		return control.VN{}, fmt.Errorf("VN %q: %w", name, control.ErrNotFound)
	}
	return vn, err
}

// Users implements control.Router. Grants are among the documents that everybody sees.
func (b bounded) Users(ctx context.Context) ([]control.User, error) {
	return allowed(ctx, func() error { _, err := b.reach(); return err }, b.api.Users)
}

// Requests implements control.Router: the caller's own, and those that wait for a site that it speaks for.
func (b bounded) Requests(ctx context.Context) ([]control.OpenRequest, error) {
	return filtered(ctx, b, b.api.Requests, func(r policy.Reach, q control.OpenRequest) bool {
		var id tables.Hash
		n, err := hex.Decode(id[:], []byte(q.ID)[:min(len(q.ID), 2*len(id))])
		return err == nil && n == len(id) && b.mine(id) || slices.ContainsFunc(q.WaitsFor, r.Operates)
	})
}

// Publish implements control.Router. A caller hands in its own delegations only.
func (b bounded) Publish(ctx context.Context, envelope []byte) (control.Published, error) {
	if _, err := b.reach(); err != nil {
		return control.Published{}, err
	}
	d, err := tables.ParseDocument(envelope)
	if err != nil {
		return control.Published{}, fmt.Errorf("%w: %v", control.ErrRefused, err)
	}
	if g, ok := d.Body().(tables.Grant); ok && g.Parent != b.key {
		return control.Published{}, fmt.Errorf("%w: the delegation is of %s, the caller is %s", control.ErrForbidden, g.Parent.Fingerprint(), b.key.Fingerprint())
	}
	return b.api.Publish(ctx, envelope)
}

// VNLog implements control.Router. It is for who sees the whole VN.
func (b bounded) VNLog(ctx context.Context, name string) ([]control.Entry, error) {
	return allowed(ctx, b.whole(name), func(ctx context.Context) ([]control.Entry, error) { return b.api.VNLog(ctx, name) })
}

// VNAt implements control.Router. It is for who sees the whole VN.
func (b bounded) VNAt(ctx context.Context, name string, number uint64) (control.VNState, error) {
	return allowed(ctx, b.whole(name), func(ctx context.Context) (control.VNState, error) { return b.api.VNAt(ctx, name, number) })
}

// whole returns what refuses a caller that may not see all of a VN, given by name or ID: to it there is no such VN.
func (b bounded) whole(name string) func() error {
	return func() error {
		r, err := b.reach()
		if err != nil {
			return err
		}
		vn, err := findVN(b.api.view(), name)
		if err == nil && !r.VN(vn.Name) {
			err = noVN(name)
		}
		return err
	}
}

// Routes implements control.Router.
func (b bounded) Routes(ctx context.Context) ([]control.Route, error) {
	return filtered(ctx, b, b.api.Routes, func(r policy.Reach, route control.Route) bool { return r.VN(route.VN) })
}

// Links implements control.Router.
func (b bounded) Links(ctx context.Context) ([]control.Link, error) {
	return allowed(ctx, b.observer, b.api.Links)
}

// Queues implements control.Router.
func (b bounded) Queues(ctx context.Context) (control.Queues, error) {
	return allowed(ctx, b.observer, b.api.Queues)
}

// Paths implements control.Router.
func (b bounded) Paths(ctx context.Context, from, to string) (control.Paths, error) {
	return allowed(ctx, b.observer, func(ctx context.Context) (control.Paths, error) { return b.api.Paths(ctx, from, to) })
}

// Drain implements control.Router.
func (b bounded) Drain(ctx context.Context, begin bool) (control.Drain, error) {
	return allowed(ctx, b.operator, func(ctx context.Context) (control.Drain, error) { return b.api.Drain(ctx, begin) })
}

// Drained implements control.Router.
func (b bounded) Drained(ctx context.Context) (control.Drain, error) {
	return allowed(ctx, b.observer, b.api.Drained)
}

// Pending implements control.Router.
func (b bounded) Pending(ctx context.Context) ([]control.Pending, error) {
	return filtered(ctx, b, b.api.Pending, func(r policy.Reach, p control.Pending) bool { return p.Site != "" && r.Operates(p.Site) })
}

// Documents implements control.Router.
func (b bounded) Documents(ctx context.Context) ([][]byte, error) {
	return allowed(ctx, func() error { _, err := b.reach(); return err }, b.api.Documents)
}

// Submit implements control.Router. A caller hands in its own requests only: what it may not ask for itself it may
// not bring here for another.
func (b bounded) Submit(ctx context.Context, envelope []byte) (control.Request, error) {
	return allowed(ctx, b.own(envelope), func(ctx context.Context) (control.Request, error) { return b.api.Submit(ctx, envelope) })
}

// Plan implements control.Router. A plan tells its asker no more than the answer to the request and the log of the VN would.
func (b bounded) Plan(ctx context.Context, envelope []byte) (control.Plan, error) {
	return allowed(ctx, b.own(envelope), func(ctx context.Context) (control.Plan, error) { return b.api.Plan(ctx, envelope) })
}

// own returns what refuses a request that is not the caller's, or that it has no right to make.
func (b bounded) own(envelope []byte) func() error {
	return func() error {
		r, err := b.reach()
		if err != nil {
			return err
		}
		d, err := tables.ParseDocument(envelope)
		if err != nil {
			return fmt.Errorf("%w: %v", control.ErrRefused, err)
		}
		if q, ok := d.Body().(tables.Request); ok {
			switch {
			case q.User != b.key:
				return fmt.Errorf("%w: the request is signed by %s, the caller is %s", control.ErrForbidden, q.User.Fingerprint(), b.key.Fingerprint())
			case !r.Asks(q.Op):
				return fmt.Errorf("%w: no role of this key may ask for %.16q", control.ErrForbidden, q.Op)
			}
		}
		return nil
	}
}

// Request implements control.Router. Those of others are seen by who sees everything.
func (b bounded) Request(ctx context.Context, id tables.Hash, wait time.Duration) (control.Request, error) {
	r, err := b.reach()
	if err != nil {
		return control.Request{}, err
	}
	if !r.All() && !b.mine(id) {
		return control.Request{}, fmt.Errorf("request %s: %w", hex.EncodeToString(id[:]), control.ErrNotFound)
	}
	return b.api.Request(ctx, id, wait)
}

func (b bounded) mine(id tables.Hash) bool {
	q, ok := b.api.view().Request(id)
	return ok && q.User == b.key
}

// LANHosts implements control.LANHosts.
func (b bounded) LANHosts(ctx context.Context) ([]control.LANHost, error) {
	return allowed(ctx, b.observer, b.api.LANHosts)
}

// AddHost implements control.LANHosts.
func (b bounded) AddHost(ctx context.Context, ask control.HostAsk) (control.LANHost, error) {
	return allowed(ctx, b.operator, func(ctx context.Context) (control.LANHost, error) { return b.api.AddHost(ctx, ask) })
}

// RemoveHost implements control.LANHosts.
func (b bounded) RemoveHost(ctx context.Context, name string) (control.LANHost, error) {
	return allowed(ctx, b.operator, func(ctx context.Context) (control.LANHost, error) { return b.api.RemoveHost(ctx, name) })
}

// HostRequests implements control.LANHosts.
func (b bounded) HostRequests(ctx context.Context) ([]control.HostRequest, error) {
	return allowed(ctx, b.observer, b.api.HostRequests)
}

// AnswerHost implements control.LANHosts.
func (b bounded) AnswerHost(ctx context.Context, id uint64, v control.HostVerdict) (control.HostRequest, error) {
	return allowed(ctx, b.operator, func(ctx context.Context) (control.HostRequest, error) { return b.api.AnswerHost(ctx, id, v) })
}

// Bundle implements control.Bundles. It is for who sees everything.
func (b bounded) Bundle(ctx context.Context) ([][]byte, error) {
	return allowed(ctx, func() error {
		r, err := b.reach()
		if err == nil && !r.All() {
			err = fmt.Errorf("%w: this takes a grant for the federation", control.ErrForbidden)
		}
		return err
	}, b.api.Bundle)
}

// Import implements control.Bundles.
func (b bounded) Import(ctx context.Context, bundle []byte) (control.Imported, error) {
	return allowed(ctx, b.operator, func(ctx context.Context) (control.Imported, error) { return b.api.Import(ctx, bundle) })
}

// Reload implements control.Router.
func (b bounded) Reload(ctx context.Context) error {
	if err := b.operator(); err != nil {
		return err
	}
	return b.api.Reload(ctx)
}

// Alerts implements control.Router.
func (b bounded) Alerts(ctx context.Context) (control.Alerts, error) {
	return allowed(ctx, b.observer, b.api.Alerts)
}

// TryAlerts implements control.Router.
func (b bounded) TryAlerts(ctx context.Context) ([]control.Hook, error) {
	return allowed(ctx, b.operator, b.api.TryAlerts)
}

// Metrics implements control.Router.
func (b bounded) Metrics(ctx context.Context) ([]control.Metric, error) {
	return allowed(ctx, b.observer, b.api.Metrics)
}

// Watch implements control.Router. It ends with the caller's rights, at the latest at the next heartbeat.
func (b bounded) Watch(ctx context.Context, after string, f func(control.Event) error) error {
	if _, err := b.reach(); err != nil {
		return err
	}
	return b.api.Watch(ctx, after, func(ev control.Event) error {
		r, err := b.reach()
		if err != nil {
			return err
		}
		if ev.Kind != "" && !b.sees(r, ev) {
			return nil
		}
		return f(ev)
	})
}

// sees reports whether the caller may see an event.
func (b bounded) sees(r policy.Reach, ev control.Event) bool {
	switch ev.Kind {
	case control.EventLost:
		return true
	case control.EventDocument:
		if r.All() {
			return true
		}
		v := b.api.view()
		kind, id, _ := strings.Cut(ev.Subject, ":")
		return r.Document(tables.DocKey{Kind: kindNamed(kind), ID: id}, func(id tables.VNID) string {
			vn, _ := v.VN(id)
			return vn.Name
		})
	case control.EventRequest:
		var id tables.Hash
		n, err := hex.Decode(id[:], []byte(ev.Subject)[:min(len(ev.Subject), 2*len(id))])
		return r.All() || err == nil && n == len(id) && b.mine(id)
	default:
		return b.observer() == nil
	}
}

func kindNamed(name string) tables.Kind {
	for k := tables.KindRoot; k.Valid(); k++ {
		if k.String() == name {
			return k
		}
	}
	return 0
}
