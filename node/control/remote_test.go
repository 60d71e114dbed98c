package control_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/control/controltest"
	"github.com/vine-mesh/vine/tables"
)

// gate lets in those whose keys it holds.
type gate struct {
	mu     sync.Mutex
	let    map[tables.PublicKey]bool
	router control.Router
}

func (g *gate) As(key tables.PublicKey) (control.Router, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.let[key] {
		return nil, fmt.Errorf("%w: no grant", control.ErrForbidden)
	}
	return g.router, nil
}

func keyOf(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

var identity, user = keyOf(1), keyOf(2)

// startRemote serves r to user until the test ends.
func startRemote(t *testing.T, r control.Router) (g *gate, at string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g = &gate{let: map[tables.PublicKey]bool{tables.PublicOf(user): true}, router: r}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- control.ServeTLS(ctx, l, g, identity, []string{"vr.Example.org"}, quiet) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return g, l.Addr().String()
}

func TestRemote(t *testing.T) {
	ctx := context.Background()
	r := &router{events: control.NewEvents(7)}
	g, at := startRemote(t, r)
	pin := tables.PublicOf(identity).Fingerprint()
	c, err := control.NewRemote("https://"+at+"#"+strings.ToUpper(pin[:8])+"-"+pin[8:], user)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := c.Status(ctx); err != nil || s.Name != "tokyo" {
		t.Fatalf("%v, %+v", err, s)
	}
	if q, err := c.Submit(ctx, []byte("x")); err != nil || q.State != "accepted" {
		t.Errorf("submit: %v, %+v", err, q)
	}
	r.events.Publish(control.Event{Kind: control.EventLink, Subject: "osaka", State: "up"})
	enough := errors.New("enough")
	err = c.Watch(ctx, "6-1", func(ev control.Event) error {
		if ev.Kind == control.EventLost {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Errorf("watch: %v", err)
	}
	other, err := control.NewRemote("https://"+at+"#"+tables.PublicOf(keyOf(9)).Fingerprint(), user)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Status(ctx); err == nil || !strings.Contains(err.Error(), "not the VR that was meant") {
		t.Errorf("a VR of another identity: %v", err)
	}
	stranger, err := control.NewRemote("https://"+at+"#"+pin, keyOf(3))
	if err != nil {
		t.Fatal(err)
	}
	// The alert may be lost behind the reset of the connection.
	if _, err := stranger.Status(ctx); !errors.Is(err, control.ErrForbidden) && !errors.Is(err, control.ErrUnreachable) {
		t.Errorf("a stranger: %v", err)
	}
	g.let[tables.PublicOf(keyOf(3))] = true
	if _, err := stranger.Status(ctx); err != nil {
		t.Errorf("the same, with a grant: %v", err)
	}
	for _, bad := range []string{"", "http://" + at + "#" + pin, "https://" + at, "https://" + at + "#abc", "https://127.0.0.1#" + pin, "https://" + at + "/x#" + pin, "https://u@" + at + "#" + pin, "127.0.0.1:1", "https://%zz#" + pin} {
		if _, err := control.NewRemote(bad, user); err == nil {
			t.Errorf("%q is an address", bad)
		}
	}
}

// certificateOf makes a certificate of subject's key, signed by signer.
func certificateOf(t *testing.T, subject, signer any, public any, from, to time.Time) tls.Certificate {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: subject}
}

// TestCredentials tries every wrong credential. The first, which is right, shows that the others could have passed.
func TestCredentials(t *testing.T) {
	_, at := startRemote(t, &router{})
	now := time.Now()
	hour := time.Hour
	mine := user.Public()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	right := certificateOf(t, user, user, mine, now.Add(-hour), now.Add(hour))
	chain := right
	chain.Certificate = append([][]byte{}, right.Certificate[0], right.Certificate[0])
	for name, tc := range map[string]struct {
		certificates []tls.Certificate
		version      uint16
		fine         bool
	}{
		"right":                       {[]tls.Certificate{right}, tls.VersionTLS13, true},
		"none":                        {nil, tls.VersionTLS13, false},
		"TLS 1.2":                     {[]tls.Certificate{right}, tls.VersionTLS12, false},
		"expired":                     {[]tls.Certificate{certificateOf(t, user, user, mine, now.Add(-2*hour), now.Add(-hour))}, tls.VersionTLS13, false},
		"yet to come":                 {[]tls.Certificate{certificateOf(t, user, user, mine, now.Add(hour), now.Add(2*hour))}, tls.VersionTLS13, false},
		"good for a year":             {[]tls.Certificate{certificateOf(t, user, user, mine, now.Add(-hour), now.Add(365*24*hour))}, tls.VersionTLS13, false},
		"of another key":              {[]tls.Certificate{certificateOf(t, keyOf(3), keyOf(3), keyOf(3).Public(), now.Add(-hour), now.Add(hour))}, tls.VersionTLS13, false},
		"signed by another":           {[]tls.Certificate{certificateOf(t, user, keyOf(3), mine, now.Add(-hour), now.Add(hour))}, tls.VersionTLS13, false},
		"of our key, held by another": {[]tls.Certificate{certificateOf(t, keyOf(3), keyOf(3), mine, now.Add(-hour), now.Add(hour))}, tls.VersionTLS13, false},
		"not Ed25519":                 {[]tls.Certificate{certificateOf(t, ec, ec, ec.Public(), now.Add(-hour), now.Add(hour))}, tls.VersionTLS13, false},
		"two of them":                 {[]tls.Certificate{chain}, tls.VersionTLS13, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
				InsecureSkipVerify: true, Certificates: tc.certificates, MaxVersion: tc.version, MinVersion: tls.VersionTLS12,
			}}}
			r, err := c.Get("https://" + at + "/api/v1/status")
			if (err == nil) != tc.fine {
				t.Fatalf("err = %v", err)
			}
			if err == nil {
				r.Body.Close()
			}
		})
	}
	r, err := http.Get("http://" + at + "/api/v1/status")
	if err == nil {
		body, _ := io.ReadAll(r.Body)
		if r.StatusCode < 400 || strings.Contains(string(body), "tokyo") {
			t.Errorf("without TLS: %d %s", r.StatusCode, body)
		}
	}
}

// TestRightsEndAtOnce keeps a connection open while the grant behind its key ends, and sends what web pages would.
func TestRightsEndAtOnce(t *testing.T) {
	g, at := startRemote(t, &router{})
	certificate, err := control.Certificate(user, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	call := func(host, header string, want int) {
		t.Helper()
		fmt.Fprintf(c, "GET /api/v1/status HTTP/1.1\r\nHost: %s\r\n%s\r\n", host, header)
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, r.Body)
		if r.StatusCode != want {
			t.Errorf("Host %s, %q: %d, want %d", host, header, r.StatusCode, want)
		}
	}
	call(at, "", 200)
	call("vr.example.org:1", "", 200)
	call("[::1]:1", "", 200)
	call("rebound.evil.example", "", 421)
	call(at, "Origin: https://"+at+"\r\n", 200)
	call(at, "Origin: http://"+at+"\r\n", 403)
	call(at, "Origin: https://evil.example\r\n", 403)
	call(at, "Origin: null\r\n", 403)
	g.mu.Lock()
	clear(g.let)
	g.mu.Unlock()
	call(at, "", 403)
}

// TestAnswersAreAsDocumented gets every answer of the VR on paper and holds it against the OpenAPI document.
func TestAnswersAreAsDocumented(t *testing.T) {
	checker, err := controltest.New(control.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	r := &router{done: make(chan struct{}), events: control.NewEvents(1)}
	close(r.done)
	r.events.Publish(control.Event{Kind: control.EventRequest, Subject: "x", State: "refused", Reason: "no", Version: 3})
	path := start(t, r)
	ids := map[string]string{"{name}": "blue", "{id}": fmt.Sprintf("%064x", 1), "{number}": "1"}
	bodies := map[string][2]string{ // by resource: body, media type
		"/api/v1/requests": {"x", "application/octet-stream"}, "/api/v1/plans": {"x", "application/octet-stream"}, "/api/v1/documents": {"x", "application/octet-stream"}, "/api/v1/bundle": {"x", "application/vnd.vine.bundle"},
		"/api/v1/lan-hosts": {"{}", "application/json"}, "/api/v1/host-requests/3": {"{}", "application/json"},
	}
	for _, rt := range checker.Routes() {
		method, resource, _ := strings.Cut(rt, " ")
		resource = strings.Replace(resource, "host-requests/{id}", "host-requests/3", 1)
		for name, value := range ids {
			resource = strings.ReplaceAll(resource, name, value)
		}
		if resource == "/api/v1/paths" {
			resource += "?to=osaka"
		}
		var body [2]string
		if method == "POST" {
			body = bodies[resource]
		}
		status, h, answer := raw(t, path, method, resource, http.Header{"Content-Type": {body[1]}, "Last-Event-ID": {"0-0"}}, body[0])
		if err := checker.Answer(method, resource, status, h.Get("Content-Type"), answer); err != nil || status/100 != 2 {
			t.Errorf("%s: %d %v\n%s", rt, status, err, answer)
		}
		if len(answer) == 0 {
			t.Errorf("%s: no answer", rt)
		}
	}
}

// raw makes a call on the socket and returns what comes within 200 ms, or all of it.
func raw(t *testing.T, path, method, resource string, header http.Header, body string) (int, http.Header, []byte) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := http.Client{Transport: &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) },
		DisableKeepAlives: true,
	}}
	q, err := http.NewRequestWithContext(ctx, method, "http://vine"+resource, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header = header
	r, err := c.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if strings.HasPrefix(r.Header.Get("Content-Type"), "text/event-stream") {
		time.AfterFunc(200*time.Millisecond, cancel)
	}
	answer, _ := io.ReadAll(r.Body)
	return r.StatusCode, r.Header, answer
}

func TestEntityTags(t *testing.T) {
	r := &router{}
	path := start(t, r)
	get := func(resource, match string) (int, string, string) {
		h := http.Header{}
		if match != "" {
			h.Set("If-None-Match", match)
		}
		status, header, body := raw(t, path, "GET", "/api/v1/"+resource, h, "")
		return status, header.Get("ETag"), string(body)
	}
	for _, resource := range []string{"status", "vns", "vns/blue", "sites", "documents", "links", "drain"} {
		status, tag, body := get(resource, "")
		if status != 200 || len(tag) < 10 || body == "" {
			t.Fatalf("%s: %d, ETag %q", resource, status, tag)
		}
		for match, want := range map[string]int{tag: 304, "W/" + tag: 304, `"other", ` + tag: 304, "*": 304, `"other"`: 200, tag[1:]: 200, `"`: 200} {
			if status, again, body := get(resource, match); status != want || again != tag || (body == "") != (want == 304) {
				t.Errorf("%s, If-None-Match %s: %d, ETag %s, %d bytes; want %d", resource, match, status, again, len(body), want)
			}
		}
	}
	_, tag, _ := get("vns/blue", "")
	if !strings.HasPrefix(tag, `"vn1.0-`) {
		t.Errorf("ETag of a VN: %s", tag)
	}
	_, one, _ := get("vns/blue", "")
	_, two, _ := get("vns/odd%2Fna%20me", "")
	if one == two {
		t.Error("two VNs have one tag")
	}

	ctx := context.Background()
	c := control.NewClient(path)
	if _, err := c.SubmitFor(ctx, []byte("x"), control.VN{ID: 1}); err != nil {
		t.Errorf("for the version there is: %v", err)
	}
	submitted := len(r.submitted)
	for _, vn := range []control.VN{{ID: 1, Version: 1}, {ID: 2}} {
		if _, err := c.SubmitFor(ctx, []byte("x"), vn); !errors.Is(err, control.ErrStale) {
			t.Errorf("for another version: %v", err)
		}
	}
	if len(r.submitted) != submitted {
		t.Error("a request for another version was taken")
	}
	for match, want := range map[string]int{tag: 202, "*": 202, `"vn9.1-x", "vn1.0"`: 202, `"vn1.7"`: 412, `W/"vn1.0"`: 400, `"x"`: 400, "x": 400} {
		h := http.Header{"If-Match": {match}, "Content-Type": {"application/octet-stream"}}
		if status, _, body := raw(t, path, "POST", "/api/v1/requests", h, "x"); status != want {
			t.Errorf("If-Match %s: %d, want %d: %s", match, status, want, body)
		}
	}
}

func TestMetricsThroughTheSocket(t *testing.T) {
	r := &router{}
	path := start(t, r)
	want, _ := r.Metrics(context.Background())
	got, err := control.NewClient(path).Metrics(context.Background())
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-direct +socket)\n%s", err, diff)
	}
	_, h, text := raw(t, path, "GET", "/api/v1/metrics", nil, "")
	if !strings.HasPrefix(h.Get("Content-Type"), "text/plain; version=0.0.4") || !strings.Contains(string(text), "# TYPE vine_drops_total counter\nvine_drops_total{reason=\"no-route\"} 2\n") {
		t.Errorf("%s\n%s", h.Get("Content-Type"), text)
	}
}
