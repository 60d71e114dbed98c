package path

import "time"

// An interval is what lies between two receive reports.
type interval struct {
	span                 time.Duration
	bytes, packets, sent uint64
}

// implausible reports whether no path of ours can have carried it.
func (i interval) implausible() bool {
	return i.span <= 0 || float64(i.bytes)*8/i.span.Seconds() > rateMax
}

// A window sums up intervals until they cover windowSpan.
type window struct {
	span    time.Duration
	bytes   uint64
	packets uint64 // opened
	sent    uint64 // by the counters
	rtts    int    // round trips measured
	queued  int    // of them show a queue
	low     time.Duration
	high    time.Duration
	idle    time.Duration // of span, time in which next to nothing came
	peak    float64       // highest rate of one interval, bytes per second
	full    bool
	at      time.Time // when it was closed
}

func (w *window) add(i interval, rtt time.Duration, queued bool) {
	w.span += i.span
	w.bytes += i.bytes
	w.packets += i.packets
	w.sent += i.sent
	rate := float64(i.bytes) / i.span.Seconds()
	w.peak = max(w.peak, rate)
	if rate < w.peak/8 {
		w.idle += i.span
	}
	if rtt <= 0 {
		return
	}
	if w.rtts == 0 || rtt < w.low {
		w.low = rtt
	}
	w.high = max(w.high, rtt)
	w.rtts++
	if queued {
		w.queued++
	}
}

// bits returns the rate in bits per second.
func (w *window) bits() int64 {
	if w.span <= 0 {
		return 0
	}
	return int64(float64(w.bytes) * 8 / w.span.Seconds())
}

// lost returns how many packets did not come.
func (w *window) lost() uint64 {
	if w.packets >= w.sent {
		return 0
	}
	return w.sent - w.packets
}

// newest returns the window closed i before the newest.
func (e *Estimator) newest(i int) *window {
	return &e.ring[(e.ringNext+2*windowsKept-1-i)%windowsKept]
}

// close ends the open window and learns from it.
func (e *Estimator) close(now time.Time) {
	w := e.open
	e.open = window{}
	w.at = now
	e.ring[e.ringNext] = w
	e.ringNext = (e.ringNext + 1) % windowsKept
	n := e.newest(0)
	n.full = e.full(now)
	if n.full {
		e.rate = Rate{e.average(now), RateEstimate, ByTraffic, now}
	} else {
		e.atLeast(now, n.bits())
	}
	if p, ok := e.dataLoss(now); ok {
		e.lossSeen, e.lossSeenAt, e.clean = p, now, 0
		if n.full {
			e.lossSeen = 0
		}
	}
}

// atLeast learns that the path carried so much without being seen full.
func (e *Estimator) atLeast(now time.Time, bits int64) {
	fresh := now.Sub(e.rate.At) <= rateFresh
	switch {
	case fresh && e.rate.Kind == RateEstimate && bits <= e.rate.Bits+e.rate.Bits/10:
	case fresh && e.rate.Kind == RateAtLeast && bits <= e.rate.Bits:
	case bits > 0:
		e.rate = Rate{bits, RateAtLeast, ByTraffic, now}
	}
}

// full reports whether the newest window, with the two before, shows a full path.
func (e *Estimator) full(now time.Time) bool {
	w := e.newest(0)
	if w.idle > w.span/4 || w.rtts > 0 && w.queued == 0 {
		return false
	}
	rtts, queued, lost := 0, 0, uint64(0)
	low, high := w.low, w.high
	for i := range 3 {
		w := e.newest(i)
		if w.span == 0 || now.Sub(w.at) > 3*windowSpan+gapMax {
			break
		}
		rtts, queued, lost = rtts+w.rtts, queued+w.queued, lost+w.lost()
		if w.rtts > 0 {
			low, high = min(low, w.low), max(high, w.high)
		}
	}
	moved := high-low >= e.queueSign()/2
	return rtts >= 3 && (4*queued >= 3*rtts && (moved || lost > 0) || 4*queued >= rtts && lost > 0)
}

// average returns the rate over the full windows of the last seconds and what lies between them.
func (e *Estimator) average(now time.Time) int64 {
	w := e.newest(0)
	bytes, span := w.bytes, w.span
	oldest := 0
	for i := 1; i < windowsKept; i++ {
		if w := e.newest(i); w.full && now.Sub(w.at) <= windowsKept*windowSpan+gapMax {
			oldest = i
		}
	}
	for i := 1; i <= oldest; i++ {
		w := e.newest(i)
		bytes, span = bytes+w.bytes, span+w.span
	}
	return int64(float64(bytes) * 8 / span.Seconds())
}
