package transport

import "time"

// A relay that passes on what keeps a link alive and swallows the data looks like a good way. Only the far side
// knows what arrives: its pongs say so. What was sent and what arrived, read at each pong, show a way that swallows all;
// one that swallows some shows as loss (path.Estimator).
//
// Invariant: since is when arrived last changed, or the way did.
type swallowing struct {
	sent    uint64 // data packets sealed before the ping at since
	arrived uint64 // data packets that the peer had opened then
	since   time.Time
	moves   int  // ways left for it in a row
	leaving bool // the next way to answer is taken
}

// judge takes a pong over the way in use: sent data packets were sealed before its ping, and the peer has
// opened arrived. It reports whether the way swallows data.
func (s *swallowing) judge(now time.Time, sent, arrived uint64) bool {
	switch {
	case arrived != s.arrived || sent < s.sent: // it arrives, or this is another session
		*s = swallowing{sent: sent, arrived: arrived, since: now}
		return false
	case s.since.IsZero() || now.Before(s.since): // begin here
		s.sent, s.since = sent, now
		return false
	}
	return sent-s.sent >= swallowPackets && now.Sub(s.since) >= swallowAfter
}

// swallows leaves the way in use, which swallows data: the next one to answer is taken. When several in a row
// seem to do it, the peer does not take the data, and no way is at fault.
func (c *conn) swallows(now time.Time) {
	s := &c.swallowed
	s.sent, s.since = c.session.Sent(), now
	if s.moves >= swallowMoves {
		s.leaving = false
		return
	}
	s.moves++
	s.leaving = true
	if w := c.way(c.endpoint); w != nil {
		w.shunned = min(w.shunned+1, 5)
		w.shun = now.Add(shunMin << (w.shunned - 1))
	}
	c.links.emit(Degraded{Router: c.router})
	c.askOthers(now)
}

// shuns reports whether a way has swallowed data lately.
func (w *way) shuns(now time.Time) bool { return now.Before(w.shun) }

// arrivals knows how much of what the peer sent has come, second by second: the peer sees what is lost on the
// way to us as little as we see what is lost on the way to it, and one side chooses for both.
type arrivals struct {
	ring [lossSeconds]struct{ highest, packets uint64 } // sums, oldest first
	n    int
}

// note takes the sums of the session in use. Another session begins anew.
func (a *arrivals) note(highest, packets uint64) {
	if a.n > 0 && (highest < a.ring[a.n-1].highest || packets < a.ring[a.n-1].packets) {
		a.n = 0
	}
	if a.n == len(a.ring) {
		a.n = copy(a.ring[:], a.ring[1:])
	}
	a.ring[a.n].highest, a.ring[a.n].packets = highest, packets
	a.n++
}

// loss returns the share of the peer's packets that did not come, zero if few were sent.
func (a *arrivals) loss() float64 {
	if a.n < 2 {
		return 0
	}
	first, last := a.ring[0], a.ring[a.n-1]
	sent, came := last.highest-first.highest, last.packets-first.packets
	if sent < lossLeast || came >= sent {
		return 0
	}
	return 1 - float64(came)/float64(sent)
}
