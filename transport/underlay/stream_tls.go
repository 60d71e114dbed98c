package underlay

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	// streamPath is the path of the WebSocket.
	streamPath = "/vine"

	// messageBytesMax bounds a WebSocket message. A sender makes none longer than writeBytes or one datagram.
	messageBytesMax = 64<<10 + 64

	notFound = "404 page not found\n"
)

// serverTLS makes a certificate that nobody needs to trust.
func serverTLS(r io.Reader) (*tls.Config, error) {
	if r == nil {
		r = rand.Reader
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), r) // what most web servers have
	if err != nil {
		return nil, fmt.Errorf("make a TLS key: %w", err)
	}
	serial := make([]byte, 16)
	if _, err := io.ReadFull(r, serial); err != nil {
		return nil, fmt.Errorf("make a TLS certificate: %w", err)
	}
	now := time.Now()
	cert := x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject:      pkix.Name{CommonName: "localhost"},
		DNSNames:     []string{"localhost"},
		NotBefore:    now.AddDate(0, -1, 0),
		NotAfter:     now.AddDate(10, 0, 0), // a VR that runs longer is not checked either
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(r, &cert, &cert, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make a TLS certificate: %w", err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"http/1.1"},
		Rand:         r,
	}, nil
}

// answer does the handshakes of an accepted connection. The connection has a deadline.
func (s *Streams) answer(p Protocol, raw net.Conn) (link, error) {
	if p == TCP {
		return tcpLink{raw}, nil
	}
	conn := tls.Server(raw, s.cert)
	if err := conn.Handshake(); err != nil {
		return nil, err
	}
	limit := &io.LimitedReader{R: conn, N: headerBytesMax}
	a := &answer{conn: conn, header: make(http.Header), rw: bufio.NewReadWriter(bufio.NewReaderSize(limit, readBytes), bufio.NewWriterSize(conn, writeBytes+64))}
	request, err := http.ReadRequest(a.rw.Reader)
	if err != nil {
		a.refuse()
		return nil, errors.New("not an HTTP request")
	}
	limit.N = math.MaxInt64
	if request.URL.Path != streamPath {
		a.refuse()
		return nil, errors.New("an HTTP request for something else")
	}
	ws, err := websocket.Accept(a, request, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return nil, err
	}
	return newWebLink(ws, nil), nil
}

// An answer is the http.ResponseWriter of a request that is a WebSocket handshake, or is told that there is
// nothing. A whole http.Server would start goroutines that it does not wait for.
type answer struct {
	conn   net.Conn
	header http.Header
	rw     *bufio.ReadWriter
	done   bool
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter: what is no success is a 404, whatever is wrong.
func (a *answer) WriteHeader(status int) {
	if a.done {
		return
	}
	if status != http.StatusSwitchingProtocols {
		a.refuse()
		return
	}
	a.done = true
	_, _ = a.rw.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = a.header.Write(a.rw)
	_, _ = a.rw.WriteString("\r\n")
	_ = a.rw.Flush() // an error comes back with the next use
}

// Write implements http.ResponseWriter. It drops the explanation that would come with an error.
func (a *answer) Write(p []byte) (int, error) { return len(p), nil }

// Hijack implements http.Hijacker.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) { return a.conn, a.rw, nil }

// refuse answers as a web server does that has nothing to show.
func (a *answer) refuse() {
	if a.done {
		return
	}
	a.done = true
	h := http.Header{
		"Content-Type":           {"text/plain; charset=utf-8"},
		"X-Content-Type-Options": {"nosniff"},
		"Date":                   {time.Now().UTC().Format(http.TimeFormat)},
		"Content-Length":         {strconv.Itoa(len(notFound))},
		"Connection":             {"close"},
	}
	_, _ = a.rw.WriteString("HTTP/1.1 404 Not Found\r\n")
	_ = h.Write(a.rw)
	_, _ = a.rw.WriteString("\r\n" + notFound)
	_ = a.rw.Flush()
	if t, ok := a.conn.(*tls.Conn); ok {
		_ = t.CloseWrite() // the end of the answer, and not a cut connection
	}
}

// dialTLS does the handshakes of a connection that was dialled.
func (s *Streams) dialTLS(ctx context.Context, conn net.Conn, t StreamTarget) (link, error) {
	name, host := t.ServerName, t.ServerName
	if name == "" {
		name = t.Endpoint.Addr().WithZone("").String() // crypto/tls sends no SNI for an address
		host = name
		if t.Endpoint.Addr().Is6() {
			host = "[" + name + "]"
		}
	}
	if t.Endpoint.Port() != 443 {
		host = fmt.Sprintf("%s:%d", host, t.Endpoint.Port())
	}
	secured := tls.Client(conn, &tls.Config{
		ServerName: name,
		// Whoever it is has to pass the Noise handshake before a packet is sent to it.
		InsecureSkipVerify: true,
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{"http/1.1"},
		Rand:               s.cfg.Rand,
	})
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", brief(err))
	}
	corked := &corkedConn{Conn: secured}
	transport := &http.Transport{
		DialTLSContext:         func(context.Context, string, string) (net.Conn, error) { return corked, nil },
		MaxResponseHeaderBytes: headerBytesMax,
		ReadBufferSize:         readBytes,
		DisableKeepAlives:      true,
		DisableCompression:     true,
	}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	target := url.URL{Scheme: "wss", Host: host, Path: streamPath}
	ws, response, err := websocket.Dial(ctx, target.String(), &websocket.DialOptions{HTTPClient: client, CompressionMode: websocket.CompressionDisabled})
	switch {
	case err == nil:
		return newWebLink(ws, corked), nil
	case response != nil:
		return nil, fmt.Errorf("the server there is no VR: it answered %w", refusal(response.StatusCode))
	}
	return nil, fmt.Errorf("the server there is no VR: %w", brief(err))
}

// webLink is a link of WebSocket messages, each of one or more whole datagrams.
type webLink struct {
	ws      *websocket.Conn
	cork    *corkedConn // nil for an accepted connection
	message io.Reader   // the message that is being read, or nil
	got     bool        // something of it has come
}

func newWebLink(ws *websocket.Conn, cork *corkedConn) *webLink {
	ws.SetReadLimit(messageBytesMax)
	return &webLink{ws: ws, cork: cork}
}

// read implements link. Contexts that never end cost the library nothing; deadlines and the end of the
// connection end the calls.
func (l *webLink) read(p []byte) (int, bool, error) {
	if l.message == nil {
		kind, r, err := l.ws.Reader(context.Background())
		if err != nil {
			return 0, false, err
		}
		if kind != websocket.MessageBinary {
			return 0, false, errors.New("a text message")
		}
		l.message, l.got = r, false
	}
	n, err := l.message.Read(p)
	l.got = l.got || n > 0
	switch {
	case err == nil:
		return n, false, nil
	case !errors.Is(err, io.EOF):
		return n, false, err
	case !l.got:
		return n, true, errors.New("an empty message")
	}
	l.message = nil
	return n, true, nil
}

func (l *webLink) write(p []byte) error {
	if l.cork == nil {
		return l.ws.Write(context.Background(), websocket.MessageBinary, p)
	}
	l.cork.hold()
	if err := l.ws.Write(context.Background(), websocket.MessageBinary, p); err != nil {
		return err
	}
	return l.cork.flush()
}

func (l *webLink) release() { _ = l.ws.CloseNow() }

// corkedConn gathers what the WebSocket library writes in pieces of 4 KiB for a client, so that a message is
// one TLS record and one call.
type corkedConn struct {
	net.Conn
	mu      sync.Mutex
	holding bool
	held    []byte
}

func (c *corkedConn) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holding = true
}

// flush writes what was held. A pong that the reader answers meanwhile comes along.
func (c *corkedConn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holding = false
	_, err := c.Conn.Write(c.held)
	c.held = c.held[:0]
	return err
}

// Write implements net.Conn.
func (c *corkedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holding {
		c.held = append(c.held, p...)
		return len(p), nil
	}
	return c.Conn.Write(p)
}
