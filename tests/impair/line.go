package impair

import (
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
	Rate            int     // bits per second, of IP packets where the line carries Ethernet; 0: no limit
	// Queue is how many bytes wait for the line to be free, with a Rate; what comes on top is lost.
	// 0: what goes out in a round trip of twice Delay, in queueTime or in queueMin, whichever is most.
	Queue int
}

// The least that a queue holds by default: a few packets of the usual size, without which a slow line
// carries nothing, and what a network card's ring and a home router hold.
const (
	queueMin  = 16 << 10
	queueTime = 50 * time.Millisecond
)

// heldMax bounds the packets on a line, which its delay and rate bound already unless they are set
// badly; at 1 Gbit/s in small packets it is a second's worth.
const heldMax = 1 << 18

// packetUsual is the room that a line makes for a packet; a larger one gets more.
const packetUsual = 1600

// Counts are what has happened to the packets of a line.
type Counts struct {
	Sent, Delivered           int
	Lost, Overflowed          int // by Loss; by the Queue
	Duplicated, Reordered     int
	BytesSent, BytesDelivered int64
}

// A Line is one direction of a bad cable. It is not safe for concurrent use.
//
// A packet is first sent, one after the other at the Rate, and then on its way for the Delay. Buffers are
// used again: once as many packets have been on the line as ever are at a time, nothing is allocated.
type Line struct {
	settings Settings
	header   int // bytes of a packet that Rate does not count
	random   *rand.Rand
	held     [2]fifo // those that keep their order; those that leave at once. Each in the order of leaving
	order    uint64
	free     time.Time // when the line has sent what it was given
	counts   Counts
	spare    [][]byte // buffers that hold no packet
}

const (
	inOrder = iota
	early
)

// NewLine makes a line whose fate follows from the seed. It fails if the settings make no sense.
func NewLine(s Settings, seed uint64) (*Line, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return &Line{settings: s.complete(), random: rand.New(rand.NewPCG(seed, seed))}, nil
}

func (s Settings) check() error {
	for _, share := range []float64{s.Loss, s.Duplicate, s.Reorder} {
		if !(share >= 0 && share <= 1) {
			return fmt.Errorf("impair: %v is not a share from 0 to 1", share)
		}
	}
	if s.Delay < 0 || s.Jitter < 0 || s.Jitter > s.Delay || s.Rate < 0 || s.Queue < 0 {
		return fmt.Errorf("impair: %+v: nothing may be negative, nor the jitter larger than the delay", s)
	}
	return nil
}

func (s Settings) complete() Settings {
	if s.Queue == 0 {
		s.Queue = max(queueMin, int(float64(s.Rate)/8*max(2*s.Delay, queueTime).Seconds()))
	}
	return s
}

// Set changes the line at time now. What is on its way arrives as it would have; what still waits to be
// sent is sent at the new rate, also if that is more than the new queue holds.
func (l *Line) Set(now time.Time, s Settings) error {
	if err := s.check(); err != nil {
		return err
	}
	was := l.settings.Rate
	l.settings = s.complete()
	if was == s.Rate || was == 0 {
		return nil
	}
	ratio := 0.0 // of the times to wait
	if s.Rate > 0 {
		ratio = float64(was) / float64(s.Rate)
	}
	scale := func(at time.Time) time.Time {
		if !at.After(now) {
			return at
		}
		return now.Add(time.Duration(float64(at.Sub(now)) * ratio))
	}
	l.free = scale(l.free)
	for i := range l.held {
		var last time.Time
		for d := range l.held[i].all() {
			sent := scale(d.sent)
			d.at = d.at.Add(sent.Sub(d.sent))
			d.sent = sent
			if d.at.Before(last) {
				d.at = last
			}
			last = d.at
		}
		l.held[i].last = last
	}
	return nil
}

// Send puts a copy of the packet on the line at time now.
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
	sent := now
	if s.Rate > 0 {
		if l.free.Before(now) {
			l.free = now
		}
		size := max(len(packet)-l.header, 0)
		waiting := int64(l.free.Sub(now)) * int64(s.Rate) / 8 / int64(time.Second)
		if waiting+int64(size) > int64(s.Queue) {
			l.counts.Overflowed++
			return
		}
		l.free = l.free.Add(time.Duration(int64(size) * 8 * int64(time.Second) / int64(s.Rate)))
		sent = l.free
	}
	copies := 1
	if duplicate < s.Duplicate {
		l.counts.Duplicated++
		copies = 2
	}
	to, at := inOrder, sent.Add(s.Delay+time.Duration((2*jitter-1)*float64(s.Jitter)))
	if reorder < s.Reorder && l.held[inOrder].n+l.held[early].n > 0 {
		l.counts.Reordered++
		to, at = early, sent
	}
	if last := l.held[to].last; at.Before(last) {
		at = last // neither jitter nor a change of settings reorders
	}
	for range copies {
		if l.held[inOrder].n+l.held[early].n >= heldMax {
			l.counts.Overflowed++
			return
		}
		l.order++
		l.held[to].push(departure{at, sent, l.order, l.keep(packet)})
	}
}

// keep returns a copy of the packet.
func (l *Line) keep(packet []byte) []byte {
	var b []byte
	if n := len(l.spare); n > 0 {
		b, l.spare = l.spare[n-1], l.spare[:n-1]
	}
	if cap(b) < len(packet) {
		b = make([]byte, 0, max(len(packet), packetUsual))
	}
	return append(b[:0], packet...)
}

// Advance appends the packets that leave the line at or before now to list, in order. The caller gives
// them back by Release when it needs them no more.
func (l *Line) Advance(now time.Time, list [][]byte) [][]byte {
	for {
		from := l.next()
		if from == nil || from.first().at.After(now) {
			return list
		}
		packet := from.pop()
		l.counts.Delivered++
		l.counts.BytesDelivered += int64(len(packet))
		list = append(list, packet)
	}
}

// Release gives the line buffers to use again.
func (l *Line) Release(packets [][]byte) { l.spare = append(l.spare, packets...) }

// Next returns when the next packet leaves, the zero Time if the line is empty.
func (l *Line) Next() time.Time {
	if from := l.next(); from != nil {
		return from.first().at
	}
	return time.Time{}
}

// next returns the queue that the next packet leaves, nil if the line is empty.
func (l *Line) next() *fifo {
	a, b := &l.held[inOrder], &l.held[early]
	switch {
	case a.n == 0 && b.n == 0:
		return nil
	case b.n == 0 || a.n > 0 && a.first().before(b.first()):
		return a
	}
	return b
}

// Counts returns what has happened so far.
func (l *Line) Counts() Counts { return l.counts }
