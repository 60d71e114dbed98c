package control_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/tables"
)

var quiet = slog.New(slog.DiscardHandler)

// socketPath returns a path short enough for a socket; t.TempDir may be too long.
func socketPath(t *testing.T) string {
	dir, err := os.MkdirTemp("", "vc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "run", "vine.sock")
}

// start serves r until the test ends.
func start(t *testing.T, r control.Router) (path string) {
	path = socketPath(t)
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- control.Serve(ctx, l, r, quiet) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	return path
}

// TestRoundTrip calls everything through the socket and directly, and expects the same.
func TestRoundTrip(t *testing.T) {
	ctx := context.Background()
	r := &router{}
	c := control.NewClient(start(t, r))
	same := func(name string, got, want any, err error) {
		t.Helper()
		opts := cmp.Options{cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{})}
		if diff := cmp.Diff(want, got, opts); err != nil || diff != "" {
			t.Errorf("%s: err %v, difference (-direct +socket):\n%s", name, err, diff)
		}
	}
	wantStatus, _ := r.Status(ctx)
	status, err := c.Status(ctx)
	same("status", status, wantStatus, err)
	wantMembers, _ := r.Members(ctx)
	members, err := c.Members(ctx)
	same("members", members, wantMembers, err)
	sites, err := c.Sites(ctx)
	if sites == nil {
		t.Error("no sites: want an empty list, not null")
	}
	same("sites", sites, []control.Site{}, err)
	wantVRs, _ := r.VRs(ctx)
	vrs, err := c.VRs(ctx)
	same("vrs", vrs, wantVRs, err)
	wantHosts, _ := r.Hosts(ctx)
	hosts, err := c.Hosts(ctx)
	same("hosts", hosts, wantHosts, err)
	wantVNs, _ := r.VNs(ctx)
	vns, err := c.VNs(ctx)
	same("vns", vns, wantVNs, err)
	for _, name := range []string{"blue", "odd/na me"} {
		vn, err := c.VN(ctx, name)
		same("vn", vn, control.VN{ID: 1, Name: name}, err)
	}
	wantLog, _ := r.VNLog(ctx, "blue")
	log, err := c.VNLog(ctx, "blue")
	same("log", log, wantLog, err)
	wantAt, _ := r.VNAt(ctx, "blue", 2)
	at, err := c.VNAt(ctx, "blue", 2)
	same("vn at", at, wantAt, err)
	wantPlan, _ := r.Plan(ctx, []byte("a document"))
	plan, err := c.Plan(ctx, []byte("a document"))
	same("plan", plan, wantPlan, err)
	wantBundle, _ := r.Bundle(ctx)
	bundle, err := c.Bundle(ctx)
	same("bundle", bundle, wantBundle, err)
	wantImported, _ := r.Import(ctx, []byte("a bundle"))
	imported, err := c.Import(ctx, []byte("a bundle"))
	same("imported", imported, wantImported, err)
	wantRoutes, _ := r.Routes(ctx)
	routes, err := c.Routes(ctx)
	same("routes", routes, wantRoutes, err)
	wantLinks, _ := r.Links(ctx)
	links, err := c.Links(ctx)
	same("links", links, wantLinks, err)
	wantQueues, _ := r.Queues(ctx)
	queues, err := c.Queues(ctx)
	same("queues", queues, wantQueues, err)
	for _, names := range [][2]string{{"", "osaka"}, {"tokyo", "odd&to=/na me"}} {
		want, _ := r.Paths(ctx, names[0], names[1])
		paths, err := c.Paths(ctx, names[0], names[1])
		same("paths", paths, want, err)
	}
	for _, begin := range []bool{true, false} {
		drain, err := c.Drain(ctx, begin)
		want, _ := r.Drained(ctx)
		same("drain", drain, want, err)
		drain, err = c.Drained(ctx)
		same("drained", drain, want, err)
		if drain.Draining != begin {
			t.Errorf("asked to drain %v: %+v", begin, drain)
		}
	}
	if len(r.drains) != 2 {
		t.Errorf("the VR was asked to drain: %v", r.drains)
	}
	wantPending, _ := r.Pending(ctx)
	pending, err := c.Pending(ctx)
	same("pending", pending, wantPending, err)
	wantDocuments, _ := r.Documents(ctx)
	documents, err := c.Documents(ctx)
	same("documents", documents, wantDocuments, err)
	wantUsers, _ := r.Users(ctx)
	users, err := c.Users(ctx)
	same("users", users, wantUsers, err)
	wantRequests, _ := r.Requests(ctx)
	requests, err := c.Requests(ctx)
	same("requests", requests, wantRequests, err)
	published, err := c.Publish(ctx, []byte("a grant"))
	same("published", published, control.Published{Key: "grant:x", Version: 1}, err)
	if _, err := c.Publish(ctx, []byte("bad")); !errors.Is(err, control.ErrRefused) {
		t.Errorf("a bad document: %v", err)
	}
	if err := c.Reload(ctx); err != nil || r.reloads != 1 {
		t.Errorf("reload: %v, %d times", err, r.reloads)
	}
}

func TestSubmitAndWait(t *testing.T) {
	ctx := context.Background()
	r := &router{done: make(chan struct{})}
	c := control.NewClient(start(t, r))
	id := tables.Hash{31: 1}

	got, err := c.Submit(ctx, []byte{0, 255, '\n'})
	if err != nil || got.State != "accepted" || string(r.submitted[0]) != "\x00\xff\n" {
		t.Fatalf("submit: %+v, %v; the VR got %x", got, err, r.submitted)
	}
	if got, err = c.Request(ctx, id, 0); err != nil || got.State != "accepted" {
		t.Fatalf("request: %+v, %v", got, err)
	}
	close(r.done)
	if got, err = c.Request(ctx, id, time.Hour); err != nil || got.State != "done" || got.Result != "vn7" {
		t.Fatalf("request with wait: %+v, %v", got, err)
	}
	if want := []time.Duration{0, control.WaitMax}; !cmp.Equal(r.waits, want) {
		t.Errorf("the VR was asked to wait %v, want %v", r.waits, want)
	}
}

func TestErrors(t *testing.T) {
	ctx := context.Background()
	r := &router{fail: errBroken, reloadErr: errors.New("line 3: unknown key")}
	c := control.NewClient(start(t, r))
	var problem *control.Problem

	_, err := c.VN(ctx, "red")
	if !errors.Is(err, control.ErrNotFound) || errors.Is(err, control.ErrRefused) || err.Error() != `VN "red": not found` {
		t.Errorf("absent VN: %v", err)
	}
	_, err = c.Paths(ctx, "", "nobody")
	if !errors.Is(err, control.ErrNotFound) || errors.Is(err, control.ErrElsewhere) {
		t.Errorf("paths to nobody: %v", err)
	}
	_, err = c.Paths(ctx, "kyoto", "osaka")
	if !errors.Is(err, control.ErrElsewhere) || errors.Is(err, control.ErrNotFound) || !strings.Contains(err.Error(), "ask at kyoto") {
		t.Errorf("paths between others: %v", err)
	}
	for name, f := range map[string]func() error{
		"queues": func() error { _, err := c.Queues(ctx); return err },
		"paths":  func() error { _, err := c.Paths(ctx, "", "osaka"); return err },
		"drain":  func() error { _, err := c.Drain(ctx, true); return err },
	} {
		if err := f(); !errors.As(err, &problem) || problem.Status != 500 {
			t.Errorf("%s of a broken VR: %v", name, err)
		}
	}
	_, err = c.Request(ctx, tables.Hash{}, 0)
	if !errors.Is(err, control.ErrNotFound) {
		t.Errorf("absent request: %v", err)
	}
	_, err = c.Submit(ctx, []byte("bad"))
	if !errors.Is(err, control.ErrRefused) || errors.Is(err, control.ErrNotFound) || !strings.Contains(err.Error(), "malformed") {
		t.Errorf("bad request: %v", err)
	}
	_, err = c.Submit(ctx, make([]byte, 65<<10))
	if !errors.As(err, &problem) || problem.Status != 413 {
		t.Errorf("huge request: %v", err)
	}
	_, err = c.Status(ctx)
	if !errors.As(err, &problem) || problem.Status != 500 || err.Error() != errBroken.Error() {
		t.Errorf("broken VR: %v", err)
	}
	if err := c.Reload(ctx); err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("reload of a wrong file: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	ctx := context.Background()
	path := socketPath(t)
	if _, err := control.NewClient(path).Status(ctx); !errors.Is(err, control.ErrUnreachable) {
		t.Errorf("no socket: %v", err)
	}
	leaveStale(t, path)
	if _, err := control.NewClient(path).Status(ctx); !errors.Is(err, control.ErrUnreachable) {
		t.Errorf("stale socket: %v", err)
	}
}

// TestSeeingShape pins what programs read: the names of the fields, and that no list is null.
func TestSeeingShape(t *testing.T) {
	path := start(t, &router{})
	for resource, want := range map[string][]string{
		"queues":             {`"schema_version":1`, `"queues":{"kind":"limited"`, `"attached":[{"peer":"osaka"`, `"score_bits":17400000`, `"reason":"measured better"`, `"runner_up":""`, `"from_bytes":1099511627776`},
		"paths?to=osaka":     {`"schema_version":1`, `"paths":{"ends":[`, `"endpoint":"192.0.2.1:8463"`, `"endpoint":null`, `"heard_seconds":-1`, `"rtt_ms":0`, `"in_use":true`, `"nat":""`, `"leads":""`},
		"links":              {`"links":[{"peer":"osaka"`, `"rtt_seconds":0.0125`, `"rtt_ms":`, `"transport":""`, `"rate_kind":""`},
		"drain":              {`"drain":{"draining":false`, `"clients":["kyoto"]`, `"relayed_packets":12`, `"quiet_seconds":0.5`},
		"paths?from=&to=vr8": {`"paths":{`},
	} {
		c := http.Client{Transport: &http.Transport{
			DialContext:       func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) },
			DisableKeepAlives: true,
		}}
		r, err := c.Get("http://vine/api/v1/" + resource)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != 200 {
			t.Fatalf("%s: %v, %d", resource, err, r.StatusCode)
		}
		for _, part := range want {
			if !strings.Contains(string(body), part) {
				t.Errorf("%s lacks %s: %s", resource, part, body)
			}
		}
	}
}

// TestClientEndsWithContext has nobody accept, so the call can only end by its context.
func TestClientEndsWithContext(t *testing.T) {
	path := socketPath(t)
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := control.NewClient(path).Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want canceled", err)
	}
}

// TestWaitEndsWithServer stops the VR while a call waits: the stop must not wait for the call.
func TestWaitEndsWithServer(t *testing.T) {
	path := socketPath(t)
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r := &router{done: make(chan struct{}), waiting: make(chan struct{})} // never done
	ended := make(chan error, 1)
	go func() { ended <- control.Serve(ctx, l, r, quiet) }()
	called := make(chan error, 1)
	go func() {
		_, err := control.NewClient(path).Request(context.Background(), tables.Hash{31: 1}, time.Minute)
		called <- err
	}()
	<-r.waiting
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := <-called; err == nil {
		t.Error("the call succeeded")
	}
}

// leaveStale makes a socket that nobody has open, as a crash does.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

func TestListen(t *testing.T) {
	t.Run("mode", func(t *testing.T) {
		old := syscall.Umask(0o077) // the whole process has it: no parallel tests here
		path := socketPath(t)
		l, err := control.Listen(path)
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if st, err := os.Lstat(path); err != nil || st.Mode().Perm() != 0o660 {
			t.Errorf("mode %v, %v; want 0660", st.Mode(), err)
		}
	})
	t.Run("in use", func(t *testing.T) {
		path := start(t, &router{})
		if _, err := control.Listen(path); !errors.Is(err, control.ErrInUse) {
			t.Errorf("err = %v, want ErrInUse", err)
		}
		if _, err := control.NewClient(path).Status(context.Background()); err != nil {
			t.Errorf("the one that was there does not answer any more: %v", err)
		}
	})
	t.Run("stale", func(t *testing.T) {
		path := socketPath(t)
		leaveStale(t, path)
		l, err := control.Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	})
	t.Run("no socket", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := control.Listen(path); err == nil {
			t.Error("listens on a file")
		}
		if content, _ := os.ReadFile(path); string(content) != "precious" {
			t.Errorf("the file holds %q now", content)
		}
	})
	t.Run("long", func(t *testing.T) {
		if _, err := control.Listen("/tmp/" + strings.Repeat("x", 120)); err == nil || !strings.Contains(err.Error(), "107") {
			t.Errorf("err = %v, want the limit named", err)
		}
	})
}
