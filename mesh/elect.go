package mesh

import (
	"cmp"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// electedMax bounds the elected set. Every limited VR keeps two channels, so at 10,000 VRs with
// eight limited ones in ten a queue-VR serves some 250, while all the others need not keep room for
// strangers, and a member more or less moves 1 in 64 of them. Who is full leaves the set and the
// next one enters, so the bound is no bound on the service.
const electedMax = 64

// ShortlistLen is the usual length of a short list: two to use, some to fall back on, and few enough
// that a limited VR can try every one of them within hours.
const ShortlistLen = 8

// shortlistWindow is how many times the length of a short list the hints may choose from. At four, a
// list of eight sees half of a full elected set, where a near one is if there are any; and whoever
// lies about where it is still has to be in the half that hashing picked.
const shortlistWindow = 4

// nearestBand is the distance within which all are equally near; each further band is four times
// as wide as the one before. Serf's coordinates err by some tens of percent, so bands that differed
// by less would follow the noise.
const nearestBand = 8 * time.Millisecond

// farthestBand is the last band, from 512 ms on. Who has no coordinates is there: not to be known
// must be no advantage.
const farthestBand = 4

// A QueueCandidate is what one VR knows of another that could be a queue-VR. None of it says how
// fast the candidate is: capacity that somebody claims for itself has no way into the election.
type QueueCandidate struct {
	Router tables.RouterID
	Site   string

	// MayQueue is from the enrolment: the authority allows it.
	MayQueue bool

	// Regular, Draining and Full are what its link record says of itself.
	Regular, Draining, Full bool

	// Alive is what gossip says, a hint. Any member can forge it, so it never excludes a candidate
	// for whom there is room.
	Alive bool
}

// eligible reports whether a candidate may be in the elected set.
func (c QueueCandidate) eligible() bool {
	return c.Router != 0 && c.MayQueue && c.Regular && !c.Draining && !c.Full
}

// Elect returns the queue-VRs that serve the federation, sorted: the same set from the same
// candidates in whatever order.
//
// A site has as many seats as eligible candidates. First seats go before second ones and so on, and
// among the same seats of several sites a hash of site and seat decides, so that the set spreads
// over sites. The seats of a site go to its candidates by rendezvous hashing (highest random
// weight; Thaler and Ravishankar, 1998). At most electedMax seats are given. So one candidate that
// comes or goes adds or removes one seat of its own site and moves at most one other: at most two
// members come and two go.
//
// Candidates that gossip calls dead come after all others.
//
// 10,000 candidates take some ten milliseconds: elect when something has changed, not for each question.
func Elect(candidates []QueueCandidate) []tables.RouterID {
	elected := seated(candidates, true, electedMax)
	elected = append(elected, seated(candidates, false, electedMax-len(elected))...)
	slices.Sort(elected)
	return elected
}

// A seat is a place in the elected set that a site may fill.
type seat struct {
	router tables.RouterID
	number int    // 0 is the first of its site
	weight uint64 // of site and number
}

func seated(candidates []QueueCandidate, alive bool, limit int) []tables.RouterID {
	var list []listed
	for _, c := range candidates {
		if c.eligible() && c.Alive == alive {
			list = append(list, listed{router: c.Router, site: c.Site, weight: mix(uint64(c.Router))})
		}
	}
	slices.SortFunc(list, func(a, b listed) int {
		return cmp.Or(cmp.Compare(a.site, b.site), byWeight(a, b))
	})
	list = slices.CompactFunc(list, func(a, b listed) bool { return a.router == b.router })
	seats := make([]seat, len(list))
	for i, c := range list {
		if i > 0 && list[i-1].site == c.site {
			seats[i].number = seats[i-1].number + 1
		}
		seats[i].router = c.router
		seats[i].weight = mix(siteHash(c.site) + uint64(seats[i].number))
	}
	slices.SortFunc(seats, func(a, b seat) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(b.weight, a.weight), cmp.Compare(a.router, b.router))
	})
	var routers []tables.RouterID
	for _, s := range seats[:min(limit, len(seats))] {
		routers = append(routers, s.router)
	}
	return routers
}

// Shortlist returns the n of the elected queue-VRs that a limited VR of a site considers, in the
// order in which it should try them; all of them if there are no more than n.
//
// Rendezvous hashing of the limited VR with each queue-VR orders them, so limited VRs spread over
// the queue-VRs, and one that goes concerns only those who had it. Half of the list is the
// beginning of that order. The other half are the nearest of the first shortlistWindow*n: those in
// the limited VR's own site, then by bands of distance (by serf's coordinates; false if unknown),
// those that gossip calls dead last. Distance and life are hints, and this is all they can do: a
// lie shortens the list that others have to be chosen from, and gets the liar no further than one
// place in two, if hashing picked it. The list is from two sites at least if the elected are.
func Shortlist(elected []QueueCandidate, limited tables.RouterID, site string, distance func(tables.RouterID) (time.Duration, bool), n int) []tables.RouterID {
	order := make([]listed, 0, len(elected))
	for _, c := range elected {
		if c.Router == limited || c.Router == 0 {
			continue
		}
		l := listed{router: c.Router, site: c.Site, weight: mix(mix(uint64(limited)) + uint64(c.Router)), band: farthestBand}
		switch d, known := distance(c.Router); {
		case !c.Alive:
			l.band++
		case c.Site == site:
			l.band = -1
		case known:
			l.band = band(d)
		}
		order = append(order, l)
	}
	slices.SortFunc(order, byWeight)
	order = slices.CompactFunc(order, func(a, b listed) bool { return a.router == b.router })
	n = min(n, len(order))
	if n <= 0 {
		return nil
	}
	hashed := order[:(n+1)/2]
	near := slices.Clone(order[len(hashed):min(shortlistWindow*n, len(order))])
	slices.SortStableFunc(near, func(a, b listed) int { return cmp.Compare(a.band, b.band) })
	near = near[:n-len(hashed)]
	list := slices.Concat(hashed, near)
	ensureTwoSites(list, order)

	// Alternate, the nearer half first: of two queue-VRs tried first, hints choose one at most.
	routers := make([]tables.RouterID, 0, n)
	for i := range (n + 1) / 2 {
		if j := (n+1)/2 + i; j < n {
			routers = append(routers, list[j].router)
		}
		routers = append(routers, list[i].router)
	}
	return routers
}

// A listed is a candidate with its weight for whom it is chosen.
type listed struct {
	router tables.RouterID
	site   string
	weight uint64
	band   int // of distance: less is nearer
}

// byWeight orders by weight, the highest first.
func byWeight(a, b listed) int {
	return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.router, b.router))
}

// ensureTwoSites replaces the last of a list that is from one site by the first of the order that is
// from another.
func ensureTwoSites(list, order []listed) {
	foreign := func(l listed) bool { return l.site != list[0].site }
	if len(list) < 2 || slices.ContainsFunc(list, foreign) {
		return
	}
	if i := slices.IndexFunc(order, foreign); i >= 0 {
		list[len(list)-1] = order[i]
	}
}

// band quantises a distance. Negative ones, which only a broken source gives, are the farthest.
func band(d time.Duration) int {
	if d < 0 {
		return farthestBand
	}
	b := 0
	for limit := nearestBand; b < farthestBand && d > limit; limit *= 4 {
		b++
	}
	return b
}

// siteHash is FNV-1a of the site's name.
func siteHash(site string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(site) {
		h = (h ^ uint64(site[i])) * 1099511628211
	}
	return h
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014): every bit of the result depends
// on every bit of x. Router IDs and site names are the authority's to give, so nobody can search for
// a favourable one, and no key is needed.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
