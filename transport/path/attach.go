package path

import (
	"time"

	"github.com/vine-mesh/vine/tables"
)

// A QueueMeasure is what a limited VR has measured itself, end to end through one queue-VR, to the
// peers it talks to.
type QueueMeasure struct {
	Router tables.RouterID
	Site   string

	// Linked reports whether the channel is up: the queue-VR has accepted it and answers.
	Linked bool

	// Refused is when the queue-VR last said that it is full; zero if it never did.
	Refused time.Time

	// Draining reports whether the queue-VR asks its clients to leave.
	Draining bool

	// RTT is the round trip to the queue-VR itself, zero if unknown.
	RTT time.Duration

	// Score is bits per second end to end through the queue-VR, weighted by the traffic of the
	// peers; zero if unknown. ScoreAt is when it was measured.
	Score   float64
	ScoreAt time.Time

	// LowerBound reports whether Score only says that the path carries so much: the application
	// sent no more.
	LowerBound bool
}

// An AttachAction is something the caller of Attachments.Decide has to do: Attach, Detach, Try or
// Announce.
type AttachAction interface{ attachAction() }

// Attach asks for a channel to a queue-VR that is meant to stay. A channel that is there already, for
// a trial, is kept.
type Attach struct {
	Router tables.RouterID
	Reason string // for people to read
}

// Detach ends a channel.
type Detach struct {
	Router tables.RouterID
	Reason string
}

// Try asks for a channel to a queue-VR, and for a measurement through it with a small train. Peers
// are not told.
type Try struct {
	Router tables.RouterID
}

// Announce says that the set for the link record has changed. Queues is in order of preference, of the
// caller from now on.
type Announce struct {
	Queues []tables.RouterID
}

func (Attach) attachAction()   {}
func (Detach) attachAction()   {}
func (Try) attachAction()      {}
func (Announce) attachAction() {}

// An Attached is a queue-VR in use, and why.
type Attached struct {
	Router tables.RouterID
	Site   string
	Since  time.Time
	Score  float64 // as measured last, zero if unknown
	Reason string  // why it was chosen

	// RunnerUp is the one with the best score of all others, zero if none has one.
	RunnerUp      tables.RouterID
	RunnerUpScore float64
}

// Attachments decides which queue-VRs a limited VR keeps channels to.
//
// Each queue-VR of the list is in one state:
//
//	        room for one more:                       channel up:
//	        Attach         +---------+               Announce
//	   +------------------>| seeking |------------------------+
//	   |                   +---------+                        v
//	+------+  full, no answer:  |                        +----------+
//	| idle |<-------------------+                        | attached |
//	+------+  Detach, set aside                          +----------+
//	 | ^ ^ ^                                              ^    |  |
//	 | | | +----------------------------------------------|----+  | another took its place:
//	 | | |       dead, full: Detach, set aside, Announce   |       v Announce
//	 | | |                                                |   +---------+
//	 | | +------------------------------------------------|---| leaving |
//	 | |         peers have heard: Detach                 |   +---------+
//	 | |                        +-------+                 |
//	 | +------------------------| trial |-----------------+
//	 |      no better: Detach   +-------+  better: Attach, Announce
//	 |   now and then: Try          ^
//	 +------------------------------+
//
// The rules:
//   - Up to count are attached, on different sites where there are any. Room is filled at once, a dead
//     channel gives room at once, and one that drains or has let us down keeps its place until another
//     has come.
//   - The first is the one that is measured best. It changes only for another whose channel is up and
//     that is at least 20 % better for at least 30 s, longer if it is not much better (lead), and
//     10 minutes after the last change. The threshold is drawn anew for each comparison, so that not
//     all limited VRs follow the same news at the same moment.
//   - One whose score collapses to half of what it used to be may be left before that. If it had been
//     chosen for a measurement and turns out no better than what it was preferred to, it is not
//     chosen again for a quarter of an hour, then an hour, and so on.
//   - Only what was measured counts. Nothing here knows what a queue-VR says of itself, but that it
//     is full or drains.
//
// The zero value is not ready: see NewAttachments. One goroutine at a time.
type Attachments struct {
	self   tables.RouterID
	count  int
	random func() uint64 // of the Decide in progress
	off    attachDefences

	book      []*queueState // the list of the last Decide in its order, then those that are set aside
	spare     []*queueState // the book of the Decide before, for its memory
	order     []*queueState // the attached ones, the preferred one first
	announced []tables.RouterID
	actions   []AttachAction

	decided  time.Time // last Decide
	switched time.Time // last change of the first that was ours to make
	escaped  time.Time // last one because of a collapse
	trialAt  time.Time // when the next trial may begin
}

// attachDefences are off in tests that must fail without them.
type attachDefences struct {
	hysteresis bool // the best of the moment is taken at once
	random     bool // every limited VR has the same thresholds
	letDown    bool // a measurement that was not kept is believed again
}

// NewAttachments returns the state of a limited VR that wants count channels and has none.
func NewAttachments(self tables.RouterID, count int) *Attachments {
	return &Attachments{self: self, count: max(count, 1)}
}

const (
	// seekStagger is how long one candidate is waited for alone, before another is asked beside it:
	// longer than a handshake over a path of 500 ms, and a second one costs little.
	seekStagger = time.Second

	// seekExtra bounds how many are asked beside those there is room for.
	seekExtra = 2

	// seekWait is when a candidate has not answered: three handshakes have been lost.
	seekWait = 5 * time.Second

	// seekAgain is how soon one that failed is asked again when there is no channel at all.
	seekAgain = 5 * time.Second

	// asideFirst and asideMost bound how long one that died or did not answer is set aside: doubled
	// each time. Nothing flaps back within 30 s; one that is back for good is used again
	// within 10 minutes.
	asideFirst, asideMost = 30 * time.Second, 10 * time.Minute

	// soundAfter is how long a channel lives until its failures are forgotten.
	soundAfter = 10 * time.Minute

	// refusedWait is how long one that is full is not asked: others leave at the pace of
	// switchEvery.
	refusedWait = 10 * time.Minute

	// leaveLinger is how long a channel outlives the announcement that it will go. A link record
	// reaches 99 % of 1,000 VRs within 5 s (docs/architecture.md).
	leaveLinger = 10 * time.Second

	// switchEvery is the least time between two changes of the first without need.
	switchEvery = 10 * time.Minute

	// escapeEvery is the least time between two changes because of a collapse.
	escapeEvery = time.Minute

	// trialEvery is the mean time between trials. A trial costs a handshake and a train; with a
	// short list of eight every candidate gets its turn in an hour. trialFirst is the same while
	// some of the list were never tried: then a better one is found in minutes.
	trialEvery, trialFirst = 10 * time.Minute, 2 * time.Minute

	// trialAge is when a score is so old that a candidate is tried again; trialAgeCollapsed
	// is the same when the first has collapsed.
	trialAge, trialAgeCollapsed = time.Hour, time.Minute

	// trialMeasure is how long a trial waits for its measurement, trialFair how long one that is
	// measured may take to be ahead, and trialMost how long it may take to win.
	trialMeasure, trialFair, trialMost = 30 * time.Second, 20 * time.Second, 5 * time.Minute

	// letDownFirst and letDownMost bound how long one that did not keep its measurement is not
	// chosen again: four times as long each time, so one that only looks fast gets five tries on its
	// first day, and one that a crowd has overrun once is soon forgiven.
	letDownFirst, letDownMost = 15 * time.Minute, 24 * time.Hour

	// letDownForgotten is how long one has to serve without a collapse until the next one counts as the
	// first again.
	letDownForgotten = time.Hour

	// letDownWithin is how soon after the choice a collapse is held against the one chosen: later
	// its load may have changed.
	letDownWithin = 10 * time.Minute

	// decideEvery is the longest time between two calls while there is something to compare.
	decideEvery = 5 * time.Second

	// bookMax bounds what is remembered of queue-VRs that are in the list no longer.
	bookMax = 64
)

// Decide takes the time and what is measured, and returns what to do, in this order. The list is the
// short list in its order of preference; the caller adds those attached to that are not in it any
// more, unless they must not be used: what is missing is left at once. random returns 64 random bits.
//
// To be called when a channel goes up or down, when measurements come, and at Next.
func (a *Attachments) Decide(now time.Time, list []QueueMeasure, random func() uint64) []AttachAction {
	a.random = random
	a.actions = nil
	a.observe(now, list)
	for _, q := range a.book {
		a.follow(now, q)
	}
	a.fill(now)
	a.compare(now)
	a.retire(now)
	a.try(now)
	a.announce()
	a.decided = now
	a.random = nil
	return a.actions
}

// Next returns when Decide has to be called again if there is no news before; zero if nothing is to
// be done then.
func (a *Attachments) Next() time.Time {
	var next time.Time
	earlier := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, q := range a.book {
		switch q.state {
		case queueSeeking:
			earlier(q.since.Add(seekWait))
			if t := q.since.Add(seekStagger); t.After(a.decided) {
				earlier(t)
			}
		case queueLeaving:
			earlier(q.since.Add(leaveLinger))
		case queueAttached, queueTrial:
			earlier(a.decided.Add(decideEvery))
		case queueIdle:
			if len(a.order) == 0 && q.listed {
				earlier(a.decided.Add(seekStagger))
			}
		}
	}
	return next
}

// Current returns the queue-VRs in use, the preferred one first.
func (a *Attachments) Current() []Attached {
	list := make([]Attached, 0, len(a.order))
	for _, q := range a.order {
		at := Attached{Router: q.measure.Router, Site: q.measure.Site, Since: q.since, Score: q.measure.Score, Reason: q.reason}
		for _, o := range a.book {
			if o != q && o.listed && o.measure.Score > at.RunnerUpScore {
				at.RunnerUp, at.RunnerUpScore = o.measure.Router, o.measure.Score
			}
		}
		list = append(list, at)
	}
	return list
}
