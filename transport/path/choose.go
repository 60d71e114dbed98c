package path

import (
	"net/netip"
	"time"
)

// Limits of the choice. The spans with a spread wait up to that much longer, by a draw: those who
// see the same change do not move in one crowd.
const (
	// silentProbes and silentAfter make a path silent: probes go every 250 ms while data waits.
	silentProbes = 3
	silentAfter  = 500 * time.Millisecond

	// heardFresh is how long an answer shows that a standby works: idle probes go every 10 to 25
	// seconds, three of them may be lost.
	heardFresh = 90 * time.Second

	lossHeavy = 0.3  // no TCP flow lives with it
	lossBad   = 0.02 // TCP feels it on every path that is long

	collapse = 8 // times less than the path gave before
	decline  = 2 // times less than the path gave before, or than another gives

	// gain is the least improvement, and each ordinary move in moveMemory asks gainStep more of the
	// next. With +-15 % of noise a path seems at most 1.15/0.85 = 1.35 times better than an equal one:
	// less than the second move asks, gainBand deducted.
	gain       = 1.2
	gainStep   = 0.3
	gainBand   = 0.1 // less is enough to go on considering
	moveMemory = time.Hour

	nearEqual = 0.9 // of the best: as good

	// A rule that fails for less than lapseMax and the lapseShare-th part of the time still holds.
	lapseMax   = 3 * time.Second
	lapseShare = 5

	// dwell is the least stay on a new path unless that fails, and the least absence from an old
	// one; each return within dwellMemory that fails again makes the absence four times longer.
	dwell       = 30 * time.Second
	dwellMax    = time.Hour
	dwellMemory = 2 * time.Hour

	departuresKept = 8
	movesKept      = 4
	askedKept      = 16 // twice the candidates of a link
)

// A Candidate is one path of a link.
type Candidate struct {
	Path       netip.AddrPort
	Measure    Measure   // by us; what others advertise about the path has no place here
	Validated  bool      // the far side answered on it
	Heard      time.Time // last authentic answer on it
	Unanswered int       // probes in a row without an answer
	Draining   bool      // its relay asks to leave
}

// A Decision says which path carries data.
type Decision struct {
	Path          netip.AddrPort // zero: none can
	Score         float64        // of Path: see score
	RunnerUp      netip.AddrPort // the best other path, zero if none can be used
	RunnerUpScore float64
	Reason        Reason
}

// A Chooser chooses the path of one link by what was measured.
//
//	                another path is better by the rule of a class
//	+--------+  ------------------------------------------------->  +-------------+
//	| steady |                                                      | considering |
//	+--------+  <-------------------------------------------------  +-------------+
//	    ^           it no longer is, for lapseMax                          |
//	    |                                                                  | it was for the
//	    | dwell has passed                                                 | class's span
//	    |                                                                  v
//	    |                                                           +-------------+
//	    +---------------------------------------------------------  |   holding   |
//	                                                                +-------------+
//	from any state, at once: the path is silent or drains, another answers -> holding
//
// The classes, their rules and spans are in the table of class.go. In holding only silence, draining,
// heavy loss and collapse move the link again, and only silence and draining bring it back to the
// path it left; that path stays barred for dwell, four times longer after each further failure.
//
// Paths of every kind compete by score. Among near-equals direct is preferred to relayed and
// relayed to stream; among near-equals of one kind a draw decides, so that a crowd spreads.
//
// The zero value is ready. A Chooser is not safe for concurrent use and does not allocate.
type Chooser struct {
	current netip.AddrPort
	movedAt time.Time // when current came into use
	peak    int64     // the most that current gave to traffic
	peakAt  time.Time

	spread  float64 // 0 to 1, drawn when considering begins
	pending [classes]pending

	left  [departuresKept]departure
	moves [movesKept]time.Time // ordinary moves, newest first
	kind  Kind                 // the most preferred one that was there at the newest ordinary move

	carriedAt time.Time // when the link last carried data
	trainAt   time.Time
	asked     [askedKept]asked
}

// A departure remembers a path that was left.
type departure struct {
	path  netip.AddrPort
	at    time.Time
	until time.Time // barred
	times int       // departures before it, each within dwellMemory of the next
}

// Choose decides which path carries data. current is the path in use, zero for none; demand is what
// the link carries now in bits per second; random is drawn anew for each call. Call it about once
// per second, and when a path falls silent or drains.
//
// The caller follows the decision: a current that is not what was decided begins steady anew.
func (c *Chooser) Choose(now time.Time, current netip.AddrPort, demand int64, candidates []Candidate, random uint64) Decision {
	if current != c.current {
		c.enter(now, current)
	}
	if demand > 0 {
		c.carriedAt = now
	}
	f := field{now: now, current: current, size: transferSize(demand), candidates: candidates}
	f.look()
	f.wait = c.waitsForShare(now, f.own)
	c.notePeak(now, f.own)

	if f.own == nil || f.silent() || f.own.Draining {
		return c.leave(&f, random)
	}
	var ready, waits Reason
	var to pick
	for k := range class(classes) {
		p, holds := c.judge(k, &f, random)
		if !c.sustained(k, now, p, holds, random) {
			if holds && waits == 0 {
				waits = ReasonConsidering
			}
			continue
		}
		if holds && ready == 0 {
			ready, to = c.reason(k, &f, p), p
		}
	}
	d := Decision{Path: current, Score: f.ownScore, Reason: ReasonKept}
	switch {
	case ready != 0:
		d.Path, d.Score, d.Reason = to.path, to.score, ready
		c.move(&f, to.path, ready)
	case waits != 0:
		d.Reason = waits
	case f.usable == 0:
		d.Reason = ReasonOnly
	}
	d.RunnerUp, d.RunnerUpScore = f.runnerUp(d.Path)
	return d
}

// leave chooses when the path in use cannot stay.
func (c *Chooser) leave(f *field, random uint64) Decision {
	reason := ReasonSilent
	switch {
	case !f.current.IsValid():
		reason = ReasonFirst
	case f.own != nil && !f.silent():
		reason = ReasonDraining
	}
	p, ok := c.pick(f, anyMeasure, netip.AddrPort{}, gain, random)
	if !ok && reason != ReasonDraining {
		f.lenient = true
		p, ok = c.pick(f, anyMeasure, netip.AddrPort{}, gain, random)
	}
	if !ok && reason == ReasonDraining {
		return Decision{Path: f.current, Score: f.ownScore, Reason: ReasonOnly}
	}
	if !ok {
		// Nothing answers. What was in use is as good as any; liveness gives the link up.
		d := Decision{Path: f.current, Score: f.ownScore, Reason: ReasonNone}
		if f.own == nil {
			d.Path = netip.AddrPort{}
		}
		return d
	}
	c.move(f, p.path, reason)
	d := Decision{Path: p.path, Score: p.score, Reason: reason}
	d.RunnerUp, d.RunnerUpScore = f.runnerUp(p.path)
	return d
}

// enter begins steady on a path.
func (c *Chooser) enter(now time.Time, at netip.AddrPort) {
	c.current, c.movedAt, c.peak, c.peakAt = at, now, 0, time.Time{}
	c.pending = [classes]pending{}
	c.askedFor(at).at = time.Time{} // it needs its share, whatever was asked before
}

// move leaves the path in use.
func (c *Chooser) move(f *field, to netip.AddrPort, why Reason) {
	if c.current.IsValid() {
		c.bar(f.now, c.current)
	}
	switch why {
	case ReasonFaster, ReasonShorter, ReasonPreferred:
		copy(c.moves[1:], c.moves[:])
		c.moves[0], c.kind = f.now, f.kind
	}
	c.enter(f.now, to)
}

// bar keeps the link off a path that it leaves.
func (c *Chooser) bar(now time.Time, at netip.AddrPort) {
	slot := 0
	for i := range c.left {
		if c.left[i].path == at {
			slot = i
			break
		}
		if c.left[i].at.Before(c.left[slot].at) {
			slot = i
		}
	}
	l := &c.left[slot]
	if l.path != at || now.Sub(l.at) > dwellMemory {
		*l = departure{path: at, times: -1}
	}
	l.times = min(l.times+1, 10)
	l.at, l.until = now, now.Add(min(dwell<<(2*l.times), dwellMax))
}

// leftLately reports whether a path was left within dwellMemory.
func (c *Chooser) leftLately(now time.Time, at netip.AddrPort) bool {
	for i := range c.left {
		if c.left[i].path == at {
			return now.Sub(c.left[i].at) < dwellMemory
		}
	}
	return false
}

// barred reports whether a path was left too short a time ago.
func (c *Chooser) barred(now time.Time, at netip.AddrPort) bool {
	for i := range c.left {
		if c.left[i].path == at {
			return now.Before(c.left[i].until)
		}
	}
	return false
}

// need returns the improvement that an ordinary move asks beyond that of the first.
func (c *Chooser) need(now time.Time) float64 {
	more := 0.0
	for _, at := range c.moves {
		if !at.IsZero() && now.Sub(at) < moveMemory {
			more += gainStep
		}
	}
	return more
}

// notePeak learns the most that the path in use gave. Trains do not count: they measure an empty path.
func (c *Chooser) notePeak(now time.Time, own *Candidate) {
	if own == nil || own.Measure.Rate.By != ByTraffic {
		return
	}
	if bits := own.Measure.Rate.Bits; bits >= c.peak || now.Sub(c.peakAt) > rateFresh {
		c.peak, c.peakAt = bits, now
	}
}
