package mesh

import (
	"cmp"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// AnchorsMax is how many anchors a router keeps on disk. A mesh that changed all its endpoints
// since is lost either way; eight at three sites survive the loss of any two sites.
const AnchorsMax = 8

// A Candidate is a member that could be an anchor.
type Candidate struct {
	Router tables.RouterID
	Site   string
	// Direct is whether it can be reached without a queue-VR (its link record says regular).
	Direct bool
	// Anchor is whether it is an anchor now.
	Anchor bool
	// Met is when an authenticated link with it last worked, zero if never.
	Met time.Time
}

// anchorKeep is how long an anchor that cannot be met is preferred over a newly met member, so
// that the file on disk does not change with every link.
const anchorKeep = 24 * time.Hour

// ChooseAnchors returns up to AnchorsMax routers to be remembered across restarts, the best first.
// They are spread over as many sites as there are: no site has two while another has none. Inside
// a site directly reachable ones come first, then those met within the last day, anchors of now
// before others, then the last met. The same candidates in any order give the same result.
func ChooseAnchors(now time.Time, candidates []Candidate) []tables.RouterID {
	fresh := func(c Candidate) bool { return now.Sub(c.Met) < anchorKeep }
	best := slices.Clone(candidates)
	slices.SortFunc(best, func(a, b Candidate) int {
		return cmp.Or(
			first(a.Direct, b.Direct),
			first(fresh(a), fresh(b)),
			first(a.Anchor, b.Anchor),
			b.Met.Compare(a.Met),
			cmp.Compare(a.Router, b.Router))
	})
	// In round n every site gives its n-th best, the sites in the order of that candidate.
	given := make(map[string]int)
	round := make([]int, len(best))
	for i, c := range best {
		round[i] = given[c.Site]
		given[c.Site]++
	}
	var chosen []tables.RouterID
	for n := 0; n < AnchorsMax; n++ {
		for i, c := range best {
			if round[i] == n && len(chosen) < AnchorsMax {
				chosen = append(chosen, c.Router)
			}
		}
	}
	return chosen
}

// first orders true before false.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
