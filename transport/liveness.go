package transport

import (
	"time"

	"github.com/vine-mesh/vine/transport/frame"
)

// pingsMax bounds the pings whose answer is waited for: two seconds at probeActive, and the one
// that began it.
const pingsMax = 10

// A sentPing is a ping whose answer is waited for.
type sentPing struct {
	token  uint64
	sentAt time.Time
}

// liveness decides from authentic packets alone whether the peer is there.
//
// Invariant: silentAt is zero exactly when nothing is unanswered.
type liveness struct {
	pings    []sentPing
	nextPing time.Time // when idle, the next probe; else the next repetition
	dataAt   time.Time // first data sent since the peer was heard last; zero if none
	silentAt time.Time // since when probes are unanswered
	active   bool      // data waits on the answer: probe fast, give up soon
}

// start begins the liveness of a new connection.
func (v *liveness) start(now time.Time, l *Links) {
	*v = liveness{nextPing: now.Add(l.between(probeIdleMin, probeIdleMax))}
}

// heard says that an authentic packet came.
func (v *liveness) heard(now time.Time, l *Links) {
	v.dataAt, v.silentAt, v.active = time.Time{}, time.Time{}, false
	v.nextPing = now.Add(l.between(probeIdleMin, probeIdleMax))
}

// await says that an answer is needed now, as if data had been sent.
func (v *liveness) await(now time.Time) {
	v.dataAt, v.silentAt, v.active, v.nextPing = now, now, true, now.Add(probeActive)
}

// sentData says that something was sent that the peer answers: data, stream bytes, channels.
func (v *liveness) sentData(now time.Time) {
	if v.dataAt.IsZero() {
		v.dataAt = now
	}
}

// due returns the next deadline.
func (v *liveness) due() time.Time {
	t := earliest(v.nextPing, v.deadAt())
	if !v.dataAt.IsZero() && !v.active {
		t = earliest(t, v.dataAt.Add(activeQuiet))
	}
	return t
}

// deadAt returns when the link is given up, or the zero Time.
func (v *liveness) deadAt() time.Time {
	switch {
	case v.silentAt.IsZero():
		return time.Time{}
	case v.active:
		return v.silentAt.Add(activeDead)
	}
	return v.silentAt.Add(idleDead)
}

// advance reports whether a probe is due and whether the peer is given up.
func (v *liveness) advance(now time.Time) (probe, dead bool) {
	if !v.dataAt.IsZero() && !v.active && !now.Before(v.dataAt.Add(activeQuiet)) {
		// Only now does the short patience begin, even if an idle probe is unanswered already.
		v.active, v.silentAt, v.nextPing = true, now, now
	}
	if t := v.deadAt(); !t.IsZero() && !now.Before(t) {
		return false, true
	}
	if now.Before(v.nextPing) {
		return false, false
	}
	if v.silentAt.IsZero() {
		v.silentAt = now
	}
	if v.active {
		v.nextPing = now.Add(probeActive)
	} else {
		v.nextPing = now.Add(probeSuspect)
	}
	return true, false
}

// ping queues a ping.
func (c *conn) ping(now time.Time) {
	token := c.links.random64()
	v := &c.liveness
	if len(v.pings) >= pingsMax {
		v.pings = v.pings[:copy(v.pings, v.pings[1:])]
	}
	v.pings = append(v.pings, sentPing{token, now})
	c.put(frame.Ping{Token: token, Rx: c.report()}.Append(nil))
}

// report says what data arrived in the session in use.
func (c *conn) report() frame.Report {
	if c.session.link == nil {
		return frame.Report{}
	}
	return c.session.Report()
}

// onPong takes an answer and measures the round trip, without the time that the peer held it.
func (c *conn) onPong(now time.Time, p frame.Pong) {
	v := &c.liveness
	for i, s := range v.pings {
		if s.token != p.Token {
			continue
		}
		if rtt := now.Sub(s.sentAt) - time.Duration(p.Held)*time.Microsecond; rtt > 0 {
			c.rtt.sample(rtt)
		}
		// Earlier pings were lost or their answers are late; an answer to one of them would
		// still measure rightly, but the newer one is here.
		v.pings = v.pings[:copy(v.pings, v.pings[i+1:])]
		return
	}
}
