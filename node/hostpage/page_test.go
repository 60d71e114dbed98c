package hostpage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/hosts"
)

var (
	home = netip.MustParseAddr("127.0.0.1")
	mac  = hosts.MAC("02:00:5e:10:00:01")
)

// A lan is a LAN on which everybody has a MAC that the test says, and a VR that exists only on paper.
type lan struct {
	mu       sync.Mutex // guards what follows
	macs     map[netip.Addr]hosts.MAC
	standing control.Standing
	filed    []string
	err      error
	asked    []netip.Addr // what the kernel was to look for
	index    int
	own      []netip.Addr
	page     *Page
	at       string
}

func (l *lan) Standing(hosts.MAC, netip.Addr) control.Standing {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.standing
}

func (l *lan) FileHost(_ context.Context, mac hosts.MAC, seen netip.Addr, name, vn string) (control.HostRequest, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.filed = append(l.filed, fmt.Sprintf("%s %v %q %q", mac, seen, name, vn))
	return control.HostRequest{ID: 7, Name: "desk", VN: vn, State: "waiting"}, l.err
}

func (l *lan) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// newLAN shows the page to 127.0.0.1 until the test ends.
func newLAN(t *testing.T) *lan {
	l := &lan{macs: map[netip.Addr]hosts.MAC{home: mac}, index: 1, own: []netip.Addr{home}}
	l.standing = control.Standing{
		VR: "tokyo", Site: "east", Space: []netip.Prefix{netip.MustParsePrefix("10.192.0.0/10")}, Blocks: []netip.Prefix{netip.MustParsePrefix("10.192.0.0/24")},
	}
	l.page = New(Config{
		Interfaces: []string{"lan0"}, At: netip.AddrPortFrom(home, 80), VR: l, Log: slog.New(slog.DiscardHandler),
		Neighbour: func(_ string, addr netip.Addr) (hosts.MAC, error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.macs[addr], nil
		},
	})
	l.page.times = times{100 * time.Millisecond, 200 * time.Millisecond, 5 * time.Second, 20 * time.Millisecond}
	opened := make(chan string, 10)
	l.page.listen = func(context.Context, string, netip.AddrPort) (net.Listener, error) {
		s, err := net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			opened <- s.Addr().String()
		}
		return s, err
	}
	l.page.provoke = func(_ context.Context, _ string, addr netip.Addr) error {
		l.set(func() { l.asked = append(l.asked, addr) })
		return nil
	}
	l.page.addresses = func(string) []netip.Addr {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.own
	}
	l.page.index = func(string) int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.index
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.page.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	l.at = <-opened
	return l
}

// ask sends bytes and returns the answer. It asks again where none comes: the connections before may not be forgotten yet.
func (l *lan) ask(t *testing.T, request string) (*http.Response, string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if r, body := l.try(t, request); r != nil {
			return r, body
		}
		<-tick.C
	}
	t.Fatalf("no answer to %.60q", request)
	return nil, ""
}

// try sends bytes and returns the answer; nil: the connection was closed without one.
func (l *lan) try(t *testing.T, request string) (*http.Response, string) {
	t.Helper()
	c, err := net.Dial("tcp", l.at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	go io.WriteString(c, strings.ReplaceAll(request, "HOST", l.at))
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return nil, ""
	}
	body, _ := io.ReadAll(r.Body)
	return r, string(body)
}

func get(path string, headers ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: HOST\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n"
}

func post(body string, headers ...string) string {
	return fmt.Sprintf("POST /join HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n%s\r\n%s",
		len(body), strings.Join(append(headers, ""), "\r\n"), body)
}

func TestBadRequests(t *testing.T) {
	l := newLAN(t)
	long := "name=" + strings.Repeat("x", bodyBytesMax)
	for name, c := range map[string]struct {
		request string
		status  int
		want    string
	}{
		"fine":             {get("/"), 200, "You are    127.0.0.1, MAC 02:00:5e:10:00:01\n"},
		"head":             {"HEAD / HTTP/1.1\r\nHost: HOST\r\n\r\n", 200, ""},
		"elsewhere":        {get("/etc/passwd"), 404, "nothing at"},
		"dots":             {get("/../setup.sh"), 404, "nothing at"},
		"name of others":   {"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421, "call it by that address"},
		"address of other": {"GET / HTTP/1.1\r\nHost: 127.0.0.2\r\n\r\n", 421, ""},
		"no host":          {"GET / HTTP/1.0\r\n\r\n", 421, ""},
		"post to state":    {"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\n\r\n", 405, ""},
		"get join":         {get("/join"), 405, "does not take"},
		"delete":           {"DELETE /setup.sh HTTP/1.1\r\nHost: HOST\r\n\r\n", 405, ""},
		"no VN":            {post("name=desk"), 400, "which virtual network"},
		"odd field":        {post("vn=blue&mac=02:00:5e:10:00:02"), 400, "vn and name"},
		"VN twice":         {post("vn=blue&vn=red"), 400, "vn and name"},
		"broken escape":    {post("vn=%zz"), 400, "cannot be read"},
		"JSON":             {strings.Replace(post(`{"vn":"blue"}`), "x-www-form-urlencoded", "json", 1), 415, "-d vn=NAME"},
		"no type":          {"POST /join HTTP/1.1\r\nHost: HOST\r\nContent-Length: 7\r\n\r\nvn=blue", 415, ""},
		"huge":             {post(long), 413, ""},
		"huge, no end":     {"POST /join HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1000\r\n"+strings.Repeat("x", 0x1000)+"\r\n", 4), 413, ""},
		"slow":             {"POST /join HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\nvn", 400, ""},
		"huge header":      {get("/", "X: "+strings.Repeat("x", 32<<10)), 431, ""},
		"page of others":   {post("vn=blue", "Origin: http://evil.example"), 403, "somebody else"},
		"page of nobody":   {post("vn=blue", "Origin: null"), 403, ""},
		"cross-site":       {post("vn=blue", "Sec-Fetch-Site: cross-site"), 403, ""},
		"same-site":        {post("vn=blue", "Sec-Fetch-Site: same-site"), 403, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, body := l.ask(t, c.request)
			if r == nil || r.StatusCode != c.status || !strings.Contains(body, c.want) {
				t.Fatalf("answer %v, want %d with %q:\n%s", r, c.status, c.want, body)
			}
			if c.status < 421 && r.Header.Get("Content-Security-Policy") == "" && c.status != 400 {
				t.Error("no Content-Security-Policy")
			}
		})
	}
	if len(l.filed) > 0 {
		t.Errorf("a bad request was filed: %q", l.filed)
	}
}

func TestJoin(t *testing.T) {
	l := newLAN(t)
	r, body := l.ask(t, post("vn=blue&name=desk"))
	if r == nil || r.StatusCode != 202 || !strings.Contains(body, "Request 7 is filed: desk in blue is waiting.") {
		t.Errorf("%v %s", r, body)
	}
	r, _ = l.ask(t, post("vn=blue", "Accept: text/html", "Origin: http://HOST", "Sec-Fetch-Site: same-origin"))
	if r == nil || r.StatusCode != 303 || r.Header.Get("Location") != "/" {
		t.Errorf("a browser: %v", r)
	}
	l.set(func() { l.err = fmt.Errorf("%w: this machine has 4 requests already", control.ErrRefused) })
	if r, body := l.ask(t, post("vn=blue")); r == nil || r.StatusCode != 422 || !strings.Contains(body, "4 requests") {
		t.Errorf("refused: %v %s", r, body)
	}
	l.set(func() { l.err = errors.New("/var/lib/vine is on fire") })
	if r, body := l.ask(t, post("vn=blue")); r == nil || r.StatusCode != 503 || strings.Contains(body, "/var") {
		t.Errorf("broken: %v %s", r, body)
	}
	want := `02:00:5e:10:00:01 127.0.0.1 "desk" "blue"`
	if l.filed[0] != want {
		t.Errorf("filed %s, want %s", l.filed[0], want)
	}
	statuses := map[int]int{}
	for range filesBurst + 4 {
		r, _ := l.ask(t, post("vn=blue"))
		statuses[r.StatusCode]++
	}
	if statuses[429] == 0 || len(l.filed) > filesBurst+4 {
		t.Errorf("%d were filed in a moment: %v", len(l.filed), statuses)
	}
}

func TestState(t *testing.T) {
	l := newLAN(t)
	desk := control.LANHost{Name: "desk", Addr: netip.MustParseAddr("10.192.0.10"), VNs: []string{"blue", "red"}}
	for _, c := range []struct {
		name    string
		hosts   []control.LANHost
		asks    []control.HostRequest
		seen    hosts.MAC
		want    string
		missing string
	}{
		{"stranger", nil, nil, "", "Host       not known here\n", "Missing    an address. Ask to be in a virtual network: curl -X POST http://HOST/join -d vn=NAME\n"},
		{"waits", nil, []control.HostRequest{{ID: 3, VN: "blue", State: "waiting"}}, "", "Request 3  blue: waiting\n", "Missing    nothing\n"},
		{"denied", nil, []control.HostRequest{{ID: 3, VN: "blue", State: "denied", Reason: "room 214"}}, "", "Request 3  blue: denied: room 214\n", "Missing    an address"},
		{"in use", []control.LANHost{desk}, nil, mac, "Host       desk, 10.192.0.10, in use\nMember of  blue, red\n", "Missing    nothing\n"},
		{"not set up", []control.LANHost{desk}, nil, "", "Host       desk, 10.192.0.10, not seen on this LAN\n", "Missing    10.192.0.10 is not set up on this machine: curl -s http://HOST/setup.sh | sudo sh"},
		{"taken", []control.LANHost{desk}, nil, "02:00:5e:10:00:09", "10.192.0.10, in use by another machine\n", "Missing    10.192.0.10 is used by another machine"},
		{"no VN", []control.LANHost{{Name: "desk", Addr: desk.Addr}}, nil, mac, "Member of  no virtual network\n", "Missing    10.192.0.10 is in no virtual network. Ask:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.set(func() {
				l.standing.Hosts, l.standing.Requests, l.asked = c.hosts, c.asks, nil
				l.macs[desk.Addr] = c.seen
			})
			r, body := l.ask(t, get("/"))
			if r == nil || r.StatusCode != 200 || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain") {
				t.Fatalf("%v", r)
			}
			for _, want := range []string{c.want, strings.ReplaceAll(c.missing, "HOST", l.at)} {
				if !strings.Contains(body, want) {
					t.Errorf("no %q in\n%s", want, body)
				}
			}
			if asked := len(l.asked) > 0; asked != (c.seen == "" && len(c.hosts) > 0) {
				t.Errorf("the kernel was asked for %v", l.asked)
			}
		})
	}
	// What others chose is text in a browser.
	l.set(func() {
		l.standing.Hosts = nil
		l.standing.Requests = []control.HostRequest{{ID: 3, VN: "blue", State: "denied", Reason: "<script>alert(1)</script>"}}
	})
	r, body := l.ask(t, get("/", "Accept: text/html,*/*;q=0.8"))
	if r == nil || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") || !strings.Contains(body, `<form method="post" action="/join">`) {
		t.Errorf("%v\n%s", r, body)
	}
	if strings.Contains(body, "<script") || !strings.Contains(body, "&lt;script&gt;") {
		t.Errorf("a reason becomes a script:\n%s", body)
	}
}

func TestSetup(t *testing.T) {
	l := newLAN(t)
	l.set(func() { l.own = append(l.own, netip.MustParseAddr("192.168.1.2")) })
	r, body := l.ask(t, get("/setup.sh"))
	if r == nil || r.StatusCode != 404 {
		t.Fatalf("%v", r)
	}
	// Whoever pipes it into a shell gets an error and not a page.
	if out, err := exec.Command("sh", "-c", body).CombinedOutput(); err == nil || !strings.Contains(string(out), "no address for this machine (MAC 02:00:5e:10:00:01)") {
		t.Errorf("%v %s", err, out)
	}
	if _, body := l.ask(t, get("/setup.ps1")); !strings.HasPrefix(body, "throw '") {
		t.Errorf("got %s", body)
	}
	l.set(func() {
		l.standing.Hosts = []control.LANHost{{Name: "desk", Addr: netip.MustParseAddr("10.192.0.10")}, {Name: "six", Addr: netip.MustParseAddr("fd00:192::10")}}
	})
	// 127.0.0.1 is no address to route by; the other one on the interface is. IPv6 has none: it is left out.
	r, body = l.ask(t, get("/setup.sh"))
	if r == nil || r.StatusCode != 200 || !strings.Contains(body, "ip address replace 10.192.0.10/24 dev") || !strings.Contains(body, "via 192.168.1.2 dev") || strings.Contains(body, "fd00") {
		t.Errorf("%v\n%s", r, body)
	}
	if strings.Contains(body, "nmcli") {
		t.Error("a script that nobody asked to last does")
	}
	if out, err := exec.Command("sh", "-n", "-c", body).CombinedOutput(); err != nil {
		t.Errorf("%v %s", err, out)
	}
	if _, body := l.ask(t, get("/setup.sh?lasting")); !strings.Contains(body, "nmcli") || !strings.Contains(body, "launchctl") {
		t.Errorf("got\n%s", body)
	} else if out, err := exec.Command("sh", "-n", "-c", body).CombinedOutput(); err != nil {
		t.Errorf("%v %s\n%s", err, out, body)
	}
	if _, body := l.ask(t, get("/setup.ps1")); !strings.Contains(body, "New-NetRoute -DestinationPrefix '10.192.0.0/10'") {
		t.Errorf("got\n%s", body)
	}
}

// TestDoor: who is no neighbour, calls another address, or has enough connections gets not a byte.
func TestDoor(t *testing.T) {
	l := newLAN(t)
	closed := func(what string) {
		t.Helper()
		if r, _ := l.try(t, get("/")); r != nil {
			t.Errorf("%s: answered %v", what, r)
		}
	}
	l.ask(t, get("/"))
	l.set(func() { l.macs[home] = "" })
	closed("no neighbour")
	l.set(func() { l.macs[home], l.own = mac, nil })
	closed("another address of the machine")
	l.set(func() { l.own = []netip.Addr{home} })
	l.ask(t, get("/"))
}

// TestConnectionsAreBounded: one machine cannot hold all connections, and all together not more than there are.
func TestConnectionsAreBounded(t *testing.T) {
	var mu sync.Mutex
	who := mac
	d := &door{
		bucket:    bucket{burst: 1000, every: time.Millisecond},
		byMAC:     map[hosts.MAC]int{},
		addresses: func(string) []netip.Addr { return []netip.Addr{home} },
		neighbour: func(string, netip.Addr) (hosts.MAC, error) {
			mu.Lock()
			defer mu.Unlock()
			return who, nil
		},
	}
	var err error
	if d.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, 100)
	go func() {
		for {
			c, err := d.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", d.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	shut := func(c net.Conn) bool {
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err := c.Read(make([]byte, 1))
		return !errors.Is(err, context.DeadlineExceeded) && err != nil && !isTimeout(err)
	}
	var mine []net.Conn
	for range connectionsPerMAC {
		dial()
		mine = append(mine, <-accepted)
	}
	if !shut(dial()) {
		t.Error("a fifth connection of one machine stays open")
	}
	mine[0].Close()
	mine[0].Close() // twice counts once
	dial()
	<-accepted
	if !shut(dial()) {
		t.Error("after one was closed, two more were taken")
	}
	for i := connectionsPerMAC; i < connectionsMax; i++ {
		mu.Lock()
		who = hosts.MAC(fmt.Sprintf("02:00:5e:10:01:%02x", i/2))
		mu.Unlock()
		dial()
		<-accepted
	}
	mu.Lock()
	who = "02:00:5e:10:02:00"
	mu.Unlock()
	if !shut(dial()) {
		t.Error("one more than all stays open")
	}
	d.Listener.Close()
	for range accepted {
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func TestBucket(t *testing.T) {
	b, now, passed := bucket{burst: 3, every: time.Second}, time.Unix(1_800_000_000, 0), 0
	for range 100 {
		if b.take(now) {
			passed++
		}
	}
	for range 40 { // ten seconds
		now = now.Add(250 * time.Millisecond)
		if b.take(now) {
			passed++
		}
	}
	if passed != 13 {
		t.Errorf("%d passed, want 3 and then one a second", passed)
	}
}

// TestSlow: who sends nothing, or half a header, is put out.
func TestSlow(t *testing.T) {
	l := newLAN(t)
	for _, sent := range []string{"", "GET / HTTP/1.1\r\nHo"} {
		c, err := net.Dial("tcp", l.at)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, sent)
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, c); isTimeout(err) {
			t.Errorf("%q: still open", sent)
		}
		c.Close()
	}
}

// TestInterfaceComesAndGoes: the page is opened again on an interface that is another one now, and after a port was taken.
func TestInterfaceComesAndGoes(t *testing.T) {
	opened, index, fail := make(chan bool, 100), 1, true
	var mu sync.Mutex
	p := New(Config{Interfaces: []string{"lan0"}, Log: slog.New(slog.DiscardHandler), Neighbour: func(string, netip.Addr) (hosts.MAC, error) { return mac, nil }})
	p.retry = 10 * time.Millisecond
	p.index = func(string) int {
		mu.Lock()
		defer mu.Unlock()
		return index
	}
	p.listen = func(context.Context, string, netip.AddrPort) (net.Listener, error) {
		mu.Lock()
		defer mu.Unlock()
		opened <- !fail
		if fail {
			fail = false
			return nil, errors.New("the port is taken")
		}
		return net.Listen("tcp", "127.0.0.1:0")
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	if <-opened || !<-opened {
		t.Error("it was not opened when it could be")
	}
	mu.Lock()
	index = 2
	mu.Unlock()
	if !<-opened {
		t.Error("it was not opened on the new interface")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
