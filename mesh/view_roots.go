package mesh

import (
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

func (v *View) ownRoot(now time.Time, root [16]byte) {
	if root == v.own {
		return
	}
	v.former = slices.DeleteFunc(v.former, func(f formerRoot) bool { return now.Sub(f.until) > 2*differMin })
	if len(v.former) == rootsMax {
		v.former = slices.Delete(v.former, 0, 1)
	}
	v.former = append(v.former, formerRoot{v.own, now})
	v.own = root
}

// hadLately reports whether root is ours or was within the last 10 s. A peer with such a root is
// not lost, only a little behind or ahead of us.
func (v *View) hadLately(now time.Time, root [16]byte) bool {
	return root == v.own || slices.ContainsFunc(v.former, func(f formerRoot) bool {
		return f.root == root && now.Sub(f.until) <= 2*differMin
	})
}

func (v *View) rootHeard(now time.Time, ev RootHeard) {
	if _, live := slices.BinarySearch(v.live, ev.Peer); !live {
		return
	}
	if v.hadLately(now, ev.Root) || v.settled[ev.Peer] == (rootPair{v.own, ev.Root}) {
		v.stopDiffering(ev.Peer)
		return
	}
	delete(v.settled, ev.Peer)
	for i := range v.differing {
		if v.differing[i].peer == ev.Peer {
			v.differing[i].root = ev.Root
			return
		}
	}
	if len(v.differing) < differingMax {
		v.differing = append(v.differing, differing{peer: ev.Peer, root: ev.Root, since: now})
	}
}

func (v *View) stopDiffering(id tables.RouterID) {
	v.differing = slices.DeleteFunc(v.differing, func(d differing) bool { return d.peer == id })
}

// settle learns from an exchange that came to its end.
func (v *View) settle(now time.Time, ev ExchangeEnded) {
	i := slices.IndexFunc(v.differing, func(d differing) bool { return d.peer == ev.Peer })
	if i >= 0 {
		// Whatever moved will change one of the two roots, and the pair with it. A document that is
		// evidence moves in every exchange and changes neither.
		if v.settled == nil {
			v.settled = make(map[tables.RouterID]rootPair)
		}
		v.settled[ev.Peer] = rootPair{own: v.own, peer: v.differing[i].root}
	}
	v.stopDiffering(ev.Peer)
	if ev.Moved > 0 {
		v.triggerGap = triggerMin
	} else if i >= 0 {
		v.triggerGap = min(2*v.triggerGap, triggerMax)
	}
	v.triggerAt = now.Add(v.jitter(v.triggerGap))
}

// Advance applies the passing of time: it starts what is due.
func (v *View) Advance(now time.Time) []Action {
	var actions []Action
	v.underWay = slices.DeleteFunc(v.underWay, func(u underWay) bool {
		late := !now.Before(u.deadline)
		if late {
			v.failed(now, u.peer)
		}
		return late
	})
	actions = v.meetReturned(now, actions)
	// The gone and the random have fixed times and come before the differing, which may be many:
	// so a peer that tells roots of its invention cannot keep us from the others.
	if !now.Before(v.goneAt) {
		every := goneEvery
		if len(v.live) == 0 {
			every = aloneEvery
		}
		pool := v.gone
		if len(v.anchors) > 0 && (len(pool) == 0 || v.rng.IntN(2) == 0) {
			pool = v.anchors
		}
		if len(v.underWay) < exchangesMax {
			v.goneAt = now.Add(v.jitter(every))
			actions = v.startWithOneOf(now, pool, actions)
		}
	}
	if !now.Before(v.randomAt) && len(v.underWay) < exchangesMax {
		v.randomAt = now.Add(v.jitter(randomPeriod))
		actions = v.startWithOneOf(now, v.live, actions)
	}
	if id, at := v.nextDiffering(now); id != 0 && !now.Before(at) && len(v.underWay) < exchangesMax {
		// Whatever comes of it, not again at once; its end sets the time anew.
		v.triggerAt = now.Add(v.triggerGap)
		actions = v.start(now, id, actions)
	}
	for _, p := range v.pulls.start(now, func(id tables.RouterID) bool { return v.resting(now, id) }) {
		actions = append(actions, p)
	}
	return actions
}

// meetReturned starts an exchange with a peer that has come back. Who has no live member has gossip join too, and
// does not wait for the exchange: it may have much to learn.
func (v *View) meetReturned(now time.Time, actions []Action) []Action {
	for len(v.returned) > 0 && !now.Before(v.returnedAt) && len(v.underWay) < exchangesMax {
		id := v.returned[0]
		v.returned = slices.Delete(v.returned, 0, 1)
		if v.exchanging(id) {
			continue
		}
		v.returnedAt = now.Add(v.jitter(returnedGap))
		if actions = v.start(now, id, actions); len(v.live) == 0 {
			actions = append(actions, Rejoin{Peer: id})
		}
	}
	return actions
}

// nextDiffering returns the differing peer that is due first, and when; 0 if there is none. It
// forgets those that turned out to be a little behind or ahead.
func (v *View) nextDiffering(now time.Time) (tables.RouterID, time.Time) {
	v.differing = slices.DeleteFunc(v.differing, func(d differing) bool { return v.hadLately(now, d.root) })
	var id tables.RouterID
	var first time.Time
	for _, d := range v.differing {
		if v.exchanging(d.peer) {
			continue
		}
		at := latest(d.since.Add(differMin), v.backoff[d.peer].until, v.triggerAt)
		if id == 0 || at.Before(first) {
			id, first = d.peer, at
		}
	}
	return id, first
}

// startWithOneOf starts an exchange with a random member of pool. A pool in which eight draws find
// nobody willing is left for the next time.
func (v *View) startWithOneOf(now time.Time, pool []tables.RouterID, actions []Action) []Action {
	for range 8 {
		if len(pool) == 0 {
			break
		}
		id := pool[v.rng.IntN(len(pool))]
		if !v.exchanging(id) && !v.resting(now, id) {
			return v.start(now, id, actions)
		}
	}
	return actions
}

func (v *View) start(now time.Time, id tables.RouterID, actions []Action) []Action {
	v.underWay = append(v.underWay, underWay{peer: id, deadline: now.Add(underWayMax)})
	return append(actions, StartExchange{Peer: id})
}

func (v *View) exchanging(id tables.RouterID) bool {
	return slices.ContainsFunc(v.underWay, func(u underWay) bool { return u.peer == id })
}

// resting reports whether id failed so lately that it is left alone.
func (v *View) resting(now time.Time, id tables.RouterID) bool {
	return now.Before(v.backoff[id].until)
}

// Next returns the time of the next deadline. There always is one.
func (v *View) Next() time.Time {
	next := v.pulls.next(v.backoff)
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, u := range v.underWay {
		sooner(u.deadline)
	}
	if len(v.underWay) < exchangesMax {
		if len(v.returned) > 0 {
			sooner(v.returnedAt)
		}
		sooner(v.goneAt)
		sooner(v.randomAt)
		for _, d := range v.differing {
			if !v.exchanging(d.peer) {
				sooner(latest(d.since.Add(differMin), v.backoff[d.peer].until, v.triggerAt))
			}
		}
	}
	return next
}

func latest(a time.Time, more ...time.Time) time.Time {
	for _, b := range more {
		if b.After(a) {
			a = b
		}
	}
	return a
}
