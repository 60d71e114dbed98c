package node

import (
	"time"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// An authority answers requests on the one VR that holds the authority key. What to answer is
// package policy's decision; this signs it and has it stored as one bundle. The loop owns it.
type authority struct {
	l *loop
}

const (
	// headEvery is how often a head is signed anew, headLife how long it counts. The authority
	// may be away for a week before newcomers are turned away.
	headEvery = 6 * time.Hour
	headLife  = 7 * 24 * time.Hour
	// authorityEvery is how often the authority looks for what time has made due.
	authorityEvery = time.Minute
)

func newAuthority(l *loop) *authority {
	return &authority{l: l}
}

// endSoon is how long before an authority key ends the operator is told.
const endSoon = 60 * 24 * time.Hour

// act answers every open request and renews what is due.
func (a *authority) act(now time.Time) {
	l := a.l
	l.due(now, choreAuthority, authorityEvery)
	decider := policy.Authority{Key: tables.PublicOf(l.n.self.authority), AutoAdmit: l.settings.AutoAdmit}
	if !l.store.Authority(decider.Key, now) {
		l.n.log.Error("the authority key of this VR has expired or was replaced; it signs nothing")
		return
	}
	// First of all, or nobody believes what is signed next.
	a.renewHead(now, decider.Key)
	for _, d := range l.store.Requests() {
		if !l.store.Open(d.Hash()) {
			continue
		}
		request := d.Body().(tables.Request)
		decision := decider.Decide(now, l.store.Snapshot(), d.Hash(), request)
		receipt, answered := l.store.Receipt(d.Hash())
		if answered && receipt.State == decision.State && receipt.Reason == decision.Reason {
			continue
		}
		bodies := append(decision.Bodies, tables.Receipt{
			Version: receipt.Version + 1, Request: d.Hash(), State: decision.State,
			Reason: decision.Reason, Result: decision.Result, Issued: now.Unix(),
		})
		if !a.sign(now, bodies) {
			continue
		}
		l.n.log.Info("request answered", "op", request.Op, "user", request.User.Fingerprint()[:8], "state", decision.State, "reason", decision.Reason, "result", decision.Result)
	}
	a.sign(now, decider.Renewals(now, l.store.Snapshot()))
	a.renewHead(now, decider.Key) // what was signed just now changes it
}

// renewHead signs what the authority stands by when that has changed or the head grows old.
func (a *authority) renewHead(now time.Time, key tables.PublicKey) {
	old, ok := a.l.store.Head(key)
	age := now.Sub(time.Unix(old.Issued, 0))
	if ok && a.l.store.HeadMatches(key) && age < headEvery && age > -tables.Grace {
		return
	}
	a.sign(now, []tables.Body{tables.BuildHead(a.l.store.Snapshot(), key, now.Unix(), now.Add(headLife).Unix())})
}

// sign signs bodies and keeps them: all go to disk as one bundle. It reports whether it did.
func (a *authority) sign(now time.Time, bodies []tables.Body) bool {
	if len(bodies) == 0 {
		return true
	}
	var documents []*tables.Document
	for _, b := range bodies {
		d, err := tables.Sign(b, a.l.n.self.authority)
		if err != nil {
			a.l.n.log.Error("answer not signed", "kind", b.Kind().String(), "err", err)
			return false
		}
		documents = append(documents, d)
	}
	if err := a.l.keepOwn(now, documents); err != nil {
		a.l.n.log.Error("answer not kept", "err", err)
		return false
	}
	return true
}
