package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stub is a Router of which every call but Submit panics; the server must survive that too.
type stub struct{ Router }

func (stub) Submit(context.Context, []byte) (Request, error) { return Request{}, nil }

// serveStub serves a stub with little patience, and returns a function that opens a connection.
func serveStub(t *testing.T) func() net.Conn {
	dir, err := os.MkdirTemp("", "vs")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "vine.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	s := newServer(onSocket(stub{}), slog.New(slog.DiscardHandler), times{50 * time.Millisecond, 100 * time.Millisecond, 50 * time.Millisecond, time.Second})
	go func() { ended <- serve(ctx, l, s) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	return func() net.Conn {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}

// TestBadRequests sends what no client of ours would, byte for byte.
func TestBadRequests(t *testing.T) {
	dial := serveStub(t)
	const post = "POST /api/v1/requests HTTP/1.1\r\nHost: vine\r\nContent-Type: application/octet-stream\r\n"
	id := strings.Repeat("0", 64)
	for name, tc := range map[string]struct {
		request string
		status  int
		allow   string
	}{
		"unknown path":        {"GET /api/v1/nothing HTTP/1.1\r\nHost: vine\r\n\r\n", 404, ""},
		"root":                {"GET / HTTP/1.1\r\nHost: vine\r\n\r\n", 404, ""},
		"other version":       {"GET /api/v2/status HTTP/1.1\r\nHost: vine\r\n\r\n", 404, ""},
		"wrong method":        {"DELETE /api/v1/status HTTP/1.1\r\nHost: vine\r\n\r\n", 405, "GET, HEAD"},
		"post to a list":      {"POST /api/v1/vns HTTP/1.1\r\nHost: vine\r\nContent-Length: 0\r\n\r\n", 405, "GET, HEAD"},
		"delete requests":     {"DELETE /api/v1/requests HTTP/1.1\r\nHost: vine\r\n\r\n", 405, "GET, HEAD, POST"},
		"delete documents":    {"DELETE /api/v1/documents HTTP/1.1\r\nHost: vine\r\n\r\n", 405, "GET, HEAD, POST"},
		"document, no type":   {"POST /api/v1/documents HTTP/1.1\r\nHost: vine\r\nContent-Length: 1\r\n\r\nx", 415, ""},
		"document, huge":      {"POST /api/v1/documents HTTP/1.1\r\nHost: vine\r\nContent-Type: application/octet-stream\r\n" + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", bodyBytesMax+1, strings.Repeat("x", bodyBytesMax+1)), 413, ""},
		"post to users":       {"POST /api/v1/users HTTP/1.1\r\nHost: vine\r\nContent-Length: 0\r\n\r\n", 405, "GET, HEAD"},
		"get reload":          {"GET /api/v1/reload HTTP/1.1\r\nHost: vine\r\n\r\n", 405, "POST"},
		"made-up method":      {"FROB /api/v1/reload HTTP/1.1\r\nHost: vine\r\n\r\n", 405, "POST"},
		"foreign host":        {"GET /api/v1/status HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421, ""},
		"foreign host, post":  {"POST /api/v1/reload HTTP/1.1\r\nHost: evil.example:80\r\nContent-Length: 0\r\n\r\n", 421, ""},
		"no type":             {"POST /api/v1/requests HTTP/1.1\r\nHost: vine\r\nContent-Length: 1\r\n\r\nx", 415, ""},
		"wrong type":          {"POST /api/v1/requests HTTP/1.1\r\nHost: vine\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\nx", 415, ""},
		"empty body":          {post + "Content-Length: 0\r\n\r\n", 400, ""},
		"huge body":           {post + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", bodyBytesMax+1, strings.Repeat("x", bodyBytesMax+1)), 413, ""},
		"huge body, no end":   {post + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1000\r\n"+strings.Repeat("x", 0x1000)+"\r\n", 17), 413, ""},
		"endless body begins": {post + "Content-Length: 9999999999\r\n\r\n" + strings.Repeat("x", bodyBytesMax+1), 413, ""},
		"slow body":           {post + "Content-Length: 100\r\n\r\nabc", 408, ""},
		"short ID":            {"GET /api/v1/requests/12 HTTP/1.1\r\nHost: vine\r\n\r\n", 400, ""},
		"bad ID":              {"GET /api/v1/requests/" + strings.Repeat("z", 64) + " HTTP/1.1\r\nHost: vine\r\n\r\n", 400, ""},
		"bad wait":            {"GET /api/v1/requests/" + id + "?wait=soon HTTP/1.1\r\nHost: vine\r\n\r\n", 400, ""},
		"negative wait":       {"GET /api/v1/requests/" + id + "?wait=-1 HTTP/1.1\r\nHost: vine\r\n\r\n", 400, ""},
		"paths to nowhere":    {"GET /api/v1/paths HTTP/1.1\r\nHost: vine\r\n\r\n", 400, ""},
		"paths, long name":    {"GET /api/v1/paths?to=" + strings.Repeat("x", nameBytesMax+1) + " HTTP/1.1\r\nHost: vine\r\n\r\n", 400, ""},
		"post to paths":       {"POST /api/v1/paths?to=osaka HTTP/1.1\r\nHost: vine\r\nContent-Length: 0\r\n\r\n", 405, "GET, HEAD"},
		"post to queues":      {"POST /api/v1/queues HTTP/1.1\r\nHost: vine\r\nContent-Length: 0\r\n\r\n", 405, "GET, HEAD"},
		"put to drain":        {"PUT /api/v1/drain HTTP/1.1\r\nHost: vine\r\nContent-Length: 0\r\n\r\n", 405, "DELETE, GET, HEAD, POST"},
		"drain with a body":   {"POST /api/v1/drain HTTP/1.1\r\nHost: vine\r\nContent-Length: 1\r\n\r\nx", 400, ""},
		"drain, huge body":    {"POST /api/v1/drain HTTP/1.1\r\nHost: vine\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1000\r\n"+strings.Repeat("x", 0x1000)+"\r\n", 17), 413, ""},
		"undrain, slow body":  {"DELETE /api/v1/drain HTTP/1.1\r\nHost: vine\r\nContent-Length: 9\r\n\r\nabc", 408, ""},
		"drain, foreign host": {"POST /api/v1/drain HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n", 421, ""},
		"host, no type":       {"POST /api/v1/lan-hosts HTTP/1.1\r\nHost: vine\r\nContent-Length: 2\r\n\r\n{}", 415, ""},
		"host, no JSON":       {"POST /api/v1/lan-hosts HTTP/1.1\r\nHost: vine\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{", 400, ""},
		"host, wrong type":    {"POST /api/v1/lan-hosts HTTP/1.1\r\nHost: vine\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{\"name\":1}", 400, ""},
		"host, unknown field": {"POST /api/v1/lan-hosts HTTP/1.1\r\nHost: vine\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"x\":1}", 400, ""},
		"host, two bodies":    {"POST /api/v1/lan-hosts HTTP/1.1\r\nHost: vine\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n{}{}", 400, ""},
		"host, slow body":     {"POST /api/v1/lan-hosts HTTP/1.1\r\nHost: vine\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n{", 408, ""},
		"put a host":          {"PUT /api/v1/lan-hosts HTTP/1.1\r\nHost: vine\r\nContent-Length: 0\r\n\r\n", 405, "GET, HEAD, POST"},
		"get a host":          {"GET /api/v1/lan-hosts/desk HTTP/1.1\r\nHost: vine\r\n\r\n", 405, "DELETE"},
		"remove, with a body": {"DELETE /api/v1/lan-hosts/desk HTTP/1.1\r\nHost: vine\r\nContent-Length: 1\r\n\r\nx", 400, ""},
		"answer, no number":   {"POST /api/v1/host-requests/x HTTP/1.1\r\nHost: vine\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", 400, ""},
		"answer, foreign":     {"POST /api/v1/host-requests/3 HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", 421, ""},
		"call that panics":    {"GET /api/v1/vns/blue HTTP/1.1\r\nHost: vine\r\n\r\n", 500, ""},
		"fine":                {post + "Content-Length: 1\r\n\r\nx", 202, ""},
		"localhost is fine":   {"POST /api/v1/requests HTTP/1.1\r\nHost: localhost:80\r\nContent-Type: Application/Octet-Stream; x=y\r\nContent-Length: 1\r\n\r\nx", 202, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial()
			go io.WriteString(c, tc.request) // the server may answer before it has read all
			r, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r.Body)
			if err != nil || r.StatusCode != tc.status || r.Header.Get("Allow") != tc.allow {
				t.Fatalf("status %d, Allow %q, err %v, want %d, %q; body %s", r.StatusCode, r.Header.Get("Allow"), err, tc.status, tc.allow, body)
			}
			if tc.status < 400 {
				return
			}
			var p Problem
			if err := json.Unmarshal(body, &p); err != nil || r.Header.Get("Content-Type") != typeProblem {
				t.Fatalf("no problem document: %s %s", r.Header.Get("Content-Type"), body)
			}
			if p.Status != tc.status || p.Title == "" || p.Type == "" || p.Detail == "" {
				t.Errorf("problem %+v lacks something", p)
			}
		})
	}
}

// TestSlowClients sees that connections that send nothing, half a header, or nothing after an answer
// are ended by the server.
func TestSlowClients(t *testing.T) {
	dial := serveStub(t)
	for name, sent := range map[string]string{
		"silent":      "",
		"half header": "GET /api/v1/status HTTP/1.1\r\nHo",
		"idle after":  "GET /api/v1/nothing HTTP/1.1\r\nHost: vine\r\n\r\n",
		"huge header": "GET /api/v1/status HTTP/1.1\r\nHost: vine\r\nX: " + strings.Repeat("x", 64<<10),
	} {
		t.Run(name, func(t *testing.T) {
			c := dial()
			go io.WriteString(c, sent)
			_, err := io.Copy(io.Discard, c) // ends when the server closes
			if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
				t.Error(err)
			}
		})
	}
}
