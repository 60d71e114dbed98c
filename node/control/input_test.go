package control

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/control/controltest"
	"github.com/vine-mesh/vine/tables"
)

// TestEveryRoute sends to every route of the table what no client of ours would, and holds each refusal against the
// OpenAPI document.
func TestEveryRoute(t *testing.T) {
	dial := serveStub(t)
	checker, err := controltest.New(OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	id := strings.Repeat("0", 64)
	chunks := "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1000\r\n"+strings.Repeat("x", 0x1000)+"\r\n", 17)
	const vineHost = "Host: vine\r\n"
	for _, rt := range table() {
		path := strings.NewReplacer("{id}", id, "{name}", "blue", "{number}", "1").Replace(rt.path)
		query := ""
		for _, p := range rt.query {
			if p.required {
				query = "?" + p.name + "=x"
			}
		}
		kind := ""
		if rt.takes != "" {
			kind = "Content-Type: " + rt.takes + "\r\n"
		}
		// one sends a call whose request line and header the arguments alter.
		one := func(name, method, target, header string, want ...int) {
			t.Run(rt.method+" "+rt.path+" "+name, func(t *testing.T) {
				c := dial()
				c.SetDeadline(time.Now().Add(10 * time.Second))
				go io.WriteString(c, method+" "+target+" HTTP/1.1\r\n"+header)
				r, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(r.Body)
				if err != nil || !slices.Contains(want, r.StatusCode) {
					t.Fatalf("status %d, err %v, want %v; body %s", r.StatusCode, err, want, body)
				}
				var p Problem
				if err := json.Unmarshal(body, &p); err != nil || p.Status != r.StatusCode || p.Title == "" || p.Type == "" || p.Detail == "" {
					t.Errorf("no problem details: %v %s", err, body)
				}
				if r.StatusCode == http.StatusMethodNotAllowed {
					if !strings.Contains(r.Header.Get("Allow"), rt.method) {
						t.Errorf("Allow: %s", r.Header.Get("Allow"))
					}
					return
				}
				if err := checker.Answer(rt.method, path, r.StatusCode, r.Header.Get("Content-Type"), body); err != nil {
					t.Error(err)
				}
			})
		}
		one("wrong method", "PATCH", path+query, vineHost+"Content-Length: 0\r\n\r\n", 405)
		one("made-up method", "FROB", path+query, vineHost+"\r\n", 405)
		one("foreign host", rt.method, path+query, "Host: evil.example\r\n"+kind+"Content-Length: 0\r\n\r\n", 421)
		one("rebound name", rt.method, path+query, "Host: vine.evil.example:80\r\n"+kind+"Content-Length: 0\r\n\r\n", 421)
		one("an address as host", rt.method, path+query, "Host: 127.0.0.1\r\n"+kind+"Content-Length: 0\r\n\r\n", 421)
		one("foreign origin", rt.method, path+query, vineHost+"Origin: https://evil.example\r\n"+kind+"Content-Length: 0\r\n\r\n", 403)
		one("no origin of a page", rt.method, path+query, vineHost+"Origin: null\r\n"+kind+"Content-Length: 0\r\n\r\n", 403)
		one("cross-site", rt.method, path+query, vineHost+"Sec-Fetch-Site: cross-site\r\n"+kind+"Content-Length: 0\r\n\r\n", 403)
		if rt.most == 0 {
			one("huge body", rt.method, path+query, vineHost+kind+chunks, 413)
		}
		one("huge length", rt.method, path+query, vineHost+kind+fmt.Sprintf("Content-Length: %d\r\n\r\n", max(rt.most, bodyBytesMax)+1), 413)
		one("slow body", rt.method, path+query, vineHost+kind+"Content-Length: 100\r\n\r\nabc", 408)
		one("unknown parameter", rt.method, path+"?colour=blue", vineHost+kind+"Content-Length: 0\r\n\r\n", 400)
		one("broken query", rt.method, path+"?to=%zz", vineHost+kind+"Content-Length: 0\r\n\r\n", 400)
		switch rt.takes {
		case typeJSON:
			one("wrong media type", rt.method, path, vineHost+"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", 415)
			one("no body", rt.method, path, vineHost+kind+"Content-Length: 0\r\n\r\n", 400)
			for _, wrong := range []string{"[]", "7", "{", `{"colour":"blue"}`, "{}{}"} {
				one("body "+wrong, rt.method, path, vineHost+kind+fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(wrong), wrong), 400)
			}
		case typeBundle:
			one("wrong media type", rt.method, path, vineHost+"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", 415)
			one("no body", rt.method, path, vineHost+kind+"Content-Length: 0\r\n\r\n", 400)
		case typeEnvelope:
			one("wrong media type", rt.method, path, vineHost+"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", 415)
			one("no body", rt.method, path, vineHost+kind+"Content-Length: 0\r\n\r\n", 400)
			one("bad If-Match", rt.method, path, vineHost+kind+"If-Match: blue\r\nContent-Length: 1\r\n\r\nx", 400)
			one("If-Match of something else", rt.method, path, vineHost+kind+"If-Match: \"abc\"\r\nContent-Length: 1\r\n\r\nx", 400)
		default:
			one("a body", rt.method, path+query, vineHost+"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", 400)
		}
		for _, p := range rt.query {
			if strings.HasPrefix(p.name, "{") {
				continue
			}
			one("twice "+p.name, rt.method, path+"?"+p.name+"=1&"+p.name+"=2", vineHost+"\r\n", 400)
			if p.required {
				one("without "+p.name, rt.method, path, vineHost+"\r\n", 400)
			}
			if p.kind == "integer" {
				for _, wrong := range []string{"soon", "-1", "1.5", "99999999999999999999"} {
					one(p.name+"="+wrong, rt.method, path+"?"+p.name+"="+wrong, vineHost+"\r\n", 400)
				}
			}
		}
		if rt.path == pathEvents {
			one("huge Last-Event-ID", rt.method, path, vineHost+"Last-Event-ID: "+strings.Repeat("1", nameBytesMax+1)+"\r\n\r\n", 400)
		}
	}
}

// TestWaitOutlivesReadPatience: the time in which a request must have come does not end the wait for its answer.
func TestWaitOutlivesReadPatience(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	s := newServer(onSocket(waiter{}), quietLog, times{50 * time.Millisecond, 50 * time.Millisecond, 50 * time.Millisecond, time.Second})
	go func() { ended <- serve(ctx, l, s) }()
	defer func() { cancel(); <-ended }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /api/v1/requests/%s?wait=1 HTTP/1.1\r\nHost: vine\r\n\r\n", strings.Repeat("0", 64))
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || r.StatusCode != 200 {
		t.Fatalf("%v %+v", err, r)
	}
}

// TestSlowReaderOfEvents: a reader who takes nothing is dropped and counted, and holds nobody up; and there are only so many.
func TestSlowReaderOfEvents(t *testing.T) {
	events := NewEvents(3)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, l, newServer(onSocket(watched{events: events}), quietLog, times{headerPatience, readPatience, idlePatience, time.Second}))
	}()
	defer func() { cancel(); <-ended }()
	open := func() (net.Conn, *http.Response) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.(*net.TCPConn).SetReadBuffer(4096)
		io.WriteString(c, "GET /api/v1/events HTTP/1.1\r\nHost: vine\r\n\r\n")
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		return c, r
	}
	open() // never read from
	deadline := time.Now().Add(time.Minute)
	begun := time.Now()
	for published := 0; ; published++ {
		if _, watching, slow := events.Counts(); slow == 1 && watching == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the slow reader is still there")
		}
		for range 100 {
			events.Publish(Event{Kind: EventDocument, Subject: strings.Repeat("x", 1000)})
		}
		runtime.Gosched()
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	for range streamsMax {
		if _, r := open(); r.StatusCode != 200 {
			t.Fatalf("status %d", r.StatusCode)
		}
	}
	if _, r := open(); r.StatusCode != 503 {
		t.Errorf("stream %d: status %d, want 503", streamsMax+1, r.StatusCode)
	}
}

// TestEventsGoOn: whoever comes back gets what it missed, or is told that it cannot.
func TestEventsGoOn(t *testing.T) {
	events := NewEvents(3)
	publish := func(n int) {
		for range n {
			events.Publish(Event{Kind: EventLink, Subject: "osaka", State: "up"})
		}
	}
	publish(5)
	first := func(after string) (got []string) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		events.Watch(ctx, after, func(ev Event) error {
			got = append(got, ev.Kind+" "+ev.ID)
			return nil
		})
		return got
	}
	for after, want := range map[string]string{
		"":                       "",
		"3-3":                    "link 3-4,link 3-5",
		"3-5":                    "",
		"2-3":                    "lost 3-5", // another run
		"3-6":                    "lost 3-5", // yet to come
		"3-99999999999999":       "lost 3-5",
		"nonsense":               "lost 3-5",
		"3-":                     "lost 3-5",
		"3-18446744073709551615": "lost 3-5",
	} {
		if got := strings.Join(first(after), ","); got != want {
			t.Errorf("after %q: %s, want %s", after, got, want)
		}
	}
	publish(eventsMax)
	if got := first("3-4"); len(got) != 1 || got[0] != fmt.Sprintf("lost 3-%d", eventsMax+5) {
		t.Errorf("after one that is forgotten: %v", got)
	}
	if got := first("3-5"); len(got) != eventsMax {
		t.Errorf("after the last that is not: %d events", len(got))
	}
	// Who stops while the ring turns over is dropped, and the others are not.
	var err error
	got := 0
	err = events.Watch(context.Background(), "3-1028", func(Event) error {
		if got++; got == 1 {
			publish(2 * eventsMax)
		}
		return nil
	})
	if _, _, slow := events.Counts(); slow != 1 || !strings.Contains(fmt.Sprint(err), "too slow") {
		t.Errorf("%d dropped, %v", slow, err)
	}
}

type waiter struct{ Router }

func (waiter) Request(ctx context.Context, _ tables.Hash, wait time.Duration) (Request, error) {
	select {
	case <-time.After(wait):
		return Request{}, nil
	case <-ctx.Done():
		return Request{}, ctx.Err()
	}
}

type watched struct {
	Router
	events *Events
}

func (w watched) Watch(ctx context.Context, after string, f func(Event) error) error {
	return w.events.Watch(ctx, after, f)
}

var quietLog = slog.New(slog.DiscardHandler)
