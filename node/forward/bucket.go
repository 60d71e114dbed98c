package forward

import "time"

// A TokenBucket limits how often something is done, as RFC 4443, Section 2.4 (f) asks for
// ICMP errors. It is plain state of one goroutine, without a clock.
type TokenBucket struct {
	every  time.Duration // one token per this long
	burst  int           // at most this many tokens
	full   time.Time     // when the bucket is full again
	primed bool          // full was set
}

// The limit of ICMP errors per lane. 100 a second are plenty for path MTU discovery and
// traceroute of a site, and cost less than 130 KB/s of LAN.
const (
	ICMPRate  = 100
	ICMPBurst = 50
)

// NewTokenBucket returns a full bucket that gains rate tokens a second and holds at most
// burst. Both must be positive.
func NewTokenBucket(rate, burst int) *TokenBucket {
	if rate <= 0 || burst <= 0 {
		panic("forward: internal error: a token bucket without rate or burst")
	}
	return &TokenBucket{every: time.Second / time.Duration(rate), burst: burst}
}

// Take takes a token at time now and reports whether there was one. A now before an earlier
// one gives no tokens and takes none back.
func (t *TokenBucket) Take(now time.Time) bool {
	if !t.primed || t.full.Before(now) {
		t.full, t.primed = now, true
	}
	// Each token taken puts off the time at which the bucket is full again.
	full := t.full.Add(t.every)
	if full.Sub(now) > time.Duration(t.burst)*t.every {
		return false
	}
	t.full = full
	return true
}
