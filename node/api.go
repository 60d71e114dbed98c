package node

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/forward"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/secure"
)

// api is the Node as the management interface sees it. What is in the documents it reads from the
// published view; what only the control loop knows it asks for.
type api struct{ n *Node }

// API returns the management interface of the Node.
func (n *Node) API() control.Router { return api{n} }

func (a api) view() *tables.View { return a.n.directory.Load().view }

// Status implements control.Router.
func (a api) Status(ctx context.Context) (control.Status, error) {
	v := a.view()
	e, _ := v.Enrolment(a.n.self.Router)
	root, _ := v.Root()
	s := control.Status{
		SchemaVersion: control.SchemaVersion, Federation: root.Federation, FederationID: v.FederationID().String(),
		Space: root.Space, Router: e.Router, Name: e.Name, Site: e.Site, Identity: e.Identity.Fingerprint(),
		Blocks: e.Blocks, Software: a.n.options.Software, Started: a.n.started, Boot: a.n.self.boot,
		AES: secure.AESName(), Goroutines: runtime.NumGoroutine(), Descriptors: descriptors(),
		Documents: v.Len(), TrustStale: v.TrustStale(time.Now()), Problems: []string{},
		Packets: control.Packets{
			Sent: a.n.sent(), Received: a.n.received(), Local: a.n.local.Load(), Drops: map[string]uint64{},
		},
	}
	for i := range len(a.n.more) + 1 {
		s.Packets.Lanes = append(s.Packets.Lanes, control.Lane{
			Sent: a.n.lanes[i].sent.Load(), Received: a.n.lanes[i].received.Load(),
		})
	}
	for d := forward.DropNone + 1; int(d) < forward.DropCount; d++ {
		if count := a.n.drops[d].Load(); count > 0 {
			s.Packets.Drops[d.String()] = count
		}
	}
	clipped := uint64(0)
	for _, at := range a.n.attachments {
		clipped += at.clips()
	}
	for name, count := range map[string]uint64{
		"clipped": clipped, "no-link": a.n.waited.Load(), "key-spent": a.n.spent.Load(), "data-not-opened": a.n.junk.Load(),
		"gate": a.n.gated.Load(), "control-queue-full": a.n.busy.Load(), "handshake-queue-full": a.n.crowded.Load(), "unknown-index": a.n.unknown.Load(),
		"gossip-not-opened": a.n.gossiped.Load(), "relay-queue-full": a.n.unqueued.Load(),
	} {
		if count > 0 {
			s.Packets.Drops[name] = count
		}
	}
	s.Gateways = []control.Gateway{}
	if a.n.options.Gateways != nil {
		s.Gateways = a.n.options.Gateways()
	}
	s.Scale = []control.Scale{}
	if a.n.options.Scale != nil {
		s.Scale = append(s.Scale, a.n.options.Scale())
	}
	s.Streams, s.PortMappings, s.Queues = []string{}, []netip.AddrPort{}, []string{}
	err := a.n.call(ctx, func(now time.Time, l *loop) {
		s.Root = hex.EncodeToString(rootOf(l))
		s.Members = l.gossip.view.LiveCount() + 1
		s.VNs = len(l.installed) - len(l.closing)
		s.Serving = l.author != nil
		s.Joinable = l.settings.Joinable
		if r, ok := l.store.LinkRecord(a.n.self.Router); ok {
			s.Endpoints = r.Endpoints
		}
		l.describeSelf(&s)
		for _, p := range l.peers {
			if p.endpoint.IsValid() {
				s.Links++
			}
		}
		for _, f := range l.facts(now) {
			s.Problems = append(s.Problems, f.Text)
		}
	})
	if s.Endpoints == nil {
		s.Endpoints = []netip.AddrPort{}
	}
	return s, err
}

// descriptors counts the open descriptors of this process; zero: the system does not say.
func descriptors() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list) - 1 // one is that of the folder
}

func rootOf(l *loop) []byte {
	root := l.gossip.index.Root()
	return root[:]
}

// Members implements control.Router.
func (a api) Members(context.Context) ([]control.Member, error) {
	list := []control.Member{}
	for _, m := range a.n.gossip.Members() {
		list = append(list, control.Member{Name: m.Name, Router: m.Router, Status: string(m.Status), Tags: m.Tags})
	}
	return list, nil
}

// Sites implements control.Router.
func (a api) Sites(context.Context) ([]control.Site, error) {
	v := a.view()
	list := []control.Site{}
	for _, s := range v.Sites() {
		site := control.Site{Name: s.Name, Contact: s.Contact, Location: s.Location, Subnets: s.Subnets, VRs: []string{}}
		for _, e := range v.Enrolments() {
			if e.Site == s.Name {
				site.VRs = append(site.VRs, e.Name)
			}
		}
		if site.Subnets == nil {
			site.Subnets = []netip.Prefix{}
		}
		describePolicy(v, s, &site)
		list = append(list, site)
	}
	return list, nil
}

// VRs implements control.Router.
func (a api) VRs(context.Context) ([]control.VR, error) {
	d := a.n.directory.Load()
	list := []control.VR{}
	for _, e := range d.view.Enrolments() {
		r, _ := d.view.LinkRecord(e.Router)
		_, linked := d.links[e.Router]
		vr := control.VR{
			Router: e.Router, Name: e.Name, Site: e.Site, Kind: r.VRKind, Identity: e.Identity.Fingerprint(),
			Blocks: e.Blocks, Endpoints: r.Endpoints, Expires: time.Unix(e.NotAfter, 0).UTC(), Linked: linked, Disabled: e.Disabled, Software: r.Software,
		}
		if vr.Endpoints == nil {
			vr.Endpoints = []netip.AddrPort{}
		}
		list = append(list, vr)
	}
	return list, nil
}

// Hosts implements control.Router.
func (a api) Hosts(ctx context.Context) ([]control.Host, error) {
	vns, err := a.VNs(ctx)
	list := []control.Host{}
	ledger := a.n.ledger.Load()
	in := map[netip.Addr]bool{}
	for _, vn := range vns {
		for _, h := range vn.Hosts {
			if known, ok := ledger.ByAddr(h.Addr); ok {
				h.Name, h.MAC = known.Name, string(known.MAC)
			}
			in[h.Addr] = true
			list = append(list, h)
		}
	}
	e, _ := a.view().Enrolment(a.n.self.Router)
	for _, h := range ledger.Hosts {
		if !in[h.Addr] {
			list = append(list, control.Host{Addr: h.Addr, Site: e.Site, VR: e.Name, Name: h.Name, MAC: string(h.MAC)})
		}
	}
	return list, err
}

// VNs implements control.Router.
func (a api) VNs(ctx context.Context) ([]control.VN, error) {
	installed := map[tables.VNID]uint64{}
	err := a.n.call(ctx, func(_ time.Time, l *loop) {
		for _, vn := range l.installed {
			if !vn.Closing {
				installed[vn.VN.ID] = vn.VN.Version
			}
		}
	})
	v := a.view()
	list := []control.VN{}
	for _, vn := range v.VNs() {
		list = append(list, describeVN(v, vn, installed[vn.ID]))
	}
	return list, err
}

// describeVN puts a VN's documents together for people.
func describeVN(v *tables.View, vn tables.VN, installed uint64) control.VN {
	out := control.VN{
		ID: vn.ID, Name: vn.Name, Version: vn.Version, State: string(vn.State), Seal: string(vn.Seal),
		Installed: installed, Sets: []control.Set{}, Hosts: []control.Host{},
	}
	m, _ := v.Manifest(vn.ID)
	for _, leaf := range m.Fragments {
		d := v.Get(tables.FragmentKey(vn.ID, leaf.Set))
		if d == nil {
			continue
		}
		f := d.Body().(tables.Fragment)
		set := control.Set{Prefixes: f.Prefixes, Disabled: f.Disabled, VRs: []string{}}
		if set.Disabled == nil {
			set.Disabled = []netip.Prefix{}
		}
		for _, id := range v.Deliverers(f.Routers) {
			set.VRs = append(set.VRs, nameIn(v, id))
		}
		out.Sets = append(out.Sets, set)
	}
	for _, leaf := range m.Rosters {
		r, _ := v.Roster(vn.ID, leaf.Site)
		for _, addr := range r.Hosts {
			out.Hosts = append(out.Hosts, control.Host{Addr: addr, VN: vn.Name, Site: leaf.Site, VR: deliverer(out.Sets, addr)})
		}
	}
	return out
}

func nameIn(v *tables.View, id tables.RouterID) string {
	if e, ok := v.Enrolment(id); ok {
		return e.Name
	}
	return id.String()
}

func deliverer(sets []control.Set, addr netip.Addr) string {
	for _, s := range sets {
		if slices.ContainsFunc(s.Prefixes, func(p netip.Prefix) bool { return p.Contains(addr) }) && len(s.VRs) > 0 {
			return s.VRs[0]
		}
	}
	return ""
}

// VN implements control.Router.
func (a api) VN(ctx context.Context, name string) (control.VN, error) {
	vns, err := a.VNs(ctx)
	if err != nil {
		return control.VN{}, err
	}
	for _, vn := range vns {
		if vn.Name == name || vn.ID.String() == name {
			return vn, nil
		}
	}
	return control.VN{}, noVN(name)
}

func noVN(name string) error { return fmt.Errorf("VN %q: %w", name, control.ErrNotFound) }

// Routes implements control.Router.
func (a api) Routes(ctx context.Context) ([]control.Route, error) {
	d := a.n.directory.Load()
	list := []control.Route{}
	err := a.n.call(ctx, func(_ time.Time, l *loop) {
		for _, vn := range l.installed {
			if vn.Closing {
				continue
			}
			for _, set := range vn.Sets {
				for _, p := range set.Prefixes {
					r := control.Route{VN: vn.VN.Name, Prefix: p, Local: slices.Contains(set.Routers, a.n.self.Router), VRs: []string{}}
					for _, id := range set.Routers {
						r.VRs = append(r.VRs, nameIn(d.view, id))
						if at, ok := d.links[id]; ok && r.Endpoint == nil {
							r.Linked, r.Endpoint = true, &at
						}
					}
					list = append(list, r)
				}
			}
		}
	})
	return list, err
}

// Links implements control.Router.
func (a api) Links(ctx context.Context) ([]control.Link, error) {
	list := []control.Link{}
	v := a.view()
	err := a.n.call(ctx, func(now time.Time, l *loop) {
		for _, s := range l.links.Status(now) {
			link := control.Link{
				Peer: nameIn(v, s.Router), Router: s.Router, State: s.State, Path: s.Path, RTT: s.RTT.Seconds(),
				Handshake: s.HandshakeAge.Seconds(), Streams: s.Streams, Channels: []string{},
			}
			if s.Endpoint.IsValid() {
				link.Endpoint = &s.Endpoint
			}
			if p := l.peers[s.Router]; p != nil && p.send != nil {
				for id := range p.send.index {
					vn, _ := v.VN(id)
					link.Channels = append(link.Channels, vn.Name)
				}
				slices.Sort(link.Channels)
			}
			l.describePath(now, &link, s.Endpoint)
			list = append(list, link)
		}
	})
	return list, err
}

// Pending implements control.Router.
func (a api) Pending(context.Context) ([]control.Pending, error) {
	v := a.view()
	list := []control.Pending{}
	for _, d := range v.Requests() {
		r := d.Body().(tables.Request)
		var args policy.JoinArgs
		if r.Op != policy.OpJoin || !v.Open(d.Hash()) || tables.DecodeArgs(r.Args, &args) != nil {
			continue
		}
		receipt, _ := v.Receipt(d.Hash())
		list = append(list, control.Pending{
			Fingerprint: r.User.Fingerprint(), Name: args.Name, Site: args.Site, With: args.With,
			Asked: time.Unix(r.Issued, 0).UTC(), Reason: receipt.Reason,
		})
	}
	return list, nil
}

// signing are the kinds of document that say who may sign.
var signing = []tables.Kind{tables.KindRoot, tables.KindAdoption, tables.KindGrant, tables.KindRevocation, tables.KindHead}

// Documents implements control.Router.
func (a api) Documents(context.Context) ([][]byte, error) {
	list := [][]byte{}
	for d := range a.view().Documents() {
		if slices.Contains(signing, d.Kind()) {
			list = append(list, d.Bytes())
		}
	}
	return list, nil
}

// Submit implements control.Router.
func (a api) Submit(ctx context.Context, envelope []byte) (control.Request, error) {
	d, err := parseRequest(envelope)
	if err != nil {
		return control.Request{}, err
	}
	if err := a.take(ctx, d); err != nil {
		return control.Request{}, err
	}
	return a.Request(ctx, d.Hash(), 0)
}

func parseRequest(envelope []byte) (*tables.Document, error) {
	d, err := tables.ParseDocument(envelope)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", control.ErrRefused, err)
	}
	if d.Kind() != tables.KindRequest {
		return nil, fmt.Errorf("%w: a %s is not a request", control.ErrRefused, d.Kind())
	}
	return d, nil
}

// take keeps a document that came by the management interface; it is on disk when there is no error.
func (a api) take(ctx context.Context, d *tables.Document) error {
	stored := make(chan error, 1)
	if err := a.n.call(ctx, func(now time.Time, l *loop) { l.submit(now, d, stored) }); err != nil {
		return err
	}
	select {
	case err := <-stored:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-a.n.done:
		return net.ErrClosed
	}
}

// submit keeps a document and says on stored when it is on disk: not before is it accepted.
func (l *loop) submit(now time.Time, d *tables.Document, stored chan<- error) {
	outcome, err := l.store.Put(now, d, tables.FromNetwork)
	l.takeChanges(now)
	if outcome == tables.Held {
		l.store.Release(d) // who brought it is told so, and may say it again
	}
	switch {
	case err != nil:
		stored <- fmt.Errorf("%w: %v", control.ErrRefused, err)
	case outcome != tables.Kept && outcome != tables.Same:
		stored <- fmt.Errorf("%w: the %s is %s", control.ErrRefused, d.Kind(), outcome)
	default:
		l.backlog.whenStored(d.Key(), func(err error) {
			if err != nil {
				err = fmt.Errorf("the disk of this VR cannot be written (%w): it is kept in memory, to be stored and sent when it can; it is lost if the VR stops before", err)
			}
			stored <- err
		})
	}
}

// Request implements control.Router.
func (a api) Request(ctx context.Context, id tables.Hash, wait time.Duration) (control.Request, error) {
	var deadline <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		deadline = t.C
	}
	for was := false; ; was = true {
		woken := make(chan struct{})
		out := control.Request{ID: hex.EncodeToString(id[:]), State: "accepted"}
		known := false
		err := a.n.call(ctx, func(now time.Time, l *loop) {
			receipt, answered := l.store.Receipt(id)
			_, known = l.store.Request(id)
			if answered {
				known = true
				out.State, out.Reason, out.Result = receipt.State, receipt.Reason, receipt.Result
			}
			if known && out.State != tables.StateDone && out.State != tables.StateRefused && wait > 0 {
				l.waits[id] = append(l.waits[id], woken)
				l.gossip.awaited(now)
			}
		})
		switch {
		case err != nil:
			return out, err
		case !known && was:
			// It was withdrawn while we waited: no authority will answer it.
			out.State, out.Reason = tables.StateRefused, "the user has no right any more, or the request has ended"
			return out, nil
		case !known:
			return out, fmt.Errorf("request %s: %w", out.ID, control.ErrNotFound)
		case out.State == tables.StateDone || out.State == tables.StateRefused || wait == 0:
			return out, nil
		}
		select {
		case <-woken:
			continue
		case <-deadline:
			err = nil
		case <-ctx.Done():
			err = ctx.Err()
		case <-a.n.done:
			err = net.ErrClosed
		}
		a.n.command(func(_ time.Time, l *loop) {
			l.waits[id] = slices.DeleteFunc(l.waits[id], func(w chan struct{}) bool { return w == woken })
			if len(l.waits[id]) == 0 {
				delete(l.waits, id)
			}
		})
		return out, err
	}
}

// Reload implements control.Router.
func (a api) Reload(ctx context.Context) error {
	if a.n.options.Reload == nil {
		return fmt.Errorf("%w: this VR has no configuration file", control.ErrRefused)
	}
	s, err := a.n.options.Reload()
	if err != nil {
		return fmt.Errorf("%w: %v", control.ErrRefused, err)
	}
	return a.n.Apply(ctx, s)
}

// Apply changes the settings of a running Node.
func (n *Node) Apply(ctx context.Context, s Settings) error {
	return n.call(ctx, func(now time.Time, l *loop) {
		polls := l.settings.Poll != s.Poll || l.settings.Interval != s.Interval
		l.settings = s
		n.held.setRate(s.Rate)
		if polls {
			l.queues.askAgain(now)
		}
		n.gate.SetJoinable(s.Joinable)
		l.self.declare(now)
		l.due(now, choreRecord, 0)
		l.due(now, choreQueues, 0)
		l.due(now, chorePublish, 0)
		l.due(now, choreAuthority, 0)
	})
}
