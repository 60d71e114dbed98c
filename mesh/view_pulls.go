package mesh

import (
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

const (
	// pullsMax is how many pulls are under way at a time.
	pullsMax = 4
	// pullsQueuedMax bounds the documents waiting to be pulled. What does not fit is found by
	// anti-entropy, which is the better way for so many.
	pullsQueuedMax = 1024
	// holdersMax is how many holders are remembered for a document. A rumour comes from several
	// within a second; three survive the failure of any two.
	holdersMax = 3
)

// A pullQueue holds the documents that rumours announced without their bodies.
type pullQueue struct {
	queued   []queuedPull // oldest first, no key twice
	underWay []pullUnderWay
	dropped  uint64
}

type queuedPull struct {
	key     tables.DocKey
	version uint64
	holders []tables.RouterID // in the order to be tried
}

type pullUnderWay struct {
	underWay
	docs []queuedPull
}

// want queues a document, or adds a holder of it.
func (q *pullQueue) want(ev PullWanted) {
	for i := range q.underWay {
		if addHolder(q.underWay[i].docs, ev) {
			return
		}
	}
	if addHolder(q.queued, ev) {
		return
	}
	// An older version that waits is not worth fetching any more.
	q.queued = slices.DeleteFunc(q.queued, func(p queuedPull) bool { return p.key == ev.Key })
	if len(q.queued) >= pullsQueuedMax {
		q.dropped++
		return
	}
	q.queued = append(q.queued, queuedPull{ev.Key, ev.Version, []tables.RouterID{ev.Holder}})
}

// addHolder reports whether docs holds that document already in that version or a later one.
func addHolder(docs []queuedPull, ev PullWanted) bool {
	for i := range docs {
		p := &docs[i]
		if p.key != ev.Key || p.version < ev.Version {
			continue
		}
		if p.version == ev.Version && len(p.holders) < holdersMax && !slices.Contains(p.holders, ev.Holder) {
			p.holders = append(p.holders, ev.Holder)
		}
		return true
	}
	return false
}

// start returns the pulls to begin: for the oldest document whose holder may be asked, with all
// else that this holder has, up to one window of keys.
func (q *pullQueue) start(now time.Time, resting func(tables.RouterID) bool) []Pull {
	q.underWay = slices.DeleteFunc(q.underWay, func(p pullUnderWay) bool { return !now.Before(p.deadline) })
	var pulls []Pull
	for i := 0; i < len(q.queued) && len(q.underWay) < pullsMax; {
		holder := q.queued[i].holders[0]
		if q.pulling(holder) || resting(holder) {
			i++
			continue
		}
		p := pullUnderWay{underWay: underWay{holder, now.Add(underWayMax)}}
		pull := Pull{Peer: holder}
		q.queued = slices.DeleteFunc(q.queued, func(d queuedPull) bool {
			take := d.holders[0] == holder && len(pull.Keys) < wantWindow
			if take {
				p.docs = append(p.docs, d)
				pull.Keys = append(pull.Keys, d.key)
			}
			return take
		})
		q.underWay = append(q.underWay, p)
		pulls = append(pulls, pull)
		i = 0
	}
	if len(q.queued) == 0 {
		q.queued = nil
	}
	return pulls
}

func (q *pullQueue) pulling(id tables.RouterID) bool {
	return slices.ContainsFunc(q.underWay, func(p pullUnderWay) bool { return p.peer == id })
}

// pullEnded frees the slot. What a failed pull was to bring is asked of the next holder; without
// one it is left to an exchange, which is brought forward.
func (v *View) pullEnded(now time.Time, ev PullEnded) {
	q := &v.pulls
	i := slices.IndexFunc(q.underWay, func(p pullUnderWay) bool { return p.peer == ev.Peer })
	if i < 0 {
		return
	}
	docs := q.underWay[i].docs
	q.underWay = slices.Delete(q.underWay, i, i+1)
	if ev.OK {
		return
	}
	v.failed(now, ev.Peer)
	for _, d := range docs {
		again := slices.ContainsFunc(q.queued, func(o queuedPull) bool { return o.key == d.key })
		switch {
		case again: // a newer version
		case len(d.holders) > 1 && len(q.queued) < pullsQueuedMax:
			d.holders = d.holders[1:]
			q.queued = append(q.queued, d)
		default:
			q.dropped++
			v.soon(now, retryAfter)
		}
	}
}

// next returns when a pull is given up or a resting holder may be asked again; zero if neither
// is to be.
func (q *pullQueue) next(rests map[tables.RouterID]backoff) time.Time {
	var next time.Time
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, p := range q.underWay {
		sooner(p.deadline)
	}
	if len(q.underWay) < pullsMax {
		for _, d := range q.queued {
			if !q.pulling(d.holders[0]) {
				sooner(rests[d.holders[0]].until)
			}
		}
	}
	return next
}
