package transport

import (
	"slices"
	"time"
)

// A segment is one stretch of a stream that has been sent at least once.
type segment struct {
	off    uint64
	n      int // bytes of data; zero for a probe or a bare end
	fin    bool
	sentAt time.Time
	sentNo uint64 // number of its last transmission
	again  bool   // transmitted more than once: no RTT sample (Karn)
	lost   bool   // to be retransmitted; not counted as in flight
}

// span returns the offsets that acknowledge the segment; the end counts as one byte.
func (g *segment) span() span {
	to := g.off + uint64(g.n)
	if g.fin {
		to++
	}
	return span{g.off, to}
}

// sendState is the sending half of a stream: reliability with cumulative and selective
// acknowledgements, congestion control after RFC 5681 and RFC 6582 (NewReno), a retransmission
// timer after RFC 6298, and pacing.
//
// Invariant: base <= next <= base+len(buf) (+1 once the end was sent); segs are sorted by offset
// and cover base..next but for what was acknowledged selectively.
type sendState struct {
	buf   []byte // from base on
	base  uint64 // all below is acknowledged
	next  uint64 // the first offset never sent
	limit uint64 // the peer's window edge

	closed  bool // CloseStream: the end follows the last byte
	finSent bool
	wanted  bool // WriteStream took fewer bytes than given: say when there is room

	segs   []segment
	sentNo uint64 // transmissions so far

	rtt      rttState
	backoff  uint      // consecutive timeouts
	timer    time.Time // retransmission deadline; zero when nothing is in flight
	cwnd     int       // bytes
	ssthresh int
	recover  uint64    // a loss of a transmission numbered at or below it is of an earlier window
	paceAt   time.Time // no new transmission before
}

func newSendState() sendState {
	// "IW = min (10*MSS, ...)" https://www.rfc-editor.org/rfc/rfc6928#section-2
	return sendState{limit: streamWindow, cwnd: 10 * segmentBytes, ssthresh: 1 << 30}
}

// write copies what fits of p.
func (s *sendState) write(now time.Time, p []byte) int {
	if s.closed {
		return 0
	}
	n := min(len(p), streamWindow-len(s.buf))
	s.buf = append(s.buf, p[:n]...)
	s.wanted = n < len(p)
	s.arm(now)
	return n
}

// flight returns the bytes in flight (the pipe of RFC 6675).
func (s *sendState) flight() int {
	n := 0
	for i := range s.segs {
		if !s.segs[i].lost {
			n += max(s.segs[i].n, 1)
		}
	}
	return n
}

// pull returns the next segment to transmit now and its bytes, which are valid until the next
// call. ok is false when nothing may be sent now.
func (s *sendState) pull(now time.Time) (g segment, p []byte, ok bool) {
	if !s.pending() || now.Before(s.paceAt) {
		return g, nil, false
	}
	flight := s.flight()
	for i := range s.segs {
		if !s.segs[i].lost {
			continue
		}
		if flight > 0 && flight+s.segs[i].n > s.cwnd {
			return g, nil, false
		}
		s.segs[i].lost, s.segs[i].again = false, true
		s.transmit(now, &s.segs[i])
		return s.segs[i], s.bytes(&s.segs[i]), true
	}
	left := int(s.base + uint64(len(s.buf)) - s.next)
	n := min(left, segmentBytes, int(s.limit-min(s.limit, s.next)))
	if n > 0 && flight > 0 && flight+n > s.cwnd {
		return g, nil, false
	}
	fin := s.closed && n == left
	if n == 0 && !fin {
		return g, nil, false
	}
	g = segment{off: s.next, n: n, fin: fin}
	s.next = g.span().to
	s.finSent = s.finSent || fin
	s.transmit(now, &g)
	s.segs = append(s.segs, g)
	return g, s.bytes(&g), true
}

// pending reports whether a segment waits that window and congestion allow or may allow.
func (s *sendState) pending() bool {
	for i := range s.segs {
		if s.segs[i].lost {
			return true
		}
	}
	left := s.base + uint64(len(s.buf))
	return !s.finSent && (s.next < min(left, s.limit) || s.closed && s.next == left)
}

func (s *sendState) bytes(g *segment) []byte {
	if g.n == 0 {
		return nil
	}
	return s.buf[g.off-s.base:][:g.n]
}

// transmit books one transmission of g: number, pacing, timer.
func (s *sendState) transmit(now time.Time, g *segment) {
	s.sentNo++
	g.sentNo, g.sentAt = s.sentNo, now
	if s.timer.IsZero() {
		s.timer = now.Add(s.rto())
	}
	// Pacing: a window is spread over a round trip at 5/4 of the rate, and paceBurst segments
	// may go at once.
	gap := s.rtt.smoothed() * time.Duration(max(g.n, 1)) * 4 / 5 / time.Duration(s.cwnd)
	if earliest := now.Add(-paceBurst * gap); s.paceAt.Before(earliest) {
		s.paceAt = earliest
	}
	s.paceAt = s.paceAt.Add(gap)
}

// rto returns the retransmission timeout. "the RTO ... MUST be doubled" on each expiry ("back
// off the timer"); "A maximum value MAY be placed on RTO" (RFC 6298, Sections 5.5 and 2.5).
func (s *sendState) rto() time.Duration {
	return min(s.rtt.timeout(rtoMin, rtoMax)<<min(s.backoff, 6), rtoMax)
}

// ack takes an acknowledgement: everything below cum, the spans above, and the window edge.
// It reports whether it was news.
func (s *sendState) ack(now time.Time, cum, limit uint64, spans []span) (progress bool) {
	if cum > s.next || limit > cum+2*streamWindow {
		return false // acknowledges what was never sent
	}
	if limit > s.limit {
		s.limit, progress = limit, true
	}
	flight := s.flight()
	var newest segment // the acknowledged segment transmitted last
	acked := 0
	s.segs = slices.DeleteFunc(s.segs, func(g segment) bool {
		r := g.span()
		done := r.to <= cum && (g.n > 0 || g.fin)
		for _, x := range spans {
			done = done || x.from <= r.from && r.to <= x.to && r.from < r.to
		}
		if done {
			acked += max(g.n, 1)
			if g.sentNo > newest.sentNo {
				newest = g
			}
		}
		// A probe carries nothing, so any acknowledgement from its offset on answers it.
		return done || r.from == r.to && r.from <= cum
	})
	if cum > s.base {
		n := min(int(cum-s.base), len(s.buf))
		s.buf = s.buf[:copy(s.buf, s.buf[n:])]
		s.base += uint64(n)
		if len(s.buf) == 0 {
			s.buf = nil
		}
		progress = true
	}
	if acked > 0 {
		progress = true
		s.backoff = 0
		if !newest.again { // Karn: "RTT samples MUST NOT be made using segments that were retransmitted"
			s.rtt.sample(now.Sub(newest.sentAt))
		}
		s.detect(newest.sentNo, flight)
		s.grow(acked, newest.sentNo, flight)
	}
	if progress {
		s.timer = time.Time{} // RFC 6298, (5.2) and (5.3)
	}
	s.arm(now)
	return progress
}

// arm starts the retransmission timer if it must run and does not.
func (s *sendState) arm(now time.Time) {
	switch running := len(s.segs) > 0 || s.blocked(); {
	case !running:
		s.timer = time.Time{}
	case s.timer.IsZero():
		s.timer = now.Add(s.rto())
	}
}

// blocked reports whether only the peer's window keeps bytes back: then a probe must go out now
// and then, since the packet that opens the window may be lost (RFC 1122, Section 4.2.2.17).
func (s *sendState) blocked() bool {
	return len(s.segs) == 0 && s.next == s.limit && s.next < s.base+uint64(len(s.buf))
}

// detect marks as lost what was transmitted at least three transmissions before an acknowledged
// one: the three duplicates of RFC 5681, Section 3.2, counted by transmission so that
// retransmissions are covered too.
func (s *sendState) detect(ackedNo uint64, flight int) {
	for i := range s.segs {
		g := &s.segs[i]
		if g.lost || g.sentNo+3 > ackedNo {
			continue
		}
		g.lost = true
		if g.sentNo > s.recover {
			// "ssthresh = max (FlightSize / 2, 2*SMSS)" https://www.rfc-editor.org/rfc/rfc5681#section-3.1
			// once for each window of data (RFC 6582, Section 3.2).
			s.ssthresh = max(flight/2, 2*segmentBytes)
			s.cwnd = s.ssthresh
			s.recover = s.sentNo
		}
	}
}

// grow opens the congestion window for acked bytes, unless they were sent before the last loss
// was noticed, or the window was not used.
func (s *sendState) grow(acked int, ackedNo uint64, flight int) {
	if ackedNo <= s.recover || flight+segmentBytes < s.cwnd {
		return
	}
	if s.cwnd < s.ssthresh {
		s.cwnd += min(acked, 2*segmentBytes) // slow start, with RFC 3465's limit of 2*SMSS
	} else {
		s.cwnd += max(segmentBytes*min(acked, segmentBytes)/s.cwnd, 1)
	}
	s.cwnd = min(s.cwnd, cwndMax)
}

// expire fires the retransmission timer if it is due.
func (s *sendState) expire(now time.Time) {
	if s.timer.IsZero() || now.Before(s.timer) {
		return
	}
	s.backoff++
	if s.blocked() {
		s.segs = append(s.segs, segment{off: s.next, lost: true})
	} else if len(s.segs) > 0 {
		// "cwnd MUST be set to no more than the loss window, LW, which equals 1 full-sized
		// segment" https://www.rfc-editor.org/rfc/rfc5681#section-3.1
		if s.backoff == 1 {
			s.ssthresh = max(s.flight()/2, 2*segmentBytes)
		}
		s.cwnd = segmentBytes
		s.recover = s.sentNo
		for i := range s.segs {
			s.segs[i].lost = true
		}
	}
	s.paceAt = now
	s.timer = now.Add(s.rto())
}

// finished reports whether the end and all before it were acknowledged.
func (s *sendState) finished() bool {
	return s.finSent && len(s.segs) == 0 && len(s.buf) == 0
}

// room reports whether write would take a useful number of bytes.
func (s *sendState) room() bool { return streamWindow-len(s.buf) >= segmentBytes }

// due returns when expire or pull has something to do, or the zero Time.
func (s *sendState) due(now time.Time) time.Time {
	t := s.timer
	if s.pending() && now.Before(s.paceAt) && (t.IsZero() || s.paceAt.Before(t)) {
		t = s.paceAt
	}
	return t
}
