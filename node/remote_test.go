package node_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/control/controltest"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// pipes is a listener whose connections stay inside the bubble.
type pipes struct {
	come chan net.Conn
	done chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.come:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { close(p.done); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8464} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.come <- theirs:
		return ours, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// remote serves a site's VR by TLS. The returned functions call it with a key, and end it.
func remote(t *testing.T, s *nodetest.Site) (call func(key ed25519.PrivateKey, rt, body string) (int, string, []byte), stop func()) {
	p := pipes{make(chan net.Conn), make(chan struct{})}
	identity := ed25519.NewKeyFromSeed(keyFile(t, s, "identity"))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- control.ServeTLS(ctx, p, s.API().(control.Gate), identity, nil, slog.New(slog.DiscardHandler))
	}()
	call = func(key ed25519.PrivateKey, rt, body string) (int, string, []byte) {
		t.Helper()
		method, resource, _ := strings.Cut(rt, " ")
		certificate, err := control.Certificate(key, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		c := http.Client{Transport: &http.Transport{DialContext: p.dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, Certificates: []tls.Certificate{certificate},
		}}}
		q, err := http.NewRequestWithContext(ctx, method, "https://vine"+resource, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Last-Event-ID", "0-0")
		switch {
		case body == "":
		case strings.HasPrefix(body, "{"):
			q.Header.Set("Content-Type", "application/json")
		case strings.HasSuffix(resource, "/bundle"):
			q.Header.Set("Content-Type", "application/vnd.vine.bundle")
		default:
			q.Header.Set("Content-Type", "application/octet-stream")
		}
		r, err := c.Do(q)
		if err != nil {
			return 0, "", nil // the handshake failed
		}
		defer r.Body.Close()
		media := r.Header.Get("Content-Type")
		if strings.HasPrefix(media, "text/event-stream") {
			time.AfterFunc(time.Second, cancel)
		}
		answer, _ := io.ReadAll(r.Body)
		return r.StatusCode, media, answer
	}
	return call, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func keyFile(t *testing.T, s *nodetest.Site, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Dir, name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return seed
}

// granted makes a user with a grant that the authority signs.
func granted(t *testing.T, a *nodetest.Site, n byte, role tables.Role, scope string, life time.Duration, revoked bool) (ed25519.PrivateKey, []byte) {
	t.Helper()
	user := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
	version := uint64(1)
	if revoked {
		version = 2
	}
	d, err := tables.Sign(tables.Grant{
		Version: version, User: tables.PublicOf(user), Name: fmt.Sprintf("user-%d", n), Role: role, Scope: scope,
		NotAfter: time.Now().Add(life).Unix(), Revoked: revoked,
	}, ed25519.NewKeyFromSeed(keyFile(t, a, "authority")))
	if err != nil {
		t.Fatal(err)
	}
	return user, d.Bytes()
}

// TestRemoteRights calls every route of a real VR as users of every kind, holds every answer against the OpenAPI
// document, and sees that nobody is shown more than his grants say, before they end and after.
func TestRemoteRights(t *testing.T) {
	checker, err := controltest.New(control.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	inWorld(t, 131, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		b := w.Join("beta", a)
		w.Eventually("the same documents", time.Minute, func() bool { return nodetest.Same(a, b) })
		w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "blue", Hosts: []netip.Addr{a.NewHost(), b.NewHost()}})
		made := w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "red", Hosts: []netip.Addr{b.NewHost()}})
		w.Settle(2 * time.Second)
		call, stop := remote(t, a)
		defer stop()

		adm := a.User()
		sa, saGrant := granted(t, a, 21, tables.RoleSA, "site/alpha", time.Hour, false)
		other, otherGrant := granted(t, a, 22, tables.RoleSA, "site/beta", time.Hour, false)
		vna, vnaGrant := granted(t, a, 23, tables.RoleVNA, "vn/blue", time.Hour, false)
		eu, euGrant := granted(t, a, 24, tables.RoleEU, "vn/blue", time.Minute, false)
		stranger, _ := granted(t, a, 25, tables.RoleADM, "federation", time.Hour, false)
		a.Node.Give(saGrant, otherGrant, vnaGrant, euGrant)
		w.Eventually("four grants", time.Minute, func() bool { s, _, _ := call(eu, "GET /api/v1/status", ""); return s == 200 })

		requestOf := func(key ed25519.PrivateKey, op string, args any) string {
			d, err := policy.NewRequest(time.Now(), rand.Reader, key, op, args)
			if err != nil {
				t.Fatal(err)
			}
			return string(d.Bytes())
		}
		join := policy.VNHostsArgs{VN: "nothing", Hosts: []netip.Addr{netip.MustParseAddr("10.192.0.77")}}
		for who, user := range map[string]struct {
			key                ed25519.PrivateKey
			looks, runs, grant bool // may look into this VR, tell it what to do, has a grant
			sees, not          string
		}{
			"adm":            {adm, true, true, true, `"red"`, "nothing"},
			"sa, this site":  {sa, true, true, true, `"blue"`, `"red"`},
			"sa, other site": {other, false, false, true, `"red"`, "nothing"},
			"vna":            {vna, false, false, true, `"blue"`, `"red"`},
			"eu":             {eu, false, false, true, `"blue"`, `"red"`},
			"stranger":       {stranger, false, false, false, "", "nothing"},
		} {
			for _, rt := range checker.Routes() {
				id := made.ID
				if strings.Contains(rt, "host-requests") {
					id = "1"
				}
				target := strings.NewReplacer("{name}", "red", "{id}", id, "{number}", "1").Replace(rt)
				body, want := "", 200
				switch rt {
				case "GET /api/v1/vns/{name}":
					if user.sees != `"red"` {
						want = 404
					}
				case "GET /api/v1/vns/{name}/log", "GET /api/v1/vns/{name}/log/{number}": // of others it is for who sees all of the VN
					if who != "adm" {
						want = 404
					}
				case "GET /api/v1/bundle":
					if who != "adm" {
						want = 403
					}
				case "POST /api/v1/bundle":
					body, want = "no bundle", 422
				case "POST /api/v1/documents":
					body, want = requestOf(user.key, policy.OpVNJoin, join), 422 // is no delegation
				case "POST /api/v1/plans":
					body = requestOf(user.key, policy.OpVNJoin, join)
				case "POST /api/v1/lan-hosts":
					body = `{"name":"lamp-` + strings.NewReplacer(" ", "", ",", "").Replace(who) + `"}`
				case "POST /api/v1/host-requests/{id}":
					body, want = `{"approve":false}`, 404
				case "DELETE /api/v1/lan-hosts/{name}":
					want = 404
				case "GET /api/v1/requests/{id}":
					if who != "adm" {
						want = 404
					}
				case "POST /api/v1/requests":
					body, want = requestOf(user.key, policy.OpVNJoin, join), 202
				case "GET /api/v1/paths":
					target += "?to=beta"
				}
				switch resource := strings.TrimPrefix(rt, "GET /api/v1/"); {
				case !user.grant:
					want = 0
				case slices.Contains([]string{"members", "links", "queues", "paths", "drain", "metrics", "alerts", "lan-hosts", "host-requests"}, resource) && !user.looks:
					want = 403
				case resource != rt || slices.Contains([]string{"POST /api/v1/requests", "POST /api/v1/documents", "POST /api/v1/plans"}, rt):
				case !user.runs:
					want = 403
				case strings.HasSuffix(rt, "reload"):
					want = 422 // this VR has no configuration file
				}
				status, media, answer := call(user.key, target, body)
				if status != want {
					t.Errorf("%s: %s gives %d, want %d: %s", who, target, status, want, answer)
				}
				if status == 0 {
					continue
				}
				method, resource, _ := strings.Cut(target, " ")
				if err := checker.Answer(method, resource, status, media, answer); err != nil {
					t.Errorf("%s: %v", who, err)
				}
			}
			_, _, vns := call(user.key, "GET /api/v1/vns", "")
			if !strings.Contains(string(vns), user.sees) || strings.Contains(string(vns), user.not) {
				t.Errorf("%s sees the VNs %s, want %s and not %s", who, vns, user.sees, user.not)
			}
		}
		_, _, hosts := call(other, "GET /api/v1/vns/blue", "")
		if !strings.Contains(string(hosts), `"site":"beta"`) || strings.Contains(string(hosts), `"site":"alpha"`) {
			t.Errorf("sa of beta sees of blue: %s", hosts)
		}
		_, _, sites := call(sa, "GET /api/v1/sites", "")
		_, _, vrs := call(sa, "GET /api/v1/vrs", "")
		if strings.Contains(string(sites), `"name":"beta"`) || strings.Contains(string(vrs), `"name":"beta"`) || !strings.Contains(string(vrs), `"name":"alpha"`) {
			t.Errorf("sa of alpha sees %s and %s", sites, vrs)
		}
		_, _, routes := call(vna, "GET /api/v1/routes", "")
		if strings.Contains(string(routes), `"red"`) || !strings.Contains(string(routes), `"blue"`) {
			t.Errorf("vna of blue sees the routes %s", routes)
		}
		_, _, events := call(vna, "GET /api/v1/events", "")
		if strings.Contains(string(events), "link") || strings.Contains(string(events), "vn:2") {
			t.Errorf("vna of blue sees %s", events)
		}

		// What is signed by another, or what no role of the caller may ask for, is not taken.
		for name, body := range map[string]string{
			"of another": requestOf(adm, policy.OpVNJoin, join),
			"no right":   requestOf(eu, policy.OpRevoke, policy.RevokeArgs{VR: "beta"}),
			"no request": string(euGrant),
			"junk":       "junk",
		} {
			want := 403
			if strings.HasPrefix(name, "no request") || name == "junk" {
				want = 422
			}
			if status, _, answer := call(eu, "POST /api/v1/requests", body); status != want {
				t.Errorf("a request, %s: %d %s", name, status, answer)
			}
		}
		// The grant of eu ends by time, that of vna because it is revoked.
		w.Settle(time.Minute + tables.Grace)
		_, gone := granted(t, a, 23, tables.RoleVNA, "vn/blue", time.Hour, true)
		watching := make(chan error, 1)
		go func() {
			gated, err := a.API().(control.Gate).As(tables.PublicOf(vna))
			if err == nil {
				err = gated.Watch(context.Background(), "", func(control.Event) error { return nil })
			}
			watching <- err
		}()
		w.Settle(10 * time.Millisecond)
		a.Node.Give(gone)
		if err := <-watching; !errors.Is(err, control.ErrForbidden) {
			t.Errorf("the stream of a revoked user ends with %v", err)
		}
		for name, key := range map[string]ed25519.PrivateKey{"expired": eu, "revoked": vna} {
			for _, rt := range checker.Routes() {
				if status, _, answer := call(key, strings.NewReplacer("{name}", "blue", "{id}", made.ID).Replace(rt), ""); status != 0 {
					t.Errorf("%s: %s gives %d: %s", name, rt, status, answer)
				}
			}
		}
		if status, _, _ := call(sa, "GET /api/v1/status", ""); status != 200 {
			t.Errorf("sa, whose grant goes on: %d", status)
		}
	})
}

// TestEventsOfARealVR watches a VN being made from another site, and a peer that goes.
func TestEventsOfARealVR(t *testing.T) {
	inWorld(t, 132, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		b := w.Join("beta", a)
		w.Eventually("the same documents", time.Minute, func() bool { return nodetest.Same(a, b) })
		ctx, cancel := context.WithCancel(context.Background())
		var seen []string
		ended := make(chan error, 1)
		go func() {
			ended <- b.API().Watch(ctx, "", func(ev control.Event) error {
				seen = append(seen, strings.Join([]string{ev.Kind, ev.Subject, ev.State}, " "))
				return nil
			})
		}()
		w.Settle(10 * time.Millisecond)
		made := w.Must(b, policy.OpVNCreate, policy.VNCreateArgs{Name: "blue", Hosts: []netip.Addr{a.NewHost(), b.NewHost()}})
		w.Settle(time.Second)
		a.Kill()
		w.Settle(2 * time.Minute)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		for _, want := range []string{"request " + made.ID + " done", "document vn:1 stored", "document request:" + made.ID + " stored", "link alpha down", "member alpha failed"} {
			if !slices.Contains(seen, want) {
				t.Errorf("no event %q among %v", want, seen)
			}
		}
		metrics, err := b.API().Metrics(context.Background())
		if err != nil || !slices.ContainsFunc(metrics, func(m control.Metric) bool { return m.Name == "vine_events_total" && m.Value >= 4 }) {
			t.Errorf("metrics: %v, %+v", err, metrics)
		}
	})
}
