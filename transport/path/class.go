package path

import (
	"net/netip"
	"time"
)

// A class is a ground to leave a path that works, most urgent first.
type class int

const (
	heavyLoss class = iota
	collapsed
	degraded
	better
	preferred
	trial
	classes // how many
)

// spans says how long the rule of a class must hold before the link moves, and how much longer at
// most by the draw. An ordinary improvement is sustained for 30 s.
//
//	class      rule                                                              span  spread
//	heavyLoss  30 % are lost, and not by our own filling of a path as good         3 s    2 s
//	collapsed  full, an eighth of what it gave, another is better                  3 s    2 s
//	degraded   another is better, and: 2 % are lost, or full and half of what
//	           it gave, or full and half of the other                             10 s   20 s
//	better     another is gain better                                             30 s   30 s
//	preferred  one of a preferred kind is as good                                 30 s   30 s
//	trial      a train promises gain more, but trains promise too much here; it
//	           was not tried in the last two hours                                 10 m   20 m
var spans = [classes]struct{ least, spread time.Duration }{
	heavyLoss: {3 * time.Second, 2 * time.Second},
	collapsed: {3 * time.Second, 2 * time.Second},
	degraded:  {10 * time.Second, 20 * time.Second},
	better:    {30 * time.Second, 30 * time.Second},
	preferred: {30 * time.Second, 30 * time.Second},
	trial:     {10 * time.Minute, 20 * time.Minute},
}

// pending is since when the rule of a class holds, lapses apart.
type pending struct {
	since  time.Time // zero: it does not
	seen   time.Time // when it was looked at last
	lapsed time.Duration
	path   netip.AddrPort // for which: keeps what was drawn among near-equals
}

// sustained notes whether the rule of a class holds, and reports whether it has for long enough. Lapses
// of a fifth of the time are forgiven: noise has them, while a rule that noise alone fulfils lapses
// more than it holds.
func (c *Chooser) sustained(k class, now time.Time, to pick, holds bool, random uint64) bool {
	p := &c.pending[k]
	switch {
	case p.since.IsZero() && !holds:
		return false
	case p.since.IsZero():
		if !c.considering() {
			c.spread = float64(random>>11) / (1 << 53)
		}
		p.since = now
	case !holds:
		p.lapsed += now.Sub(p.seen)
		if p.lapsed > lapseMax+now.Sub(p.since)/lapseShare {
			*p = pending{}
			return false
		}
	}
	p.seen = now
	if holds {
		p.path = to.path
	}
	if k >= degraded && now.Sub(c.movedAt) < dwell {
		return false
	}
	s := spans[k]
	return now.Sub(p.since) >= s.least+time.Duration(c.spread*float64(s.spread))
}

// considering reports whether the rule of any class holds.
func (c *Chooser) considering() bool {
	for i := range c.pending {
		if !c.pending[i].since.IsZero() {
			return true
		}
	}
	return false
}

// judge reports whether the rule of a class holds, and which path it speaks for.
func (c *Chooser) judge(k class, f *field, random uint64) (pick, bool) {
	m := &f.own.Measure
	filled := m.Full && m.Rate.Kind == RateEstimate && m.Rate.By == ByTraffic
	limit := float64(gain)
	if !c.pending[k].since.IsZero() {
		limit -= gainBand
	}
	which, ground := known, true
	switch k {
	case heavyLoss:
		which, ground = anyMeasure, m.Loss >= lossHeavy
	case collapsed:
		which, ground = anyMeasure, filled && m.Rate.Bits < c.peak/collapse
	case degraded:
		if filled && (m.Rate.Bits < c.peak/(2*decline) || m.Rate.Bits < rateBad) {
			which = anyMeasure
		}
		ground = filled || m.Loss >= lossBad
		if filled && m.Rate.Bits >= c.peak/decline && m.Loss < lossBad {
			limit *= decline / gain
		}
	case better:
		limit += c.need(f.now)
	case preferred:
		which = preferable
		limit += nearEqual - gain
	case trial:
		which = promised
		limit += c.need(f.now)
	}
	if !ground {
		return pick{}, false
	}
	p, ok := c.pick(f, which, c.pending[k].path, limit, random)
	if !ok {
		return pick{}, false
	}
	times := p.top / f.ownScore
	switch {
	case k == preferred && KindOf(p.path) >= c.kind && c.need(f.now) > 0:
		return pick{}, false // a kind that was not there is free, else it is an ordinary move
	case k == trial && c.leftLately(f.now, p.path):
		return pick{}, false // it was tried
	}
	return p, times >= limit || k == heavyLoss && !m.Full
}

// reason names the move to p that class k makes.
func (c *Chooser) reason(k class, f *field, p pick) Reason {
	switch k {
	case heavyLoss:
		return ReasonLoss
	case collapsed:
		return ReasonCollapsed
	case degraded:
		return ReasonDegraded
	case preferred:
		return ReasonPreferred
	}
	if p.bits < f.ownBits/nearEqual {
		return ReasonShorter
	}
	return ReasonFaster
}
