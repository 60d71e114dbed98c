package bench

import "math"

// LossMax is the share of packets that may be lost at a rate that counts: 0.1 %.
const LossMax = 0.001

const (
	// resolution ends a search: no more than that lies between the highest rate that passed and the lowest that did
	// not. Runs differ by more.
	resolution = 0.03
	// trialsMax ends a search that finds no end, because the machine is busy with something else.
	trialsMax = 24
	// rateMin is where a search gives up, in packets per second: the path carries nothing.
	rateMin = 50
	// shortOf is what part of the rate asked for the sender must reach; where it does not three times, it is the limit.
	shortOf   = 0.95
	shortsMax = 3
)

// A Trial is what became of packets sent at one rate, all in packets per second.
type Trial struct {
	Asked    float64
	Sent     float64
	Received float64
}

// lost returns the share of what was sent that did not arrive.
func (t Trial) lost() float64 {
	if t.Sent <= 0 {
		return 1
	}
	return max(0, 1-t.Received/t.Sent)
}

// A Search looks for the highest rate at which no more than LossMax is lost, after RFC 2544, section 26.1: it climbs
// until packets are lost, and halves what is between. A rate counts as too high when it has failed twice: the
// machine may have been busy once.
//
//	          passed                       failed twice
//	climbing -------> climbing   climbing -------------> narrowing --> done: high/low within resolution
//	    |                                                    ^ |
//	    +-- passed, the sender can send no faster: done      +-+ passed: low rises; failed twice: high falls
//	        after three times
type Search struct {
	low, high float64 // highest rate that passed, lowest that failed; zero: none yet
	got       float64 // what was received at low
	next      float64
	step      float64 // of the climb
	again     bool    // next has failed once
	shorts    int     // passed trials on end in which the sender could not send as fast as asked
	trials    int
	done      bool
	sender    bool // the sender was the limit
}

// NewSearch starts at guess. A sure guess, from an earlier search, is left in small steps.
func NewSearch(guess float64, sure bool) *Search {
	s := &Search{next: guess, step: 2}
	if sure {
		s.step = 1.2
	}
	return s
}

// Next returns the rate to try, or false when the search has ended.
func (s *Search) Next() (rate float64, more bool) { return s.next, !s.done }

// Result returns the highest rate that arrived without loss, zero if there is none, and whether the sender could
// have sent no faster, so that the path may carry more.
func (s *Search) Result() (rate float64, senderBound bool) { return s.got, s.sender }

// Handle takes the outcome of a trial at the rate that Next gave.
func (s *Search) Handle(t Trial) {
	s.trials++
	short := t.Sent < shortOf*t.Asked
	rate := min(t.Asked, t.Sent)
	switch {
	case t.lost() <= LossMax:
		s.again = false
		if rate > s.low {
			s.low, s.got = rate, t.Received
		}
		if s.shorts++; !short {
			s.shorts = 0
		}
		switch {
		case short:
			s.done = s.shorts == shortsMax
			s.sender = s.done
		case s.high == 0:
			s.next = s.low * s.step
		default:
			s.narrow()
		}
	case !s.again:
		s.again = true
	default:
		s.again = false
		if s.high == 0 || rate < s.high {
			s.high = rate
		}
		if s.low > 0 {
			s.narrow()
			break
		}
		// What arrived in spite of the loss says where the limit may be; while it sinks under overload, less.
		s.next = min(s.high/s.step, max(0.9*t.Received, s.high/8))
		s.done = s.next < rateMin
	}
	if s.trials >= trialsMax {
		s.done = true
	}
}

// narrow goes to the middle of what is between, in proportion.
func (s *Search) narrow() {
	if s.high <= s.low*(1+resolution) {
		s.done = true
		return
	}
	s.next = math.Sqrt(s.low * s.high)
}
