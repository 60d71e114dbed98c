package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/tables"
)

// A paperVR is a running VR that exists only on paper. It answers a request with outcome.
type paperVR struct {
	asked     []tables.Request
	documents [][]byte              // those that say who may sign
	waiting   []control.OpenRequest // requests
	published []*tables.Document
	outcome   control.Request
	submitErr error
	empty     bool
	events    *control.Events
	stuck     bool            // no request ever has an outcome
	queueVR   bool            // it is one, and does not need any
	emptying  []control.Drain // what Drained says, one after the other; the last one stays
	drains    []bool          // what Drain was asked
	hosts     []control.HostAsk
	verdicts  []control.HostVerdict
}

var (
	tokyoEndpoint = netip.MustParseAddrPort("203.0.113.5:8463")
	blue          = control.VN{
		ID: 7, Name: "blue", Version: 3, State: "active", Seal: "encrypt", Installed: 3,
		Sets:  []control.Set{{VRs: []string{"tokyo"}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.192.0.0/24")}}},
		Hosts: []control.Host{{Addr: netip.MustParseAddr("10.192.0.10"), VN: "blue", Site: "east", VR: "tokyo"}},
	}
)

// only returns v, or nothing if the VR is empty.
func only[T any](p *paperVR, v ...T) ([]T, error) {
	if p.empty {
		return nil, nil
	}
	return v, nil
}

func (p *paperVR) Status(context.Context) (control.Status, error) {
	return control.Status{
		SchemaVersion: 1, Federation: "grid", FederationID: strings.Repeat("a", 32), Router: 1, Name: "tokyo", Site: "east", Kind: "regular",
		Space:  []netip.Prefix{netip.MustParsePrefix("10.192.0.0/10")},
		Blocks: []netip.Prefix{netip.MustParsePrefix("10.192.0.0/24")}, Endpoints: []netip.AddrPort{tokyoEndpoint},
		Confirmed: true, Why: "dialled back", Mapping: "endpoint-independent", Filtering: "unknown", Streams: []string{"tls://[::]:443"}, Queues: []string{"osaka", "kyoto"},
		Started: time.Unix(1_800_000_000, 0), Boot: 4, Members: 3, Problems: []string{"the disk\x1b[2J is full"},
		Packets: control.Packets{Sent: 12, Lanes: []control.Lane{}, Drops: map[string]uint64{"no-route": 2}},
	}, nil
}

func (p *paperVR) Members(context.Context) ([]control.Member, error) {
	return only(p, control.Member{Name: "tokyo", Router: 1, Status: "alive", Tags: map[string]string{"site": "east", "kind": "regular"}})
}

func (p *paperVR) Sites(context.Context) ([]control.Site, error) {
	return only(p, control.Site{Name: "east", Contact: "ops@tokyo.example\x1b]0;gotcha\a", VRs: []string{"tokyo"}, Consent: "ask", AllowVNs: []string{"blue", "red"}})
}

func (p *paperVR) VRs(context.Context) ([]control.VR, error) {
	return only(p, control.VR{Router: 1, Name: "tokyo", Site: "east", Expires: time.Unix(1_800_000_000, 0), Endpoints: []netip.AddrPort{tokyoEndpoint}})
}

func (p *paperVR) Hosts(context.Context) ([]control.Host, error) { return only(p, blue.Hosts...) }
func (p *paperVR) VNs(context.Context) ([]control.VN, error)     { return only(p, blue) }

func (p *paperVR) VN(_ context.Context, name string) (control.VN, error) {
	if name != blue.Name {
		return control.VN{}, fmt.Errorf("VN %q: %w", name, control.ErrNotFound)
	}
	return blue, nil
}

func (p *paperVR) VNLog(_ context.Context, name string) ([]control.Entry, error) {
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

func (p *paperVR) VNAt(_ context.Context, name string, number uint64) (control.VNState, error) {
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

func (p *paperVR) Plan(_ context.Context, envelope []byte) (control.Plan, error) {
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

func (p *paperVR) Bundle(context.Context) ([][]byte, error) {
	return [][]byte{[]byte("one"), []byte("two")}, nil
}

func (p *paperVR) Import(_ context.Context, bundle []byte) (control.Imported, error) {
	if string(bundle) == "bad" {
		return control.Imported{}, fmt.Errorf("%w: no bundle", control.ErrRefused)
	}
	return control.Imported{Kept: len(bundle), Refused: 1, Reasons: []string{"expired"}}, nil
}

func (p *paperVR) Routes(context.Context) ([]control.Route, error) {
	return only(p,
		control.Route{VN: "blue", Prefix: netip.MustParsePrefix("10.192.0.0/24"), VRs: []string{"tokyo"}, Local: true},
		control.Route{VN: "blue", Prefix: netip.MustParsePrefix("10.192.1.0/24"), VRs: []string{"osaka"}, Linked: true, Endpoint: &tokyoEndpoint},
		control.Route{VN: "blue", Prefix: netip.MustParsePrefix("10.192.2.0/24"), VRs: []string{"kyoto"}})
}

func (p *paperVR) Links(context.Context) ([]control.Link, error) {
	return only(p, control.Link{
		Peer: "osaka", Router: 2, State: "up", Endpoint: &tokyoEndpoint, Path: "relayed", Via: "kyoto", Transport: "tls", RTT: 0.0125, Loss: 0.0123, MTU: 1392,
		Rate: 17_400_000, RateKind: "at least", RateBy: "traffic", RateAge: 3.2, Used: 950_000, Handshake: 61, Channels: []string{"blue"},
	})
}

func (p *paperVR) Queues(context.Context) (control.Queues, error) {
	long := time.Now().Add(-12 * time.Minute)
	switch {
	case p.empty:
		return control.Queues{Kind: "regular", Why: "the enrolment does not allow it"}, nil
	case p.queueVR:
		return control.Queues{
			Kind: "regular", Serves: true, Elected: true, Draining: true, ClientsMax: 1000,
			Clients: []control.Served{{Peer: "nara\x1b[2J", Router: 9, Site: "south", Since: long, Mode: "poll", Transport: "udp", From: 1_234_567, To: 999, Dropped: 7}},
		}, nil
	}
	return control.Queues{
		Kind: "limited", Wanted: 2, Why: "it cannot be reached from outside",
		Attached: []control.Attached{
			{Peer: "osaka", Site: "west", Since: long, Accepted: true, Mode: "channel", RTT: 12.5, Score: 17_400_000, Reason: "measured better", RunnerUp: "kyoto", RunnerUpScore: 12_100_000},
			{Peer: "kyoto", Site: "north", Since: long, Reason: "room for one more"},
		},
		Candidates: []control.QueueVR{
			{Peer: "osaka", Site: "west", Elected: true, Shortlist: 1, Use: "attached", RTT: 12.5, Score: 17_400_000},
			{Peer: "kyoto", Site: "north", Shortlist: 2, Use: "attached", Draining: true, Refused: true},
		},
	}, nil
}

func (p *paperVR) Paths(_ context.Context, from, to string) (control.Paths, error) {
	if from != "" && from != "tokyo" && to != "tokyo" {
		return control.Paths{}, fmt.Errorf("%w: this VR is tokyo; ask at %s or at %s", control.ErrElsewhere, from, to)
	}
	ends := []control.End{
		{Peer: "tokyo", Router: 1, Site: "east", Kind: "limited", Self: true, NAT: "endpoint-independent/address-dependent", Queues: []string{"kyoto"}},
		{Peer: "osaka", Router: 2, Site: "west", Kind: "regular"},
	}
	if p.empty {
		return control.Paths{Ends: ends, State: "none", Leads: "osaka"}, nil
	}
	return control.Paths{
		Ends: ends, State: "up", Leads: "tokyo", Reason: "faster",
		Paths: []control.Path{
			{Kind: "relayed", Via: "kyoto", Transport: "tls", Endpoint: &tokyoEndpoint, Proxy: "proxy:3128", InUse: true, Validated: true, Heard: 0.4, RTT: 31.25,
				Rate: 17_400_000, RateKind: "estimate", RateBy: "traffic", RateAge: 3, Used: 16_000_000, Score: 15_000_000},
			{Kind: "direct", Transport: "udp", Endpoint: &tokyoEndpoint, Validated: true, Heard: 12, RTT: 20, Loss: 0.05,
				Rate: 5_000_000, RateKind: "estimate", RateBy: "train", RateAge: 600, RunnerUp: true, Score: 4_200_000},
			{Kind: "relayed", Via: "nara", Transport: "udp", Asked: true, Heard: -1},
		},
	}, nil
}

func (p *paperVR) Drain(ctx context.Context, begin bool) (control.Drain, error) {
	p.drains = append(p.drains, begin)
	if !begin {
		return control.Drain{Clients: []string{}}, nil
	}
	return p.Drained(ctx)
}

func (p *paperVR) Drained(context.Context) (control.Drain, error) {
	if len(p.emptying) == 0 {
		return control.Drain{Draining: true, Why: "the enrolment does not allow it", Clients: []string{}}, nil
	}
	d := p.emptying[0]
	if len(p.emptying) > 1 {
		p.emptying = p.emptying[1:]
	}
	return d, nil
}

func (p *paperVR) Documents(context.Context) ([][]byte, error) { return p.documents, nil }

func (p *paperVR) Users(context.Context) ([]control.User, error) {
	return only(p, control.User{
		Name: "ann\x1b[2J", Fingerprint: strings.Repeat("c", 32), Role: "vna", Scope: "vn/blue", Until: time.Unix(1_800_000_000, 0), State: "active", Delegated: true, By: "root",
	})
}

func (p *paperVR) Requests(context.Context) ([]control.OpenRequest, error) { return p.waiting, nil }

func (p *paperVR) Publish(_ context.Context, envelope []byte) (control.Published, error) {
	d, err := tables.ParseDocument(envelope)
	if err == nil {
		err = p.submitErr
	}
	if err != nil {
		return control.Published{}, fmt.Errorf("%w: %w", control.ErrRefused, err)
	}
	p.published = append(p.published, d)
	return control.Published{Key: d.Key().String(), Version: d.Version()}, nil
}

func (p *paperVR) Pending(context.Context) ([]control.Pending, error) {
	return only(p, control.Pending{Fingerprint: strings.Repeat("b", 32), Name: "osaka", Asked: time.Unix(1_800_000_000, 0)})
}

func (p *paperVR) Submit(_ context.Context, envelope []byte) (control.Request, error) {
	d, err := tables.ParseDocument(envelope)
	if err != nil {
		return control.Request{}, fmt.Errorf("%w: %v", control.ErrRefused, err)
	}
	if p.submitErr != nil {
		return control.Request{}, p.submitErr
	}
	p.asked = append(p.asked, d.Body().(tables.Request))
	hash := d.Hash()
	return control.Request{ID: hex.EncodeToString(hash[:]), State: "accepted"}, nil
}

func (p *paperVR) Request(ctx context.Context, id tables.Hash, wait time.Duration) (control.Request, error) {
	if p.stuck {
		<-ctx.Done()
		return control.Request{}, ctx.Err()
	}
	out := p.outcome
	out.ID = hex.EncodeToString(id[:])
	return out, nil
}

func (p *paperVR) Reload(context.Context) error { return nil }

func (p *paperVR) Alerts(context.Context) (control.Alerts, error) {
	return control.Alerts{
		Alerts: []control.Alert{{Kind: "vr-silent", Subject: "kyoto", Text: "gossip holds kyoto for dead", Since: time.Unix(1e9, 0).UTC()}},
		Hooks:  []control.Hook{{Hook: "mail", Sent: 3, Error: "mail.example: refused"}},
	}, nil
}

func (p *paperVR) TryAlerts(context.Context) ([]control.Hook, error) {
	return []control.Hook{{Hook: "mail", Failed: 1, Error: "mail.example: refused"}}, nil
}

func (p *paperVR) Metrics(context.Context) ([]control.Metric, error) {
	return only(p,
		control.Metric{Name: "vine_drops_total", Help: "Packets dropped.", Type: control.Counter, Labels: map[string]string{"reason": "no-route"}, Value: 2},
		control.Metric{Name: "vine_links", Help: "Links.", Type: control.Gauge, Labels: map[string]string{}, Value: 12_000_000})
}

func (p *paperVR) Watch(ctx context.Context, after string, f func(control.Event) error) error {
	if p.events == nil {
		return fmt.Errorf("%w: no events", control.ErrRefused)
	}
	return p.events.Watch(ctx, after, f)
}

var _ control.Router = (*paperVR)(nil)

// A desk is a machine with a running VR on paper and a user key.
type desk struct {
	t    *testing.T
	dir  string
	user ed25519.PrivateKey
}

func newDesk(t *testing.T, vr control.Router) desk {
	dir, err := os.MkdirTemp("", "vd") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	seed := bytes.Repeat([]byte{5}, ed25519.SeedSize)
	toml := fmt.Sprintf("state = %q\ncontrol = %q\n", dir, filepath.Join(dir, "vine.sock"))
	for name, content := range map[string]string{"vine.toml": toml, "user.key": hex.EncodeToString(seed)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := control.Listen(filepath.Join(dir, "vine.sock"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- control.Serve(ctx, l, vr, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	return desk{t, dir, ed25519.NewKeyFromSeed(seed)}
}

// run types a command.
func (d desk) run(args ...string) (code int, stdout, stderr string) {
	return d.runContext(context.Background(), args...)
}

func (d desk) runContext(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, talk strings.Builder
	code = run(ctx, Env{
		Args: append([]string{"--config", filepath.Join(d.dir, "vine.toml")}, args...), Stdin: io.Reader(strings.NewReader("")),
		Stdout: &out, Stderr: &talk, Now: time.Now, Rand: rand.Reader,
	})
	return code, out.String(), talk.String()
}

func (p *paperVR) LANHosts(context.Context) ([]control.LANHost, error) {
	return only(p, control.LANHost{Name: "desk", Addr: netip.MustParseAddr("10.192.0.10"), MAC: "02:00:5e:10:00:01", Added: time.Unix(1_800_000_000, 0), VNs: []string{"blue"}})
}

// AddHost gives every host the address 10.192.0.20, but one called taken.
func (p *paperVR) AddHost(_ context.Context, ask control.HostAsk) (control.LANHost, error) {
	if ask.Name == "taken" {
		return control.LANHost{}, fmt.Errorf("%w: host taken exists already", control.ErrRefused)
	}
	p.hosts = append(p.hosts, ask)
	h := control.LANHost{Name: ask.Name, Addr: netip.MustParseAddr("10.192.0.20"), MAC: ask.MAC, VNs: []string{}}
	if ask.Addr.IsValid() {
		h.Addr = ask.Addr
	}
	return h, nil
}

func (p *paperVR) RemoveHost(_ context.Context, name string) (control.LANHost, error) {
	if name != "desk" {
		return control.LANHost{}, fmt.Errorf("%w: host %q", control.ErrNotFound, name)
	}
	return control.LANHost{Name: "desk", Addr: netip.MustParseAddr("10.192.0.10"), VNs: []string{"blue"}}, nil
}

func (p *paperVR) HostRequests(context.Context) ([]control.HostRequest, error) {
	return only(p, control.HostRequest{
		ID: 3, MAC: "02:00:5e:10:00:02", Seen: netip.MustParseAddr("192.168.1.20"), Name: "lamp", VN: "blue", Asked: time.Unix(1_800_000_000, 0), State: "waiting",
	})
}

func (p *paperVR) AnswerHost(_ context.Context, id uint64, v control.HostVerdict) (control.HostRequest, error) {
	if id != 3 {
		return control.HostRequest{}, fmt.Errorf("%w: request %d", control.ErrNotFound, id)
	}
	p.verdicts = append(p.verdicts, v)
	r := control.HostRequest{ID: 3, Name: "lamp", VN: "blue", State: "denied", Reason: v.Reason}
	if v.Approve {
		r.State, r.Addr = "approved", netip.MustParseAddr("10.192.0.20")
	}
	return r, nil
}
