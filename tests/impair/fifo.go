package impair

import (
	"iter"
	"time"
)

// A departure is a packet and when it leaves.
type departure struct {
	at     time.Time
	sent   time.Time // when the line has sent it: at, without the delay
	order  uint64    // of two that leave at once the one sent first is first
	packet []byte
}

func (d *departure) before(e *departure) bool {
	if d.at.Equal(e.at) {
		return d.order < e.order
	}
	return d.at.Before(e.at)
}

// A fifo is a ring of departures.
type fifo struct {
	ring []departure // a power of two of them
	head int         // the first one's place
	n    int
	last time.Time // the latest departure so far: none that is pushed later leaves before
}

// at returns the i-th.
func (f *fifo) at(i int) *departure { return &f.ring[(f.head+i)&(len(f.ring)-1)] }

// first returns the first of a fifo that is not empty.
func (f *fifo) first() *departure { return f.at(0) }

func (f *fifo) push(d departure) {
	if f.n == len(f.ring) {
		larger := make([]departure, max(64, 2*f.n))
		for i := range f.n {
			larger[i] = *f.at(i)
		}
		f.ring, f.head = larger, 0
	}
	f.n++
	*f.at(f.n - 1) = d
	f.last = d.at
}

func (f *fifo) pop() []byte {
	d := f.first()
	packet := d.packet
	d.packet = nil
	f.head = (f.head + 1) & (len(f.ring) - 1)
	f.n--
	return packet
}

// all yields the departures in order; they may be changed.
func (f *fifo) all() iter.Seq[*departure] {
	return func(yield func(*departure) bool) {
		for i := range f.n {
			if !yield(f.at(i)) {
				return
			}
		}
	}
}
