package path

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"time"
)

// This file is a discrete-event model of one bottleneck: a drop-tail queue with a rate, a delay, flows
// through it, and a receiver that reports. It is a model of what the estimator sees, not of any stack.

// A model runs one bottleneck.
type model struct {
	now    time.Duration
	events events
	order  int
	rand   *rand.Rand

	rate   float64 // bits per second
	delay  time.Duration
	buffer int // bytes
	loss   float64
	queue  int // bytes in it
	freeAt time.Duration

	est      Estimator
	d        Delivery // what the receiver counts
	counter  uint64   // our packets sent
	goodput  uint64   // bytes delivered
	every    time.Duration
	jitter   time.Duration // of the reports' and pongs' way back
	pingAt   time.Duration
	rtt      time.Duration // newest, 0: none since the last report
	onReport func(at time.Duration, m Measure)
}

type event struct {
	at    time.Duration
	order int
	do    func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func newModel(rate float64, rtt, buffer time.Duration, seed uint64) *model {
	m := &model{
		rand: rand.New(rand.NewPCG(seed, 1)),
		rate: rate, delay: rtt / 2, buffer: max(int(rate/8*buffer.Seconds()), 5*1500),
		every: 200 * time.Millisecond, jitter: 500 * time.Microsecond,
	}
	return m
}

func (m *model) after(d time.Duration, do func()) {
	m.order++
	heap.Push(&m.events, event{m.now + d, m.order, do})
}

func (m *model) run(span time.Duration) {
	for end := m.now + span; len(m.events) > 0 && m.events[0].at <= end; {
		e := heap.Pop(&m.events).(event)
		m.now = e.at
		e.do()
	}
}

// send puts a packet into the bottleneck; arrive runs at the receiver unless it is dropped.
func (m *model) send(size int, arrive func()) {
	backlog := 0
	if m.freeAt > m.now {
		backlog = int((m.freeAt - m.now).Seconds() * m.rate / 8)
	}
	if backlog+size > m.buffer || m.loss > 0 && m.rand.Float64() < m.loss {
		return
	}
	m.freeAt = max(m.freeAt, m.now) + time.Duration(float64(size)*8/m.rate*1e9)
	m.after(m.freeAt-m.now+m.delay, arrive)
}

// overhead is what the outer headers add to an inner packet.
const overhead = 28 + 32

// data sends one packet of ours.
func (m *model) data(inner int, arrived func()) {
	m.counter++
	counter := m.counter
	m.send(inner+overhead, func() {
		m.d.Bytes += uint64(inner)
		m.d.Packets++
		m.d.Highest = max(m.d.Highest, counter)
		m.goodput += uint64(inner)
		if arrived != nil {
			arrived()
		}
	})
}

// warmUp is how long a path is probed before a flow begins.
const warmUp = 2 * time.Second

// idle probes the path for a while, then the receiver begins to report.
func (m *model) idle(span time.Duration) {
	for at := time.Duration(0); at < span; at += 250 * time.Millisecond {
		m.after(at, func() { m.est.Probed(m.time(), 2*m.delay+time.Duration(m.rand.Float64()*float64(m.jitter)), false) })
	}
	m.after(span, m.report)
}

// report is the receiver's timer, and a ping of the sender through the same queue.
func (m *model) report() {
	d := m.d
	d.Clock = uint64((m.now + time.Hour).Microseconds())
	back := m.delay + time.Duration(m.rand.Float64()*float64(m.jitter))
	m.after(back, func() {
		m.est.Delivered(m.time(), d, m.rtt)
		m.rtt = 0
		if m.onReport != nil {
			m.onReport(m.now, m.est.Measure(m.time()))
		}
		sent := m.now
		m.send(100, func() {
			back := m.delay + time.Duration(m.rand.Float64()*float64(m.jitter))
			m.after(back, func() { m.rtt = m.now - sent })
		})
	})
	m.after(m.every+time.Duration(m.rand.Float64()*float64(m.every)/4), m.report)
}

func (m *model) time() time.Time { return epoch.Add(m.now) }

// A tcp is a greedy sender: slow start, then CUBIC or Reno, one cut per round trip.
type tcp struct {
	m        *model
	ours     bool
	cubic    bool
	cwnd     float64 // packets
	ssthresh float64
	wmax     float64
	cutAt    time.Duration
	next     int // sequence number of the next packet
	acked    int // all before are settled
	flight   int
	recover  int
	rtt      time.Duration
	heard    time.Duration
	stopped  bool
	got      uint64
}

const inner = 1400

func (m *model) tcp(ours, cubic bool) *tcp {
	t := &tcp{m: m, ours: ours, cubic: cubic, cwnd: 10, ssthresh: math.Inf(1), heard: m.now}
	m.after(0, t.pump)
	m.after(time.Second, t.timer)
	return t
}

func (t *tcp) pump() {
	for !t.stopped && float64(t.flight) < t.cwnd {
		seq, sent := t.next, t.m.now
		t.next++
		t.flight++
		arrive := func() {
			t.got += inner
			t.m.after(t.m.delay, func() { t.ack(seq, sent) })
		}
		if t.ours {
			t.m.data(inner, arrive)
		} else {
			t.m.send(inner+overhead, arrive)
		}
	}
}

func (t *tcp) ack(seq int, sent time.Duration) {
	if seq < t.acked {
		return
	}
	t.heard, t.rtt = t.m.now, t.m.now-sent
	lost := seq - t.acked
	t.acked = seq + 1
	t.flight -= lost + 1
	switch {
	case lost > 0 && seq >= t.recover:
		t.wmax, t.cutAt, t.recover = t.cwnd, t.m.now, t.next
		beta := 0.5
		if t.cubic {
			beta = 0.7
		}
		t.cwnd = max(2, t.cwnd*beta)
		t.ssthresh = t.cwnd
	case t.cwnd < t.ssthresh:
		t.cwnd++
		if t.rtt > 2*t.m.delay+max(4*time.Millisecond, min(t.m.delay/4, 16*time.Millisecond)) { // HyStart, more or less
			t.ssthresh, t.wmax, t.cutAt = t.cwnd, t.cwnd, t.m.now
		}
	case t.cubic:
		// "W_cubic(t) = C*(t-K)^3 + W_max", C = 0.4, and the Reno-friendly region
		// https://www.rfc-editor.org/rfc/rfc9438#section-4.2
		k := math.Cbrt(t.wmax * 0.3 / 0.4)
		s := (t.m.now - t.cutAt).Seconds() + t.rtt.Seconds()
		target := 0.4*math.Pow(s-k, 3) + t.wmax
		reno := t.wmax*0.7 + 3*0.3/1.7*(t.m.now-t.cutAt).Seconds()/t.rtt.Seconds()
		t.cwnd += max(min(max(target, reno)-t.cwnd, t.cwnd/2), 0.01) / t.cwnd
	default:
		t.cwnd += 1 / t.cwnd
	}
	t.pump()
}

// timer is the retransmission timeout: everything in flight is lost.
func (t *tcp) timer() {
	if t.flight > 0 && t.m.now-t.heard > time.Second {
		t.acked, t.flight, t.cwnd, t.heard = t.next, 0, 2, t.m.now
		t.pump()
	}
	t.m.after(500*time.Millisecond, t.timer)
}

// paced sends packets at a rate, with Poisson gaps if random, ours or of others.
func (m *model) paced(rate float64, ours, random bool, stop time.Duration) {
	gap := time.Duration((inner + overhead) * 8 / rate * 1e9)
	if random {
		gap = time.Duration(m.rand.ExpFloat64() * float64(gap))
	}
	if ours {
		m.data(inner, nil)
	} else {
		m.send(inner+overhead, func() {})
	}
	if stop == 0 || m.now < stop {
		m.after(gap, func() { m.paced(rate, ours, random, stop) })
	}
}

// bursts sends a burst of n packets every period: an application that asks, and thinks.
func (m *model) bursts(n int, period time.Duration) {
	for range n {
		m.data(inner, nil)
	}
	m.after(period, func() { m.bursts(n, period) })
}

// limitedTCP is like bursts, but the burst leaves with what slow start would do: spread over rounds.
func (m *model) rounds(n int, period time.Duration) {
	at, w := time.Duration(0), 10
	for n > 0 {
		k := min(n, w)
		m.after(at, func() {
			for range k {
				m.data(inner, nil)
			}
		})
		n, w, at = n-k, 2*w, at+2*m.delay
	}
	m.after(period, func() { m.rounds(n, period) })
}

// shortTCPs starts a greedy flow of others again and again, which ends after half of the period.
func (m *model) shortTCPs(period time.Duration) {
	t := m.tcp(false, true)
	m.after(period/2, func() { t.stopped = true })
	m.after(period, func() { m.shortTCPs(period) })
}
