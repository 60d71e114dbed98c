package path

import (
	"math"
	"time"
)

const (
	// betterBy is how much better another has to be: 20 % (shared with the paths of a link; a
	// smaller difference is less than what the estimate errs).
	betterBy = 1.2

	// betterFor is how long at least, and betterSpread what is drawn on top of it. A standby is
	// measured about once a minute, so a crowd that moved within less would not see itself coming.
	betterFor, betterSpread = 30 * time.Second, 2 * time.Minute

	// collapsedFor and collapsedSpread are the same when the first has collapsed. Two reports of the
	// estimator say so; then there is no time to wait for the others.
	collapsedFor, collapsedSpread = 10 * time.Second, 10 * time.Second

	// leadLeast and leadSpread bound the sum that decides, in seconds times the logarithm
	// of how much more than betterBy it was: twice as good for 20 to 60 s, four times for 8 to 25 s,
	// 1.3 times for some minutes. Noise of 15 % that stays for a minute gives 7 at most.
	leadLeast, leadSpread = 10, 20

	// leadStep bounds what one moment may count: eight times as good and more are the same.
	leadStep = 2

	// leadSamples is how many new measurements there have to be meanwhile.
	leadSamples = 3

	// stepMost bounds the time between two calls that counts as measured, so that a clock that
	// jumps shows nothing.
	stepMost = 2 * decideEvery

	// scoreFresh is how old a score may be to be compared: a train for a standby comes about once a
	// minute.
	scoreFresh = 2 * time.Minute

	// rttFloor is added to round trips before they are compared: what a scheduler or a radio adds is
	// no difference.
	rttFloor = 10 * time.Millisecond

	// usualFor is the time constant of what is usual for one attached.
	usualFor = 10 * time.Minute

	// collapseBy is the fall that counts as one: to half of what is usual.
	collapseBy = 2

	// nearlyEqual: of several that have shown to be better, all within this factor of the best are
	// as good, and chance decides.
	nearlyEqual = 1.1
)

// A lead is the sum by which one queue-VR is better than what is asked for, since the sum was zero
// last: a cumulative sum test (Page, Continuous inspection schemes, 1954). So a large difference
// decides soon, a small one late, and noise around no difference hardly ever.
type lead struct {
	sum     float64
	lasted  time.Duration // since the sum was zero last, as far as we were there
	samples int           // new measurements since
	last    [2]sample

	luck float64 // drawn when the sum leaves zero: from 0, for the first to go, to 1
	need float64 // the sum that decides, drawn too
}

// A sample tells one measurement of a queue-VR from the next.
type sample struct {
	at  time.Time
	rtt time.Duration
}

func (q *queueState) sample() sample { return sample{q.measure.ScoreAt, q.measure.RTT} }

// add counts an advantage (a logarithm) that lasted for d.
func (e *lead) add(d time.Duration, advantage float64, of [2]sample, random func() uint64) {
	d = min(max(d, 0), stepMost)
	step := min(advantage-math.Log(betterBy), leadStep) * d.Seconds()
	if e.sum == 0 && step > 0 {
		*e = lead{last: of, luck: fraction(random), need: leadLeast + leadSpread*fraction(random)}
	}
	if e.sum += step; e.sum <= 0 {
		*e = lead{}
		return
	}
	e.lasted += d
	if of != e.last {
		e.samples++
		e.last = of
	}
}

// decides reports whether there is enough, after the time that is asked for at least and a part of what
// may be drawn on top.
func (e *lead) decides(least, spread time.Duration) bool {
	wait := least + time.Duration(e.luck*float64(spread))
	return e.lasted >= wait && e.sum >= e.need && e.samples >= leadSamples
}

// fraction returns a random number from 0 to 1.
func fraction(random func() uint64) float64 { return float64(random()>>11) / (1 << 53) }

// advantage returns the logarithm of how much better c is than a, false if that is not known.
//
// Bandwidth decides. If that of a is unknown, or only a lower bound because the application sends no
// more, more of it would help nobody; then, and when bandwidths are nearly equal, the round
// trip decides. Going back needs the whole of betterBy, so the two rules cannot turn in a circle.
func advantage(now time.Time, c, a QueueMeasure) (float64, bool) {
	cKnown, aKnown := scored(now, c), scored(now, a)
	rtt := math.Inf(-1)
	if c.RTT > 0 && a.RTT > 0 {
		rtt = math.Log(float64(a.RTT+rttFloor) / float64(c.RTT+rttFloor))
	}
	switch {
	case cKnown && aKnown && !a.LowerBound:
		bandwidth := math.Log(c.Score / a.Score)
		if math.Abs(bandwidth) <= math.Log(betterBy)/2 {
			return max(bandwidth, rtt), true
		}
		return bandwidth, true
	case cKnown && aKnown && !c.LowerBound && c.Score < a.Score:
		return math.Log(c.Score / a.Score), true
	case (!aKnown || a.LowerBound) && !math.IsInf(rtt, -1):
		return rtt, true
	}
	return 0, false
}

// scored reports whether the score of a queue-VR says something about now.
func scored(now time.Time, m QueueMeasure) bool {
	return m.Score > 0 && now.Sub(m.ScoreAt) <= scoreFresh
}

// compare makes the best the first, once it has shown to be.
func (a *Attachments) compare(now time.Time) {
	if len(a.order) == 0 {
		return
	}
	first := a.order[0]
	elapsed := now.Sub(a.decided)
	a.followFirst(now, elapsed, first)
	for _, q := range a.book {
		if q == first || !q.up() || q.state != queueTrial && q.state != queueAttached {
			q.better = lead{}
			continue
		}
		gain, known := advantage(now, q.measure, first.measure)
		if !known || q.measure.Draining || q.leaving != "" {
			q.better = lead{}
			continue
		}
		q.better.add(elapsed, gain, [2]sample{q.sample(), first.sample()}, a.draw)
	}
	if best := a.best(now, first); best != nil {
		a.prefer(now, best, first)
	}
}

// followFirst learns what is usual for the first, and sees whether it has collapsed.
func (a *Attachments) followFirst(now time.Time, elapsed time.Duration, q *queueState) {
	if !scored(now, q.measure) || q.measure.LowerBound {
		q.low, q.collapsed = lead{}, false
		return
	}
	if q.usual == 0 {
		q.usual = q.measure.Score
	}
	q.usual += (q.measure.Score - q.usual) * (1 - math.Exp(-min(max(elapsed, 0), stepMost).Seconds()/usualFor.Seconds()))
	q.low.add(elapsed, math.Log(q.usual/q.measure.Score/collapseBy*betterBy), [2]sample{q.sample()}, a.draw)
	q.collapsed = q.low.lasted >= collapsedFor && q.low.samples >= leadSamples
	if q.collapsed && q.measure.Score < betterBy*q.left && now.Sub(q.since) < letDownWithin && q.leaving == "" && !a.off.letDown {
		q.leaving = reasonLetDown
		q.barred = now.Add(min(letDownFirst<<(2*min(q.letDowns, 8)), letDownMost))
		q.letDowns++
	}
	if !q.collapsed && now.Sub(q.since) >= letDownForgotten {
		q.letDowns = 0
	}
}

// best returns the one to be preferred to the first, nil if none has led for long enough.
func (a *Attachments) best(now time.Time, first *queueState) *queueState {
	if a.off.hysteresis {
		return a.bestNow(now, first)
	}
	least, spread := betterFor, betterSpread
	switch {
	case first.collapsed && now.Sub(a.escaped) >= escapeEvery:
		least, spread = collapsedFor, collapsedSpread
	case !a.maySwitch(now):
		return nil
	}
	var ready []*queueState
	most := math.Inf(-1)
	for _, q := range a.book {
		if q.better.decides(least, spread) {
			ready = append(ready, q)
			gain, _ := advantage(now, q.measure, first.measure)
			most = max(most, gain)
		}
	}
	n := 0
	for _, q := range ready {
		if gain, _ := advantage(now, q.measure, first.measure); gain >= most-math.Log(nearlyEqual) && gain >= math.Log(betterBy) {
			ready[n] = q
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return ready[a.random()%uint64(n)]
}

// bestNow is the rule without hysteresis: whatever is better at this moment.
func (a *Attachments) bestNow(now time.Time, first *queueState) (best *queueState) {
	most := 0.0
	for _, q := range a.book {
		if q == first || !q.up() || q.state != queueTrial && q.state != queueAttached {
			continue
		}
		if gain, known := advantage(now, q.measure, first.measure); known && gain > most {
			best, most = q, gain
		}
	}
	return best
}

// prefer makes one the first.
func (a *Attachments) prefer(now time.Time, q, first *queueState) {
	if first.collapsed {
		a.escaped = now
	} else {
		a.switched = now
	}
	if q.state == queueTrial {
		q.transition(queueAttached, now)
		a.actions = append(a.actions, Attach{q.measure.Router, reasonBetter})
	} else {
		// It has its place again, and what is usual begins anew with the measurement it was chosen for.
		q.since = now
	}
	q.reason = reasonBetter
	q.usual, q.left, q.leaving = 0, 0, ""
	if scored(now, first.measure) {
		q.left = first.measure.Score
	}
	if scored(now, q.measure) && !q.measure.LowerBound {
		q.usual = q.measure.Score
	}
	first.low, first.collapsed, first.usual = lead{}, false, 0
	order := append(make([]*queueState, 0, len(a.order)+1), q)
	for _, o := range a.order {
		o.better = lead{}
		if o != q {
			order = append(order, o)
		}
	}
	a.order = order
}

// maySwitch reports whether the first may change without need.
func (a *Attachments) maySwitch(now time.Time) bool {
	return a.off.hysteresis || a.switched.IsZero() || now.Sub(a.switched) >= switchEvery
}

// draw is the randomness of thresholds.
func (a *Attachments) draw() uint64 {
	if a.off.random {
		return 0
	}
	return a.random()
}

// planTrial draws when the next trial may begin.
func (a *Attachments) planTrial(now time.Time) {
	mean := trialEvery
	for _, q := range a.book {
		if q.untried() && a.askable(now, q) {
			mean = trialFirst
		}
	}
	a.trialAt = now.Add(mean/2 + time.Duration(fraction(a.draw)*float64(mean)))
}

// untried reports whether a queue-VR has never been measured.
func (q *queueState) untried() bool { return q.measure.Score == 0 && q.measure.ScoreAt.IsZero() }

// try begins a trial when it is time for one. While the first may not change, only the untried
// are tried: to know them.
func (a *Attachments) try(now time.Time) {
	if len(a.order) == 0 {
		return
	}
	age, all := trialAge, a.maySwitch(now)
	if first := a.order[0]; first.collapsed && now.Sub(a.escaped) >= escapeEvery {
		age, all = trialAgeCollapsed, true
	} else if now.Before(a.trialAt) {
		return
	}
	var worth []*queueState
	for _, q := range a.book {
		if q.state == queueTrial {
			return // one at a time
		}
		if a.askable(now, q) && (q.untried() || all && a.worthTrying(now, q, age)) {
			worth = append(worth, q)
		}
	}
	if len(worth) > 0 {
		q := worth[a.draw()%uint64(len(worth))]
		q.transition(queueTrial, now)
		a.actions = append(a.actions, Try{q.measure.Router})
	}
	a.planTrial(now)
}

// worthTrying reports whether a candidate was measured long ago, or not so long ago but better than the
// first is now.
func (a *Attachments) worthTrying(now time.Time, q *queueState, age time.Duration) bool {
	first, old := a.order[0].measure, now.Sub(q.measure.ScoreAt)
	return old >= age ||
		old >= trialEvery && scored(now, first) && !first.LowerBound && q.measure.Score >= betterBy*first.Score
}

// followTrial ends a trial that leads to nothing.
func (a *Attachments) followTrial(now time.Time, q *queueState, full bool) {
	inTrial := now.Sub(q.since)
	switch {
	case full:
		a.end(now, q, reasonFull)
		return
	case !q.up() && (inTrial >= seekWait || !q.measured.IsZero()):
		q.setAside(now)
		a.end(now, q, reasonSilent)
		return
	case q.measure.Draining:
		a.end(now, q, reasonDrain)
		return
	}
	if q.measured.IsZero() && q.up() && q.measure.Score > 0 && q.measure.ScoreAt.After(q.since) {
		q.measured = now
	}
	switch {
	case q.measured.IsZero() && inTrial >= trialMeasure:
		// It accepts, and carries nothing.
		q.setAside(now)
		a.end(now, q, reasonUnknown)
	case !q.measured.IsZero() && now.Sub(q.measured) >= trialFair && q.better.sum == 0, inTrial >= trialMost:
		a.end(now, q, reasonNoBetter)
	}
}
