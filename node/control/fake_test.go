package control_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/tables"
)

// A router is a VR that exists only on paper.
type router struct {
	mu        sync.Mutex
	submitted [][]byte
	waits     []time.Duration
	reloads   int
	drains    []bool // what Drain was asked
	reloadErr error
	fail      error // of every list
	done      chan struct{}
	events    *control.Events
	waiting   chan struct{} // closed when a call begins to wait; may be nil
}

var _ control.Router = (*router)(nil)

var endpoint = netip.MustParseAddrPort("192.0.2.1:8463")

func (r *router) Status(context.Context) (control.Status, error) {
	return control.Status{
		SchemaVersion: control.SchemaVersion, Federation: "grid", Router: 7, Name: "tokyo", Site: "east",
		Space:  []netip.Prefix{netip.MustParsePrefix("10.192.0.0/10")},
		Blocks: []netip.Prefix{netip.MustParsePrefix("10.192.7.0/24")}, Endpoints: []netip.AddrPort{endpoint},
		Started: time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC), Members: 3, Problems: []string{},
		Streams: []string{}, PortMappings: []netip.AddrPort{}, Queues: []string{}, Gateways: []control.Gateway{}, Scale: []control.Scale{},
		Packets: control.Packets{Sent: 12, Lanes: []control.Lane{}, Drops: map[string]uint64{"no-route": 2}},
	}, r.fail
}

func (r *router) Members(context.Context) ([]control.Member, error) {
	return []control.Member{{Name: "tokyo", Router: 7, Status: "alive", Tags: map[string]string{"site": "east"}}}, r.fail
}

func (r *router) Sites(context.Context) ([]control.Site, error) { return nil, r.fail }

func (r *router) VRs(context.Context) ([]control.VR, error) {
	return []control.VR{{Router: 7, Name: "tokyo", Blocks: []netip.Prefix{}, Endpoints: []netip.AddrPort{}, Expires: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}}, r.fail
}

func (r *router) Hosts(context.Context) ([]control.Host, error) {
	return []control.Host{{Addr: netip.MustParseAddr("10.192.7.9"), VN: "blue"}}, r.fail
}

func (r *router) VNs(context.Context) ([]control.VN, error) {
	return []control.VN{{ID: 1, Name: "blue", Sets: []control.Set{}, Hosts: []control.Host{}}}, r.fail
}

func (r *router) VN(_ context.Context, name string) (control.VN, error) {
	if name == "vn1" {
		name = "blue"
	}
	if name != "blue" && name != "odd/na me" {
		return control.VN{}, fmt.Errorf("VN %q: %w", name, control.ErrNotFound)
	}
	return control.VN{ID: 1, Name: name, Sets: []control.Set{}, Hosts: []control.Host{}}, nil
}

func (r *router) VNLog(_ context.Context, name string) ([]control.Entry, error) {
	if name != "blue" {
		return nil, fmt.Errorf("VN %q: %w", name, control.ErrNotFound)
	}
	list := []control.Entry{
		{Number: 1, Version: 1, Time: time.Unix(1_800_000_000, 0).UTC(), Op: "vn.create", User: "ann\x1b[2J", Request: strings.Repeat("0", 64), State: "active", Seal: "encrypt",
			Changes: control.Changes{Joined: []netip.Addr{netip.MustParseAddr("10.192.0.10")}, Gained: []control.Set{{VRs: []string{"tokyo"}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.192.0.0/24")}}}}},
		{Number: 2, Version: 1, Time: time.Unix(1_800_000_060, 0).UTC(), Op: "vn.join", User: "ann", State: "active", Seal: "encrypt",
			Changes: control.Changes{Joined: []netip.Addr{netip.MustParseAddr("10.192.0.11")}}},
	}
	for i := range list {
		fillChanges(&list[i].Changes)
	}
	return list, nil
}

// fillChanges makes empty lists of those that are missing, as a VR does.
func fillChanges(c *control.Changes) {
	c.Joined, c.Left = append([]netip.Addr{}, c.Joined...), append([]netip.Addr{}, c.Left...)
	c.Gained, c.Lost = append([]control.Set{}, c.Gained...), append([]control.Set{}, c.Lost...)
	for i := range c.Gained {
		c.Gained[i].Disabled = []netip.Prefix{}
	}
	c.Switched = append([]netip.Prefix{}, c.Switched...)
}

func (r *router) VNAt(_ context.Context, name string, number uint64) (control.VNState, error) {
	if name != "blue" || number > 2 {
		return control.VNState{}, fmt.Errorf("VN %q: %w", name, control.ErrNotFound)
	}
	s := control.VNState{
		Name: "blue", Entry: number, State: "active", Seal: "encrypt", Hosts: []netip.Addr{netip.MustParseAddr("10.192.0.10")},
		Sets:     []control.Set{{VRs: []string{"tokyo"}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.192.0.0/24")}, Disabled: []netip.Prefix{}}},
		Disabled: []netip.Prefix{},
	}
	if number == 2 {
		s.Hosts = append(s.Hosts, netip.MustParseAddr("10.192.0.11"))
	}
	return s, nil
}

func (r *router) Plan(_ context.Context, envelope []byte) (control.Plan, error) {
	if string(envelope) == "bad" {
		return control.Plan{}, fmt.Errorf("%w: malformed document", control.ErrRefused)
	}
	before := control.VNState{Name: "blue", State: "active", Seal: "auth", Sets: []control.Set{}, Hosts: []netip.Addr{}, Disabled: []netip.Prefix{}}
	after := before
	after.Seal = "encrypt"
	changes := control.Changes{Joined: []netip.Addr{netip.MustParseAddr("10.192.1.10")}}
	fillChanges(&changes)
	return control.Plan{
		State:  "done",
		VNs:    []control.VNPlan{{Before: before, After: after, Changes: changes}},
		Lost:   control.Pairs{First: [][2]netip.Addr{}},
		Gained: control.Pairs{Count: 30, First: [][2]netip.Addr{{netip.MustParseAddr("10.192.0.10"), netip.MustParseAddr("10.192.1.10")}}},
	}, nil
}

func (r *router) Bundle(context.Context) ([][]byte, error) {
	return [][]byte{[]byte("one"), []byte("two")}, nil
}

func (r *router) Import(_ context.Context, bundle []byte) (control.Imported, error) {
	if string(bundle) == "bad" {
		return control.Imported{}, fmt.Errorf("%w: no bundle", control.ErrRefused)
	}
	return control.Imported{Kept: len(bundle), Refused: 1, Reasons: []string{"expired"}}, nil
}

func (r *router) Routes(context.Context) ([]control.Route, error) {
	return []control.Route{{VN: "blue", Prefix: netip.MustParsePrefix("10.192.8.0/24"), VRs: []string{}, Endpoint: &endpoint}, {VN: "blue", VRs: []string{}}}, r.fail
}

func (r *router) Links(context.Context) ([]control.Link, error) {
	return []control.Link{{Peer: "osaka", RTT: 0.0125, Channels: []string{}}}, r.fail
}

func (r *router) Queues(context.Context) (control.Queues, error) {
	return control.Queues{
		Kind: "limited", Wanted: 2,
		Attached:   []control.Attached{{Peer: "osaka", Router: 8, Since: time.Date(2026, 11, 26, 6, 0, 0, 0, time.UTC), Score: 17_400_000, Reason: "measured better"}},
		Candidates: []control.QueueVR{{Peer: "osaka", Router: 8, Elected: true, Shortlist: 1, Use: "attached"}},
		Clients:    []control.Served{{Peer: "kyoto", From: 1 << 40}},
	}, r.fail
}

// Paths knows those between tokyo, which it is, and odd names.
func (r *router) Paths(_ context.Context, from, to string) (control.Paths, error) {
	switch {
	case to == "nobody":
		return control.Paths{}, fmt.Errorf("VR %q: %w", to, control.ErrNotFound)
	case from != "" && from != "tokyo":
		return control.Paths{}, fmt.Errorf("%w: ask at %s", control.ErrElsewhere, from)
	}
	return control.Paths{
		Ends: []control.End{{Peer: from, Self: true, Queues: []string{}}, {Peer: to, Queues: []string{}}}, State: "up",
		Paths: []control.Path{{Kind: "direct", Endpoint: &endpoint, InUse: true, Heard: 1.5}, {Kind: "relayed", Via: "osaka", Heard: -1}},
	}, r.fail
}

func (r *router) Drain(_ context.Context, begin bool) (control.Drain, error) {
	r.mu.Lock()
	r.drains = append(r.drains, begin)
	r.mu.Unlock()
	return r.Drained(context.Background())
}

func (r *router) Drained(context.Context) (control.Drain, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.drains)
	return control.Drain{Draining: n > 0 && r.drains[n-1], Clients: []string{"kyoto"}, Relayed: 12, Quiet: 0.5}, r.fail
}

func (r *router) Documents(context.Context) ([][]byte, error) {
	return [][]byte{[]byte("an envelope"), {0, 1, 2}}, r.fail
}

func (r *router) Pending(context.Context) ([]control.Pending, error) {
	return []control.Pending{{Fingerprint: "abc"}}, r.fail
}

func (r *router) Users(context.Context) ([]control.User, error) {
	return []control.User{{Name: "ann", Role: "vna", Scope: "vn/blue", Until: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), State: "active", Delegated: true, By: "bob"}}, r.fail
}

func (r *router) Requests(context.Context) ([]control.OpenRequest, error) {
	return []control.OpenRequest{{ID: fmt.Sprintf("%064x", 1), Op: "vn.join", User: "ann", State: "pending", WaitsFor: []string{"east"}}}, r.fail
}

func (r *router) Publish(_ context.Context, envelope []byte) (control.Published, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if string(envelope) == "bad" {
		return control.Published{}, fmt.Errorf("%w: malformed document", control.ErrRefused)
	}
	r.submitted = append(r.submitted, envelope)
	return control.Published{Key: "grant:x", Version: 1}, r.fail
}

func (r *router) Submit(_ context.Context, envelope []byte) (control.Request, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if string(envelope) == "bad" {
		return control.Request{}, fmt.Errorf("%w: malformed document", control.ErrRefused)
	}
	r.submitted = append(r.submitted, envelope)
	return control.Request{ID: fmt.Sprintf("%064x", 1), State: "accepted"}, nil
}

// Request knows the request whose ID is 1, which is done when done is closed.
func (r *router) Request(ctx context.Context, id tables.Hash, wait time.Duration) (control.Request, error) {
	r.mu.Lock()
	r.waits = append(r.waits, wait)
	r.mu.Unlock()
	out := control.Request{ID: fmt.Sprintf("%x", id[:]), State: "accepted"}
	if id != (tables.Hash{31: 1}) {
		return out, fmt.Errorf("request %x: %w", id[:4], control.ErrNotFound)
	}
	if wait > 0 {
		if r.waiting != nil {
			close(r.waiting)
		}
		select {
		case <-r.done:
			out.State, out.Result = "done", "vn7"
		case <-ctx.Done():
			return out, ctx.Err()
		}
	}
	return out, nil
}

func (r *router) Reload(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reloads++
	return r.reloadErr
}

func (r *router) Alerts(context.Context) (control.Alerts, error) {
	return control.Alerts{Alerts: []control.Alert{{Kind: "disk", Text: "no space", Since: time.Unix(1e9, 0).UTC()}}, Hooks: []control.Hook{{Hook: "mail", Sent: 3}}}, r.fail
}

func (r *router) TryAlerts(context.Context) ([]control.Hook, error) {
	return []control.Hook{{Hook: "mail", Failed: 1, Error: "refused"}}, r.fail
}

func (r *router) Metrics(context.Context) ([]control.Metric, error) {
	return []control.Metric{
		{Name: "vine_drops_total", Help: "Packets dropped.", Type: control.Counter, Labels: map[string]string{"reason": "no-route"}, Value: 2},
		{Name: "vine_drops_total", Help: "Packets dropped.", Type: control.Counter, Labels: map[string]string{"reason": "odd \"\\\n"}, Value: 1e12},
		{Name: "vine_links", Help: "Links.", Type: control.Gauge, Labels: map[string]string{}, Value: 0.5},
	}, r.fail
}

func (r *router) Watch(ctx context.Context, after string, f func(control.Event) error) error {
	if r.events == nil {
		return errBroken
	}
	return r.events.Watch(ctx, after, f)
}

var errBroken = errors.New("the disk is on fire")

func (r *router) LANHosts(context.Context) ([]control.LANHost, error) {
	return []control.LANHost{{Name: "desk", Addr: netip.MustParseAddr("10.192.7.9"), MAC: "02:00:5e:10:00:01", VNs: []string{"blue"}}}, r.fail
}

func (r *router) AddHost(_ context.Context, ask control.HostAsk) (control.LANHost, error) {
	if ask.Name == "taken" {
		return control.LANHost{}, fmt.Errorf("%w: it is taken", control.ErrRefused)
	}
	return control.LANHost{Name: ask.Name, Addr: ask.Addr, MAC: ask.MAC, VNs: []string{}}, r.fail
}

func (r *router) RemoveHost(_ context.Context, name string) (control.LANHost, error) {
	if name == "nobody" {
		return control.LANHost{}, fmt.Errorf("%w: host %q", control.ErrNotFound, name)
	}
	return control.LANHost{Name: name, VNs: []string{}}, r.fail
}

func (r *router) HostRequests(context.Context) ([]control.HostRequest, error) {
	return []control.HostRequest{{ID: 3, Name: "lamp", VN: "blue", Seen: netip.MustParseAddr("192.168.1.20"), State: "waiting"}}, r.fail
}

func (r *router) AnswerHost(_ context.Context, id uint64, v control.HostVerdict) (control.HostRequest, error) {
	if id != 3 {
		return control.HostRequest{}, fmt.Errorf("%w: request %d", control.ErrNotFound, id)
	}
	return control.HostRequest{ID: id, Name: v.Name, Addr: v.Addr, Reason: v.Reason, State: fmt.Sprint(v.Approve)}, r.fail
}
