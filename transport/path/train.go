package path

import "time"

// Limits of trains.
const (
	trainPackets = 64      // the most datagrams of one train
	trainSize    = SizeMin // bytes of each: they are of no use if they do not pass
	trainLeast   = 16      // the fewest: fewer are spread by chance

	// trainClaim is the most that one train may claim, in bits per second. 64 datagrams of 1,028 bytes pass
	// a link of 200 Mb/s in 2.6 ms, thirty times what a receiver that reads in batches blurs.
	trainClaim = 200_000_000

	// bucketSign is how much slower the second half of a train is that a token bucket let begin.
	bucketSign = 0.7

	// trainDoubt is how many times more than the train before a train must claim to need a second
	// that confirms it. Less is believed at once: to err there costs nothing.
	trainDoubt = 2

	// trainsSure is how many trains a path needs before they are as far apart as those of others: one alone may
	// have met a moment in which a program on its way did not run, and then says far too little.
	trainsSure = 2
	// trainPair is how soon after one train another must say less to be put down to such a moment.
	trainPair = 20 * time.Second
)

// PlanTrain returns how many datagrams of which size to send back to back: at most 64 and 66 KB, and
// no more than a path of rateHint bits per second carries in 100 ms if it is known.
func PlanTrain(rateHint int64) (packets, size int) {
	if rateHint <= 0 {
		return trainPackets / 2, trainSize
	}
	return int(min(max(rateHint/10/8/trainSize, trainLeast), trainPackets)), trainSize
}

// A TrainRecord collects the arrivals of one train. The zero value is ready for the first train; a
// datagram of another train begins anew. It keeps at most 64 arrivals.
type TrainRecord struct {
	id       uint32
	sent     int
	seen     uint64 // bit per index
	received int
	bytes    [trainPackets]int32
	at       [trainPackets]time.Time
}

// Arrived takes one datagram: index of sent, both as the frame says.
func (r *TrainRecord) Arrived(now time.Time, id uint32, index, sent, bytes int) {
	if sent < 1 || sent > trainPackets || index < 0 || index >= sent || bytes < 0 {
		return
	}
	if r.sent == 0 || id != r.id || sent != r.sent {
		*r = TrainRecord{id: id, sent: sent}
	}
	if r.seen&(1<<index) != 0 {
		return
	}
	r.seen |= 1 << index
	r.bytes[r.received], r.at[r.received] = int32(bytes), now
	r.received++
}

// ID returns the train that is recorded, false before the first.
func (r *TrainRecord) ID() (uint32, bool) { return r.id, r.sent > 0 }

// Complete reports whether every datagram of the train arrived.
func (r *TrainRecord) Complete() bool { return r.sent > 0 && r.received == r.sent }

// Report returns the numbers to report: bytes and span of the whole train, or of its second half if
// that is clearly slower. Then a token bucket let the first half through, which data that flows longer
// does not get. If one pause takes most of the span, it was no line that made it, for lines set all datagrams
// apart: then they are of the longer part of the train before or after it that tells enough.
func (r *TrainRecord) Report() TrainReport {
	if part, ok := r.besidePause(); ok {
		return part
	}
	t := r.from(0)
	if half := r.from(r.received / 2); half.Span > 0 && r.received >= trainLeast &&
		float64(half.Bytes)*t.Span.Seconds() < bucketSign*float64(t.Bytes)*half.Span.Seconds() {
		return half
	}
	return t
}

// besidePause reports about the longer part of a train that one pause has cut in two.
func (r *TrainRecord) besidePause() (t TrainReport, ok bool) {
	if r.received < trainLeast {
		return t, false
	}
	cut, pause := 0, time.Duration(0)
	for i := 1; i < r.received; i++ {
		if d := r.at[i].Sub(r.at[i-1]); d > pause {
			cut, pause = i, d
		}
	}
	if 2*pause <= r.at[r.received-1].Sub(r.at[0]) {
		return t, false
	}
	before := *r
	before.received = cut
	one, two := before.from(0), r.from(cut)
	one.Received = r.received
	if one.Span == 0 || two.Bytes > one.Bytes && two.Span > 0 {
		one = two
	}
	// Half of the least train, spread by more than one reading.
	return one, one.Bytes >= trainLeast/2*trainSize && one.Span > 0
}

// from reports about the arrivals from the i-th on. What shares the first instant was read in one batch:
// when its datagrams came is not known, but the rest came after it.
func (r *TrainRecord) from(i int) TrainReport {
	t := TrainReport{Sent: r.sent, Received: r.received}
	if i >= r.received {
		return t
	}
	first := r.at[i]
	for ; i < r.received; i++ {
		if r.at[i].After(first) {
			t.Bytes += int(r.bytes[i])
			t.Span = max(t.Span, r.at[i].Sub(first))
		}
	}
	return t
}

// Trained takes the report about a train of back-to-back datagrams. The bottleneck spreads them: bytes over
// span is its rate to them, the dispersion of a packet train (Dovrolis, Ramanathan, Moore:
// "Packet-dispersion techniques and a capacity-estimation methodology", ToN 2004). As they show, a long
// train measures the asymptotic dispersion rate, which lies between the bandwidth that is available
// and the capacity: an upper guess of what a flow gets among others. So traffic's own estimate stands
// for trafficFirm, and Share tells by how much trains exceed it.
//
// One train claims at most trainClaim, as a lower bound. Half a train, or fewer than trainLeast/2 datagrams,
// claims nothing: what is lost says that the queue is short, not how fast it drains.
func (e *Estimator) Trained(now time.Time, t TrainReport) {
	if t.Received < max(trainLeast/2, t.Sent/2) || t.Received > t.Sent || t.Bytes < 0 || t.Span < 0 {
		return
	}
	if t.Received == t.Sent {
		e.clean = min(e.clean+t.Received, cleanProbes)
	}
	r := Rate{trainClaim, RateAtLeast, ByTrain, now}
	if s := t.Span.Seconds(); s > 0 && t.Bytes > 0 && float64(t.Bytes)*8/s < trainClaim {
		r.Bits, r.Kind = int64(float64(t.Bytes)*8/s), RateEstimate
	}
	e.trains = min(e.trains+1, trainsSure)
	old := e.rate
	fresh := !old.At.IsZero() && now.Sub(old.At) <= rateFresh
	if fresh && old.Kind == RateEstimate && old.By == ByTraffic && now.Sub(old.At) <= lossSpan {
		e.share, e.shareAt = min(1, float64(old.Bits)/float64(max(r.Bits, 1))), now
	}
	switch {
	case fresh && old.Kind == RateEstimate && old.By == ByTraffic && now.Sub(old.At) <= trafficFirm:
		// What traffic got is the answer to the question that a train only guesses at.
	case fresh && old.Kind == RateAtLeast && old.By == ByTraffic && old.Bits >= r.Bits && now.Sub(old.At) <= trafficFirm:
	case fresh && old.By == ByTrain && r.Bits < old.Bits && now.Sub(old.At) <= trainPair:
	case fresh && old.By == ByTrain && r.Bits > old.Bits*trainDoubt && r.Bits > e.doubted*trainDoubt:
		e.doubted = r.Bits
	default:
		e.rate, e.doubted = r, 0
	}
}
