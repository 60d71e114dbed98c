package serfrpc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/mesh/gossip"
	"github.com/vine-mesh/vine/mesh/gossip/gossiptest"
	"github.com/vine-mesh/vine/mesh/serfrpc"
	"github.com/vine-mesh/vine/tables"
)

// stockSerf finds the serf command: $VINE_SERF, or serf in the PATH. Get it with
// go install github.com/hashicorp/serf/cmd/serf@v0.11.0
func stockSerf(t *testing.T) string {
	t.Helper()
	if p := os.Getenv("VINE_SERF"); p != "" {
		return p
	}
	p, err := exec.LookPath("serf")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("the stock serf command is missing: set VINE_SERF, or put serf into the PATH")
		}
		t.Skip("SKIPPED: the stock serf command is missing: set VINE_SERF, or put serf into the PATH")
	}
	return p
}

// names is a directory in which router n is called "site-n".
type names map[tables.RouterID]string

func (d names) Name(id tables.RouterID) (string, bool) { n, ok := d[id]; return n, ok }
func (d names) ByName(name string) (tables.RouterID, bool) {
	for id, n := range d {
		if n == name {
			return id, true
		}
	}
	return 0, false
}

// TestStockCommand runs the stock serf command against three real VRs' gossip.
func TestStockCommand(t *testing.T) {
	bin := stockSerf(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sw := gossiptest.New(1, 2*time.Millisecond)
	swCtx, swCancel := context.WithCancel(context.Background())
	swDone := make(chan struct{})
	go func() { defer close(swDone); sw.Run(swCtx) }()
	defer func() { swCancel(); <-swDone }()

	dir := names{1: "lyon-1", 2: "nara-1", 3: "uf-1"}
	ring := &serfrpc.Ring{}
	var nodes []*gossip.Gossip
	done := make(chan error, len(dir))
	for id := tables.RouterID(1); id <= 3; id++ {
		var g *gossip.Gossip
		port := sw.Attach(id, func(from tables.RouterID, b []byte) { g.Deliver(from, b) },
			func(from tables.RouterID, c net.Conn) { g.Accept(from, c) })
		c := gossip.Config{Self: gossip.Self{Router: id, Name: dir[id]}, Tags: map[string]string{"kind": "regular"},
			Directory: dir, Send: port.Send, Dial: port.Dial}
		if id == 1 {
			c.Log = slog.New(ring.Handler(nil))
		}
		var err error
		if g, err = gossip.New(c); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, g)
		go func() { done <- g.Run(ctx) }()
	}
	eventually(t, "join", func() bool {
		_, _ = nodes[1].Join(ctx, "lyon-1")
		_, _ = nodes[2].Join(ctx, "lyon-1")
		return len(nodes[0].Members()) == 3 && len(nodes[1].Members()) == 3 && len(nodes[2].Members()) == 3
	})

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &serfrpc.Server{Serf: nodes[0].RPC(), Listener: l, Token: "open sesame", Logs: ring,
		Vine: func() map[string]string { return map[string]string{"federation": "demo", "documents": "12"} }}
	serverDone := make(chan error, 1)
	go func() { serverDone <- server.Run(ctx) }()

	// A member that answers queries, as a client of nara-1's events.
	events, err := nodes[1].RPC().Watch(ctx, 16)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for e := range events {
			if e.Type == "query" && e.Name == "uptime" {
				_ = e.Respond([]byte("three days"))
			}
		}
	}()

	serf := func(args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		flags := []string{"-rpc-addr=" + l.Addr().String(), "-rpc-auth=open sesame"}
		out, err := exec.CommandContext(ctx, bin, append(append(args[:1:1], flags...), args[1:]...)...).CombinedOutput()
		t.Logf("serf %s\n%s", strings.Join(args, " "), out)
		return string(out), err
	}
	want := func(out string, parts ...string) {
		t.Helper()
		for _, p := range parts {
			if !strings.Contains(out, p) {
				t.Errorf("%q is missing", p)
			}
		}
	}

	out, err := serf("members")
	if err != nil {
		t.Error(err)
	}
	want(out, "lyon-1", "nara-1", "uf-1", "alive", "[fd76:696e:6500::2]:7946", "kind=regular")

	out, _ = serf("members", "-format=json")
	var members struct {
		Members []struct{ Name, Status string }
	}
	if err := json.Unmarshal([]byte(out), &members); err != nil || len(members.Members) != 3 {
		t.Errorf("%v %+v", err, members)
	}
	out, _ = serf("members", "-status=alive", "-name=n.*", "-detailed")
	want(out, "nara-1")
	if strings.Contains(out, "lyon-1") {
		t.Error("filter lets lyon-1 through")
	}

	out, _ = serf("info")
	want(out, "name = lyon-1", "members = 3", "vine:", "federation = demo", "encrypted = false")

	eventually(t, "coordinates", func() bool {
		_, a := nodes[0].RPC().Coordinate("nara-1")
		_, b := nodes[0].RPC().Coordinate("uf-1")
		return a && b
	})
	out, err = serf("rtt", "nara-1")
	if err != nil {
		t.Error(err)
	}
	want(out, "nara-1 <-> lyon-1 rtt:")

	out, err = serf("query", "-timeout=3s", "uptime")
	if err != nil {
		t.Error(err)
	}
	want(out, "Ack from 'uf-1'", "Response from 'nara-1': three days", "Total Acks: 3", "Total Responses: 1")

	out, _ = serf("reachability")
	want(out, "Successfully contacted all live nodes")

	for _, test := range []struct {
		args []string
		hint string
	}{
		{[]string{"join", "10.0.0.1"}, "vine join"}, {[]string{"leave"}, "vine up"}, {[]string{"force-leave", "uf-1"}, "vine revoke"},
		{[]string{"event", "deploy"}, "vine help"}, {[]string{"tags", "-set", "a=b"}, "vine reload"}, {[]string{"keys", "-list"}, "vine status"},
		{[]string{"keys", "-install", "MTIzNDU2Nzg5MDEyMzQ1Ng=="}, "vine status"},
	} {
		out, err := serf(test.args...)
		if err == nil {
			t.Errorf("serf %v was carried out", test.args)
		}
		want(out, "refused: ", "`"+test.hint)
	}
	if len(nodes[0].Members()) != 3 {
		t.Error("a refused command changed the members")
	}

	monitor(t, ctx, bin, l.Addr().String(), ring)

	if out, err := exec.CommandContext(ctx, bin, "members", "-rpc-addr="+l.Addr().String()).CombinedOutput(); err == nil {
		t.Errorf("without a token: %s", out)
	}

	cancel()
	if err := <-serverDone; err != nil {
		t.Error(err)
	}
	for range nodes {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// monitor starts "serf monitor" and waits for a line.
func monitor(t *testing.T, ctx context.Context, bin, addr string, ring *serfrpc.Ring) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "monitor", "-rpc-addr="+addr, "-rpc-auth=open sesame", "-log-level=info")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	ring.Append(slog.LevelInfo, "[INFO] a line for the operator")
	var seen bytes.Buffer
	buf := make([]byte, 4096)
	for !strings.Contains(seen.String(), "a line for the operator") {
		n, err := r.Read(buf)
		seen.Write(buf[:n])
		if err != nil {
			t.Errorf("serf monitor ended: %v\n%s", err, seen.String())
			break
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	t.Logf("serf monitor\n%s", seen.String())
}

// eventually waits until cond holds, for at most a minute of real time.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 1200 {
		if cond() {
			return
		}
		<-tick.C
	}
	t.Fatalf("%s did not come about", what)
}
