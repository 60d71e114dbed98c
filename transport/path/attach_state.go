package path

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// Why a queue-VR is attached to or left.
const (
	reasonRoom     = "room for one more"
	reasonDead     = "the channel is dead"
	reasonFull     = "it is full"
	reasonSilent   = "no answer"
	reasonSlower   = "others answered before"
	reasonGone     = "not allowed any more"
	reasonDrain    = "it drains"
	reasonReplace  = "replaces one that is to be left"
	reasonSite     = "at another site"
	reasonCrowded  = "another is at another site"
	reasonBetter   = "measured better"
	reasonWorse    = "another measured better"
	reasonLetDown  = "did not keep what it measured"
	reasonNoBetter = "measured no better"
	reasonUnknown  = "not measured"
)

// A queueUse is the state of one queue-VR; Attachments draws them.
type queueUse uint8

const (
	queueIdle queueUse = iota
	queueSeeking
	queueAttached
	queueTrial
	queueLeaving
)

func (s queueUse) String() string {
	switch s {
	case queueSeeking:
		return "seeking"
	case queueAttached:
		return "attached"
	case queueTrial:
		return "trial"
	case queueLeaving:
		return "leaving"
	}
	return "idle"
}

// queueMoves are the arrows of the drawing.
var queueMoves = map[queueUse][]queueUse{
	queueIdle:     {queueSeeking, queueTrial},
	queueSeeking:  {queueIdle, queueAttached},
	queueAttached: {queueIdle, queueLeaving},
	queueTrial:    {queueIdle, queueAttached},
	queueLeaving:  {queueIdle},
}

// A queueState is what Attachments knows of one queue-VR.
type queueState struct {
	measure QueueMeasure
	listed  bool // in the list of the last Decide
	state   queueUse
	since   time.Time // of the state
	reason  string    // of the last Attach
	leaving string    // why another is to take its place; empty if none is
	why     string    // given with Detach, while leaving

	failures int
	aside    time.Time // until then it is not asked
	letDowns int
	barred   time.Time // until then no measurement of it counts

	left      float64   // the score of the one it was preferred to, then; zero if it was not
	usual     float64   // its score in the long run, while attached; zero if unknown
	low       lead      // that it has collapsed
	better    lead      // that it is better than the first
	measured  time.Time // when the trial had its measurement; zero if not yet
	collapsed bool
}

func (q *queueState) transition(to queueUse, now time.Time) {
	if !slices.Contains(queueMoves[q.state], to) {
		panic(fmt.Sprintf("path: internal error: a queue-VR goes from %v to %v", q.state, to))
	}
	q.state, q.since = to, now
	q.better, q.low = lead{}, lead{}
	q.measured, q.collapsed = time.Time{}, false
}

// up reports whether its channel can carry traffic.
func (q *queueState) up() bool { return q.listed && q.measure.Linked }

// setAside keeps a queue-VR from being asked for a while.
func (q *queueState) setAside(now time.Time) {
	q.aside = now.Add(min(asideFirst<<min(q.failures, 8), asideMost))
	q.failures++
}

// observe takes the measurements of the list, and leaves what is in it no longer.
func (a *Attachments) observe(now time.Time, list []QueueMeasure) {
	old := a.book
	for _, q := range old {
		q.listed = false
	}
	a.book, a.spare = a.spare[:0], old
	for _, m := range list {
		if m.Router == a.self || m.Router == 0 {
			continue
		}
		i := slices.IndexFunc(old, func(q *queueState) bool { return q.measure.Router == m.Router })
		var q *queueState
		if i >= 0 {
			q = old[i]
		} else {
			q = &queueState{}
		}
		if q.listed || slices.ContainsFunc(a.book, func(o *queueState) bool { return o.measure.Router == m.Router }) {
			continue // it is in the list twice
		}
		if !(m.Score > 0) || math.IsInf(m.Score, 0) {
			m.Score = 0
		}
		q.measure, q.listed = m, true
		a.book = append(a.book, q)
	}
	for _, q := range old {
		if q.listed {
			continue
		}
		q.measure.Linked = false
		a.end(now, q, reasonGone)
		if (q.aside.After(now) || q.barred.After(now)) && len(a.book) < bookMax {
			a.book = append(a.book, q)
		}
	}
}

// follow moves one queue-VR on by what has become of its channel.
func (a *Attachments) follow(now time.Time, q *queueState) {
	full := !q.measure.Refused.IsZero() && !q.measure.Refused.Before(q.since)
	switch q.state {
	case queueSeeking:
		switch {
		case q.up():
			a.arrive(now, q)
		case full:
			a.end(now, q, reasonFull)
		case now.Sub(q.since) >= seekWait:
			q.setAside(now)
			a.end(now, q, reasonSilent)
		}
	case queueAttached:
		switch {
		case full:
			a.end(now, q, reasonFull)
		case !q.up():
			q.setAside(now)
			a.end(now, q, reasonDead)
		case q.measure.Draining && q.leaving == "":
			q.leaving = reasonDrain
			a.order = append(slices.DeleteFunc(a.order, func(o *queueState) bool { return o == q }), q)
		case q.measure.Draining:
		case q.leaving == reasonDrain, q.leaving == reasonLetDown && !q.barred.After(now):
			q.leaving = "" // called off, or there was no other
		}
		if q.state == queueAttached && now.Sub(q.since) >= soundAfter {
			q.failures = 0
		}
	case queueTrial:
		a.followTrial(now, q, full)
	case queueLeaving:
		if !q.up() || now.Sub(q.since) >= leaveLinger {
			a.end(now, q, q.why)
		}
	}
}

// arrive attaches to one whose channel is up.
func (a *Attachments) arrive(now time.Time, q *queueState) {
	q.transition(queueAttached, now)
	q.leaving, q.left, q.usual = "", 0, 0
	a.order = append(a.order, q)
	if q.reason == reasonSite {
		a.switched = now
	}
	if a.trialAt.IsZero() {
		a.planTrial(now)
	}
}

// end detaches from one that there is a channel to, or may be.
func (a *Attachments) end(now time.Time, q *queueState, reason string) {
	if q.state == queueIdle {
		return
	}
	a.actions = append(a.actions, Detach{q.measure.Router, reason})
	q.transition(queueIdle, now)
	q.leaving = ""
	a.order = slices.DeleteFunc(a.order, func(o *queueState) bool { return o == q })
}

// fill asks candidates while there is room.
func (a *Attachments) fill(now time.Time) {
	room, reason := a.room(now)
	young, seeking := 0, 0
	for _, q := range a.book {
		if q.state == queueSeeking {
			seeking++
			if now.Sub(q.since) < seekStagger {
				young++
			}
		}
	}
	for young < room && seeking < room+seekExtra {
		q := a.candidate(now, reason)
		if q == nil {
			return
		}
		q.transition(queueSeeking, now)
		q.reason = reason
		a.actions = append(a.actions, Attach{q.measure.Router, reason})
		if q.up() {
			a.arrive(now, q)
			room, reason = a.room(now)
			continue
		}
		seeking++
		young++
	}
}

// room returns how many more are wanted, and why: those that are to be left do not count, and one
// more is wanted when all are at one site though there are others.
func (a *Attachments) room(now time.Time) (n int, reason string) {
	reason = reasonRoom
	for _, q := range a.order {
		if q.leaving == "" {
			n++
		} else {
			reason = reasonReplace
		}
	}
	if n >= a.count && a.mayDiversify(now) {
		return 1, reasonSite
	}
	return a.count - n, reason
}

// mayDiversify reports whether one at another site is to take the place of the last.
func (a *Attachments) mayDiversify(now time.Time) bool {
	site := a.order[0].measure.Site
	for _, q := range a.order {
		if q.leaving == "" && q.measure.Site != site {
			return false
		}
	}
	return a.count > 1 && a.maySwitch(now) && slices.ContainsFunc(a.book, func(q *queueState) bool {
		return (a.askable(now, q) || q.state == queueSeeking) && q.measure.Site != site
	})
}

// candidate returns the first of the list that may be asked: at a site where nobody is attached to or
// asked, if there is one. With no channel at all it returns one that was set aside.
func (a *Attachments) candidate(now time.Time, reason string) *queueState {
	var second, desperate *queueState
	for _, q := range a.book {
		switch {
		case !q.listed || q.state != queueIdle:
		case a.askable(now, q) && a.newSite(q):
			return q
		case a.askable(now, q):
			if second == nil {
				second = q
			}
		case now.Sub(q.since) >= seekAgain && (desperate == nil || q.since.Before(desperate.since)):
			desperate = q
		}
	}
	switch {
	case reason == reasonSite:
		return nil
	case second == nil && len(a.order) == 0:
		return desperate
	}
	return second
}

// askable reports whether an idle queue-VR may be asked for a channel.
func (a *Attachments) askable(now time.Time, q *queueState) bool {
	refused := !q.measure.Refused.IsZero() && now.Sub(q.measure.Refused) < refusedWait
	return q.listed && q.state == queueIdle && !q.measure.Draining && !refused && !q.aside.After(now) && !q.barred.After(now)
}

func (a *Attachments) newSite(q *queueState) bool {
	return !slices.ContainsFunc(a.book, func(o *queueState) bool {
		return (o.state == queueSeeking || o.state == queueAttached && o.leaving == "") && o.measure.Site == q.measure.Site
	})
}

// retire lets go what more than enough have taken the place of: of the attached ones those that are to
// be left, then the last, but not the only one at its site; then what is still asked.
func (a *Attachments) retire(now time.Time) {
	for len(a.order) > a.count || a.drainsWithoutEnough(now) {
		i := a.leastWanted()
		q := a.order[i]
		a.order = slices.Delete(a.order, i, i+1)
		q.transition(queueLeaving, now)
		q.why = q.leaving
		switch {
		case q.why != "":
		case a.order[len(a.order)-1].reason == reasonSite:
			q.why = reasonCrowded
		default:
			q.why = reasonWorse
		}
	}
	if room, _ := a.room(now); room > 0 {
		return
	}
	for _, q := range a.book {
		if q.state == queueSeeking {
			a.end(now, q, reasonSlower)
		}
	}
}

// drainsWithoutEnough reports whether one that drains has to go though nobody takes its place, because
// nobody is left to ask and another is there: a drain must come to its end.
func (a *Attachments) drainsWithoutEnough(now time.Time) bool {
	drains, stays := false, false
	for _, q := range a.order {
		drains = drains || q.leaving == reasonDrain
		stays = stays || q.leaving == ""
	}
	return drains && stays && !slices.ContainsFunc(a.book, func(q *queueState) bool {
		return q.state == queueSeeking || a.askable(now, q)
	})
}

func (a *Attachments) leastWanted() int {
	for _, reason := range []string{reasonDrain, reasonLetDown} {
		if i := slices.IndexFunc(a.order, func(q *queueState) bool { return q.leaving == reason }); i >= 0 {
			return i
		}
	}
	for i := len(a.order) - 1; i > 0; i-- {
		neighbour := func(o *queueState) bool { return o != a.order[i] && o.measure.Site == a.order[i].measure.Site }
		if slices.ContainsFunc(a.order, neighbour) {
			return i
		}
	}
	return len(a.order) - 1
}

// announce says which queue-VRs peers may use, if that has changed.
func (a *Attachments) announce() {
	now := make([]tables.RouterID, 0, len(a.order))
	for _, q := range a.order {
		now = append(now, q.measure.Router)
	}
	if !slices.Equal(now, a.announced) {
		a.announced = now
		a.actions = append(a.actions, Announce{slices.Clone(now)})
	}
}
