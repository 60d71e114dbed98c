package serfrpc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// A stage is a Serf for tests.
type stage struct {
	mu      sync.Mutex
	events  chan Event
	asked   []Query
	answers []Answer
}

func (*stage) Name() string { return "vr1" }
func (*stage) Members() []Member {
	return []Member{
		{Name: "vr1", Addr: net.ParseIP("fd76:696e:6500::1"), Port: 7946, Status: "alive", Tags: map[string]string{"role": "queue"}, DelegateCur: 4},
		{Name: "vr2", Addr: net.ParseIP("fd76:696e:6500::2"), Port: 7946, Status: "failed"},
	}
}
func (*stage) Stats() map[string]string { return map[string]string{"members": "2"} }
func (*stage) Coordinate(name string) (Coordinate, bool) {
	return Coordinate{Vec: make([]float64, 8), Error: 1.5, Height: 1e-5}, name == "vr1"
}
func (s *stage) Query(_ context.Context, q Query) (<-chan Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.Name == "bad" {
		return nil, errors.New("no such question")
	}
	s.asked = append(s.asked, q)
	c := make(chan Answer, len(s.answers))
	for _, a := range s.answers {
		c <- a
	}
	close(c)
	return c, nil
}
func (s *stage) Watch(ctx context.Context, _ int) (<-chan Event, error) {
	out := make(chan Event)
	go func() {
		defer close(out)
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-s.events:
				select {
				case <-ctx.Done():
					return
				case out <- e:
				}
			}
		}
	}()
	return out, nil
}

// serve runs a server for the test and returns its address.
func serve(t *testing.T, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Listener = l
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// A caller is a client of the protocol.
type caller struct {
	t    *testing.T
	conn net.Conn
	dec  *codec.Decoder
	enc  *codec.Encoder
	out  *bufio.Writer
	seq  uint64
}

func call(t *testing.T, addr string) *caller {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute)) // a hang fails, at last
	out := bufio.NewWriter(conn)
	return &caller{t: t, conn: conn, dec: codec.NewDecoder(bufio.NewReader(conn), handle()), enc: codec.NewEncoder(out, handle()), out: out}
}

// ask sends a request and takes the response header, and the body into resp.
func (c *caller) ask(command string, req, resp any) string {
	c.t.Helper()
	c.seq++
	c.put(requestHeader{command, c.seq}, req)
	h := c.header()
	if h.Seq != c.seq {
		c.t.Fatalf("%s: answer to %d, not %d", command, h.Seq, c.seq)
	}
	c.body(resp)
	return h.Error
}

func (c *caller) put(h requestHeader, req any) {
	c.t.Helper()
	for _, m := range []any{&h, req} {
		if m == nil {
			continue
		}
		if err := c.enc.Encode(m); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := c.out.Flush(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *caller) header() responseHeader {
	c.t.Helper()
	var h responseHeader
	if err := c.dec.Decode(&h); err != nil {
		c.t.Fatal(err)
	}
	return h
}

func (c *caller) body(resp any) {
	c.t.Helper()
	if resp == nil {
		return
	}
	if err := c.dec.Decode(resp); err != nil {
		c.t.Fatal(err)
	}
}

// hello is a caller after the handshake.
func hello(t *testing.T, addr string) *caller {
	t.Helper()
	c := call(t, addr)
	if e := c.ask("handshake", &handshakeRequest{1}, nil); e != "" {
		t.Fatal(e)
	}
	return c
}

// closed fails unless the server closes the connection.
func (c *caller) closed() {
	c.t.Helper()
	var h responseHeader
	if err := c.dec.Decode(&h); err == nil {
		c.t.Fatalf("server goes on: %+v", h)
	}
}

func TestReads(t *testing.T) {
	addr := serve(t, &Server{Serf: &stage{}, Vine: func() map[string]string { return map[string]string{"router": "vr1"} }})
	c := hello(t, addr)
	var m membersResponse
	if e := c.ask("members", nil, &m); e != "" || len(m.Members) != 2 || m.Members[0].Tags["role"] != "queue" ||
		!m.Members[1].Addr.Equal(net.ParseIP("fd76:696e:6500::2")) {
		t.Errorf("members: %q %+v", e, m)
	}
	for _, test := range []struct {
		req  filteredRequest
		want string
	}{
		{filteredRequest{}, "vr1 vr2"}, {filteredRequest{Status: "failed"}, "vr2"}, {filteredRequest{Name: "vr[2-9]"}, "vr2"},
		{filteredRequest{Name: "vr"}, ""}, {filteredRequest{Tags: map[string]string{"role": "queue|x"}}, "vr1"},
		{filteredRequest{Name: "vr1|vr2", Status: "alive|failed"}, "vr1 vr2"},
	} {
		var m membersResponse
		e := c.ask("members-filtered", &test.req, &m)
		var names []string
		for _, x := range m.Members {
			names = append(names, x.Name)
		}
		if e != "" || strings.Join(names, " ") != test.want {
			t.Errorf("%+v: %v %q", test.req, names, e)
		}
	}
	if e := c.ask("members-filtered", &filteredRequest{Name: "("}, &m); e == "" {
		t.Error("bad pattern was taken")
	}
	var stats map[string]map[string]string
	if e := c.ask("stats", nil, &stats); e != "" || stats["vine"]["router"] != "vr1" || stats["serf"]["members"] != "2" ||
		stats["agent"]["name"] != "vr1" || stats["tags"]["role"] != "queue" {
		t.Errorf("stats: %q %v", e, stats)
	}
	var coord coordinateAnswer
	if e := c.ask("get-coordinate", &coordinateRequest{"vr1"}, &coord); e != "" || !coord.Ok || coord.Coord.Error != 1.5 || len(coord.Coord.Vec) != 8 {
		t.Errorf("coordinate: %q %+v", e, coord)
	}
	if e := c.ask("get-coordinate", &coordinateRequest{"vr9"}, &coord); e != "" || coord.Ok {
		t.Errorf("coordinate of a stranger: %q %+v", e, coord)
	}
}

func TestOrderOfConversation(t *testing.T) {
	addr := serve(t, &Server{Serf: &stage{}, Token: "secret"})
	c := call(t, addr)
	if e := c.ask("members", nil, nil); e != errHandshake {
		t.Errorf("before handshake: %q", e)
	}
	c.closed()
	c = call(t, addr)
	if e := c.ask("handshake", &handshakeRequest{2}, nil); e != errVersion {
		t.Errorf("version 2: %q", e)
	}
	c = hello(t, addr)
	if e := c.ask("handshake", &handshakeRequest{1}, nil); e != errHandshakeDone {
		t.Errorf("second handshake: %q", e)
	}
	if e := c.ask("members", nil, nil); e != errAuth {
		t.Errorf("without token: %q", e)
	}
	c.closed()
	c = hello(t, addr)
	if e := c.ask("auth", &authRequest{"guess"}, nil); e != errToken {
		t.Errorf("wrong token: %q", e)
	}
	c.closed()
	c = hello(t, addr)
	var m membersResponse
	if e := c.ask("auth", &authRequest{"secret"}, nil); e != "" {
		t.Errorf("token: %q", e)
	}
	if e := c.ask("members", nil, &m); e != "" || len(m.Members) != 2 {
		t.Errorf("with token: %q", e)
	}
	if e := c.ask("make-coffee", nil, nil); e != errCommand {
		t.Errorf("unknown command: %q", e)
	}
	c.closed()
}

func TestRefusals(t *testing.T) {
	c := hello(t, serve(t, &Server{Serf: &stage{}}))
	for command, r := range refusals {
		var req, resp any
		if r.body {
			req = map[string]any{"Existing": []string{"a", "b"}, "Node": "vr2", "Prune": true, "Tags": map[string]string{"a": "b"}, "Key": "x"}
		}
		switch command {
		case "join":
			resp = &joinResponse{}
		case "install-key", "use-key", "remove-key", "list-keys":
			resp = &keyResponse{}
		}
		if e := c.ask(command, req, resp); !strings.HasPrefix(e, "refused: ") || !strings.Contains(e, "`vine ") {
			t.Errorf("%s: %q", command, e)
		}
	}
	var m membersResponse
	if e := c.ask("members", nil, &m); e != "" || len(m.Members) != 2 {
		t.Errorf("the conversation is out of step after refusals: %q", e)
	}
}

func TestQuery(t *testing.T) {
	s := &stage{answers: []Answer{{Ack: true, From: "vr2"}, {From: "vr2", Payload: []byte("3 days")}}}
	c := hello(t, serve(t, &Server{Serf: s}))
	if e := c.ask("query", &queryRequest{Name: "uptime", RequestAck: true, RelayFactor: 9}, nil); e != "" {
		t.Fatal(e)
	}
	for _, want := range []queryRecord{{"ack", "vr2", nil}, {"response", "vr2", []byte("3 days")}, {"done", "", nil}} {
		var got queryRecord
		if h := c.header(); h.Seq != c.seq {
			t.Fatalf("record for %d", h.Seq)
		}
		c.body(&got)
		if got.Type != want.Type || got.From != want.From || !bytes.Equal(got.Payload, want.Payload) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	for _, q := range []queryRequest{{Name: "_serf_install-key"}, {Name: "x", Timeout: time.Hour}, {Name: "x", Timeout: -1}, {Name: "bad"}} {
		if e := c.ask("query", &q, nil); e == "" {
			t.Errorf("%+v was asked", q)
		}
	}
}

func TestQueryRate(t *testing.T) {
	s := &Server{}
	now := time.Unix(1e9, 0)
	asked := 0
	for range 600 { // one minute
		now = now.Add(100 * time.Millisecond)
		for s.mayQuery(now) {
			asked++
		}
	}
	if want := queryBurst + int(time.Minute/queryEvery); asked < want-2 || asked > want {
		t.Errorf("%d queries in a minute, want %d", asked, want)
	}
}

func TestStreamAndRespond(t *testing.T) {
	s := &stage{events: make(chan Event, 8)}
	c := hello(t, serve(t, &Server{Serf: s}))
	if e := c.ask("stream", &streamRequest{"no-such-event"}, nil); e != errFilter {
		t.Errorf("filter: %q", e)
	}
	if e := c.ask("stream", &streamRequest{"member-failed,query:uptime"}, nil); e != "" {
		t.Fatal(e)
	}
	streamSeq := c.seq
	said := make(chan []byte, 1)
	s.events <- Event{Type: "member-join"}
	s.events <- Event{Type: "member-failed", Members: (*stage)(nil).Members()[1:]}
	s.events <- Event{Type: "query", Name: "load"}
	s.events <- Event{Type: "query", Name: "uptime", Payload: []byte("?"), Time: 7, Deadline: time.Now().Add(time.Hour),
		Respond: func(b []byte) error { said <- b; return nil }}
	var m memberRecord
	if h := c.header(); h.Seq != streamSeq {
		t.Fatal(h)
	}
	if c.body(&m); m.Event != "member-failed" || len(m.Members) != 1 {
		t.Errorf("%+v", m)
	}
	var q queryEventRecord
	c.header()
	if c.body(&q); q.Event != "query" || q.Name != "uptime" || q.LTime != 7 {
		t.Errorf("%+v", q)
	}
	if e := c.ask("respond", &respondRequest{q.ID, []byte("3 days")}, nil); e != "" {
		t.Errorf("respond: %q", e)
	}
	if got := <-said; string(got) != "3 days" {
		t.Errorf("%q", got)
	}
	if e := c.ask("respond", &respondRequest{q.ID + 5, nil}, nil); e != errQueryID {
		t.Errorf("respond to nothing: %q", e)
	}
	if e := c.ask("stop", &stopRequest{streamSeq}, nil); e != "" {
		t.Errorf("stop: %q", e)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	c := hello(t, serve(t, &Server{Serf: &stage{}}))
	for i := range streamsMax + 1 {
		if e := c.ask("stream", &streamRequest{"*"}, nil); (e == "") != (i < streamsMax) {
			t.Errorf("stream %d: %q", i, e)
		}
	}
}

func TestMonitor(t *testing.T) {
	var ring Ring
	log := slog.New(ring.Handler(nil)).With("vr", 1)
	log.Info("before", "who", "a b")
	c := hello(t, serve(t, &Server{Serf: &stage{}, Logs: &ring}))
	if e := c.ask("monitor", &monitorRequest{"loud"}, nil); !strings.HasPrefix(e, "Unknown log level") {
		t.Errorf("level: %q", e)
	}
	if e := c.ask("monitor", &monitorRequest{"info"}, nil); e != "" {
		t.Fatal(e)
	}
	next := func() string {
		c.header()
		var l logRecord
		c.body(&l)
		return l.Log
	}
	if l := next(); !strings.HasSuffix(l, ` [INFO] before vr=1 who="a b"`) {
		t.Errorf("%q", l)
	}
	log.Debug("unheard")
	log.Error("after")
	if l := next(); !strings.HasSuffix(l, " [ERR] after vr=1") {
		t.Errorf("%q", l)
	}
	if e := c.ask("monitor", &monitorRequest{"info"}, nil); e != errMonitorExists {
		t.Errorf("second monitor: %q", e)
	}
}

func TestRingDropsForSlowMonitors(t *testing.T) {
	var ring Ring
	m := ring.watch(slog.LevelInfo)
	for i := range ringLines + monitorQueue + 10 {
		ring.Append(slog.LevelInfo, fmt.Sprint(i))
	}
	<-m.lines
	ring.Append(slog.LevelInfo, "last")
	var got string
	for range ringLines + monitorQueue {
		got = <-m.lines
	}
	if got != "[WARN] monitor: 10 lines dropped\nlast" {
		t.Errorf("%q", got)
	}
	ring.remove(m)
	if again := ring.watch(slog.LevelInfo); len(again.lines) != ringLines {
		t.Errorf("%d lines kept", len(again.lines))
	}
	ring.Append(slog.LevelInfo, strings.Repeat("x", 5000))
}

func TestClientsAreBounded(t *testing.T) {
	addr := serve(t, &Server{Serf: &stage{}})
	for range clientsMax {
		hello(t, addr)
	}
	c := call(t, addr)
	_ = c.enc.Encode(&requestHeader{"handshake", 1})
	_ = c.out.Flush() // may fail: it was closed at once
	c.closed()
}

func TestRequestsAreBounded(t *testing.T) {
	c := hello(t, serve(t, &Server{Serf: &stage{}}))
	_ = c.enc.Encode(&requestHeader{"query", 9})
	_ = c.enc.Encode(&queryRequest{Name: "x", Payload: make([]byte, requestMax)})
	_ = c.out.Flush()
	c.closed()
}

func TestOnlyLoopbackWithoutToken(t *testing.T) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := (&Server{Serf: &stage{}, Listener: l}).Run(t.Context()); err == nil {
		t.Error("serves everybody without a token")
	}
}

// FuzzRequest: no bytes make the server fail, hang or answer before the handshake with
// anything but a refusal.
func FuzzRequest(f *testing.F) {
	enc := func(ms ...any) []byte {
		var b bytes.Buffer
		e := codec.NewEncoder(&b, handle())
		for _, m := range ms {
			_ = e.Encode(m)
		}
		return b.Bytes()
	}
	hi := enc(&requestHeader{"handshake", 1}, &handshakeRequest{1})
	for _, b := range [][]byte{
		hi, append(bytes.Clone(hi), enc(&requestHeader{"members-filtered", 2}, &filteredRequest{Name: "a"})...),
		append(bytes.Clone(hi), enc(&requestHeader{"query", 2}, &queryRequest{Name: "x", FilterTags: map[string]string{"a": "b"}})...),
		append(bytes.Clone(hi), enc(&requestHeader{"monitor", 2}, &monitorRequest{"DEBUG"}, &requestHeader{"stop", 3}, &stopRequest{2})...),
		append(bytes.Clone(hi), enc(&requestHeader{"join", 2}, map[string]any{"Existing": []string{"x"}})...),
		append(bytes.Clone(hi), 0xdf, 0xff, 0xff, 0xff, 0xff), append(bytes.Clone(hi), 0xdb, 0xff, 0xff, 0xff, 0xff),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &Server{Serf: &stage{}, Logs: &Ring{}}
		here, there := net.Pipe()
		c := newClient(s, there)
		done := make(chan struct{})
		go func() { defer close(done); c.run(context.Background()) }()
		read := make(chan struct{})
		go func() {
			defer close(read)
			buf := make([]byte, 4096)
			for {
				if _, err := here.Read(buf); err != nil {
					return
				}
			}
		}()
		_, _ = here.Write(b)
		_ = here.Close()
		<-done
		<-read
	})
}
