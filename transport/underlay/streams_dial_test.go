package underlay_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/vine-mesh/vine/transport/path"
	"github.com/vine-mesh/vine/transport/underlay"
)

// exchange sends a datagram from a to b, over the connection that is to at a, and an answer back.
func exchange(t testing.TB, a, b *underlay.Streams, to netip.AddrPort) {
	t.Helper()
	in := []underlay.Datagram{{Buf: make([]byte, underlay.StreamDatagramMax)}}
	var atB netip.AddrPort
	for _, n := range []int{5, 1400, underlay.StrangerDatagramMax, underlay.StreamDatagramMax} {
		if n > underlay.StrangerDatagramMax {
			b.Keep(atB)
		}
		if k, err := a.WriteBatch([]underlay.Datagram{dgram(to, n)}); k != 1 || err != nil {
			t.Fatalf("WriteBatch = %d, %v", k, err)
		}
		if k, err := b.ReadBatch(in); k != 1 || err != nil || in[0].N != n {
			t.Fatalf("ReadBatch = %d of %d bytes, %v, want %d bytes", k, in[0].N, err, n)
		}
		atB = in[0].Addr
		if k, err := b.WriteBatch([]underlay.Datagram{dgram(in[0].Addr, n)}); k != 1 || err != nil {
			t.Fatalf("WriteBatch = %d, %v", k, err)
		}
		if k, err := a.ReadBatch(in); k != 1 || err != nil || in[0].N != n || in[0].Addr != to {
			t.Fatalf("ReadBatch = %d of %d bytes, %v, want %d bytes", k, in[0].N, err, n)
		}
	}
}

// wantError wants an error that says all of the texts.
func wantError(t testing.TB, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %q", texts)
		return
	}
	for _, s := range texts {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
	if strings.Contains(err.Error(), "secret") || len(err.Error()) > 400 {
		t.Errorf("%q says too much", err)
	}
}

func TestDialNames(t *testing.T) {
	noLeaks(t)
	for _, bind := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0"} {
		for _, p := range protocols {
			for _, name := range []string{"", "www.example.com"} {
				s := underlay.NewStreams(underlay.StreamsConfig{})
				at, err := s.Listen(p, netip.MustParseAddrPort(bind))
				if err != nil {
					t.Logf("no %s here: %v", bind, err)
					continue
				}
				run(t, s)
				if at.Addr().IsUnspecified() {
					at = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), at.Port())
				}
				a := dialler(t)
				exchange(t, a, s, dial(t, a, underlay.StreamTarget{Protocol: p, Endpoint: at, ServerName: name}))
				if got := s.Status()[0].Remote.Addr(); got != at.Addr() {
					t.Errorf("%s: remote %v, want %v", bind, got, at.Addr())
				}
			}
		}
	}
}

func TestDialErrors(t *testing.T) {
	noLeaks(t)
	a := dialler(t)
	loop := netip.MustParseAddr("127.0.0.1")
	good := netip.AddrPortFrom(loop, 443)
	for _, tt := range []struct {
		target underlay.StreamTarget
		says   []string
	}{
		{underlay.StreamTarget{Endpoint: good}, []string{"protocol"}},
		{underlay.StreamTarget{Protocol: 7, Endpoint: good}, []string{"protocol"}},
		{underlay.StreamTarget{Protocol: underlay.TCP}, []string{"not an endpoint"}},
		{underlay.StreamTarget{Protocol: underlay.TCP, Endpoint: netip.AddrPortFrom(loop, 0)}, []string{"not an endpoint"}},
		{underlay.StreamTarget{Protocol: underlay.TCP, Endpoint: path.Stream(1)}, []string{"not an endpoint"}},
		{underlay.StreamTarget{Protocol: underlay.TLS, Endpoint: good, ServerName: "a b"}, []string{"not a host name"}},
		{underlay.StreamTarget{Protocol: underlay.TLS, Endpoint: good, ServerName: "a\r\nX: y"}, []string{"not a host name"}},
		{underlay.StreamTarget{Protocol: underlay.TLS, Endpoint: good, Proxy: proxyURL("ftp://secret@h:1")}, []string{"proxy", "ftp"}},
		{underlay.StreamTarget{Protocol: underlay.TLS, Endpoint: good, Proxy: proxyURL("http://:1")}, []string{"proxy", "no host"}},
	} {
		_, err := a.Dial(t.Context(), tt.target)
		wantError(t, err, tt.says...)
	}
	// Nobody listens, or nobody answers.
	dead := deadPort(t, loop) // of UDP, and so most likely of TCP
	_, err := a.Dial(t.Context(), underlay.StreamTarget{Protocol: underlay.TCP, Endpoint: dead})
	wantError(t, err, "dial tcp "+dead.String(), "refused")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	mute := silent.Addr().(*net.TCPAddr).AddrPort()
	_, err = a.Dial(ctx, underlay.StreamTarget{Protocol: underlay.TLS, Endpoint: mute})
	wantError(t, err, "dial tls "+mute.String(), "deadline")
	_, err = a.Dial(t.Context(), underlay.StreamTarget{Protocol: underlay.TLS, Endpoint: mute})
	wantError(t, err, "dial tls "+mute.String(), "no answer within 5s")
	// A server that speaks the other protocol.
	_, tcp := listenStreams(t, underlay.TCP)
	_, err = a.Dial(ctx, underlay.StreamTarget{Protocol: underlay.TLS, Endpoint: tcp})
	wantError(t, err, "dial tls "+tcp.String())
	if s := a.Status(); len(s) != 0 {
		t.Errorf("%+v is left", s)
	}
}

// TestDialAndTheEnd has Dial wait for Run, end with it, and fail after it.
func TestDialAndTheEnd(t *testing.T) {
	noLeaks(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	target := underlay.StreamTarget{Protocol: underlay.TLS, Endpoint: silent.Addr().(*net.TCPAddr).AddrPort()}
	a := underlay.NewStreams(underlay.StreamsConfig{})
	early, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := a.Dial(early, target); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("before Run: %v", err)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := a.Dial(t.Context(), target)
		failed <- err
	}()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	c, err := silent.Accept() // so the dial is under way
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("during the end: %v", err)
	}
	if _, err := a.Dial(t.Context(), target); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	if err := a.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a second Run: %v", err)
	}
	if _, err := a.Listen(underlay.TCP, netip.MustParseAddrPort("127.0.0.1:0")); err == nil {
		t.Error("Listen after the end succeeded")
	}
	if err := a.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// TestCloseWithoutRun gives back the ports.
func TestCloseWithoutRun(t *testing.T) {
	s := underlay.NewStreams(underlay.StreamsConfig{})
	at, err := s.Listen(underlay.TCP, netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Listen(underlay.TLS, at); err == nil {
		t.Error("a port could be taken twice")
	}
	s.Close()
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := s.ReadBatch([]underlay.Datagram{{Buf: make([]byte, 1)}}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("ReadBatch: %v", err)
	}
}

// tlsTo makes a bare TLS connection.
func tlsTo(t testing.TB, at netip.AddrPort) *tls.Conn {
	t.Helper()
	c := tls.Client(dialFrom(t, "127.0.0.1", at), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestLooksLikeAWebServer asks the TLS listener for what a browser or a scanner asks for.
func TestLooksLikeAWebServer(t *testing.T) {
	noLeaks(t)
	s, at := server(t, underlay.TLS, func(l underlay.Limits) { *l.PerNet = 1 << 30 })
	for name, ask := range map[string]string{
		"root":               "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"our path":           "GET /vine HTTP/1.1\r\nHost: a\r\n\r\n",
		"half an upgrade":    "GET /vine HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"WebSocket for more": "GET /vines HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		"a page of another":  "GET /vine HTTP/1.1\r\nHost: a\r\nOrigin: https://b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		"post":               "POST /vine HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
		"proxy":              "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\n\r\n",
		"old":                "GET / HTTP/1.0\r\n\r\n",
		"garbage":            "\x00\x01\x02\r\n\r\n",
		"endless header":     "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 2*underlay.HeaderBytesMax),
	} {
		t.Run(name, func(t *testing.T) {
			c := tlsTo(t, at)
			go func() { _, _ = io.WriteString(c, ask) }()
			answer, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(answer.Body)
			if answer.StatusCode != 404 || string(body) != "404 page not found\n" || err != nil || answer.Header.Get("Upgrade") != "" {
				t.Errorf("%v, %q, %v", answer, body, err)
			}
		})
	}
	cert := tlsTo(t, at).ConnectionState()
	if cert.Version != tls.VersionTLS13 || cert.NegotiatedProtocol != "http/1.1" {
		t.Errorf("%+v", cert)
	}
	if n := openStreams(s); n != 0 {
		t.Errorf("%d streams", n)
	}
}

// TestGarbageEndsAConnection sends what no VR sends, after one good datagram, which arrives.
func TestGarbageEndsAConnection(t *testing.T) {
	noLeaks(t)
	good := []byte{0, 2, 'o', 'k'}
	in := []underlay.Datagram{{Buf: make([]byte, 16)}}
	wantGood := func(t *testing.T, s *underlay.Streams) {
		t.Helper()
		if n, err := s.ReadBatch(in); n != 1 || err != nil || string(in[0].Buf[:in[0].N]) != "ok" {
			t.Fatalf("ReadBatch = %d, %v", n, err)
		}
	}
	t.Run("tcp", func(t *testing.T) {
		s, at := listenStreams(t, underlay.TCP)
		for _, bad := range [][]byte{
			{0x24, 0x01}, // a datagram of 9,217 bytes
			{0xff, 0xff, 1, 2, 3},
			[]byte("GET / HTTP/1.1\r\n\r\n"), // of 18,245
		} {
			c := dialFrom(t, "127.0.0.1", at)
			if _, err := c.Write(append(good[:4:4], bad...)); err != nil {
				t.Fatal(err)
			}
			wantGood(t, s)
			if got := <-s.Ended(); got != in[0].Addr {
				t.Errorf("%x: %v ended", bad, got)
			}
			if closed, said := closedWithin(t, c, 10*time.Second); !closed || said != 0 {
				t.Errorf("%x: closed %v, said %d", bad, closed, said)
			}
		}
	})
	t.Run("websocket", func(t *testing.T) {
		for i, bad := range []struct {
			kind websocket.MessageType
			text []byte
		}{
			{websocket.MessageText, good},                     // a text message
			{websocket.MessageBinary, nil},                    // nothing in it
			{websocket.MessageBinary, []byte{0}},              // half a length
			{websocket.MessageBinary, []byte{0, 3, 'a', 'b'}}, // a datagram cut off
			{websocket.MessageBinary, []byte{0xff, 0xff, 1}},
			{websocket.MessageBinary, make([]byte, 1<<20)}, // empty datagrams, but more than a message may hold
		} {
			s, at := listenStreams(t, underlay.TLS)
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
			ws, _, err := websocket.Dial(t.Context(), fmt.Sprintf("wss://%s%s", at, underlay.StreamPath), &websocket.DialOptions{HTTPClient: client})
			if err != nil {
				t.Fatal(err)
			}
			defer ws.CloseNow()
			if err := ws.Write(t.Context(), websocket.MessageBinary, good); err != nil {
				t.Fatal(err)
			}
			wantGood(t, s)
			ws.CloseRead(t.Context()) // has the connection read, as Ping needs
			if err := ws.Ping(t.Context()); err != nil {
				t.Errorf("%d: ping: %v", i, err)
			}
			go drain(s)
			_ = ws.Write(t.Context(), bad.kind, bad.text)
			if got := <-s.Ended(); got != in[0].Addr {
				t.Errorf("%d: %v ended", i, got)
			}
		}
	})
}

// drain reads until a Streams is closed.
func drain(s *underlay.Streams) {
	in := []underlay.Datagram{{Buf: make([]byte, 2048)}}
	for {
		if _, err := s.ReadBatch(in); err != nil {
			return
		}
	}
}
