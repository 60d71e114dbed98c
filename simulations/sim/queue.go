package sim

// An event is one thing that will happen. What a, b and c are depends on kind.
type event struct {
	at      int64  // nanoseconds since the start
	seq     uint64 // of two at one instant, the one that was planned first comes first
	kind    eventKind
	a, b, c int32
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

const (
	// slotBits is the logarithm of a slot's width: 2^20 ns are about a millisecond, in which 100,000
	// VRs have some 300 events.
	slotBits = 20
	// slots is how many of them the wheel has: 17 s, so that most timers of gossip fit.
	slots = 1 << 14
)

// An eventQueue holds events in the order of time, then of planning: a calendar queue (Brown, 1988) of fixed
// width, and a heap for what is farther away. Nothing is allocated once it has grown to the most events
// that were in it.
type eventQueue struct {
	seq   uint64
	nodes []eventNode
	free  int32 // head of the list of free nodes
	// heads[i] is the list of the events of a slot after the current one, in no order.
	heads [slots]int32
	slot  int64   // number of the current slot
	now   []event // heap: the events of the current slot
	far   []event // heap: the events past the wheel
	count int     // all events
	wheel int     // those in heads
}

type eventNode struct {
	event event
	next  int32
}

func newEventQueue() *eventQueue {
	q := &eventQueue{free: -1}
	for i := range q.heads {
		q.heads[i] = -1
	}
	return q
}

// add plans an event. One that is in the past comes next.
func (q *eventQueue) add(at int64, kind eventKind, a, b, c int32) {
	q.seq++
	q.count++
	e := event{at: at, seq: q.seq, kind: kind, a: a, b: b, c: c}
	switch slot := at >> slotBits; {
	case slot <= q.slot:
		q.now = heapPush(q.now, e)
	case slot < q.slot+slots:
		q.link(e, slot)
	default:
		q.far = heapPush(q.far, e)
	}
}

func (q *eventQueue) link(e event, slot int64) {
	n := q.free
	if n < 0 {
		n = int32(len(q.nodes))
		q.nodes = append(q.nodes, eventNode{})
	} else {
		q.free = q.nodes[n].next
	}
	head := &q.heads[slot&(slots-1)]
	q.nodes[n] = eventNode{event: e, next: *head}
	*head = n
	q.wheel++
}

// next takes the first event out; false if there is none.
func (q *eventQueue) next() (event, bool) {
	if q.count == 0 {
		return event{}, false
	}
	for len(q.now) == 0 {
		q.advance()
	}
	q.count--
	var e event
	e, q.now = heapPop(q.now)
	return e, true
}

// advance makes the next slot the current one.
func (q *eventQueue) advance() {
	q.slot++
	if q.wheel == 0 && q.far[0].at>>slotBits > q.slot {
		q.slot = q.far[0].at >> slotBits
	}
	for n := q.heads[q.slot&(slots-1)]; n >= 0; {
		q.now = heapPush(q.now, q.nodes[n].event)
		next := q.nodes[n].next
		q.nodes[n].next, q.free = q.free, n
		q.wheel--
		n = next
	}
	q.heads[q.slot&(slots-1)] = -1
	for len(q.far) > 0 && q.far[0].at>>slotBits < q.slot+slots {
		var e event
		e, q.far = heapPop(q.far)
		if slot := e.at >> slotBits; slot <= q.slot {
			q.now = heapPush(q.now, e)
		} else {
			q.link(e, slot)
		}
	}
}

func heapPush(h []event, e event) []event {
	h = append(h, e)
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(&h[parent]) {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = e
	return h
}

func heapPop(h []event) (event, []event) {
	top, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	if len(h) == 0 {
		return top, h
	}
	i := 0
	for {
		least, first := -1, 4*i+1
		for c := first; c < min(first+4, len(h)); c++ {
			if least < 0 || h[c].before(&h[least]) {
				least = c
			}
		}
		if least < 0 || !h[least].before(&last) {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = last
	return top, h
}
