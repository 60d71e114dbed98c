package mesh

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// The times of anti-entropy.
const (
	// differMin is how long a peer's root must differ from ours before we act: rumours need 1 s
	// at 50 members and 2 s at 10,000, so a shorter difference is only news on its way. A rumour
	// that was lost is made good in less than 5 s, a member's ack each second included.
	differMin = 2500 * time.Millisecond
	// triggerMin and triggerMax bound how often a differing root starts an exchange. In a mesh
	// that changes every second roots always differ; the pause doubles as long as exchanges find
	// nothing, up to the period of the unconditional ones.
	triggerMin = 5 * time.Second
	triggerMax = time.Minute
	// randomPeriod is the mean time between unconditional exchanges with a random live member:
	// the certainty beneath everything else. With equal roots one costs under 100 bytes.
	randomPeriod = time.Minute
	// goneEvery is the mean time between tries to reach a member that is not live. Every member
	// of either half of a split does so; so the first success is a matter of seconds.
	goneEvery = 5 * time.Minute
	// aloneEvery replaces goneEvery while no member is live.
	aloneEvery = time.Minute
	// After a failure a peer is left alone for backoffMin, doubled each time up to backoffMax.
	backoffMin = 10 * time.Second
	backoffMax = 10 * time.Minute
	// retryAfter is the pause before another member is tried after a failure.
	retryAfter = 10 * time.Second
	// returnedGap is the mean pause between exchanges with peers that are back: one is enough to heal
	// a split, and its Rejoin has all others be live.
	returnedGap = 5 * time.Second
	// firstAfter is the mean pause between the first member that comes up and an exchange with it.
	// A router that has just started has most to learn; a crowd that starts at once is spread.
	firstAfter = time.Second
	// underWayMax is when an exchange whose end was never reported no longer counts. It is over
	// ExchangeLimits.TimeMax.
	underWayMax = 15 * time.Minute
)

// The sizes of anti-entropy.
const (
	// exchangesMax is how many exchanges of our own are under way at a time: one may be stuck
	// with a slow peer while the other works.
	exchangesMax = 2
	// membersMax bounds the members that are known but not live; more than the largest mesh
	// that one gossip pool serves. Further ones are not remembered until some have come up.
	membersMax = 16384
	// differingMax bounds the peers remembered for a differing root. One is enough to be repaired.
	differingMax = 64
	// returnedMax bounds the peers remembered as back. One is enough here too.
	returnedMax = 16
	// rootsMax bounds the former roots of our own that are remembered for 2*differMin.
	rootsMax = 64
)

// An Event is something that a View is told.
type Event interface{ event() }

// MemberUp says that gossip believes Peer alive. It is a hint.
type MemberUp struct{ Peer tables.RouterID }

// MemberDown says that Peer exists but gossip does not believe it alive. After a restart the
// caller reports every enrolled VR of its documents so, or a split that outlasts the restart would
// never heal; MemberUp follows for those that are alive.
type MemberDown struct{ Peer tables.RouterID }

// MemberRemoved says that Peer left for good or was revoked.
type MemberRemoved struct{ Peer tables.RouterID }

// PeerLinked says that a link with Peer has come up. If gossip does not believe Peer alive then gossip is behind:
// one of us has just started, or a split has ended.
type PeerLinked struct{ Peer tables.RouterID }

// OwnRoot says that Root is now the root of our own Index.
type OwnRoot struct{ Root [16]byte }

// RootHeard says that Peer told its Root, as every gossip acknowledgement does.
type RootHeard struct {
	Peer tables.RouterID
	Root [16]byte
}

// Anchors replaces the set of members that are worth trying when nobody is live (ChooseAnchors).
type Anchors struct{ Peers []tables.RouterID }

// ExchangeEnded reports the end of a StartExchange. OK is whether it came to its end (Exchange.Done);
// Moved is how many documents went either way (Exchange.Counts).
type ExchangeEnded struct {
	Peer  tables.RouterID
	OK    bool
	Moved int
}

// PullWanted says that Holder announced a document that we want (VerdictPull).
type PullWanted struct {
	Holder  tables.RouterID
	Key     tables.DocKey
	Version uint64
}

// PullEnded reports the end of a Pull. OK is whether Peer answered for all keys.
type PullEnded struct {
	Peer tables.RouterID
	OK   bool
}

func (MemberUp) event()      {}
func (MemberDown) event()    {}
func (MemberRemoved) event() {}
func (PeerLinked) event()    {}
func (OwnRoot) event()       {}
func (RootHeard) event()     {}
func (Anchors) event()       {}
func (ExchangeEnded) event() {}
func (PullWanted) event()    {}
func (PullEnded) event()     {}

// An Action is something that the caller of a View must do.
type Action interface{ action() }

// StartExchange asks for an exchange with Peer (NewExchange as initiator over a link stream). The
// caller reports ExchangeEnded in every case.
type StartExchange struct{ Peer tables.RouterID }

// Pull asks to fetch Keys from Peer (NewPull). The caller reports PullEnded in every case.
type Pull struct {
	Peer tables.RouterID
	Keys []tables.DocKey
}

// Rejoin says that Peer, whom gossip does not believe alive, has just completed an exchange, or that it is the first
// with whom there is a link: the caller tells gossip to join it, so that a split heals there too.
type Rejoin struct{ Peer tables.RouterID }

func (StartExchange) action() {}
func (Pull) action()          {}
func (Rejoin) action()        {}

// A View decides with whom to exchange documents, and when. It holds which members seem alive and
// whose roots differ from ours, and makes sure that
//
//   - a member whose root has differed for 2.5 s is reconciled with,
//   - a random live member is, once a minute, whatever its root,
//   - a member that is not live is met as soon as there is a link with it,
//   - a member that is not live is tried every 5 minutes, for ever, so that a split heals by itself,
//   - at most 2 exchanges and 4 pulls of our own are under way, and a failing peer is left alone
//     for a time that doubles up to 10 minutes.
//
// Exchanges that peers start are not its concern. Given the same events, times and random source
// it gives the same actions.
type View struct {
	self tables.RouterID
	rng  *rand.Rand

	// live and gone are sorted and have no member in common; self is in neither.
	live, gone []tables.RouterID
	anchors    []tables.RouterID
	returned   []tables.RouterID // linked, and not live; in the order of their links
	returnedAt time.Time         // the earliest time of an exchange with one of these
	backoff    map[tables.RouterID]backoff

	own       [16]byte
	former    []formerRoot // oldest first
	differing []differing  // in the order in which they began to differ
	settled   map[tables.RouterID]rootPair

	underWay []underWay
	// triggerAt is the earliest time of the next exchange for a differing root.
	triggerAt  time.Time
	triggerGap time.Duration
	randomAt   time.Time
	goneAt     time.Time

	pulls pullQueue
}

type backoff struct {
	failures int
	until    time.Time
}

type formerRoot struct {
	root  [16]byte
	until time.Time
}

type differing struct {
	peer  tables.RouterID
	root  [16]byte // the last heard
	since time.Time
}

// A rootPair names two roots that an exchange has compared. If they stand as they were, one side
// refuses a document of the other, and trying again is for when one of them has changed.
type rootPair struct{ own, peer [16]byte }

type underWay struct {
	peer     tables.RouterID
	deadline time.Time
}

// NewView returns the View of the router self, which knows nobody. rng is the View's from now on.
func NewView(now time.Time, self tables.RouterID, rng *rand.Rand) *View {
	v := &View{self: self, rng: rng, own: (&Index{}).Root(), triggerAt: now, triggerGap: triggerMin}
	v.randomAt = now.Add(v.jitter(randomPeriod))
	v.goneAt = now.Add(v.jitter(retryAfter))
	return v
}

// Live returns the members believed alive, in ascending order. The slice is the caller's.
func (v *View) Live() []tables.RouterID { return slices.Clone(v.live) }

// LiveCount returns the number of members believed alive, without self.
func (v *View) LiveCount() int { return len(v.live) }

// PullsDropped returns how many wanted documents were left to anti-entropy because the queue of
// pulls was full or every known holder failed.
func (v *View) PullsDropped() uint64 { return v.pulls.dropped }

// Handle applies ev at time now and returns what the caller must do.
func (v *View) Handle(now time.Time, ev Event) []Action {
	var actions []Action
	switch ev := ev.(type) {
	case MemberUp:
		v.memberUp(now, ev.Peer)
	case MemberDown:
		v.memberDown(now, ev.Peer)
	case MemberRemoved:
		v.memberRemoved(ev.Peer)
	case PeerLinked:
		v.peerLinked(ev.Peer)
	case OwnRoot:
		v.ownRoot(now, ev.Root)
	case RootHeard:
		v.rootHeard(now, ev)
	case Anchors:
		v.anchors = slices.DeleteFunc(slices.Clone(ev.Peers), func(id tables.RouterID) bool { return id == v.self || id == 0 })
	case ExchangeEnded:
		actions = v.exchangeEnded(now, ev)
	case PullWanted:
		if ev.Holder != v.self && ev.Holder != 0 {
			v.pulls.want(ev)
		}
	case PullEnded:
		v.pullEnded(now, ev)
	}
	return append(actions, v.Advance(now)...)
}

func (v *View) memberUp(now time.Time, id tables.RouterID) {
	if id == v.self || id == 0 {
		return
	}
	v.gone = removeSorted(v.gone, id)
	v.live = insertSorted(v.live, id)
	v.forgetReturned(id)
	delete(v.backoff, id)
	if len(v.live) == 1 {
		v.soon(now, firstAfter)
	}
}

func (v *View) memberDown(now time.Time, id tables.RouterID) {
	if id == v.self || id == 0 {
		return
	}
	v.live = removeSorted(v.live, id)
	v.stopDiffering(id)
	if len(v.gone) < membersMax {
		v.gone = insertSorted(v.gone, id)
	}
	if at := now.Add(v.jitter(aloneEvery)); len(v.live) == 0 && at.Before(v.goneAt) {
		v.goneAt = at
	}
}

func (v *View) memberRemoved(id tables.RouterID) {
	v.live = removeSorted(v.live, id)
	v.gone = removeSorted(v.gone, id)
	v.anchors = slices.DeleteFunc(v.anchors, func(a tables.RouterID) bool { return a == id })
	v.stopDiffering(id)
	v.forgetReturned(id)
	delete(v.backoff, id)
	delete(v.settled, id)
}

func (v *View) peerLinked(id tables.RouterID) {
	_, live := slices.BinarySearch(v.live, id)
	if live || id == v.self || id == 0 {
		return
	}
	delete(v.backoff, id)
	if len(v.returned) < returnedMax && !slices.Contains(v.returned, id) {
		v.returned = append(v.returned, id)
	}
}

func (v *View) forgetReturned(id tables.RouterID) {
	v.returned = slices.DeleteFunc(v.returned, func(r tables.RouterID) bool { return r == id })
}

func (v *View) exchangeEnded(now time.Time, ev ExchangeEnded) []Action {
	i := slices.IndexFunc(v.underWay, func(u underWay) bool { return u.peer == ev.Peer })
	if i < 0 {
		return nil // given up for lost before
	}
	v.underWay = slices.Delete(v.underWay, i, i+1)
	if !ev.OK {
		v.failed(now, ev.Peer)
		v.returnedAt = now
		v.soon(now, retryAfter)
		return nil
	}
	delete(v.backoff, ev.Peer)
	v.settle(now, ev)
	if _, live := slices.BinarySearch(v.live, ev.Peer); !live {
		v.returnedAt = now.Add(v.jitter(returnedGap))
		return []Action{Rejoin{Peer: ev.Peer}}
	}
	return nil
}

func (v *View) failed(now time.Time, id tables.RouterID) {
	if v.backoff == nil {
		v.backoff = make(map[tables.RouterID]backoff)
	}
	b := v.backoff[id]
	pause := min(backoffMin<<min(b.failures, 10), backoffMax)
	v.backoff[id] = backoff{failures: b.failures + 1, until: now.Add(v.jitter(pause))}
}

// soon brings the next exchange with a random member forward.
func (v *View) soon(now time.Time, after time.Duration) {
	if at := now.Add(v.jitter(after)); at.Before(v.randomAt) {
		v.randomAt = at
	}
}

// jitter returns a duration from 3/4 to 5/4 of d, so that members do not fall into step.
func (v *View) jitter(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(v.rng.Int64N(int64(d/2)))
}

func insertSorted(s []tables.RouterID, id tables.RouterID) []tables.RouterID {
	i, found := slices.BinarySearch(s, id)
	if found {
		return s
	}
	return slices.Insert(s, i, id)
}

func removeSorted(s []tables.RouterID, id tables.RouterID) []tables.RouterID {
	i, found := slices.BinarySearch(s, id)
	if !found {
		return s
	}
	return slices.Delete(s, i, i+1)
}
