package underlay

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vine-mesh/vine/transport/path"
)

const (
	// readBytes is the buffer of what has come over a connection and was not read yet, unless a single datagram is longer.
	readBytes = 32 << 10

	// writeBytes is how much is given to a connection at a time at most, unless a single datagram is longer. Together
	// with what the kernel holds unsent it is what a slow connection delays beyond the queue, which can be
	// dropped; 16 KiB are also one TLS record.
	writeBytes = 16<<10 - 64

	// writeTimeMax is how long a connection may take nothing before it counts as dead; see also
	// setStreamOptions.
	writeTimeMax = 10 * time.Second
)

var (
	errHangup   = errors.New("hung up")
	errStranger = errors.New("made room for younger ones: too many connections have not proved themselves")
	errUnproved = errors.New("has not proved itself in time")
	errRefused  = errors.New("too many connections")
)

// A link is a connection that carries datagrams with their lengths. One goroutine reads and one writes.
type link interface {
	// read reads into p. At the end of a message no datagram may be incomplete.
	read(p []byte) (n int, message bool, err error)
	write(p []byte) error
	// release gives back what the link holds beside its connection, which is closed.
	release()
}

// A stream is one connection.
type stream struct {
	s        *Streams
	n        uint64
	protocol Protocol
	remote   netip.AddrPort
	proxy    string
	dialled  bool
	since    time.Time

	kept                 atomic.Bool
	sent, received, lost atomic.Uint64

	// raw is the TCP connection, to be closed and to set deadlines; nil as long as there is none. Guarded by s.mu until up.
	raw net.Conn
	// up says that the handshakes are over and link is set. Guarded by s.mu; it never turns back.
	up   bool
	link link

	life  context.Context // ends with the connection; its cause is why
	leave context.CancelCauseFunc
	over  <-chan struct{} // life.Done()
	wake  chan struct{}   // holds one token when the queue has got something to write
	once  sync.Once

	mu    sync.Mutex
	queue sendQueue // guarded by mu

	// in[lo:hi] are whole datagrams to be read. They belong to the reader goroutine, except from its writing the stream to
	// s.ready until ReadBatch writes to taken.
	in     []byte
	lo, hi int
	taken  chan struct{}
}

// admit makes room for a connection that is about to be made, and gives it its number.
func (s *Streams) admit(p Protocol, remote netip.AddrPort, dialled bool) (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	if !dialled && s.strangers[netOf(remote.Addr())] >= s.limits.perNet {
		return nil, errRefused
	}
	if !dialled && s.strangersAll >= s.limits.strangers {
		s.closeOldestStranger()
	}
	if len(s.streams) >= s.limits.streams {
		return nil, errRefused
	}
	s.last++
	c := &stream{
		s: s, n: s.last, protocol: p, remote: remote, dialled: dialled, since: time.Now(),
		wake: make(chan struct{}, 1), taken: make(chan struct{}, 1),
	}
	c.life, c.leave = context.WithCancelCause(context.Background())
	c.over = c.life.Done()
	s.streams[c.n] = c
	if dialled {
		s.wg.Add(1) // for the Dial
	} else {
		s.strangers[netOf(remote.Addr())]++
		s.strangersAll++
	}
	return c, nil
}

// closeOldestStranger closes the accepted connection that has gone unproved for longest. s.mu is held.
func (s *Streams) closeOldestStranger() {
	var oldest *stream
	for _, c := range s.streams {
		if !c.dialled && !c.kept.Load() && (oldest == nil || c.n < oldest.n) {
			oldest = c
		}
	}
	if oldest != nil {
		oldest.endLocked(errStranger)
	}
}

// noStranger takes a connection out of the count of strangers, for it has proved itself or ended. s.mu is held.
func (s *Streams) noStranger(c *stream) {
	if c.dialled || c.kept.Load() {
		return
	}
	in := netOf(c.remote.Addr())
	s.strangersAll--
	if s.strangers[in]--; s.strangers[in] == 0 {
		delete(s.strangers, in)
	}
}

// netOf returns the network whose strangers are counted together.
func netOf(a netip.Addr) netip.Prefix {
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}

// remoteOf returns the address and port of the other side of a TCP connection, or of a listener.
func remoteOf(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	at := tcp.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// accept serves a listener until it is closed.
func (s *Streams) accept(l streamListener) {
	for {
		raw, err := l.Accept()
		if err != nil {
			select {
			case <-s.closing:
				return
			case <-time.After(acceptPause):
			}
			s.cfg.Log.Warn("accepting a connection failed", "listen", l.Addr().String(), "err", err)
			continue
		}
		c, err := s.admit(l.protocol, remoteOf(raw.RemoteAddr()), false)
		if err != nil {
			s.refused.Add(1)
			_ = raw.Close()
			continue
		}
		s.wg.Go(func() { c.serve(raw) })
	}
}

// serve does the handshakes of an accepted connection and then reads from it.
func (c *stream) serve(raw net.Conn) {
	if !c.attach(raw) {
		return
	}
	// One deadline for all that a stranger may do; Keep lifts it.
	_ = raw.SetDeadline(c.since.Add(c.s.limits.strangerTime))
	setStreamOptions(raw)
	l, err := c.s.answer(c.protocol, raw)
	if err != nil {
		c.end(err)
		return
	}
	if c.start(l) {
		c.read()
	}
}

// attach gives a connection that is being made its TCP connection. If it was ended before, attach closes that and reports false.
func (c *stream) attach(raw net.Conn) bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.streams[c.n] != c {
		_ = raw.Close()
		return false
	}
	c.raw = raw
	return true
}

// start has a connection carry datagrams. It reports false if the connection was ended while it was made.
func (c *stream) start(l link) bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.streams[c.n] != c {
		l.release()
		return false
	}
	c.link, c.up = l, true
	c.in = make([]byte, readBytes)
	c.s.wg.Go(c.write)
	return true
}

// end closes the connection and forgets it.
func (c *stream) end(why error) {
	c.s.mu.Lock()
	first := c.endLocked(why)
	c.s.mu.Unlock()
	if first {
		c.s.cfg.Log.Debug("stream connection ended", "stream", c.n, "remote", c.remote.String(), "protocol", c.protocol.String(), "err", why)
	}
}

// endLocked is end for callers that hold s.mu. It reports false if the connection had ended before.
func (c *stream) endLocked(why error) bool {
	s := c.s
	if s.streams[c.n] != c {
		return false
	}
	delete(s.streams, c.n)
	s.noStranger(c)
	c.leave(why)
	if c.raw != nil {
		_ = c.raw.Close()
	}
	if c.up {
		select {
		case s.ended <- path.Stream(c.n):
		default:
		}
	}
	return true
}

// read reads from the connection until it ends.
func (c *stream) read() {
	defer c.link.release()
	for have := 0; ; {
		n, message, err := c.link.read(c.in[have:])
		have += n
		longest := strangerDatagramMax
		if c.dialled || c.kept.Load() {
			longest = StreamDatagramMax
		}
		whole, count, next, bad := frames(c.in[:have], longest)
		if message && whole != have && bad == nil {
			bad = errors.New("a message that ends within a datagram")
		}
		if whole > 0 {
			c.received.Add(uint64(count))
			c.lo, c.hi = 0, whole
			if !c.hand() {
				return
			}
			copy(c.in, c.in[whole:have])
			have -= whole
		}
		if next > len(c.in) {
			c.in = append(c.in, make([]byte, lengthBytes+StreamDatagramMax-len(c.in))...)
		}
		if bad != nil {
			err = bad
		}
		if err != nil {
			c.end(err)
			return
		}
	}
}

// hand has ReadBatch read what has come, and reports false if the connection ended before.
func (c *stream) hand() bool {
	// The deadline of a stranger interrupts reading the connection, but not waiting for ReadBatch.
	var late <-chan time.Time
	if !c.dialled && !c.kept.Load() {
		t := time.NewTimer(time.Until(c.since.Add(c.s.limits.strangerTime)))
		defer t.Stop()
		late = t.C
	}
	ready := c.s.ready // then nil
	for {
		select {
		case ready <- c:
			ready = nil
		case <-c.taken:
			return true
		case <-late:
			if !c.kept.Load() {
				c.end(errUnproved)
			}
		case <-c.over:
			return false
		}
	}
}

// deliver copies waiting datagrams to dgs[n:]. It returns the new n and whether there are more.
func (c *stream) deliver(dgs []Datagram, n int) (int, bool) {
	at := path.Stream(c.n)
	for n < len(dgs) && c.lo < c.hi {
		size := int(binary.BigEndian.Uint16(c.in[c.lo:]))
		c.lo += lengthBytes
		d := &dgs[n]
		d.Addr, d.N, d.Segment = at, 0, 0
		if size <= len(d.Buf) {
			d.N = copy(d.Buf, c.in[c.lo:c.lo+size])
		}
		c.lo += size
		n++
	}
	return n, c.lo < c.hi
}

// began is the origin of the times that send queues keep.
var began = time.Now()

// enqueue puts datagrams, all for this connection, into the send queue and returns how many.
func (c *stream) enqueue(dgs []Datagram) (took int) {
	now := time.Since(began)
	dropped := 0
	c.mu.Lock()
	for i := range dgs {
		if d := &dgs[i]; d.N <= StreamDatagramMax {
			dropped += c.queue.add(d.Buf[:d.N], now, c.s.limits.queueBytes)
			took++
		} else {
			dropped++
		}
	}
	c.mu.Unlock()
	c.lost.Add(uint64(dropped))
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return took
}

// write writes what is in the queue until the connection ends. All that waits goes in one write.
func (c *stream) write() {
	buf := make([]byte, 0, writeBytes)
	for {
		now := time.Since(began)
		c.mu.Lock()
		b, count, dropped := c.queue.take(buf[:0], now-c.s.limits.queueTime, writeBytes)
		c.mu.Unlock()
		buf = b
		c.lost.Add(uint64(dropped))
		if count == 0 {
			select {
			case <-c.wake:
				continue
			case <-c.over:
				return
			}
		}
		c.sent.Add(uint64(count)) // first, so that whoever has received them finds them counted
		_ = c.raw.SetWriteDeadline(time.Now().Add(writeTimeMax))
		if err := c.link.write(buf); err != nil {
			c.end(fmt.Errorf("write: %w", err))
			return
		}
	}
}

func (c *stream) status() StreamStatus {
	c.mu.Lock()
	queued := c.queue.used
	c.mu.Unlock()
	return StreamStatus{
		At: path.Stream(c.n), Remote: c.remote, Protocol: c.protocol, Proxy: c.proxy, Dialled: c.dialled,
		Kept: c.kept.Load(), Since: c.since,
		Sent: c.sent.Load(), Received: c.received.Load(), Dropped: c.lost.Load(), QueuedBytes: queued,
	}
}

// tcpLink is a link over plain TCP.
type tcpLink struct{ net.Conn }

func (l tcpLink) read(p []byte) (int, bool, error) {
	n, err := l.Read(p)
	return n, false, err
}

func (l tcpLink) write(p []byte) error {
	_, err := l.Write(p)
	return err
}

func (tcpLink) release() {}
