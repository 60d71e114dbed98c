// Package scale decides when a site needs one more VR, and when one too many is there.
//
// A Watch is given what one VR sees of its load and of the other VRs, and says what to do: nothing, grow, or shrink. It starts and
// stops nothing itself. The VR that holds the lease of the site's gateway decides, since everything that the site sends passes it.
//
// The package does no I/O, starts no goroutine and reads no clock: callers pass now.
package scale

import "time"

// A Policy says when there are too few VRs, and when too many. Invariant: 0 < Low <= High/2, Least >= 1, Most >= Least.
type Policy struct {
	High, Low float64 // marks of the load, in whatever it is measured in
	// GrowAfter and ShrinkAfter are how long the load has to be above High, or below Low, without a pause.
	GrowAfter, ShrinkAfter time.Duration
	// Rest is the least time between two actions: a VR that was started needs some until it takes its share.
	Rest time.Duration
	// Least and Most bound the VRs.
	Least, Most int
}

// A Sample is what is seen at one moment.
type Sample struct {
	Load float64 // of this VR
	VRs  int     // of the site that are alive, this one too
	// Leads says that this VR decides for all. It does not while the LAN is split, for then it does not see them all.
	Leads bool
}

// A Decision is what to do.
type Decision uint8

// The decisions.
const (
	Stay   Decision = iota
	Grow            // start one more VR
	Shrink          // stop one
)

// String returns the word that hooks get.
func (d Decision) String() string { return [...]string{"stay", "grow", "shrink"}[d] }

// A Watch applies a Policy. It belongs to one goroutine.
type Watch struct {
	policy    Policy
	high, low time.Time // since when the load is beyond the mark; zero: it is not
	rests     time.Time // until when nothing is done
}

// New returns a Watch that has seen nothing.
func New(p Policy) *Watch { return &Watch{policy: p} }

// See takes a Sample and says what to do. After a Decision other than Stay call Acted when it has been carried out or has failed.
func (w *Watch) See(now time.Time, s Sample) Decision {
	if !s.Leads {
		w.high, w.low = time.Time{}, time.Time{}
		return Stay
	}
	since(&w.high, now, s.Load > w.policy.High)
	since(&w.low, now, s.Load < w.policy.Low && fewer(s) < w.policy.High)
	switch {
	case now.Before(w.rests):
	case lasts(w.high, now, w.policy.GrowAfter) && s.VRs < w.policy.Most:
		return Grow
	case lasts(w.low, now, w.policy.ShrinkAfter) && s.VRs > w.policy.Least:
		return Shrink
	}
	return Stay
}

// Acted begins the rest after an action.
func (w *Watch) Acted(now time.Time) {
	w.high, w.low, w.rests = time.Time{}, time.Time{}, now.Add(w.policy.Rest)
}

// fewer returns what the load would be with one VR fewer, if all that it carried came here in equal parts.
func fewer(s Sample) float64 {
	if s.VRs < 2 {
		return s.Load
	}
	return s.Load * float64(s.VRs) / float64(s.VRs-1)
}

func since(at *time.Time, now time.Time, is bool) {
	switch {
	case !is:
		*at = time.Time{}
	case at.IsZero():
		*at = now
	}
}

func lasts(since, now time.Time, long time.Duration) bool {
	return !since.IsZero() && now.Sub(since) >= long
}
