package path

import "time"

// Limits of the estimator. All are spans of virtual time: the caller passes the clock.
const (
	// windowSpan is how much of the receiver's time one sample of the rate covers: several
	// reports, so that one late report moves it little, and short against the ten seconds in
	// which traffic must leave a path that collapsed.
	windowSpan = time.Second

	// windowsKept bounds the average: 20 seconds, in which a CUBIC flow fills a path of 100 Mb/s and
	// 80 ms twice, and the average holds what lies between.
	windowsKept = 20

	// The rate of full windows has changed for good where the means before and after a moment are apart by
	// shiftShare, less than which does no harm to the mean of both, and by shiftSigns of their standard error: among
	// the dozen cuts through 20 windows chance does that once in some thousand times. Three windows before are
	// enough, since they were full too; five after, since the shares of greedy flows swing for seconds.
	shiftShare  = 0.15
	shiftSigns  = 4.5
	shiftBefore = 3
	shiftAfter  = 5
	// shiftNoise is the least spread of windows that is believed, as a share of the rate: that a few windows are
	// equal by chance says nothing about the next.
	shiftNoise = 0.03

	// pauseShare is how many times less than the newest a window carried in which traffic paused.
	pauseShare = 4

	// gapMax ends a window: traffic that stopped for so long says nothing about the path.
	gapMax = 2 * time.Second

	// usedFresh is how long after the last report the path is believed to carry something.
	usedFresh = 2500 * time.Millisecond

	// lossSpan is how far back lost data packets count.
	lossSpan = 5 * time.Second

	// lossPackets is the least number of data packets that says something about loss.
	lossPackets = 20

	// rttBucket is half the window of the minimum round trip: a queue of our own making drains
	// within it (a loss-based flow halves), and a new route is learnt within two of them.
	rttBucket = time.Minute

	// A round trip shows a queue when it is longer than the minimum by a sixteenth, but by two
	// milliseconds at least, the jitter of a receiver in user space that reads in batches, and by
	// five at most: the buffer of a bottleneck knows nothing of our round trip.
	queueShare = 16
	queueLeast = 2 * time.Millisecond
	queueMost  = 5 * time.Millisecond

	// A queue of a few packets forms by chance wherever packets meet: on a slow path it is no sign.
	queueBits = 2 * 1500 * 8
	queueSlow = 50 * time.Millisecond

	// freeKept rates that passed without a queue are remembered, one for each freeEvery.
	freeKept  = 40
	freeEvery = 3 * time.Second

	// rateFresh is the age at which a rate decays to unknown: paths of the public Internet keep their
	// available bandwidth for minutes, not hours (Zhang, Duffield, Paxson, Shenker: "On the
	// constancy of Internet path properties", 2001).
	rateFresh = 10 * time.Minute

	// trafficFirm is how long a train does not replace what full traffic measured.
	trafficFirm = time.Minute

	// rateMax is the most that a report may claim. What claims more is a broken clock.
	rateMax = 100_000_000_000

	// hourMicros keeps what a report claims within a time.Duration.
	hourMicros = 3_600_000_000

	// probesKept and probeSpan bound the memory of probes.
	probesKept = 32
	probeSpan  = 2 * time.Minute

	// cleanProbes is how many answered probes in a row forget the loss that data once saw: at 5 %
	// loss so many are answered in one of twenty tries.
	cleanProbes = 60
)

// A Delivery is one receive report of the far side (frame "delivered"), cumulative over the session.
type Delivery struct {
	Bytes   uint64 // bytes of inner packets opened
	Packets uint64 // packets opened, each once
	Highest uint64 // sum over lanes of the highest counter opened plus one
	Clock   uint64 // the receiver's clock in microseconds, any origin
}

// A TrainReport is what the far side says about a train of back-to-back datagrams: see TrainRecord.
type TrainReport struct {
	Sent     int           // datagrams that were sent
	Received int           // of them arrived
	Bytes    int           // bytes that arrived within Span, without what came at its first instant
	Span     time.Duration // time over which Bytes arrived
}

// A RateKind says how far a rate can be believed.
type RateKind uint8

// The kinds of rates.
const (
	RateUnknown  RateKind = iota // nothing fresh is known
	RateAtLeast                  // a lower bound: the path was not seen full
	RateEstimate                 // the path was full, or a train was spread by it
)

// String returns the word that status output shows.
func (k RateKind) String() string {
	switch k {
	case RateAtLeast:
		return "at least"
	case RateEstimate:
		return "estimate"
	}
	return "unknown"
}

// A Source says what a rate was measured with.
type Source uint8

// The sources of rates.
const (
	ByNothing Source = iota
	ByTraffic        // from packets that flowed anyway
	ByTrain          // from a train
)

// String returns the word that status output shows.
func (s Source) String() string {
	switch s {
	case ByTraffic:
		return "traffic"
	case ByTrain:
		return "train"
	}
	return "nothing"
}

// A Rate is a bandwidth, and why it is believed.
type Rate struct {
	Bits int64 // bits per second of inner packets
	Kind RateKind
	By   Source
	At   time.Time // when it was measured
}

// A Measure is what is known about one path.
type Measure struct {
	RTT    time.Duration // smoothed (RFC 6298), queues included; 0: not measured
	RTTMin time.Duration // the least of the last one to two minutes; 0: not measured
	Loss   float64       // share of packets that do not arrive, 0 to 1
	Rate   Rate
	Used   int64 // bits per second that the far side receives now
	Spare  int64 // Rate less Used; as trustworthy as Rate

	// Share is what full traffic got of what a train claimed on this path at the same time, 0 to 1;
	// 0: not known. Less than one: others use the path too, and trains elsewhere claim as much too much.
	Share   float64
	ShareAt time.Time // when it was learnt

	Unsure bool // another train is wanted soon: one alone says little

	Full bool // traffic filled the path in the last seconds: Loss is partly of our own making
}

// An Estimator says what one path gives, from the packets that flow. The zero value is ready. It
// allocates nothing and is not safe for concurrent use.
//
// A rate counts bytes of inner IP packets, headers included, that the far side opened, each once:
// what a TCP flow inside gets is less by its own headers (4 % of full-sized packets), and by what it
// sends twice. For trains the caller counts bytes as if they were inner packets.
//
// The sample is the delivery rate of draft-cheng-iccrg-delivery-rate-estimation: delivered bytes over
// the time in which they were delivered. We divide by the receiver's clock, so reports that are
// batched, late or lost change nothing. Samples cover about a second.
//
// A sample is an estimate only if the path was visibly full in it: a standing queue (seven of
// eight round trips over three seconds are longer than the minimum by queueSign, as CoDel tells a
// standing queue from a burst, RFC 8289), or a queue in half of them and loss. The draft calls the
// other samples application-limited; they only raise a lower bound. A rate that passed without a
// queue in the last minutes is no full path, whatever the round trip says now: the route changed. The
// estimate is the mean of what full samples of the last 20 seconds enclose, and begins anew when
// two samples say half or twice of it, or five say that the path has changed by less.
//
// What it cannot see: a flow of ours that is limited, among greedy flows of others that keep the
// queue full. Then it takes the flow's rate for the share that a greedy one would get. And a
// sender that keeps the queue empty (BBR) only ever yields a lower bound, near the truth.
//
// The far side's reports are authentic, not true: a peer that lies about what it received spoils the
// choice among paths to itself, and no other.
type Estimator struct {
	last   Delivery // the newest report
	lastAt time.Time
	based  bool

	open     window // collects reports
	ring     [windowsKept]window
	ringNext int
	changed  time.Time // what full windows said before has no meaning
	free     [freeKept]free
	freeNext int

	srtt     time.Duration
	rttNow   time.Duration // least of the bucket that is filled
	rttOld   time.Duration // least of the bucket before
	rttSince time.Time     // when the bucket was begun

	rate Rate

	probes     [probesKept]probe
	probesNext int
	lossSeen   float64 // what data lost when it last flowed
	lossSeenAt time.Time
	clean      int // probes answered in a row since

	trains  int   // taken, at most trainsSure
	doubted int64 // what the newest train claimed, if that was too good to be believed at once
	share   float64
	shareAt time.Time
}

// A probe is the outcome of one probe.
type probe struct {
	at   time.Time // zero: none
	lost bool
}

// Rebase says that the path begins to carry traffic, or that the session changed: differences start
// from d.
func (e *Estimator) Rebase(d Delivery) {
	e.last, e.based, e.lastAt, e.open = d, true, time.Time{}, window{}
}

// Delivered takes a receive report. rtt is the round trip measured with it, 0 if none was.
func (e *Estimator) Delivered(now time.Time, d Delivery, rtt time.Duration) {
	if rtt > 0 {
		e.sampleRTT(now, rtt)
	}
	last, lastAt := e.last, e.lastAt
	if !e.based || d.Bytes < last.Bytes || d.Packets < last.Packets || d.Highest < last.Highest {
		// A report that was overtaken comes again later; a new session begins anew.
		if !e.based || d.Clock >= last.Clock {
			e.Rebase(d)
			e.lastAt = now
		}
		return
	}
	if d.Clock <= last.Clock {
		return
	}
	e.last, e.lastAt = d, now
	i := interval{
		span:  time.Duration(min(d.Clock-last.Clock, hourMicros)) * time.Microsecond,
		local: now.Sub(lastAt),
		bytes: d.Bytes - last.Bytes, packets: d.Packets - last.Packets, sent: d.Highest - last.Highest,
	}
	if lastAt.IsZero() || i.span > gapMax || i.implausible() {
		e.open = window{}
		return
	}
	e.open.add(i, rtt, e.queued(rtt))
	if e.open.span >= windowSpan {
		e.close(now)
	}
}

// Probed says that a probe on the path was answered after rtt, or lost.
func (e *Estimator) Probed(now time.Time, rtt time.Duration, lost bool) {
	e.probes[e.probesNext] = probe{now, lost}
	e.probesNext = (e.probesNext + 1) % probesKept
	if lost {
		e.clean = 0
		return
	}
	e.clean = min(e.clean+1, cleanProbes)
	if rtt > 0 {
		e.sampleRTT(now, rtt)
	}
}

// Measure returns what is known now.
func (e *Estimator) Measure(now time.Time) Measure {
	m := Measure{RTT: e.srtt, RTTMin: e.rttMin(), Loss: e.loss(now), Rate: e.rate}
	m.Unsure = e.rate.By == ByTrain && (e.trains < trainsSure || e.doubted > 0)
	if m.Rate.Kind != RateUnknown && now.Sub(m.Rate.At) > rateFresh {
		m.Rate = Rate{}
	}
	if w := e.newest(0); now.Sub(w.at) <= usedFresh {
		m.Used = w.bits()
	}
	if now.Sub(e.shareAt) <= rateFresh {
		m.Share, m.ShareAt = e.share, e.shareAt
	}
	for i := range e.ring {
		w := &e.ring[i]
		m.Full = m.Full || w.full && now.Sub(w.at) <= lossSpan
	}
	m.Spare = max(0, m.Rate.Bits-m.Used)
	return m
}

// sampleRTT takes one round trip.
func (e *Estimator) sampleRTT(now time.Time, rtt time.Duration) {
	if e.srtt == 0 {
		e.srtt = rtt
	}
	// "SRTT <- (1 - alpha) * SRTT + alpha * R'" with alpha 1/8
	// https://www.rfc-editor.org/rfc/rfc6298#section-2
	e.srtt += (rtt - e.srtt) / 8
	if e.rttSince.IsZero() || now.Sub(e.rttSince) >= rttBucket {
		e.rttOld = e.rttNow
		if now.Sub(e.rttSince) >= 2*rttBucket {
			e.rttOld = 0
		}
		e.rttNow, e.rttSince = rtt, now
	}
	e.rttNow = min(e.rttNow, rtt)
}

// rttMin returns the least round trip of the last one to two buckets.
func (e *Estimator) rttMin() time.Duration {
	if e.rttOld == 0 {
		return e.rttNow
	}
	return min(e.rttNow, e.rttOld)
}

// queued reports whether a round trip shows a queue.
func (e *Estimator) queued(rtt time.Duration) bool {
	return rtt > e.rttMin()+e.queueSign()
}

// queueSign returns how much longer than the minimum a round trip with a queue is.
func (e *Estimator) queueSign() time.Duration {
	sign := min(max(e.rttMin()/queueShare, queueLeast), queueMost)
	if bits := e.newest(0).bits(); bits > 0 {
		sign = max(sign, min(time.Duration(queueBits*int64(time.Second)/bits), queueSlow))
	}
	return sign
}

// loss returns the recent loss: of data if enough flowed, else of probes and of what data saw when
// it last flowed here.
func (e *Estimator) loss(now time.Time) float64 {
	if p, ok := e.dataLoss(now); ok {
		return p
	}
	n, lost := 0, 0
	for i := range e.probes {
		p := &e.probes[i]
		if p.at.IsZero() || now.Sub(p.at) > probeSpan {
			continue
		}
		n++
		if p.lost {
			lost++
		}
	}
	p := 0.0
	if lost > 1 {
		// One lost probe is an accident; with few probes the share would be absurd.
		p = float64(lost-1) / float64(n)
	}
	if e.lossSeen > p && e.clean < cleanProbes && now.Sub(e.lossSeenAt) <= rateFresh {
		seen := e.lossSeen
		if e.clean > 0 {
			// The rule of three: n successes leave at most 3/n of failures (95 %).
			seen = min(seen, 3/float64(e.clean))
		}
		p = max(p, seen)
	}
	return p
}

// dataLoss returns the loss of data of the last seconds, false if too little flowed.
func (e *Estimator) dataLoss(now time.Time) (float64, bool) {
	var sent, packets uint64
	for i := range e.ring {
		if w := &e.ring[i]; w.span > 0 && now.Sub(w.at) <= lossSpan {
			sent, packets = sent+w.sent, packets+w.packets
		}
	}
	if sent < lossPackets {
		return 0, false
	}
	if packets >= sent { // what was reordered out of an earlier window
		return 0, true
	}
	return float64(sent-packets) / float64(sent), true
}
