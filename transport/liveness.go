package transport

import (
	"net/netip"
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
	data   uint64 // data packets sealed before
}

// liveness decides from authentic packets alone whether the peer is there, and whether the way in use
// leads to it. What comes over the way in use shows both; what comes over another one shows only
// that the peer lives.
//
// Invariant: silentAt is zero exactly when nothing is unanswered.
type liveness struct {
	pings    []sentPing
	nextPing time.Time // when idle, the next probe; else the next repetition
	dataAt   time.Time // first data sent since the peer was heard last; zero if none
	silentAt time.Time // since when probes are unanswered over the way in use
	active   bool      // data waits on the answer: probe fast, give up soon
	flows    bool      // data came, and since then nobody has asked whether more cannot come
	lost     bool      // the way in use is known to lead nowhere
	heardAt  time.Time // last authentic packet over the way in use
	aliveAt  time.Time // last authentic packet over any way
	gauged   time.Time // when a ping was last sent to measure
	gaugeAt  time.Time // when the next one is to be sent; zero: not planned
}

// start begins the liveness of a new connection.
func (v *liveness) start(now time.Time, l *Links) {
	*v = liveness{nextPing: now.Add(l.between(probeIdleMin, probeIdleMax)), heardAt: now, aliveAt: now}
}

// heard says that an authentic packet came over the way in use.
func (v *liveness) heard(now time.Time, l *Links) {
	v.dataAt, v.silentAt, v.active, v.lost = time.Time{}, time.Time{}, false, false
	v.heardAt, v.aliveAt = now, now
	v.nextPing = now.Add(l.between(probeIdleMin, probeIdleMax))
}

// gotData says that data came over the way in use. A translator that forgets us lets in no more of it, nor the peer's
// questions: nobody but we can make ourselves known to it again.
func (v *liveness) gotData() { v.flows = true }

// ebbs returns when we ask whether the data that came has merely paused; the zero Time: not at all.
func (v *liveness) ebbs() time.Time {
	if !v.flows || !v.silentAt.IsZero() {
		return time.Time{}
	}
	return v.heardAt.Add(flowQuiet)
}

// elsewhere says that an authentic packet came over another way.
func (v *liveness) elsewhere(now time.Time) { v.aliveAt = now }

// moved begins anew over another way, which has just answered.
func (v *liveness) moved(now time.Time) {
	v.pings = v.pings[:0]
	v.dataAt, v.silentAt, v.active, v.lost, v.flows = time.Time{}, time.Time{}, false, false, false
	v.heardAt, v.aliveAt = now, now
	v.nextPing = now.Add(probeActive)
}

// await says that an answer is needed now, as if data had been sent.
func (v *liveness) await(now time.Time) {
	v.dataAt, v.silentAt, v.active, v.nextPing = now, now, true, now.Add(probeActive)
}

// doubt has the way in use asked at once, unless it is being asked.
func (v *liveness) doubt(now time.Time) {
	if !v.active {
		v.active, v.silentAt, v.nextPing = true, now, now
	}
}

// sentData says that something was sent that the peer answers: data, stream bytes, channels.
func (v *liveness) sentData(now time.Time) {
	if v.dataAt.IsZero() {
		v.dataAt = now
	}
}

// due returns the next deadline.
func (v *liveness) due() time.Time {
	t := earliest(earliest(v.nextPing, v.gaugeAt), earliest(v.deadAt(), v.ebbs()))
	if !v.dataAt.IsZero() && !v.active {
		t = earliest(t, v.dataAt.Add(activeQuiet))
	}
	return t
}

// deadAt returns when the link is given up, or the zero Time.
func (v *liveness) deadAt() time.Time {
	if v.silentAt.IsZero() {
		return time.Time{}
	}
	since := v.silentAt
	if v.aliveAt.After(since) {
		since = v.aliveAt // it lives, only not there
	}
	if v.active {
		return since.Add(activeDead)
	}
	return since.Add(idleDead)
}

// quiet reports whether nothing has come over the way in use for a while.
func (v *liveness) quiet(now time.Time) bool { return now.Sub(v.heardAt) >= activeQuiet }

// suspects reports whether the way in use has left something unanswered for longer than an answer
// takes, so that the next way to answer is taken.
func (v *liveness) suspects(now time.Time, rtt *rttState) bool {
	if v.lost {
		return true
	}
	return !v.silentAt.IsZero() && now.Sub(v.silentAt) >= suspectAfter(rtt)
}

// suspectAfter is how long an answer may take before other ways are asked: the retransmission timeout
// of RFC 6298 without its lower bound, since asking costs little and what it finds is only taken
// if it is faster than the answer.
func suspectAfter(rtt *rttState) time.Duration { return rtt.timeout(suspectMin, probeActive*3) }

// unanswered returns how many probes in a row the way in use has left unanswered.
func (v *liveness) unanswered(now time.Time, rtt *rttState) int {
	if v.silentAt.IsZero() || !v.suspects(now, rtt) {
		return 0
	}
	return 1 + int(now.Sub(v.silentAt)/probeActive)
}

// advance reports whether a probe is due and whether the peer is given up.
func (v *liveness) advance(now time.Time, rtt *rttState) (probe, dead bool) {
	if !v.dataAt.IsZero() && !v.active && !now.Before(v.dataAt.Add(activeQuiet)) {
		// Only now does the short patience begin, even if an idle probe is unanswered already.
		v.doubt(now)
	}
	if t := v.deadAt(); !t.IsZero() && !now.Before(t) {
		return false, true
	}
	if ebbs := v.ebbs(); !ebbs.IsZero() && !now.Before(ebbs) {
		v.flows, v.nextPing = false, now
	}
	if now.Before(v.nextPing) {
		return false, false
	}
	first := v.silentAt.IsZero() || v.silentAt.Equal(now)
	if v.silentAt.IsZero() {
		v.silentAt = now
	}
	switch {
	case v.active && first:
		v.nextPing = now.Add(min(suspectAfter(rtt), probeActive))
	case v.active:
		v.nextPing = now.Add(probeActive)
	default:
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
	v.pings = append(v.pings, sentPing{token, now, c.session.Sent()})
	v.gauged = now
	c.put(frame.Ping{Token: token, Rx: c.report()}.Append(nil))
}

// gauge measures the way in use while data flows over it: see gaugeEvery. The ping waits for a drawn time:
// sent right behind the first packets of a burst it would always find the queue that these make, as if the
// way were full.
func (c *conn) gauge(now time.Time) {
	v := &c.liveness
	if v.silentAt.IsZero() && v.gaugeAt.IsZero() && now.Sub(v.gauged) >= gaugeEvery {
		v.gaugeAt = now.Add(c.links.between(0, gaugeSpread))
	}
}

// advanceGauge sends the ping that is due.
func (c *conn) advanceGauge(now time.Time) {
	if v := &c.liveness; !v.gaugeAt.IsZero() && !now.Before(v.gaugeAt) {
		v.gaugeAt = time.Time{}
		if v.silentAt.IsZero() {
			c.ping(now)
		}
	}
}

// report says what data arrived in the session in use.
func (c *conn) report() frame.Report {
	if c.session.link == nil {
		return frame.Report{}
	}
	return c.session.Report()
}

// onPing answers a ping, over the way it came by.
func (c *conn) onPing(now time.Time, from netip.AddrPort, p frame.Ping) {
	answer := frame.Pong{Token: p.Token, Rx: c.report()}.Append(nil)
	if c.session.link != nil {
		if bytes, packets, highest := c.session.Delivered(); packets > 0 {
			d := frame.Delivered{Bytes: bytes, Packets: packets, Highest: highest, Clock: uint64(now.UnixMicro())}
			answer = d.Append(answer)
		}
	}
	c.answer(from, answer)
}

// onPong takes an answer and measures the round trip, without the time that the peer held it.
func (c *conn) onPong(now time.Time, from netip.AddrPort, p frame.Pong) {
	if c.onSizePong(now, p.Token) {
		return
	}
	v := &c.liveness
	for i, s := range v.pings {
		if s.token != p.Token {
			continue
		}
		if rtt := now.Sub(s.sentAt) - time.Duration(p.Held)*time.Microsecond; rtt > 0 && from == c.endpoint {
			c.rtt.sample(rtt)
			c.lastRTT = rtt
			if w := c.way(c.endpoint); w != nil {
				w.probed(now, rtt, false)
			}
			c.countBack(now, rtt)
		}
		if from == c.endpoint && c.router != 0 && c.swallowed.judge(now, s.data, p.Rx.Packets) && !c.links.trustsPongs {
			c.swallows(now)
		}
		// Earlier pings were lost or their answers are late; an answer to one of them would
		// still measure rightly, but the newer one is here.
		v.pings = v.pings[:copy(v.pings, v.pings[i+1:])]
		return
	}
}
