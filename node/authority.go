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
	// incomplete says that this VR's disk was damaged and may lack what this authority has signed;
	// see recovered.
	incomplete bool
	clearing   bool // the clerk is about to say that it no longer is
	warned     bool
}

// authorityEvery is how often the authority looks for what time has made due.
const authorityEvery = time.Minute

func newAuthority(l *loop) *authority {
	note, err := l.n.options.State.Note(incompleteNote)
	return &authority{l: l, incomplete: note != "" || err != nil}
}

// recovered reports whether what a damaged disk has lost has come back: an exchange with another
// member has come to its end, or there is no other member. Until then what is signed here could
// contradict what was signed before.
func (a *authority) recovered(now time.Time) bool {
	l := a.l
	alone := len(l.store.Enrolments()) <= 1
	if !alone && !l.gossip.met {
		if !a.warned {
			a.warned = true
			l.n.log.Error("documents on disk were damaged: the authority signs nothing until it has met another member; if none will come back, stop vine and remove the file " + incompleteNote + " from the state directory")
		}
		l.due(now, choreAuthority, recoverEvery)
		return false
	}
	// The clerk checks in order: when it has removed the note it has checked, and the store has
	// seen, all that the exchange brought.
	if !a.clearing {
		a.clearing = l.clerk.put(func() func(time.Time, *loop) {
			err := l.clerk.dir.SetNote(incompleteNote, "")
			return func(now time.Time, l *loop) {
				if a.clearing, a.incomplete = false, err != nil; err != nil {
					l.n.log.Error("note not removed", "note", incompleteNote, "err", err)
				}
				l.due(now, choreAuthority, 0)
			}
		})
	}
	l.due(now, choreAuthority, recoverEvery)
	return false
}

// recoverEvery is how often an authority whose disk was damaged looks whether it may sign again.
const recoverEvery = time.Second

// endSoon is how long before an authority key ends the operator is told.
const endSoon = 60 * 24 * time.Hour

// act answers every open request and renews what is due.
func (a *authority) act(now time.Time) {
	l := a.l
	l.due(now, choreAuthority, authorityEvery)
	if a.incomplete && !a.recovered(now) {
		return
	}
	decider := policy.Authority{Key: tables.PublicOf(l.n.self.authority), AutoAdmit: l.settings.AutoAdmit}
	if !l.store.Authority(decider.Key, now) {
		l.n.log.Error("the authority key of this VR has expired or was replaced; it signs nothing")
		return
	}
	decider.Work(now, l.store.Snapshot, nil, func(bodies []tables.Body, answer *policy.Answer) bool {
		if !a.sign(now, bodies) {
			return false
		}
		if answer != nil {
			l.n.log.Info("request answered", "op", answer.Asked.Op, "user", answer.Asked.User.Fingerprint()[:8], "state", answer.State, "reason", answer.Reason, "result", answer.Result)
		}
		return true
	})
}

// sign signs bodies and keeps them: all go to disk as one bundle. It reports whether it did.
func (a *authority) sign(now time.Time, bodies []tables.Body) bool {
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
