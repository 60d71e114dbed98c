package transport

import (
	"time"

	"github.com/vine-mesh/vine/transport/frame"
)

// A sizing is the search for the largest datagram that the way in use carries.
type sizing struct {
	token, companion uint64 // of the probe under way, and of the small ping beside it
	bytes            int    // the probe's length
	told             int    // the Sized that was emitted last for this way
}

// advanceSize sends the probe that is due, a ping that is padded, whose answer is small, and a small ping beside it. (Probes
// carry no data, so that their loss costs none: RFC 8899, Section 4.1.)
func (c *conn) advanceSize(now time.Time) {
	w, most := c.sized()
	if w == nil {
		return
	}
	if n := w.size.Advance(now, most, c.busy(now), c.paths.flow[0], c.rtt.smoothed()); n > 0 {
		s := &c.sizing
		s.token, s.companion, s.bytes = c.links.random64(), c.links.random64(), n
		c.emitTo(c.endpoint, frame.Ping{Token: s.companion, Rx: c.report()}.Append(nil))
		b := frame.Ping{Token: s.token, Rx: c.report()}.Append(nil)
		b = frame.AppendPadding(b, n-frame.ControlHeaderLen-frame.TagLen-len(b))
		c.emitTo(c.endpoint, b)
	}
	c.tellSize(w)
}

// sized returns the way in use and the most that may be sent over it, nil if there is nothing to search for.
func (c *conn) sized() (*way, int) {
	if c.router == 0 || c.links.cfg.Largest == nil {
		return nil, 0
	}
	w, most := c.way(c.endpoint), c.links.cfg.Largest(c.endpoint)
	if w == nil || most <= 0 {
		return nil, 0
	}
	return w, most
}

// dueSize returns when advanceSize is to be called.
func (c *conn) dueSize(now time.Time) time.Time {
	w, _ := c.sized()
	switch {
	case w == nil:
		return time.Time{}
	case w.size.Size() == 0:
		return now
	}
	return w.size.Due(now, c.busy(now))
}

// onSizePong takes a pong that may be the answer to a probe.
func (c *conn) onSizePong(now time.Time, token uint64) bool {
	s, w := &c.sizing, c.way(c.endpoint)
	switch {
	case s.token == 0 || w == nil:
		return false
	case token == s.companion:
		w.size.Companion()
	case token == s.token:
		s.token = 0
		w.size.Answered(now, s.bytes)
		c.tellSize(w)
	default:
		return false
	}
	return true
}

// tellSize emits Sized if it is news.
func (c *conn) tellSize(w *way) {
	if size := w.size.Size(); size != c.sizing.told {
		c.sizing.told = size
		c.links.emit(Sized{Router: c.router, Bytes: size})
	}
}
