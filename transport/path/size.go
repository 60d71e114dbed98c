package path

import (
	"math"
	"time"
)

// Limits of the search for the largest datagram.
const (
	// SizeMin passes every path that we support: handshakes are as long (MIN_PLPMTU of RFC 8899, Section 5.1.2).
	SizeMin = 1028

	// sizeBase passes nearly every path (BASE_PLPMTU, the same section). What does not carry the most is believed to carry this, and
	// asked at once: hosts that are told less keep it for ten minutes.
	sizeBase = 1200

	// sizeStep ends the search: less is not worth a probe.
	sizeStep = 8

	// sizeTries is how many probes of one size are lost, and none of the small packets beside them, at least
	// until it counts as too large; a small one that is lost takes one of these back. RFC 8899, Section 5.1.2, has
	// three (MAX_PROBES); five are for a path that has just become full. On a path that loses small packets too it is
	// so many that chance alone loses them once in a million times (sizeChance), and where more than half of them are
	// lost, sizeNever, the size is not doubted.
	sizeTries  = 5
	sizeChance = 1e-6
	sizeNever  = 0.5

	// The share of companions that are lost goes back sizeMemory of them, but is believed to be that of the last
	// sizeLately if that is more: a path that is suddenly full must not lose its size before that is known.
	sizeMemory = 64
	sizeLately = 8

	// sizeConfirm is how often the size in use is confirmed while data flows, so that a black hole is found in
	// sizeConfirm and sizeTries times sizeWaitMax at most: 3 s. Where little flows it is less often, so that probes are
	// at most one in sizeShare of the bytes, but every sizeSeldom.
	sizeConfirm = time.Second
	sizeShare   = 20
	sizeSeldom  = 30 * time.Second

	// sizeWaitMin and sizeWaitMax bound how long the answer to a probe is waited for.
	sizeWaitMin = 150 * time.Millisecond
	sizeWaitMax = 400 * time.Millisecond

	// sizeRaise is how long a size below the most is kept before a larger one is tried again (PMTU_RAISE_TIMER, the same
	// section).
	sizeRaise = 10 * time.Minute
)

// A Sizer finds the largest datagram that a path carries, by probes of that size: packetization layer path MTU discovery,
// RFC 8899. What ICMP says has no part in it.
//
//	+------------+ answered        +---------+
//	|  assumed   |---------------->|  known  |<--------------------+
//	+------------+                 +---------+                     |
//	 | ^ | lost again: SizeMin        | ^  |                       |
//	 +-+ |     lost: assume sizeBase  | |  | raise, or a part of   | answered, or no
//	lost |     again: SizeMin         | |  | the span is unknown   | more to find
//	   v                              v |  v                       |
//	+-------------------------------------------+                  |
//	|  searching, between what passed and what  |------------------+
//	|  did not                                  |
//	+-------------------------------------------+
//
// It begins with the most that the configuration allows, and asks at once: on most paths that is right, and a size that is
// too small would have hosts told a small MTU that they keep for ten minutes. While data flows the size is confirmed every
// second.
//
// Each probe has a companion, a small packet sent with it. A lost probe counts only if its companion was answered: else the
// path was dead or full, which is no matter of size. How many must be lost follows from how many companions are.
//
// Sizes are bytes of a datagram of the link, without headers of UDP, IP, or a relay. The zero value is ready. A Sizer is not
// safe for concurrent use and does not allocate.
type Sizer struct {
	most int // that may be used, by configuration
	size int // that may be used, for what is known
	good int // that has passed
	bad  int // that has not; zero: none

	probe     int // under way; zero: none
	companion bool
	lost      [2]float64    // share of companions, in the long run and lately
	tries     int           // of this size that were lost though their companions were not
	every     time.Duration // from one confirmation to the next
	sentAt    time.Time
	wait      time.Duration
	next      time.Time // the next confirmation
	raise     time.Time // the next attempt at more; zero: none
}

// Size returns the largest datagram to be sent, zero if there was no Advance yet.
func (s *Sizer) Size() int { return s.size }

// Advance returns the size of a probe to be sent now, with a small packet beside it, zero for none. most is what the
// configuration allows on this path, busy whether data flows, flow how many bits per second, and rtt the round trip of the
// path, zero if unknown. Call it at Due, and when one of these changes.
func (s *Sizer) Advance(now time.Time, most int, busy bool, flow int64, rtt time.Duration) int {
	if most != s.most {
		*s = Sizer{most: most, size: most, good: min(most, SizeMin), next: now}
	}
	s.every = min(max(sizeConfirm, time.Duration(float64(8*sizeShare*s.size)/float64(max(flow, 1))*float64(time.Second))), sizeSeldom)
	if s.most <= SizeMin {
		return 0
	}
	if s.probe > 0 {
		if now.Before(s.sentAt.Add(s.wait)) {
			return 0
		}
		s.judge(now)
	}
	if s.probe == 0 {
		s.probe = s.choose(now, busy)
	}
	if s.probe > 0 {
		s.sentAt, s.wait, s.companion = now, min(max(3*rtt, sizeWaitMin), sizeWaitMax), false
	}
	return s.probe
}

// judge takes note that the probe under way was not answered in time.
func (s *Sizer) judge(now time.Time) {
	s.count(!s.companion)
	if !s.companion {
		s.tries = max(s.tries-1, 0)
		s.probe, s.next = 0, now.Add(s.every)
		return
	}
	if s.tries++; s.tries >= s.enough() {
		s.failed(now)
	}
}

// count takes note that a companion was lost or not.
func (s *Sizer) count(lost bool) {
	x := 0.0
	if lost {
		x = 1
	}
	s.lost[0] += (x - s.lost[0]) / sizeMemory
	s.lost[1] += (x - s.lost[1]) / sizeLately
}

// enough returns how many lost probes are more than chance.
func (s *Sizer) enough() int {
	lost := max(s.lost[0], s.lost[1])
	if lost > sizeNever {
		return math.MaxInt
	}
	return max(sizeTries, int(math.Ceil(math.Log(sizeChance)/math.Log(max(lost, sizeChance)))))
}

// Companion takes the answer to the small packet beside the probe under way.
func (s *Sizer) Companion() { s.companion = true }

// choose returns the next size to probe, zero for none.
func (s *Sizer) choose(now time.Time, busy bool) int {
	switch {
	case s.good < s.size:
		if !now.Before(s.next) {
			return s.size
		}
	case s.bad > 0 && s.bad-s.good > sizeStep:
		if !now.Before(s.next) {
			return (s.good + s.bad) / 2
		}
	case !s.raise.IsZero() && !now.Before(s.raise):
		return s.most
	case busy && !now.Before(s.next):
		return s.size
	}
	return 0
}

// failed takes note that the probe under way did not pass.
func (s *Sizer) failed(now time.Time) {
	switch {
	case s.probe <= s.size && s.probe > sizeBase:
		s.size, s.good = sizeBase, SizeMin
	case s.probe <= s.size:
		s.size, s.good = SizeMin, SizeMin
	}
	s.bad = s.probe
	s.raise = now.Add(sizeRaise)
	s.probe, s.tries, s.next = 0, 0, now
}

// Answered takes the answer to the probe of a size.
func (s *Sizer) Answered(now time.Time, size int) {
	if size != s.probe {
		return // it was given up
	}
	s.count(!s.companion)
	s.probe, s.tries, s.next = 0, 0, now.Add(s.every)
	s.size, s.good = size, size
	if s.bad > 0 && s.bad-s.good > sizeStep {
		s.next = now // what passes shows that there is room for the next
	}
	if size >= s.most {
		s.bad, s.raise = 0, time.Time{}
	}
}

// Due returns when Advance is to be called, zero if there is nothing to do.
func (s *Sizer) Due(now time.Time, busy bool) time.Time {
	switch {
	case s.most <= SizeMin:
		return time.Time{}
	case s.probe > 0:
		return s.sentAt.Add(s.wait)
	case s.good < s.size, s.bad > 0 && s.bad-s.good > sizeStep:
		return s.next
	case busy && (s.raise.IsZero() || s.next.Before(s.raise)):
		return s.next
	}
	return s.raise
}
