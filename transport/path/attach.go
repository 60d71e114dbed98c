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
	Reason string
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
	Router   tables.RouterID
	Site     string
	Since    time.Time
	Score    float64 // as measured last, zero if unknown
	Reason   string  // why it was chosen
	RunnerUp tables.RouterID
	// RunnerUpScore is what the best of the others measured, zero if none was measured.
	RunnerUpScore float64
}

// Attachments decides which queue-VRs a limited VR keeps channels to.
type Attachments struct {
	self     tables.RouterID
	count    int
	attached []Attached
}

// NewAttachments returns the state of a limited VR that wants count channels and has none.
func NewAttachments(self tables.RouterID, count int) *Attachments {
	return &Attachments{self: self, count: count}
}

// Decide looks at the short list, in order of preference, with the queue-VRs attached to in any case,
// and returns what to do, in order. random returns 64 random bits.
func (a *Attachments) Decide(now time.Time, shortlist []QueueMeasure, random func() uint64) []AttachAction {
	var actions []AttachAction
	find := func(r tables.RouterID) *Attached {
		for i := range a.attached {
			if a.attached[i].Router == r {
				return &a.attached[i]
			}
		}
		return nil
	}
	for _, m := range shortlist {
		if len(a.attached) < a.count && m.Router != a.self && find(m.Router) == nil && !m.Draining && m.Refused.IsZero() {
			a.attached = append(a.attached, Attached{Router: m.Router, Site: m.Site, Since: now, Reason: "first"})
			actions = append(actions, Attach{m.Router, "first"})
		}
	}
	return actions
}

// Next returns when Decide has to be called again at the latest; zero if only for news.
func (a *Attachments) Next() time.Time { return time.Time{} }

// Current returns the queue-VRs in use, the preferred one first.
func (a *Attachments) Current() []Attached { return a.attached }
