package serfrpc

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// A client is one connection. run reads its requests one after the other; its streams send
// in between.
type client struct {
	server *Server
	conn   net.Conn
	in     *frame
	dec    *codec.Decoder

	// Used by run's goroutine only:
	version int32 // 0 before the handshake
	authed  bool

	writing sync.Mutex // guards out and enc: held for one response
	out     *bufio.Writer
	enc     *codec.Encoder

	tasks   sync.WaitGroup // the goroutines of streams
	mu      sync.Mutex     // guards what follows
	streams map[uint64]stream
	pending map[uint64]Event // queries that may still be answered
	lastID  uint64
}

// A stream is a task of a client that sends until it is stopped.
type stream struct {
	cancel  context.CancelFunc
	monitor bool
}

func newClient(s *Server, conn net.Conn) *client {
	out := bufio.NewWriter(conn)
	in := &frame{r: bufio.NewReader(conn)}
	return &client{
		server:  s,
		conn:    conn,
		in:      in,
		dec:     codec.NewDecoder(in, handle()),
		out:     out,
		enc:     codec.NewEncoder(out, handle()),
		streams: make(map[uint64]stream),
		pending: make(map[uint64]Event),
	}
}

// handle returns the encoding that stock clients use.
func handle() *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{WriteExt: true}
	h.TimeNotBuiltin = true
	// A length that a client claims reserves no more than this before the bytes are there.
	h.MaxInitLen = 1024
	return h
}

// A frame bounds how much of one request is read.
type frame struct {
	r    *bufio.Reader
	left int
}

var errRequestSize = errors.New("serfrpc: request is too long")

func (f *frame) Read(b []byte) (int, error) {
	if f.left <= 0 {
		return 0, errRequestSize
	}
	n, err := f.r.Read(b[:min(len(b), f.left)])
	f.left -= n
	return n, err
}

func (f *frame) ReadByte() (byte, error) {
	if f.left <= 0 {
		return 0, errRequestSize
	}
	c, err := f.r.ReadByte()
	if err == nil {
		f.left--
	}
	return c, err
}

func (f *frame) UnreadByte() error {
	err := f.r.UnreadByte()
	if err == nil {
		f.left++
	}
	return err
}

// run serves the client until it goes, misbehaves or ctx ends.
func (c *client) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = c.conn.Close() })
	defer c.tasks.Wait()
	defer stop()
	defer c.conn.Close()
	defer cancel()
	for {
		if err := c.await(); err != nil {
			return
		}
		var h requestHeader
		if err := c.dec.Decode(&h); err != nil {
			return
		}
		if err := c.serve(ctx, h); err != nil {
			return
		}
	}
}

// await waits for the next request to begin, and starts its clock and its count.
func (c *client) await() error {
	c.mu.Lock()
	watching := len(c.streams) > 0
	c.mu.Unlock()
	var deadline time.Time
	switch {
	case c.version == 0 || c.server.Token != "" && !c.authed:
		deadline = time.Now().Add(requestTimeout)
	case !watching:
		deadline = time.Now().Add(idleTimeout)
	}
	if err := c.conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	if _, err := c.in.r.Peek(1); err != nil {
		return err
	}
	c.in.left = requestMax
	return c.conn.SetReadDeadline(time.Now().Add(requestTimeout))
}

// send sends a response and, if it is not nil, its body.
func (c *client) send(seq uint64, say string, body any) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if err := c.enc.Encode(&responseHeader{Seq: seq, Error: say}); err != nil {
		return err
	}
	if body != nil {
		if err := c.enc.Encode(body); err != nil {
			return err
		}
	}
	return c.out.Flush()
}

// errClose ends a client whose next bytes cannot be told from a request.
var errClose = errors.New("serfrpc: client closed")

// serve answers one request whose header was read. An error ends the client.
func (c *client) serve(ctx context.Context, h requestHeader) error {
	if h.Command != "handshake" && c.version == 0 {
		_ = c.send(h.Seq, errHandshake, nil)
		return errClose
	}
	if c.server.Token != "" && !c.authed && h.Command != "auth" && h.Command != "handshake" {
		_ = c.send(h.Seq, errAuth, nil)
		return errClose
	}
	if r, ok := refusals[h.Command]; ok {
		if r.body {
			if err := c.dec.Decode(&ignored{}); err != nil {
				return err
			}
		}
		return c.send(h.Seq, r.say, r.answer)
	}
	switch h.Command {
	case "handshake":
		var req handshakeRequest
		if err := c.dec.Decode(&req); err != nil {
			return err
		}
		return c.handshake(h.Seq, req)
	case "auth":
		var req authRequest
		if err := c.dec.Decode(&req); err != nil {
			return err
		}
		return c.auth(h.Seq, req)
	case "members":
		return c.send(h.Seq, "", &membersResponse{c.server.Serf.Members()})
	case "members-filtered":
		var req filteredRequest
		if err := c.dec.Decode(&req); err != nil {
			return err
		}
		members, err := filterMembers(c.server.Serf.Members(), req)
		return c.send(h.Seq, text(err), &membersResponse{members})
	case "stats":
		return c.send(h.Seq, "", c.server.stats())
	case "get-coordinate":
		var req coordinateRequest
		if err := c.dec.Decode(&req); err != nil {
			return err
		}
		coord, ok := c.server.Serf.Coordinate(req.Node)
		return c.send(h.Seq, "", &coordinateAnswer{coord, ok})
	case "monitor":
		var req monitorRequest
		if err := c.dec.Decode(&req); err != nil {
			return err
		}
		return c.monitor(ctx, h.Seq, req)
	case "stream":
		var req streamRequest
		if err := c.dec.Decode(&req); err != nil {
			return err
		}
		return c.stream(ctx, h.Seq, req)
	case "stop":
		var req stopRequest
		if err := c.dec.Decode(&req); err != nil {
			return err
		}
		c.stop(req.Stop)
		return c.send(h.Seq, "", nil)
	case "query":
		var req queryRequest
		if err := c.dec.Decode(&req); err != nil {
			return err
		}
		return c.query(ctx, h.Seq, req)
	case "respond":
		var req respondRequest
		if err := c.dec.Decode(&req); err != nil {
			return err
		}
		return c.send(h.Seq, text(c.respond(req)), nil)
	default:
		_ = c.send(h.Seq, errCommand, nil)
		return errClose // it may have a body
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (c *client) handshake(seq uint64, req handshakeRequest) error {
	switch {
	case req.Version != ipcVersion:
		return c.send(seq, errVersion, nil)
	case c.version != 0:
		return c.send(seq, errHandshakeDone, nil)
	}
	c.version = req.Version
	return c.send(seq, "", nil)
}

// auth compares in constant time, and lets nobody guess twice on one connection.
func (c *client) auth(seq uint64, req authRequest) error {
	want, got := sha256.Sum256([]byte(c.server.Token)), sha256.Sum256([]byte(req.AuthKey))
	if c.server.Token == "" || subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
		_ = c.send(seq, errToken, nil)
		return errClose
	}
	c.authed = true
	return c.send(seq, "", nil)
}

var _ io.ByteScanner = (*frame)(nil)
