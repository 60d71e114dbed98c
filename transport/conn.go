package transport

import (
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
)

// A conn is what an established link and a join conversation have in common: a session to seal
// control frames with, a validated endpoint, and streams.
type conn struct {
	links    *Links
	id       Conn
	router   tables.RouterID // zero on a join conversation
	session  *session        // the one that we send with
	endpoint netip.AddrPort  // the way in use: validated
	even     bool            // streams that we open have even numbers

	// peerEpoch names the peer's side of this connection. A handshake that brings another one
	// means that the peer forgot the connection: its streams are gone.
	peerEpoch uint64

	payload []byte // control frames that wait for flush
	closed  bool

	streams  []*stream // by age
	turn     int       // where the next round of flush begins, so that no stream starves
	nextWire uint32    // number for the next stream opened here
	seen     wireWindow
	gone     []goneStream // oldest first
	budget   int          // stream bytes left; negative: unlimited

	rtt      rttState
	sent     uint64
	received uint64
	lastRecv time.Time

	liveness  liveness
	sizing    sizing
	paths     ways
	told      netip.AddrPort // the Observed that we sent last
	heardAt   netip.AddrPort // the Observed that we emitted last
	peerRx    frame.Report   // what the peer last said it received of our data
	delivered path.Delivery  // the same in more words, of the session in use
	lastRTT   time.Duration  // of the last ping over the way in use; zero once used

	swallowed swallowing
	came      arrivals

	in    int    // bytes of the peer's handshake and control datagrams
	asked int    // bytes sent to ways that the peer has named and that prove nothing. Invariant: asked <= amplification*in
	asks  bucket // of frames that cost the control loop more than an answer: see askEvery
}

func newConn(now time.Time, l *Links, router tables.RouterID, s *session, endpoint netip.AddrPort, even bool) *conn {
	l.lastConn++
	c := &conn{
		links: l, id: l.lastConn, router: router, session: s, endpoint: endpoint, even: even,
		peerEpoch: s.peerEpoch, budget: -1, lastRecv: now, in: s.heard,
	}
	c.resetNumbers()
	w := c.addWay(now, endpoint, false)
	w.heard = now
	l.conns[c.id] = c
	return c
}

func (c *conn) resetNumbers() {
	c.nextWire, c.seen, c.gone = 1, wireWindow{}, nil
	if c.even {
		c.nextWire = 2
	}
}

// put queues one control frame for the peer's validated endpoint.
func (c *conn) put(f []byte) {
	if len(c.payload)+len(f) > controlBytesMax {
		c.emit()
	}
	c.payload = append(c.payload, f...)
}

// emit seals what is queued and sends it.
func (c *conn) emit() {
	if len(c.payload) == 0 {
		return
	}
	c.emitTo(c.endpoint, c.payload)
	c.payload = c.payload[:0]
}

// emitTo seals frames into one datagram to an endpoint, validated or not. It returns the length
// of the datagram, zero if the session can seal no more.
func (c *conn) emitTo(to netip.AddrPort, frames []byte) int {
	datagram, ok := c.session.SealControl(make([]byte, 0, len(frames)+frame.ControlHeaderLen+frame.TagLen), frames)
	if !ok {
		return 0 // the counter is spent; the rekey is overdue and Expired ends the session
	}
	c.sent++
	c.links.send(to, datagram)
	return len(datagram)
}

// answer sends frames back by the way that a question came by. A way that has proved nothing gets at most
// amplification times what came over it, however many questions one datagram holds: its address may be that of
// somebody who is to be flooded.
func (c *conn) answer(to netip.AddrPort, frames []byte) {
	if to == c.endpoint || !to.IsValid() {
		c.put(frames)
		return
	}
	size := len(frames) + frame.ControlHeaderLen + frame.TagLen
	w := c.way(to)
	direct := path.KindOf(to) == path.Direct // of a relay or a stream connection nobody forges the address
	if !c.links.answersAll && direct && (w == nil || !w.validated() && w.out+size > amplification*w.in) {
		c.links.counters.Limited++
		return
	}
	n := c.emitTo(to, frames)
	if w != nil && !w.validated() {
		w.out += n
	}
}

// flush sends what the streams may send now, one segment of each in turn, and all that is queued.
func (c *conn) flush(now time.Time) {
	if c.closed {
		return
	}
	for _, st := range c.streams {
		if st.recv.ackDue {
			cum, limit, spans := st.takeAck()
			c.put(frame.StreamAck{ID: st.wire, Offset: cum, Window: uint32(max(limit, cum) - cum)}.Append(nil))
			if len(spans) > 0 {
				c.put(appendSpans(nil, st.wire, spans))
			}
		}
	}
	n := len(c.streams)
	for idle := 0; idle < n; {
		c.turn = (c.turn + 1) % n
		if c.pull(now, c.streams[c.turn]) {
			idle = 0
		} else {
			idle++
		}
	}
	c.emit()
	c.settle()
}

// pull queues one segment of a stream if it may send one.
func (c *conn) pull(now time.Time, st *stream) bool {
	g, p, ok := st.send.pull(now)
	if !ok {
		return false
	}
	var f []byte
	if st.opener && !st.known {
		f = frame.StreamOpen{ID: st.wire, Kind: st.kind}.Append(f)
	}
	f = frame.StreamBytes{ID: st.wire, Fin: g.fin, Offset: g.off, Bytes: p}.Append(f)
	c.put(f)
	c.liveness.sentData(now)
	return true
}

// settle ends the streams that have come to their end.
func (c *conn) settle() {
	for i := 0; i < len(c.streams); {
		if st := c.streams[i]; st.finished() {
			c.drop(st, nil)
			continue
		}
		i++
	}
}

// close ends the connection: streams first. The caller has dealt with the sessions.
func (c *conn) close(err error) {
	for len(c.streams) > 0 {
		c.drop(c.streams[0], err)
	}
	delete(c.links.conns, c.id)
	c.closed, c.payload = true, nil
}

// due returns the earliest stream deadline.
func (c *conn) due(now time.Time) time.Time {
	var t time.Time
	for _, st := range c.streams {
		t = earliest(t, st.due(now))
	}
	return t
}
