package transport

import "time"

// A stream is one reliable byte stream: a sending and a receiving half that end apart.
//
//	           OpenStream, or the peer's open
//	                       |
//	                       v
//	    +---------------- open ----------------+
//	    | our end acknowledged                 | the peer's end arrived and was read
//	    v                                      v
//	sending over                         receiving over
//	    | the peer's end arrived, read         | our end acknowledged
//	    +---------------> gone <---------------+
//	                       ^
//	       reset by either side, idle, link down, budget
//
// The halves hold that state between them (sendState.finished, recvState.eofOut), so there is no
// field of its own that could disagree.
type stream struct {
	id     Stream
	wire   uint32 // the number on the wire: even if the connection's even side opened it
	kind   uint8
	conn   *conn
	opener bool // we opened it: repeat the open frame until the peer acknowledged something
	known  bool // the peer has shown that it knows the stream

	send sendState
	recv recvState

	told  bool      // StreamReadable was emitted and not consumed
	moved time.Time // last progress, either direction
	ackAt time.Time // a delayed acknowledgement is due; zero if none
}

func newStream(now time.Time, id Stream, wire uint32, kind uint8, c *conn, opener bool) *stream {
	st := &stream{id: id, wire: wire, kind: kind, conn: c, opener: opener, send: newSendState(), moved: now}
	st.recv.limit = streamWindow
	if opener {
		// An empty segment carries the open frame until the peer acknowledges.
		st.send.segs = append(st.send.segs, segment{lost: true})
	}
	return st
}

// onSegment takes a data frame. It reports false when the peer broke the rules.
func (st *stream) onSegment(now time.Time, off uint64, p []byte, fin bool) bool {
	progress, ok := st.recv.insert(off, p, fin)
	if !ok {
		return false
	}
	if progress {
		st.moved = now
	}
	// "an ACK SHOULD be generated for at least every second full-sized segment"
	// https://www.rfc-editor.org/rfc/rfc5681#section-4.2
	// What carries no news (a probe, a repetition) is answered at once: its acknowledgement was lost.
	if st.recv.held >= 2 || !progress || fin {
		st.recv.ackDue = true
	} else if st.ackAt.IsZero() {
		st.ackAt = now.Add(ackDelay)
	}
	return true
}

// onAck takes an acknowledgement frame.
func (st *stream) onAck(now time.Time, cum, limit uint64, spans []span) {
	st.known = true
	if st.send.ack(now, cum, limit, spans) {
		st.moved = now
	}
}

// takeAck returns what an acknowledgement frame sent now must say.
func (st *stream) takeAck() (cum, limit uint64, spans []span) {
	st.recv.ackDue, st.recv.held, st.ackAt = false, 0, time.Time{}
	st.recv.limit = st.recv.read + streamWindow
	// The latest gaps matter most to the sender; older ones were told before.
	spans = st.recv.spans
	if len(spans) > ackSpansMax {
		spans = spans[:ackSpansMax]
	}
	return st.recv.ackOffset(), st.recv.limit, spans
}

// advance fires deadlines. It reports whether the stream is dead of idleness.
func (st *stream) advance(now time.Time) (idle bool) {
	if !st.ackAt.IsZero() && !now.Before(st.ackAt) {
		st.recv.ackDue = true
	}
	st.send.expire(now)
	return !now.Before(st.moved.Add(streamIdle))
}

// finished reports whether both directions came to their end.
func (st *stream) finished() bool {
	return st.recv.eofOut && st.send.finished() && !st.recv.ackDue
}

// due returns the next deadline.
func (st *stream) due(now time.Time) time.Time {
	t := st.moved.Add(streamIdle)
	return earliest(t, earliest(st.ackAt, st.send.due(now)))
}

// earliest returns the earlier of two deadlines, of which the zero Time is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
