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
	outcome   control.Request
	submitErr error
	empty     bool
	stuck     bool // no request ever has an outcome
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
		Started: time.Unix(1_800_000_000, 0), Boot: 4, Members: 3, Problems: []string{"the disk\x1b[2J is full"},
		Packets: control.Packets{Sent: 12, Drops: map[string]uint64{"no-route": 2}},
	}, nil
}

func (p *paperVR) Members(context.Context) ([]control.Member, error) {
	return only(p, control.Member{Name: "tokyo", Router: 1, Status: "alive", Tags: map[string]string{"site": "east", "kind": "regular"}})
}

func (p *paperVR) Sites(context.Context) ([]control.Site, error) {
	return only(p, control.Site{Name: "east", Contact: "ops@tokyo.example\x1b]0;gotcha\a", VRs: []string{"tokyo"}})
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

func (p *paperVR) Routes(context.Context) ([]control.Route, error) {
	return only(p,
		control.Route{VN: "blue", Prefix: netip.MustParsePrefix("10.192.0.0/24"), VRs: []string{"tokyo"}, Local: true},
		control.Route{VN: "blue", Prefix: netip.MustParsePrefix("10.192.1.0/24"), VRs: []string{"osaka"}, Linked: true, Endpoint: &tokyoEndpoint},
		control.Route{VN: "blue", Prefix: netip.MustParsePrefix("10.192.2.0/24"), VRs: []string{"kyoto"}})
}

func (p *paperVR) Links(context.Context) ([]control.Link, error) {
	return only(p, control.Link{Peer: "osaka", Router: 2, State: "up", Endpoint: &tokyoEndpoint, RTT: 0.0125, Channels: []string{"blue"}})
}

func (p *paperVR) Documents(context.Context) ([][]byte, error) { return nil, nil }

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
