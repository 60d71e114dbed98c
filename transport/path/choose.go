package path

import (
	"net/netip"
	"time"
)

// silentProbes is how many probes in a row without an answer make a path silent.
const silentProbes = 3

// A Candidate is one path of a link.
type Candidate struct {
	Path       netip.AddrPort
	Measure    Measure
	Validated  bool      // the far side answered on it
	Heard      time.Time // last authentic answer on it
	Unanswered int       // probes in a row without an answer
	Draining   bool      // its relay asks to leave
}

// A Reason says why a path was chosen.
type Reason uint8

// The reasons.
const (
	ReasonNone        Reason = iota // no path can be used
	ReasonOnly                      // no other path can be used
	ReasonFirst                     // there was no path before
	ReasonKept                      // nothing is enough better
	ReasonConsidering               // kept; another path is better, but not for long enough yet
	ReasonSilent                    // moved: nothing came back on the old path
	ReasonDraining                  // moved: the relay of the old path asks to leave
	ReasonLoss                      // moved: the old path loses too much
	ReasonCollapsed                 // moved: the old path carries next to nothing
	ReasonDegraded                  // moved: the old path carries a fraction of what it did
	ReasonFaster                    // moved: more bandwidth
	ReasonShorter                   // moved: less delay
	ReasonPreferred                 // moved: as good, and needs fewer others
)

var reasons = [...]string{"none", "only", "first", "kept", "considering", "silent", "draining", "loss",
	"collapsed", "degraded", "faster", "shorter", "preferred"}

// String returns the word that status output shows.
func (r Reason) String() string {
	if int(r) < len(reasons) {
		return reasons[r]
	}
	return "unknown"
}

// Moved reports whether the reason is one to leave the path in use.
func (r Reason) Moved() bool { return r >= ReasonSilent }

// A Decision says which path carries data.
type Decision struct {
	Path          netip.AddrPort // zero: none can
	Score         float64        // bits per second of a transfer, delays included
	RunnerUp      netip.AddrPort // the best other path, zero if none can be used
	RunnerUpScore float64
	Reason        Reason
}

// A Chooser chooses the path of one link. The zero value is ready. Not safe for concurrent use.
type Chooser struct {
	current netip.AddrPort
	demand  int64
	trainAt time.Time
}

// Choose decides which path carries data. current is the path in use, zero for none; demand is what
// the link carries now in bits per second; random is drawn anew for each call.
func (c *Chooser) Choose(now time.Time, current netip.AddrPort, demand int64, candidates []Candidate, random uint64) Decision {
	c.current, c.demand = current, demand
	for _, k := range candidates {
		if !k.Validated {
			continue
		}
		if k.Path == current && k.Unanswered < silentProbes {
			return Decision{Path: current, Reason: ReasonKept}
		}
	}
	for _, k := range candidates {
		if k.Validated && k.Unanswered == 0 && !k.Draining {
			return Decision{Path: k.Path, Reason: ReasonSilent}
		}
	}
	return Decision{Path: current, Reason: ReasonKept}
}

// NeedTrain says which candidate should get the next train. Call it after Choose with the same
// candidates; when it says one, the train counts as sent.
func (c *Chooser) NeedTrain(now time.Time, candidates []Candidate) (netip.AddrPort, bool) {
	return netip.AddrPort{}, false
}
