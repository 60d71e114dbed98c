package policy

import (
	"time"

	"github.com/vine-mesh/vine/tables"
)

const (
	// headEvery is how often a head is signed anew, HeadLife how long it counts. The authority
	// may be away for a week before newcomers are turned away.
	headEvery = 6 * time.Hour
	HeadLife  = 7 * 24 * time.Hour
)

// An Answer is what an authority has decided about one request.
type Answer struct {
	Request tables.Hash
	Asked   tables.Request
	Decision
}

// Work does all that is due for the holder of an authority key: it answers every open request and renews heads and enrolments.
// It gives keep the bodies that belong together, to be signed and stored before keep returns, with the answer that they carry
// out if there is one; view is the present state, which has in it what keep has stored. keep reports false when it could not:
// then the rest goes on without that. With decide, somebody else than a decides.
//
// The authority inside a VR (package node) and the one on a machine without a network (vine authority sign) both work by it.
func (a Authority) Work(now time.Time, view func() *tables.View, decide func(tables.Hash, tables.Request) Decision, keep func([]tables.Body, *Answer) bool) {
	if decide == nil {
		decide = func(id tables.Hash, r tables.Request) Decision { return a.Decide(now, view(), id, r) }
	}
	// First of all, or nobody believes what is signed next.
	a.renewHead(now, view(), keep)
	for _, d := range view().Requests() {
		if !view().Open(d.Hash()) {
			continue
		}
		answer := Answer{Request: d.Hash(), Asked: d.Body().(tables.Request)}
		answer.Decision = decide(answer.Request, answer.Asked)
		receipt, answered := view().Receipt(d.Hash())
		if answered && receipt.State == answer.State && receipt.Reason == answer.Reason {
			continue
		}
		keep(append(answer.Bodies, tables.Receipt{
			Version: view().NextVersion(tables.ReceiptKey(d.Hash())), Request: d.Hash(), State: answer.State,
			Reason: answer.Reason, Result: answer.Result, Issued: now.Unix(),
		}), &answer)
	}
	if bodies := a.Renewals(now, view()); len(bodies) > 0 {
		keep(bodies, nil)
	}
	a.renewHead(now, view(), keep) // what was signed just now changes it
}

// renewHead has what the authority stands by signed when that has changed or the head grows old.
func (a Authority) renewHead(now time.Time, v *tables.View, keep func([]tables.Body, *Answer) bool) {
	old, ok := v.Head(a.Key)
	age := now.Sub(time.Unix(old.Issued, 0))
	if ok && v.HeadMatches(a.Key) && age < headEvery && age > -tables.Grace {
		return
	}
	keep([]tables.Body{tables.BuildHead(v, a.Key, now.Unix(), now.Add(HeadLife).Unix())}, nil)
}
