package node

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport"
)

// The kinds of stream between VRs: the byte that opens one (docs/wire.md, "Streams").
const (
	streamGossip   uint8 = 1 // memberlist's push/pull and its other streams
	streamExchange uint8 = 2 // anti-entropy: package mesh, Exchange
	streamJoin     uint8 = 3 // a newcomer's conversation, on a join connection only
)

// A stream is the control loop's side of one transport stream: at most one read and one write
// waits at a time.
type stream struct {
	conn   transport.Conn
	router tables.RouterID // zero on a join connection
	kind   uint8
	read   *streamOp
	write  *streamOp
	err    error // set once the stream is closed
	closed bool
	// readable, when set, is called instead of completing reads: a conversation that the control
	// loop itself holds.
	readable func(now time.Time)
	// ended, when set, is called once, when the stream is gone.
	ended func(now time.Time, err error)
}

// A streamOp is one Read or Write that a goroutine waits for. The control loop touches p only
// between submit and the one value it sends on done.
type streamOp struct {
	p    []byte
	n    int // bytes written so far, for a write
	done chan streamResult
}

type streamResult struct {
	n   int
	err error
}

// pollStream completes the operations that wait on s as far as they can be.
func (l *loop) pollStream(now time.Time, id transport.Stream) {
	s := l.streams[id]
	if s == nil {
		return
	}
	if s.readable != nil {
		s.readable(now)
		return
	}
	if op := s.read; op != nil {
		switch n, eof, actions := l.links.ReadStream(now, id, op.p); {
		case n > 0:
			s.finishRead(n, nil)
			l.do(now, actions)
		case eof:
			s.finishRead(0, io.EOF)
			l.do(now, actions)
		default:
			l.do(now, actions)
		}
	}
	if op := s.write; op != nil {
		if s.closed {
			s.finishWrite(op.n, s.closeError())
			return
		}
		n, actions := l.links.WriteStream(now, id, op.p[op.n:])
		if op.n += n; op.n == len(op.p) {
			s.finishWrite(op.n, nil)
		}
		l.do(now, actions)
	}
}

func (s *stream) finishRead(n int, err error) {
	s.read.done <- streamResult{n, err}
	s.read = nil
}

func (s *stream) finishWrite(n int, err error) {
	s.write.done <- streamResult{n, err}
	s.write = nil
}

func (s *stream) closeError() error {
	if s.err != nil {
		return s.err
	}
	return net.ErrClosed
}

// streamClosed ends s: what waits on it fails.
func (l *loop) streamClosed(now time.Time, id transport.Stream, err error) {
	s := l.streams[id]
	if s == nil {
		return
	}
	s.closed, s.err = true, err
	if err == nil {
		s.err = io.EOF
	}
	if s.read != nil {
		s.finishRead(0, s.err)
	}
	if s.write != nil {
		s.finishWrite(s.write.n, s.closeError())
	}
	delete(l.streams, id)
	if s.ended != nil {
		s.ended(now, err)
	}
}

// A conn is a stream as a net.Conn, for goroutines outside the control loop (memberlist's). One
// Read and one Write may be under way at a time; a deadline counts from the next call on.
type conn struct {
	n      *Node
	id     transport.Stream
	local  net.Addr
	remote net.Addr

	mu            sync.Mutex // guards the deadlines
	readDeadline  time.Time
	writeDeadline time.Time
}

func (n *Node) newConn(id transport.Stream, remote tables.RouterID) *conn {
	return &conn{n: n, id: id, local: routerAddr(n.self.Router), remote: routerAddr(remote)}
}

// routerAddr is a router ID as a net.Addr. It must not be nil for memberlist.
type routerAddr tables.RouterID

func (routerAddr) Network() string  { return "vine" }
func (a routerAddr) String() string { return tables.RouterID(a).String() }

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.mu.Lock()
	deadline := c.readDeadline
	c.mu.Unlock()
	return c.wait(p, deadline, func(s *stream, op *streamOp) { s.read = op }, func(s *stream) **streamOp { return &s.read })
}

// Write implements net.Conn: it returns when the link has taken all of p, which does not say
// that the peer has it.
func (c *conn) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.mu.Lock()
	deadline := c.writeDeadline
	c.mu.Unlock()
	// memberlist sets no deadline on some writes; a peer that reads nothing must not hold us.
	if limit := time.Now().Add(streamWriteMax); deadline.IsZero() || deadline.After(limit) {
		deadline = limit
	}
	return c.wait(p, deadline, func(s *stream, op *streamOp) { s.write = op }, func(s *stream) **streamOp { return &s.write })
}

// streamWriteMax bounds one Write; above a stream's own idle limit, so it is only a backstop.
const streamWriteMax = 60 * time.Second

func (c *conn) wait(p []byte, deadline time.Time, submit func(*stream, *streamOp), slot func(*stream) **streamOp) (int, error) {
	op := &streamOp{p: p, done: make(chan streamResult, 1)}
	if !c.n.command(func(now time.Time, l *loop) {
		s := l.streams[c.id]
		if s == nil {
			op.done <- streamResult{0, io.EOF}
			return
		}
		submit(s, op)
		l.pollStream(now, c.id)
	}) {
		return 0, net.ErrClosed
	}
	var expired <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		expired = t.C
	}
	select {
	case r := <-op.done:
		return r.n, r.err
	case <-c.n.done:
		return 0, net.ErrClosed
	case <-expired:
	}
	// The loop may still be about to touch p: take the operation back before returning it.
	c.n.command(func(_ time.Time, l *loop) {
		if s := l.streams[c.id]; s != nil {
			if at := slot(s); *at == op {
				*at = nil
				op.done <- streamResult{op.n, os.ErrDeadlineExceeded}
			}
		}
	})
	select {
	case r := <-op.done:
		return r.n, r.err
	case <-c.n.done:
		return 0, net.ErrClosed
	}
}

// Close implements net.Conn: what was written is still delivered.
func (c *conn) Close() error {
	c.n.command(func(now time.Time, l *loop) { l.closeStream(now, c.id) })
	return nil
}

// closeStream ends our side and gives up the other: nobody will read it.
func (l *loop) closeStream(now time.Time, id transport.Stream) {
	if s := l.streams[id]; s != nil {
		if s.read != nil {
			s.finishRead(0, net.ErrClosed)
		}
		if s.write != nil {
			s.finishWrite(s.write.n, net.ErrClosed)
		}
	}
	l.do(now, l.links.CloseStream(now, id))
	if s := l.streams[id]; s != nil {
		// Nobody reads any more: what still comes is thrown away, so that the stream can end.
		s.readable = func(now time.Time) {
			var waste [4096]byte
			for {
				n, _, actions := l.links.ReadStream(now, id, waste[:])
				l.do(now, actions)
				if n == 0 {
					return
				}
			}
		}
		s.readable(now)
	}
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readDeadline, c.writeDeadline = t, t
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readDeadline = t
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeDeadline = t
	return nil
}

var errNoLink = errors.New("no link to that router")
