package transport

import (
	"slices"
	"time"

	"github.com/vine-mesh/vine/transport/frame"
)

// A wireWindow remembers which of the last streamsMax numbers of the peer were used, so that a
// late copy of an old open does not open again.
type wireWindow struct {
	high uint32 // index of the highest number plus one; zero: none yet
	bits uint64 // bit i: the number i below the highest was used
}

// use reports whether number n is fresh, and marks it. Numbers of one side go up in steps of two.
func (w *wireWindow) use(n uint32) bool {
	n = n/2 + 1
	switch {
	case n > w.high:
		if shift := n - w.high; shift < 64 {
			w.bits = w.bits<<shift | 1
		} else {
			w.bits = 1
		}
		w.high = n
		return true
	case w.high-n >= 64 || w.bits>>(w.high-n)&1 == 1:
		return false
	}
	w.bits |= 1 << (w.high - n)
	return true
}

// A goneStream is what is remembered of a stream that ended well: the peer may have missed the
// last acknowledgement.
type goneStream struct {
	wire   uint32
	offset uint64
	until  time.Time
}

func (c *conn) find(wire uint32) *stream {
	for _, st := range c.streams {
		if st.wire == wire {
			return st
		}
	}
	return nil
}

// open makes a stream, or returns nil when a bound is reached.
func (c *conn) open(now time.Time, wire uint32, kind uint8, opener bool) *stream {
	l := c.links
	if len(c.streams) >= streamsMax || len(l.streams) >= streamsAllMax {
		l.counters.Limited++
		return nil
	}
	l.lastStream++
	st := newStream(now, l.lastStream, wire, kind, c, opener)
	c.streams = append(c.streams, st)
	l.streams[st.id] = st
	return st
}

// drop ends a stream. It sends nothing.
func (c *conn) drop(st *stream, err error) {
	l := c.links
	c.streams = slices.DeleteFunc(c.streams, func(x *stream) bool { return x == st })
	delete(l.streams, st.id)
	if err == nil {
		if len(c.gone) >= lingerMax {
			c.gone = slices.Delete(c.gone, 0, 1)
		}
		c.gone = append(c.gone, goneStream{st.wire, st.recv.ackOffset(), l.now.Add(linger)})
	}
	l.emit(StreamClosed{Stream: st.id, Err: err})
}

// reset ends a stream and tells the peer.
func (c *conn) reset(st *stream, err error) {
	c.put(frame.StreamReset{ID: st.wire}.Append(nil))
	c.drop(st, err)
}

// onStreamFrame takes one stream frame of an authentic packet.
func (c *conn) onStreamFrame(now time.Time, f frame.Control) error {
	switch f.Kind {
	case frame.KindStreamOpen:
		o, err := frame.ParseStreamOpen(f.Body)
		if err != nil {
			return err
		}
		c.onOpen(now, o)
	case frame.KindStreamBytes:
		b, err := frame.ParseStreamBytes(f.Body)
		if err != nil {
			return err
		}
		c.onBytes(now, b)
	case frame.KindStreamAck:
		a, err := frame.ParseStreamAck(f.Body)
		if err != nil {
			return err
		}
		if st := c.find(a.ID); st != nil {
			c.onAck(now, st, a.Offset, a.Offset+uint64(a.Window), nil)
		}
	case kindStreamSpans:
		id, spans, err := parseSpans(f.Body)
		if err != nil {
			return err
		}
		if st := c.find(id); st != nil {
			c.onAck(now, st, st.send.base, st.send.limit, spans)
		}
	case frame.KindStreamReset:
		r, err := frame.ParseStreamReset(f.Body)
		if err != nil {
			return err
		}
		if st := c.find(r.ID); st != nil {
			c.drop(st, ErrStreamReset)
		}
	}
	return nil
}

func (c *conn) onOpen(now time.Time, o frame.StreamOpen) {
	if o.ID == 0 || o.ID%2 == 0 == c.even || c.find(o.ID) != nil || !c.seen.use(o.ID) {
		return // ours, there already, or a late copy
	}
	st := c.open(now, o.ID, o.Kind, false)
	if st == nil {
		c.put(frame.StreamReset{ID: o.ID}.Append(nil))
		return
	}
	c.links.emit(StreamOpened{Conn: c.id, Router: c.router, Stream: st.id, Kind: o.Kind})
}

func (c *conn) onBytes(now time.Time, b frame.StreamBytes) {
	st := c.find(b.ID)
	if st == nil {
		for _, g := range c.gone {
			if g.wire == b.ID && now.Before(g.until) {
				c.put(frame.StreamAck{ID: b.ID, Offset: g.offset}.Append(nil))
				return
			}
		}
		c.put(frame.StreamReset{ID: b.ID}.Append(nil))
		return
	}
	before := st.recv.got
	if !st.onSegment(now, b.Offset, b.Bytes, b.Fin) {
		c.reset(st, ErrStreamReset)
		return
	}
	if j := c.session.join; j != nil && st.recv.got > before {
		j.speak()
	}
	if !c.spend(now, int(st.recv.got-before)) {
		return
	}
	c.announceReadable(st)
}

// announceReadable emits StreamReadable if there is something that was not announced.
func (c *conn) announceReadable(st *stream) {
	if !st.told && st.recv.readable() {
		st.told = true
		c.links.emit(StreamReadable{Stream: st.id})
	}
}

func (c *conn) onAck(now time.Time, st *stream, cum, limit uint64, spans []span) {
	st.onAck(now, cum, limit, spans)
	if st.send.wanted && st.send.room() {
		st.send.wanted = false
		c.links.emit(StreamWritable{Stream: st.id})
	}
}

// spend takes n stream bytes from the budget of a join conversation. When it is spent the
// conversation ends, and spend reports false.
func (c *conn) spend(now time.Time, n int) bool {
	if c.budget < 0 {
		return true
	}
	c.budget -= n
	if c.budget >= 0 {
		return true
	}
	c.budget = 0
	c.links.counters.Limited++
	if j := c.session.join; j != nil {
		c.links.closeJoin(now, j, ReasonLimit, ErrStreamBudget, true)
	}
	return false
}

// advanceStreams fires the stream deadlines.
func (c *conn) advanceStreams(now time.Time) {
	for i := 0; i < len(c.streams); {
		if st := c.streams[i]; st.advance(now) {
			c.reset(st, ErrStreamIdle)
			continue
		}
		i++
	}
}

// OpenStream opens a stream on a connection. The Stream is zero when the connection is gone or
// has streamsMax streams.
func (l *Links) OpenStream(now time.Time, id Conn, kind uint8) (Stream, []Action) {
	l.begin(now)
	c := l.conns[id]
	if c == nil {
		return 0, l.end()
	}
	st := c.open(now, c.nextWire, kind, true)
	if st == nil {
		return 0, l.end()
	}
	c.nextWire += 2
	l.touchConn(c)
	l.use(now, c)
	return st.id, l.end()
}

// WriteStream takes as many bytes of p as fit into the send buffer, and copies them.
// After it took fewer than given, StreamWritable follows. A stream that is gone takes none.
func (l *Links) WriteStream(now time.Time, id Stream, p []byte) (n int, actions []Action) {
	l.begin(now)
	st := l.streams[id]
	if st == nil {
		return 0, l.end()
	}
	n = st.send.write(now, p)
	if n > 0 {
		st.moved = now
	}
	l.touchConn(st.conn)
	st.conn.spend(now, n)
	l.use(now, st.conn)
	return n, l.end()
}

// ReadStream moves received bytes to p. At eof the peer has closed its side and all was read; a
// stream that is gone is at eof.
func (l *Links) ReadStream(now time.Time, id Stream, p []byte) (n int, eof bool, actions []Action) {
	l.begin(now)
	st := l.streams[id]
	if st == nil {
		return 0, true, l.end()
	}
	n, eof = st.recv.take(p)
	if !st.recv.readable() {
		st.told = false
	}
	if n > 0 {
		st.moved = now
	}
	l.touchConn(st.conn)
	return n, eof, l.end()
}

// CloseStream ends our side of a stream: what was written is still delivered, then the end.
func (l *Links) CloseStream(now time.Time, id Stream) []Action {
	l.begin(now)
	if st := l.streams[id]; st != nil {
		st.send.closed = true
		l.touchConn(st.conn)
	}
	return l.end()
}

// ResetStream ends a stream at once, both ways; undelivered bytes are lost. StreamClosed follows.
func (l *Links) ResetStream(now time.Time, id Stream) []Action {
	l.begin(now)
	if st := l.streams[id]; st != nil {
		l.touchConn(st.conn)
		st.conn.reset(st, ErrStreamAbort)
	}
	return l.end()
}
