package control_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
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
		Packets: control.Packets{Sent: 12, Drops: map[string]uint64{"no-route": 2}},
	}, r.fail
}

func (r *router) Members(context.Context) ([]control.Member, error) {
	return []control.Member{{Name: "tokyo", Router: 7, Status: "alive", Tags: map[string]string{"site": "east"}}}, r.fail
}

func (r *router) Sites(context.Context) ([]control.Site, error) { return nil, r.fail }

func (r *router) VRs(context.Context) ([]control.VR, error) {
	return []control.VR{{Router: 7, Name: "tokyo", Expires: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}}, r.fail
}

func (r *router) Hosts(context.Context) ([]control.Host, error) {
	return []control.Host{{Addr: netip.MustParseAddr("10.192.7.9"), VN: "blue"}}, r.fail
}

func (r *router) VNs(context.Context) ([]control.VN, error) {
	return []control.VN{{ID: 1, Name: "blue"}}, r.fail
}

func (r *router) VN(_ context.Context, name string) (control.VN, error) {
	if name != "blue" && name != "odd/na me" {
		return control.VN{}, fmt.Errorf("VN %q: %w", name, control.ErrNotFound)
	}
	return control.VN{ID: 1, Name: name}, nil
}

func (r *router) Routes(context.Context) ([]control.Route, error) {
	return []control.Route{{VN: "blue", Prefix: netip.MustParsePrefix("10.192.8.0/24"), Endpoint: &endpoint}, {VN: "blue"}}, r.fail
}

func (r *router) Links(context.Context) ([]control.Link, error) {
	return []control.Link{{Peer: "osaka", RTT: 0.0125}}, r.fail
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
		Ends: []control.End{{Peer: from, Self: true}, {Peer: to}}, State: "up",
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

var errBroken = errors.New("the disk is on fire")
