package underlay

import (
	"encoding/binary"
	"errors"
	"time"
)

const (
	// queueBytesMax bounds a send queue: at 8 Mb/s it is queueTimeMax. Slower connections are bounded by the
	// time; to faster ones it is what a burst may have.
	queueBytesMax = 256 << 10

	// queueTimeMax is how long a datagram may wait in a send queue. A flow above sees a longer queue as
	// delay and a shorter one as loss; a quarter of a second is what a drop-tail queue of an access line does
	// to it, and half of what a person on a telephone notices.
	queueTimeMax = 250 * time.Millisecond

	// queueBytesMin is what a send queue starts with. It doubles as it fills.
	queueBytesMin = 8 << 10

	// lengthBytes is the length of a datagram before each datagram.
	lengthBytes = 2

	// stampBytes is the time of arrival that the queue keeps with each datagram.
	stampBytes = 8
)

var errFrameLength = errors.New("a datagram longer than the protocol allows")

// frames returns how many bytes at the beginning of b are whole datagrams with their lengths, none of more than longest bytes,
// how many datagrams these are, and how many bytes the next one has that is not whole yet. After an error nothing that follows
// means anything.
func frames(b []byte, longest int) (whole, count, next int, err error) {
	for len(b)-whole >= lengthBytes {
		n := int(binary.BigEndian.Uint16(b[whole:]))
		if n > longest {
			return whole, count, 0, errFrameLength
		}
		if len(b)-whole-lengthBytes < n {
			return whole, count, lengthBytes + n, nil
		}
		whole += lengthBytes + n
		count++
	}
	return whole, count, 0, nil
}

// A sendQueue is a ring of datagrams, each with its time of arrival and its length before it. The zero value
// is empty. It is not safe for concurrent use.
type sendQueue struct {
	ring []byte
	head int // where the oldest datagram begins
	used int // bytes. Invariant: head+used <= 2*len(ring)
}

// add appends a datagram and drops the oldest until the queue is within limit bytes. It returns how many
// it dropped.
func (q *sendQueue) add(p []byte, now time.Duration, limit int) (dropped int) {
	need := stampBytes + lengthBytes + len(p)
	for q.used > 0 && q.used+need > limit {
		q.skip()
		dropped++
	}
	if q.used+need > len(q.ring) {
		q.grow(q.used + need)
	}
	var head [stampBytes + lengthBytes]byte
	binary.BigEndian.PutUint64(head[:], uint64(now))
	binary.BigEndian.PutUint16(head[stampBytes:], uint16(len(p)))
	q.put(head[:])
	q.put(p)
	return dropped
}

// take appends datagrams with their lengths to b, oldest first, as long as b does not grow beyond limit,
// but at least one; and skips those that came before oldest.
func (q *sendQueue) take(b []byte, oldest time.Duration, limit int) (_ []byte, taken, dropped int) {
	for q.used > 0 {
		stamp, n := q.peek()
		if stamp < oldest {
			q.skip()
			dropped++
			continue
		}
		if taken > 0 && len(b)+lengthBytes+n > limit {
			break
		}
		b = q.get(b, stampBytes, lengthBytes+n)
		q.skip()
		taken++
	}
	return b, taken, dropped
}

// peek returns the time of arrival and the length of the oldest datagram.
func (q *sendQueue) peek() (stamp time.Duration, n int) {
	var head [stampBytes + lengthBytes]byte
	q.get(head[:0], 0, len(head))
	return time.Duration(binary.BigEndian.Uint64(head[:])), int(binary.BigEndian.Uint16(head[stampBytes:]))
}

// skip forgets the oldest datagram.
func (q *sendQueue) skip() {
	_, n := q.peek()
	n += stampBytes + lengthBytes
	q.head = (q.head + n) % len(q.ring)
	q.used -= n
}

// put appends bytes, for which there is room.
func (q *sendQueue) put(p []byte) {
	at := (q.head + q.used) % len(q.ring)
	n := copy(q.ring[at:], p)
	copy(q.ring, p[n:])
	q.used += len(p)
}

// get appends n bytes to b, from those that begin skip bytes after the head.
func (q *sendQueue) get(b []byte, skip, n int) []byte {
	at := (q.head + skip) % len(q.ring)
	first := min(n, len(q.ring)-at)
	b = append(b, q.ring[at:at+first]...)
	return append(b, q.ring[:n-first]...)
}

func (q *sendQueue) grow(need int) {
	size := max(len(q.ring), queueBytesMin)
	for size < need {
		size *= 2
	}
	ring := make([]byte, size)
	if q.used > 0 {
		q.get(ring[:0], 0, q.used)
	}
	q.ring, q.head = ring, 0
}
