package gossiptest

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// bufferMax is how many bytes a stream holds before Write waits.
const bufferMax = 1 << 20

// A conn is one end of a buffered stream.
type conn struct {
	port    *Port
	in, out *pipe
	local   net.Addr
	remote  net.Addr
}

// A pipe carries bytes in one direction.
type pipe struct {
	mu            sync.Mutex // guards what follows; never held while waiting
	b             []byte
	writeClosed   bool
	readClosed    bool
	readDeadline  time.Time
	writeDeadline time.Time
	changed       chan struct{} // closed and renewed at every change
}

func pair(a, b *Port) (*conn, *conn) {
	x, y := &pipe{changed: make(chan struct{})}, &pipe{changed: make(chan struct{})}
	addrA, addrB := &net.UnixAddr{Name: a.id.String(), Net: "switch"}, &net.UnixAddr{Name: b.id.String(), Net: "switch"}
	return &conn{a, x, y, addrA, addrB}, &conn{b, y, x, addrB, addrA}
}

// update changes p and wakes who waits for a change.
func (p *pipe) update(change func()) {
	p.mu.Lock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()
}

// wait waits for a change or the deadline.
func wait(changed <-chan struct{}, deadline time.Time) {
	if deadline.IsZero() {
		<-changed
		return
	}
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	}
}

func (c *conn) Read(b []byte) (int, error) {
	p := c.in
	for {
		p.mu.Lock()
		changed, deadline := p.changed, p.readDeadline
		switch {
		case p.readClosed:
			p.mu.Unlock()
			return 0, net.ErrClosed
		case !deadline.IsZero() && !time.Now().Before(deadline):
			p.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(p.b) > 0:
			p.mu.Unlock()
			var n int
			p.update(func() { n = copy(b, p.b); p.b = p.b[n:] })
			return n, nil
		case p.writeClosed:
			p.mu.Unlock()
			return 0, io.EOF
		}
		p.mu.Unlock()
		wait(changed, deadline)
	}
}

func (c *conn) Write(b []byte) (int, error) {
	p := c.out
	n := 0
	for {
		p.mu.Lock()
		changed, deadline := p.changed, p.writeDeadline
		room := min(bufferMax-len(p.b), len(b)-n)
		switch {
		case p.writeClosed:
			p.mu.Unlock()
			return n, net.ErrClosed
		case p.readClosed:
			p.mu.Unlock()
			return n, io.ErrClosedPipe
		case !deadline.IsZero() && !time.Now().Before(deadline):
			p.mu.Unlock()
			return n, os.ErrDeadlineExceeded
		}
		p.mu.Unlock()
		if room > 0 || len(b) == n {
			p.update(func() { p.b = append(p.b, b[n:n+room]...) })
			if n += room; n == len(b) {
				return n, nil
			}
			continue
		}
		wait(changed, deadline)
	}
}

// Close implements net.Conn. What was written can still be read.
func (c *conn) Close() error {
	c.out.update(func() { c.out.writeClosed = true })
	c.in.update(func() { c.in.readClosed = true })
	c.port.sw.mu.Lock()
	delete(c.port.conns, c)
	c.port.sw.mu.Unlock()
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.update(func() { c.in.readDeadline = t })
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.update(func() { c.out.writeDeadline = t })
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}
