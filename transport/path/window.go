package path

import (
	"math"
	"time"
)

// An interval is what lies between two receive reports.
type interval struct {
	span                 time.Duration // by the receiver's clock
	local                time.Duration // by ours
	bytes, packets, sent uint64
}

// implausible reports whether no path of ours can have carried it.
func (i interval) implausible() bool {
	return i.span <= 0 || float64(i.bytes)*8/i.span.Seconds() > rateMax
}

// A window sums up intervals until they cover windowSpan.
type window struct {
	span    time.Duration
	local   time.Duration
	bytes   uint64
	packets uint64 // opened
	sent    uint64 // by the counters
	rtts    int    // round trips measured
	queued  int    // of them show a queue
	low     time.Duration
	high    time.Duration
	idle    time.Duration // of span, time in which next to nothing came
	peak    float64       // highest rate of one interval, bytes per second
	full    bool
	at      time.Time // when it was closed
}

// add takes an interval, and the round trip that was measured with its last report, 0 if none was.
func (w *window) add(i interval, rtt time.Duration, queued bool) {
	rate := float64(i.bytes) / i.span.Seconds()
	if rate > 8*w.peak {
		w.idle = w.span // all that came before was next to nothing
	}
	w.span += i.span
	w.local += i.local
	w.bytes += i.bytes
	w.packets += i.packets
	w.sent += i.sent
	w.peak = max(w.peak, rate)
	if rate < w.peak/8 {
		w.idle += i.span
	}
	if rtt <= 0 {
		return
	}
	if w.rtts == 0 || rtt < w.low {
		w.low = rtt
	}
	w.high = max(w.high, rtt)
	w.rtts++
	if queued {
		w.queued++
	}
}

// bits returns the rate in bits per second.
func (w *window) bits() int64 {
	if w.span <= 0 {
		return 0
	}
	return int64(float64(w.bytes) * 8 / w.span.Seconds())
}

// lost returns how many packets did not come.
func (w *window) lost() uint64 {
	if w.packets >= w.sent {
		return 0
	}
	return w.sent - w.packets
}

// newest returns the window closed i before the newest.
func (e *Estimator) newest(i int) *window {
	return &e.ring[(e.ringNext+2*windowsKept-1-i)%windowsKept]
}

// close ends the open window and learns from it.
func (e *Estimator) close(now time.Time) {
	w := e.open
	e.open = window{}
	w.at = now
	if w.local > 2*w.span {
		w.span = w.local // the receiver's clock is wrong
	}
	e.ring[e.ringNext] = w
	e.ringNext = (e.ringNext + 1) % windowsKept
	n := e.newest(0)
	n.full = e.full(now)
	e.noteFree(n)
	if n.full {
		e.rate = Rate{e.average(now), RateEstimate, ByTraffic, now}
	} else {
		e.atLeast(now, n.bits())
	}
	if p, ok := e.dataLoss(now); ok {
		e.lossSeen, e.lossSeenAt, e.clean = p, now, 0
		if n.full {
			e.lossSeen = 0
		}
	}
}

// atLeast learns that the path carried so much without being seen full.
func (e *Estimator) atLeast(now time.Time, bits int64) {
	fresh := now.Sub(e.rate.At) <= rateFresh
	switch {
	case fresh && e.rate.Kind == RateEstimate && bits <= e.rate.Bits+e.rate.Bits/10:
	case fresh && e.rate.Kind == RateAtLeast && bits <= e.rate.Bits:
	case bits > 0:
		e.rate = Rate{bits, RateAtLeast, ByTraffic, now}
	}
}

// full reports whether the newest window, with the two before, shows a full path: a standing queue, or
// a queue half of the time and loss. It is no sign of a full path if the same rate passed without a
// queue before: then the route became longer, or the queue is of others who come and go.
func (e *Estimator) full(now time.Time) bool {
	w := e.newest(0)
	if w.idle > w.span/4 || w.rtts > 0 && w.queued == 0 {
		return false
	}
	rtts, queued, lost := 0, 0, uint64(0)
	for i := range 3 {
		w := e.newest(i)
		if w.span == 0 || now.Sub(w.at) > 3*windowSpan+gapMax {
			break
		}
		rtts, queued, lost = rtts+w.rtts, queued+w.queued, lost+w.lost()
	}
	if rtts < 3 || 8*queued < 7*rtts && (2*queued < rtts || lost == 0) {
		return false
	}
	return lost > 0 || !e.passedFree(now, w.bits())
}

// A free is a rate that passed without a queue.
type free struct {
	bits int64
	at   time.Time
}

// noteFree remembers the rate of a window that saw no queue, one for each freeEvery.
func (e *Estimator) noteFree(w *window) {
	if w.rtts == 0 || w.queued > 0 || w.idle > 0 || w.at.Sub(e.free[(e.freeNext+freeKept-1)%freeKept].at) < freeEvery {
		return
	}
	e.free[e.freeNext] = free{w.bits(), w.at}
	e.freeNext = (e.freeNext + 1) % freeKept
}

// passedFree reports whether a rate passed without a queue twice while the minimum of the round trip
// remembers it. The same but for a packet or two: a greedy flow below the path's rate is never steady.
func (e *Estimator) passedFree(now time.Time, bits int64) bool {
	n := 0
	for _, f := range e.free {
		if now.Sub(f.at) <= 2*rttBucket && f.bits-bits <= bits/50 && bits-f.bits <= bits/50 {
			n++
		}
	}
	return n > 1
}

// average returns the rate over the full windows of the last seconds and what lies between them: a
// greedy flow that cut its rate is on its way back there. When the path changed for good, what was before is
// forgotten: two full windows show it that are half or twice the rest, or more of them by less (shift).
// So is what was before a pause: another flow met other traffic, and no sender cuts its rate to a quarter at once.
func (e *Estimator) average(now time.Time) int64 {
	e.shift(now)
	w, before := e.newest(0), e.newest(1)
	oldest := e.oldest(now)
	var rest window
	for i := 2; i <= oldest; i++ {
		rest.bytes, rest.span = rest.bytes+e.newest(i).bytes, rest.span+e.newest(i).span
	}
	if r := rest.bits(); r > 0 && before.full &&
		(max(w.bits(), before.bits()) < r/2 || min(w.bits(), before.bits()) > 2*r) {
		e.changed = before.at.Add(-1)
		rest, oldest = window{}, 1
	}
	sum := rest
	for i := range min(oldest+1, 2) {
		sum.bytes, sum.span = sum.bytes+e.newest(i).bytes, sum.span+e.newest(i).span
	}
	return sum.bits()
}

// oldest returns the oldest full window that still counts, as newest numbers them.
func (e *Estimator) oldest(now time.Time) (oldest int) {
	w := e.newest(0)
	for i := 1; i < windowsKept; i++ {
		v := e.newest(i)
		if v.idle > v.span/4 || pauseShare*v.bits() < w.bits() {
			break
		}
		if v.full && v.at.After(e.changed) && now.Sub(v.at) <= windowsKept*windowSpan+gapMax {
			oldest = i
		}
	}
	return oldest
}

// shift looks for the moment at which the rate of full windows changed: of all cuts through them the one where
// the means before and after are the most apart, in units of their standard error (to try every cut is the test of
// Hinkley: "Inference about the change-point in a sequence of random variables", Biometrika 1970). If they are apart
// by shiftSigns and by shiftShare, what is before is forgotten. Windows that are not full have no say: a flow that
// cut its rate is no change of the path. The spread is that of absolute deviations, not of squares: in one of the
// windows a flow has just begun or was paused, and that one must not hide the change.
func (e *Estimator) shift(now time.Time) {
	var rates [windowsKept]float64 // of full windows, the newest first
	var at [windowsKept]time.Time
	n := 0
	for i := range e.oldest(now) + 1 {
		if v := e.newest(i); v.full {
			rates[n], at[n] = float64(v.bits()), v.at
			n++
		}
	}
	best, cut := shiftSigns, 0
	for k := shiftAfter; k <= n-shiftBefore; k++ {
		after, offAfter := spread(rates[:k])
		before, offBefore := spread(rates[k:n])
		d := math.Abs(after - before)
		if d < shiftShare*before {
			continue
		}
		// Of normal noise the standard deviation is sqrt(pi/2) of the mean absolute one.
		off := math.Sqrt(math.Pi/2)*(offAfter+offBefore)/float64(n-2) + shiftNoise*before
		if t := d / (off * math.Sqrt(1/float64(k)+1/float64(n-k))); t > best {
			best, cut = t, k
		}
	}
	if cut > 0 {
		e.changed = at[cut-1].Add(-1)
	}
}

// spread returns the mean, and the sum of what is between it and each.
func spread(rates []float64) (mean, off float64) {
	for _, r := range rates {
		mean += r / float64(len(rates))
	}
	for _, r := range rates {
		off += math.Abs(r - mean)
	}
	return mean, off
}
