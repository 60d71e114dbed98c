package relay

import (
	"math"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// quantum is what each client with something to send gets in a round, in bytes. No packet of a usual
// size is larger, so every round passes one packet of each client at least, and the work for a packet
// does not depend on the number of clients (Shreedhar and Varghese, 1995).
const quantum = 2048

// queueLimits: a client waits at most 200 ms, more than the round trip of most paths and less than a
// TCP sender's least timeout (RFC 6298, Section 2.4: 1 s); 256 KiB in that time are 10 Mb/s. All
// together are 100 clients at their bound. The bound on packets is for the smallest ones, which cost
// more memory than their bytes.
var queueLimits = limits{age: 200 * time.Millisecond, clientBytes: 256 << 10, clientPackets: 2048, bytes: 24 << 20}

// burst is how long a Queue saves up its rate: what the caller's timer may be late.
const burst = 10 * time.Millisecond

// A Queue shares the sending rate of a queue-VR among its clients: deficit round robin (Shreedhar and
// Varghese, Efficient fair queuing using deficit round robin, 1995) over clients by bytes. A client
// is whom a packet is charged to; the caller decides who that is.
//
// Without a rate nothing ever waits: Push says so for every packet. With one, a packet that finds
// nothing waiting and the rate not used up is to be sent at once; others wait for Pop. The packets of
// a client stay in order.
//
// What waits is bounded for each client, and for all: a client may use no more than what is left
// free (dynamic thresholds, Choudhury and Hahne, 1998), so that however many are greedy, there is
// room for one more. A client beyond its bounds loses its own oldest packets.
//
// NewQueue makes one. Once as many packets have waited as ever will, it allocates nothing.
type Queue struct {
	backlog
	unfair bool // everything is charged to one client: for tests that must fail without fairness

	rate   float64   // bytes/s; 0: no limit
	tokens float64   // bytes that may go now; negative when a packet took more than was there
	filled time.Time // when tokens were right

	last  *waiting // the round is a ring; last.next has its turn; nil if it is empty
	begun bool     // last.next has got its quantum for this turn
}

// NewQueue returns an empty queue with a rate in bits/s, 0 for no limit.
func NewQueue(rate float64) *Queue {
	q := &Queue{backlog: newBacklog(queueLimits)}
	q.SetRate(time.Time{}, rate)
	return q
}

// SetRate changes the rate, in bits/s, 0 for no limit. Next has a new answer then.
func (q *Queue) SetRate(now time.Time, rate float64) {
	if !(rate > 0) || math.IsInf(rate, 0) {
		rate = 0
	}
	q.refill(now)
	before := q.rate
	q.rate = rate / 8
	switch {
	case before == 0 || q.rate == 0:
		q.tokens = 0
	case q.tokens < 0:
		q.tokens *= q.rate / before // a debt takes as long as before
	default:
		q.tokens = min(q.tokens, q.depth())
	}
}

// depth is the most that is saved up: burst, and one packet at least, or slow queues would lose
// rate between two calls.
func (q *Queue) depth() float64 { return max(q.rate*burst.Seconds(), quantum) }

func (q *Queue) refill(now time.Time) {
	if d := now.Sub(q.filled).Seconds(); d > 0 {
		q.tokens = min(q.tokens+d*q.rate, q.depth())
	}
	q.filled = now // also when the clock went back: nothing is gained, nothing waits for the old time
}

// Push takes a packet. If it returns true, the caller has to send the packet now, and it
// was not kept; else the queue has copied or dropped it.
func (q *Queue) Push(now time.Time, p Packet) (sendNow bool) {
	if q.unfair {
		p.Client = 0
	}
	w := q.client(p.Client)
	if w == nil || len(p.Bytes) > packetMax {
		q.refused++
		return false
	}
	if q.rate == 0 && q.last == nil {
		w.sent(len(p.Bytes))
		return true
	}
	q.refill(now)
	if q.last == nil && q.tokens > 0 {
		q.tokens -= float64(len(p.Bytes))
		w.sent(len(p.Bytes))
		return true
	}
	if q.keep(now, w, p) && w.next == nil {
		q.enter(w)
	}
	return false
}

// enter puts a client at the end of the round.
func (q *Queue) enter(w *waiting) {
	w.deficit = 0
	if q.last == nil {
		w.next = w
		q.begun = false
	} else {
		w.next, q.last.next = q.last.next, w
	}
	q.last = w
}

// turn passes the turn on: to the end of the round, or out of it if nothing is left.
func (q *Queue) turn() {
	w := q.last.next
	q.begun = false
	switch {
	case w.count > 0:
		q.last = w
		return
	case w.next == w:
		q.last = nil
	default:
		q.last.next = w.next
	}
	w.next = nil
}

// Pop writes packets whose turn it is into the given slice and returns how many. The caller has to
// send them now. They are valid until the next call of Pop.
func (q *Queue) Pop(now time.Time, into []Packet) int {
	q.pool.returned()
	q.refill(now)
	n := 0
	for n < len(into) && q.last != nil && (q.rate == 0 || q.tokens > 0) {
		w := q.last.next
		q.dropOld(now, w)
		if !q.begun {
			q.begun = true
			w.deficit += quantum
		}
		if w.count == 0 || len(w.oldest().packet) > w.deficit {
			q.turn()
			continue
		}
		into[n] = q.hand(w)
		w.deficit -= len(into[n].Bytes)
		if q.rate > 0 {
			q.tokens -= float64(len(into[n].Bytes))
		}
		n++
		if w.count == 0 {
			q.turn()
		}
	}
	return n
}

// Next returns when to call Pop, zero if nothing waits.
func (q *Queue) Next() time.Time {
	switch {
	case q.last == nil:
		return time.Time{}
	case q.rate == 0 || q.tokens > 0:
		return q.filled
	}
	// One nanosecond more, or rounding down would wake the caller just before.
	return q.filled.Add(time.Duration(-q.tokens/q.rate*float64(time.Second)) + 1)
}

// Drop forgets a client and what waits for it, and returns how many packets that were: clients are known until
// then. Its empty place in the round goes when it has its turn.
func (q *Queue) Drop(client tables.RouterID) (lost int) { return q.forget(client) }

// Status returns the clients, sorted, and how many packets were refused because there were too many
// clients or the packet was too large.
func (q *Queue) Status() (clients []ClientStatus, refused uint64) {
	return q.status(), q.refused
}
