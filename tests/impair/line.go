package impair

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"
)

// Settings say how bad a line is. The zero value is a perfect line.
type Settings struct {
	Delay  time.Duration // of every packet
	Jitter time.Duration // the delay is Delay-Jitter to Delay+Jitter, evenly; order is kept
	// Shares of the packets, 0 to 1.
	Loss, Duplicate float64
	Reorder         float64 // these leave at once, before those that wait
	Rate            int     // bits per second; 0: no limit
	// Queue is how many bytes wait for the line to be free, with a Rate; what comes on top is lost.
	// 0: as much as goes out in 50 ms, at least queueMin.
	Queue int
}

// queueMin holds a few packets of the usual size, without which a slow line carries nothing.
const queueMin = 16 << 10

// heldMax bounds the packets on a line, which its delay and rate bound already unless they are set
// badly; at 1 Gbit/s in small packets it is a second's worth.
const heldMax = 1 << 18

// Counts are what has happened to the packets of a line.
type Counts struct {
	Sent, Delivered           int
	Lost, Overflowed          int // by Loss; by the Queue
	Duplicated, Reordered     int
	BytesSent, BytesDelivered int64
}

// A Line is one direction of a bad cable. It is not safe for concurrent use.
type Line struct {
	settings Settings
	random   *rand.Rand
	held     departures
	order    uint64
	free     time.Time // when the line has sent what it was given
	last     time.Time // the latest departure so far: jitter must not reorder
	counts   Counts
}

// NewLine makes a line whose fate follows from the seed. It fails if the settings make no sense.
func NewLine(s Settings, seed uint64) (*Line, error) {
	for _, share := range []float64{s.Loss, s.Duplicate, s.Reorder} {
		if !(share >= 0 && share <= 1) {
			return nil, fmt.Errorf("impair: %v is not a share from 0 to 1", share)
		}
	}
	if s.Delay < 0 || s.Jitter < 0 || s.Jitter > s.Delay || s.Rate < 0 || s.Queue < 0 {
		return nil, fmt.Errorf("impair: %+v: nothing may be negative, nor the jitter larger than the delay", s)
	}
	if s.Queue == 0 {
		s.Queue = max(queueMin, s.Rate/8/20)
	}
	return &Line{settings: s, random: rand.New(rand.NewPCG(seed, seed))}, nil
}

// Send puts a packet on the line at time now. The line keeps the slice.
func (l *Line) Send(now time.Time, packet []byte) {
	s := &l.settings
	l.counts.Sent++
	l.counts.BytesSent += int64(len(packet))
	// The same number of draws for every packet: what happens to one does not hang on the settings
	// of another kind.
	loss, duplicate, reorder, jitter := l.random.Float64(), l.random.Float64(), l.random.Float64(), l.random.Float64()
	if loss < s.Loss {
		l.counts.Lost++
		return
	}
	start := now
	if s.Rate > 0 {
		if l.free.Before(now) {
			l.free = now
		}
		waiting := int64(l.free.Sub(now)) * int64(s.Rate) / 8 / int64(time.Second)
		if waiting+int64(len(packet)) > int64(s.Queue) {
			l.counts.Overflowed++
			return
		}
		l.free = l.free.Add(time.Duration(int64(len(packet)) * 8 * int64(time.Second) / int64(s.Rate)))
		start = l.free
	}
	copies := 1
	if duplicate < s.Duplicate {
		l.counts.Duplicated++
		copies = 2
	}
	at := start.Add(s.Delay + time.Duration((2*jitter-1)*float64(s.Jitter)))
	switch {
	case reorder < s.Reorder && len(l.held) > 0:
		l.counts.Reordered++
		at = start
	case at.Before(l.last):
		at = l.last
	default:
		l.last = at
	}
	for range copies {
		if len(l.held) >= heldMax {
			l.counts.Overflowed++
			return
		}
		l.order++
		heap.Push(&l.held, departure{at, l.order, packet})
	}
}

// Advance returns the packets that leave the line at or before now, in order.
func (l *Line) Advance(now time.Time) (packets [][]byte) {
	for len(l.held) > 0 && !l.held[0].at.After(now) {
		d := heap.Pop(&l.held).(departure)
		l.counts.Delivered++
		l.counts.BytesDelivered += int64(len(d.packet))
		packets = append(packets, d.packet)
	}
	return packets
}

// Next returns when the next packet leaves, the zero Time if the line is empty.
func (l *Line) Next() time.Time {
	if len(l.held) == 0 {
		return time.Time{}
	}
	return l.held[0].at
}

// Counts returns what has happened so far.
func (l *Line) Counts() Counts { return l.counts }

// A departure is a packet and when it leaves.
type departure struct {
	at     time.Time
	order  uint64 // of two that leave at once the one sent first is first
	packet []byte
}

// departures is a heap by time.
type departures []departure

// Len implements heap.Interface.
func (d departures) Len() int { return len(d) }

// Less implements heap.Interface.
func (d departures) Less(i, j int) bool {
	if d[i].at.Equal(d[j].at) {
		return d[i].order < d[j].order
	}
	return d[i].at.Before(d[j].at)
}

// Swap implements heap.Interface.
func (d departures) Swap(i, j int) { d[i], d[j] = d[j], d[i] }

// Push implements heap.Interface.
func (d *departures) Push(x any) { *d = append(*d, x.(departure)) }

// Pop implements heap.Interface.
func (d *departures) Pop() any {
	old := *d
	x := old[len(old)-1]
	old[len(old)-1] = departure{}
	*d = old[:len(old)-1]
	return x
}
