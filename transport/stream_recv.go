package transport

import "slices"

// A span is a half-open range of stream offsets.
type span struct{ from, to uint64 }

// recvState is the receiving half of a stream. It keeps bytes that came out of order within the
// window, and gives them out in order.
//
// Invariant: read <= got <= limit; buf holds the offsets from read on; spans are sorted, apart
// from each other, all above got, and at most spansMax.
type recvState struct {
	buf   []byte
	read  uint64 // the application has taken all below
	got   uint64 // everything below has arrived (the cumulative acknowledgement)
	spans []span // what has arrived above got
	limit uint64 // the window edge that the peer was told last

	end    uint64 // offset of the end, when ended
	ended  bool   // the peer's FIN has arrived (maybe before bytes below it)
	eofOut bool   // ReadStream has reported the end

	ackDue bool // an acknowledgement must go out with the next packet
	held   int  // data frames since the last acknowledgement
}

// insert takes one data frame. It reports whether got moved; ok is false when the frame breaks
// the window or contradicts an earlier end, which no correct peer sends.
func (r *recvState) insert(off uint64, p []byte, fin bool) (progress, ok bool) {
	to := off + uint64(len(p))
	if to < off || to > r.read+streamWindow {
		return false, false
	}
	if r.ended && (to > r.end || fin && to != r.end) || fin && to < r.highest() {
		return false, false
	}
	if fin {
		r.ended, r.end = true, to
	}
	if off < r.got { // a retransmission that overlaps what is here
		p = p[min(uint64(len(p)), r.got-off):]
		off = min(r.got, to)
	}
	r.held++
	if off > r.got || len(r.spans) > 0 {
		// "The TCP receiver SHOULD send an immediate ACK when the incoming segment fills in all
		// or part of a gap" and "when an out-of-order segment arrives" (RFC 5681, Section 4.2).
		r.ackDue = true
	}
	before := r.ackOffset()
	if len(p) > 0 && r.keep(span{off, to}) {
		if need := int(to - r.read); need > len(r.buf) {
			r.buf = append(r.buf, make([]byte, need-len(r.buf))...)
		}
		copy(r.buf[off-r.read:], p)
	}
	return r.ackOffset() != before, true
}

// highest returns the end of what has arrived.
func (r *recvState) highest() uint64 {
	if n := len(r.spans); n > 0 {
		return r.spans[n-1].to
	}
	return r.got
}

// keep merges s into what has arrived. It reports false when that would take more than spansMax
// spans: the bytes are then dropped and come again.
func (r *recvState) keep(s span) bool {
	i, _ := slices.BinarySearchFunc(r.spans, s.from, func(a span, from uint64) int {
		if a.to < from {
			return -1
		}
		return 1
	})
	j := i
	for j < len(r.spans) && r.spans[j].from <= s.to {
		s.from, s.to = min(s.from, r.spans[j].from), max(s.to, r.spans[j].to)
		j++
	}
	if s.from <= r.got {
		r.got = max(r.got, s.to)
		r.spans = slices.Delete(r.spans, 0, j)
		return true
	}
	if i == j && len(r.spans) >= spansMax {
		return false
	}
	r.spans = slices.Replace(r.spans, i, j, s)
	return true
}

// take moves bytes to p and reports whether it has reached the end.
func (r *recvState) take(p []byte) (n int, eof bool) {
	n = copy(p, r.buf[:r.got-r.read])
	r.read += uint64(n)
	rest := copy(r.buf, r.buf[n:])
	r.buf = r.buf[:rest]
	if rest == 0 {
		r.buf = nil // an idle stream holds no memory
	}
	// Tell the peer of the wider window when it is worth a packet, to avoid the silly window
	// syndrome (RFC 1122, Section 4.2.3.3).
	if r.read+streamWindow-r.limit >= streamWindow/2 && !r.complete() {
		r.ackDue = true
	}
	if r.complete() && r.read == r.end {
		r.eofOut = true
		return n, true
	}
	return n, false
}

// complete reports whether every byte and the end have arrived.
func (r *recvState) complete() bool { return r.ended && r.got == r.end }

// readable reports whether take would give something that it has not given.
func (r *recvState) readable() bool { return r.got > r.read || r.complete() && !r.eofOut }

// ackOffset returns the cumulative acknowledgement. The end counts as one byte, so that it is
// acknowledged like one.
func (r *recvState) ackOffset() uint64 {
	if r.complete() {
		return r.got + 1
	}
	return r.got
}
