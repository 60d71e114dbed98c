package path

import (
	"net/netip"
	"time"
)

// Limits of trains on one link: with 77 KB per train at most 62 kbit/s, while data flows.
const (
	trainEvery   = 10 * time.Second // between trains of one link
	trainSoon    = 5 * time.Second  // before one for a path of which we are not sure, or whose share is not known
	trainRepeat  = 30 * time.Second // between trains on one path, twice that after each without a report
	trainGiveUp  = 5                // doublings
	trainRefresh = time.Minute      // a rate that is older is measured again
	shareWait    = 20 * time.Second // for a report about the train on the path in use
	carriedFresh = 30 * time.Second // a link that carried nothing for so long has no use for it
)

// waitsForShare reports whether the share of the path in use is about to be learnt. Until then a train's
// claim elsewhere says nothing against what traffic gets here.
func (c *Chooser) waitsForShare(now time.Time, own *Candidate) bool {
	if own == nil || !own.Measure.Full || own.Measure.Share > 0 {
		return false
	}
	a := c.askedFor(own.Path).at
	return a.IsZero() || now.Sub(a) <= shareWait
}

// asked remembers for which path a train was asked: its report may be lost.
type asked struct {
	path netip.AddrPort
	at   time.Time
	vain int // how many before it brought nothing
}

// NeedTrain says which path should get the next train, false for none. Call it after Choose, with
// the same candidates; a path that it returns counts as trained now.
//
// A train is spent only where it can change the choice: the link carried data lately, and its path is
// not direct, or full, or loses. The path in use gets one when it is full, because trains measure an
// emptier path than traffic gets, and by how much is learnt there (Measure.Share).
func (c *Chooser) NeedTrain(now time.Time, candidates []Candidate) (netip.AddrPort, bool) {
	if c.carriedAt.IsZero() || now.Sub(c.carriedAt) > carriedFresh ||
		!c.trainAt.IsZero() && now.Sub(c.trainAt) < trainSoon {
		return netip.AddrPort{}, false
	}
	f := field{now: now, current: c.current, candidates: candidates}
	f.look()
	if f.own == nil || KindOf(c.current) == Direct && !f.own.Measure.Full && f.own.Measure.Loss < lossBad {
		return netip.AddrPort{}, false
	}
	var at netip.AddrPort
	var oldest time.Time
	due := c.trainAt.IsZero() || now.Sub(c.trainAt) >= trainEvery // then any may have one
	for i := range candidates {
		k := &candidates[i]
		r := &k.Measure.Rate
		age := r.At
		switch {
		case k.Path == c.current:
			// Only beside full traffic does it teach the share.
			if !k.Measure.Full || now.Sub(k.Measure.ShareAt) <= 2*trainRefresh {
				continue
			}
			age = k.Measure.ShareAt
			if age.IsZero() { // before all others: it keeps us from believing theirs
				age = age.Add(-1)
			}
		case !f.answers(k), r.Kind == RateEstimate && !k.Measure.Unsure && now.Sub(r.At) <= trainRefresh:
			continue
		case r.Kind != RateEstimate && r.By != ByTrain:
			age = time.Time{}
		}
		a := c.askedFor(k.Path)
		switch {
		case a.at.IsZero():
		case a.at.After(age):
			age = a.at // the train asked for last brought nothing newer
		default:
			a.vain = 0
		}
		repeat := trainRepeat << a.vain
		if k.Measure.Unsure {
			repeat = trainSoon << a.vain
		}
		if now.Sub(a.at) <= repeat || !due && !k.Measure.Unsure && (k.Path != c.current || !a.at.IsZero()) {
			continue
		}
		if !at.IsValid() || age.Before(oldest) {
			at, oldest = k.Path, age
		}
	}
	if at.IsValid() {
		c.trainAt = now
		a := c.askedFor(at)
		if !a.at.IsZero() {
			a.vain = min(a.vain+1, trainGiveUp)
		}
		a.at = now
	}
	return at, at.IsValid()
}

// askedFor returns the memory of a path.
func (c *Chooser) askedFor(at netip.AddrPort) *asked {
	oldest := &c.asked[0]
	for i := range c.asked {
		a := &c.asked[i]
		if a.path == at {
			return a
		}
		if a.at.Before(oldest.at) {
			oldest = a
		}
	}
	*oldest = asked{path: at}
	return oldest
}
