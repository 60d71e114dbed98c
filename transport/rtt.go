package transport

import "time"

// rttInitial stands for the round-trip time before the first measurement. RFC 6298 begins with
// an RTO of one second; that is rttInitial + 4*rttInitial/2, near enough.
const rttInitial = 300 * time.Millisecond

// rttGranularity is G of RFC 6298: the control loop's timers are no finer.
const rttGranularity = time.Millisecond

// rttState is a round-trip time estimator (RFC 6298, Section 2). The zero value has no sample.
type rttState struct {
	srtt   time.Duration
	rttvar time.Duration
}

// sample takes one measurement R'.
func (r *rttState) sample(rtt time.Duration) {
	rtt = max(rtt, 1) // zero means no sample
	if r.srtt == 0 {
		// "When the first RTT measurement R is made, the host MUST set SRTT <- R,
		// RTTVAR <- R/2" https://www.rfc-editor.org/rfc/rfc6298#section-2
		r.srtt, r.rttvar = rtt, rtt/2
		return
	}
	// "RTTVAR <- (1 - beta) * RTTVAR + beta * |SRTT - R'|", beta 1/4;
	// "SRTT <- (1 - alpha) * SRTT + alpha * R'", alpha 1/8.
	delta := r.srtt - rtt
	if delta < 0 {
		delta = -delta
	}
	r.rttvar += (delta - r.rttvar) / 4
	r.srtt += (rtt - r.srtt) / 8
}

// smoothed returns SRTT, or rttInitial before the first sample.
func (r *rttState) smoothed() time.Duration {
	if r.srtt == 0 {
		return rttInitial
	}
	return r.srtt
}

// timeout returns "RTO <- SRTT + max (G, K*RTTVAR)" with K = 4, kept between low and high.
func (r *rttState) timeout(low, high time.Duration) time.Duration {
	rto := rttInitial + 4*rttInitial/2
	if r.srtt != 0 {
		rto = r.srtt + max(rttGranularity, 4*r.rttvar)
	}
	return min(max(rto, low), high)
}
