package path

// A Reason says why a path was chosen.
type Reason uint8

// The reasons.
const (
	ReasonNone        Reason = iota // no path answers
	ReasonOnly                      // no other path can be used
	ReasonFirst                     // there was no path before
	ReasonKept                      // nothing is enough better
	ReasonConsidering               // kept; another is better, but not for long enough yet
	ReasonSilent                    // moved: nothing came back on the old path
	ReasonDraining                  // moved: the relay of the old path asks to leave
	ReasonLoss                      // moved: the old path loses what no flow survives
	ReasonCollapsed                 // moved: the old path carries next to nothing
	ReasonDegraded                  // moved: the old path carries a fraction of what it did, or of another
	ReasonFaster                    // moved: more bandwidth
	ReasonShorter                   // moved: less delay
	ReasonPreferred                 // moved: as good, and uses fewer others
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
