package mesh

import (
	"container/list"

	"github.com/vine-mesh/vine/tables"
)

const (
	// retransmitMult times ceil(log10(members+1)) is how often each router sends each rumour; it
	// is memberlist's number. At 10,000 members that is 20, which leaves a member uninformed with
	// a probability of e^-20; the rest is anti-entropy's.
	retransmitMult = 4
	// rumoursMax bounds the queue: 4,096 changed documents in the few seconds that a rumour
	// lives are more than gossip can carry, and at 1 KiB each they are 4 MiB.
	rumoursMax = 4096
	// misfitsMax is how many rumours too long for the rest of a packet Take passes over before it
	// leaves the rest of the packet empty.
	misfitsMax = 32
)

// Rumours is the queue of rumours to be sent, one for each key. A newer version replaces the
// queued older one and starts afresh. The zero value is not usable; call NewRumours.
type Rumours struct {
	self   tables.RouterID
	queued map[tables.DocKey]*list.Element
	// tiers[i] holds the *queuedRumour sent i times, first come first. Invariant: every element
	// of queued is in tiers[its sent].
	tiers   []*list.List
	dropped uint64
}

type queuedRumour struct {
	digest  tables.Digest
	message []byte
	sent    int
}

// NewRumours returns an empty queue of the router self, which is named as holder.
func NewRumours(self tables.RouterID) *Rumours { return &Rumours{self: self} }

// Add queues the news of digest. body is its envelope; up to InlineBytesMax it travels inline,
// otherwise receivers pull it from us. So add only what this router has verified and stored.
//
// Add reports whether the rumour was queued: it is not if the queue holds the same or a higher
// version of the key. If the queue was full, dropped is the key of the rumour that was given up
// for this one, the one sent most often; anti-entropy will deliver it. Otherwise it is zero.
func (q *Rumours) Add(digest tables.Digest, body []byte) (queued bool, dropped tables.DocKey) {
	if len(digest.Key.ID) == 0 || len(digest.Key.ID) > idBytesMax {
		return false, tables.DocKey{}
	}
	if e, ok := q.queued[digest.Key]; ok {
		if e.Value.(*queuedRumour).digest.Version >= digest.Version {
			return false, tables.DocKey{}
		}
		q.remove(e)
	}
	if len(q.queued) >= rumoursMax {
		dropped = q.dropOne()
	}
	r := Rumour{Digest: digest, Holder: q.self}
	if len(body) <= InlineBytesMax {
		r.Body = body
	}
	if q.queued == nil {
		q.queued = make(map[tables.DocKey]*list.Element)
	}
	q.push(&queuedRumour{digest: digest, message: AppendRumour(nil, r)})
	return true, dropped
}

// Take returns rumours for one packet, those sent least often first and among these the oldest
// first. Their lengths plus overhead for each are at most limit together. members is the number of
// live members: a rumour that has been sent 4*ceil(log10(members+1)) times leaves the queue. The
// caller must not change the returned slices.
func (q *Rumours) Take(members, limit, overhead int) [][]byte {
	most := retransmitMult * ceilLog10(members+1)
	var taken [][]byte
	var again []*queuedRumour // goes back after the walk, so that nothing is taken twice
	misfits := 0
	for i := 0; i < len(q.tiers); i++ {
		for e := q.tiers[i].Front(); e != nil && misfits < misfitsMax; {
			next, r := e.Next(), e.Value.(*queuedRumour)
			switch cost := len(r.message) + overhead; {
			case r.sent >= most: // the mesh has become smaller
				q.remove(e)
			case cost > limit:
				misfits++
			default:
				limit -= cost
				taken = append(taken, r.message)
				q.remove(e)
				if r.sent++; r.sent < most {
					again = append(again, r)
				}
			}
			e = next
		}
	}
	for _, r := range again {
		q.push(r)
	}
	return taken
}

// Len returns the number of queued rumours.
func (q *Rumours) Len() int { return len(q.queued) }

// Dropped returns how many rumours were given up because the queue was full.
func (q *Rumours) Dropped() uint64 { return q.dropped }

func (q *Rumours) push(r *queuedRumour) {
	for len(q.tiers) <= r.sent {
		q.tiers = append(q.tiers, list.New())
	}
	q.queued[r.digest.Key] = q.tiers[r.sent].PushBack(r)
}

func (q *Rumours) remove(e *list.Element) {
	r := e.Value.(*queuedRumour)
	q.tiers[r.sent].Remove(e)
	delete(q.queued, r.digest.Key)
}

// dropOne gives up the oldest of the rumours sent most often: most members know it by now.
func (q *Rumours) dropOne() tables.DocKey {
	for i := len(q.tiers) - 1; i >= 0; i-- {
		if e := q.tiers[i].Front(); e != nil {
			key := e.Value.(*queuedRumour).digest.Key
			q.remove(e)
			q.dropped++
			return key
		}
	}
	panic("mesh: internal error: a full queue with nothing in it")
}

// ceilLog10 returns the least d with 10^d >= n, at least 1.
func ceilLog10(n int) int {
	d := 1
	for p := 10; p < n && d < 18; p *= 10 {
		d++
	}
	return d
}
