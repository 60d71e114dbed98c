package path

import (
	"math"
	"net/netip"
	"time"
)

// Constants of the score.
const (
	// sizeLeast is the transfer whose duration is predicted when the link carries little: a web
	// page. When it carries more, what it carries in one second.
	sizeLeast = 1_000_000

	// rounds is how many round trips such a transfer waits for without filling the path: one to
	// connect, one to ask, and slow start.
	rounds = 4

	// segment and mathis bound what TCP gets under random loss p: segment*8/RTT * mathis/sqrt(p)
	// (Mathis, Semke, Mahdavi, Ott: "The macroscopic behavior of the TCP congestion avoidance
	// algorithm", CCR 1997; sqrt(3/2) is for an acknowledgement per segment).
	segment = 1200
	mathis  = 1.22

	// lossFloor is what is not told from no loss in the thousands of packets that are counted.
	lossFloor = 0.002

	// candidatesMax is how many candidates of a link are considered: a link has at most eight
	// endpoints and eight relays of the other side.
	candidatesMax = 16

	rateNominal = 20_000_000 // assumed of a path when no rate is known at all
	rateBad     = 1_000_000  // a path that gives less is bad, whatever it gave before
	rttNominal  = 200 * time.Millisecond
)

// transferSize returns the bits of the transfer that is predicted.
func transferSize(demand int64) float64 { return float64(max(8*sizeLeast, demand)) }

// score predicts the bits per second that a transfer of size bits gets over a path that gives bits
// per second: the path's rate, bounded by what TCP makes of its loss, and the round trips spent
// waiting. So bandwidth counts first, delay the more the smaller the transfer, and loss through both.
//
// The minimum of the round trip is taken: the queue in it is mostly our own on the path in use, and
// would be so on another.
func score(m *Measure, bits, size float64) float64 {
	rtt := m.RTTMin
	if rtt <= 0 {
		rtt = rttNominal
	}
	if m.Loss > lossFloor && !m.Full {
		// Where traffic fills the path the loss is part of the rate already.
		bits = min(bits, segment*8/rtt.Seconds()*mathis/math.Sqrt(m.Loss))
		bits *= 1 - m.Loss
	}
	return size / (size/max(bits, 1) + rounds*rtt.Seconds())
}

// A which says what candidates a pick takes.
type which int

const (
	known      which = iota // measured, or direct
	anyMeasure              // also those of which nothing is known; the path in use is bad
	preferable              // of a kind preferred to the path in use
	promised                // as known, but trains are believed to the letter
)

// A field is the candidates of one choice.
type field struct {
	now        time.Time
	current    netip.AddrPort
	size       float64
	candidates []Candidate
	picks      [candidatesMax]picks

	own      *Candidate // the path in use, nil if it is gone
	ownScore float64
	ownBits  float64
	most     int64 // the highest rate of any
	kind     Kind  // the most preferred one of any that answers
	usable   int   // candidates besides the path in use that can carry data
	wait     bool  // what trains say cannot be compared yet with what traffic got
	lenient  bool  // one that drains is better than none
}

// look reads the candidates once.
func (f *field) look() {
	f.candidates = f.candidates[:min(len(f.candidates), candidatesMax)]
	f.kind = Streamed
	for i := range f.candidates {
		k := &f.candidates[i]
		f.most = max(f.most, k.Measure.Rate.Bits)
		if k.Path == f.current && k.Validated {
			f.own, f.kind = k, min(f.kind, KindOf(k.Path))
		} else if f.answers(k) {
			f.usable++
			f.kind = min(f.kind, KindOf(k.Path))
		}
	}
	if f.most == 0 {
		f.most = rateNominal
	}
	for i := range f.candidates {
		f.picks[i] = f.judged(&f.candidates[i])
	}
	if f.own != nil {
		f.ownBits = float64(f.bits(f.own))
		f.ownScore = score(&f.own.Measure, f.ownBits, f.size)
	}
}

// judged scores a candidate.
func (f *field) judged(k *Candidate) (p picks) {
	m := &k.Measure
	bits := float64(f.bits(k))
	p.promised = pick{path: k.Path, score: score(m, bits, f.size), bits: bits}
	p.known = p.promised
	if f.own != nil && m.Rate.By == ByTrain && f.own.Measure.Share > 0 {
		bits *= f.own.Measure.Share
		p.known = pick{path: k.Path, score: score(m, bits, f.size), bits: bits}
	}
	if k.Unanswered > 0 { // it may be dying too
		p.known.score /= 2
		p.promised.score /= 2
	}
	return p
}

// silent reports whether the path in use gives no answer.
func (f *field) silent() bool {
	return f.own.Unanswered >= silentProbes && f.now.Sub(f.own.Heard) >= silentAfter
}

// answers reports whether a candidate can carry data.
func (f *field) answers(k *Candidate) bool {
	return k.Validated && (f.lenient || !k.Draining) && k.Unanswered < silentProbes-1 && f.now.Sub(k.Heard) <= heardFresh
}

// bits returns the rate by which a candidate is judged. Doubt speaks for the path in use and for a
// direct path: while they were not seen full they may give as much as any. It speaks against
// others: a lower bound is all they are good for.
func (f *field) bits(k *Candidate) int64 {
	r := k.Measure.Rate
	if r.Kind != RateEstimate && (k.Path == f.current || KindOf(k.Path) == Direct) {
		return max(r.Bits, f.most)
	}
	if r.Kind == RateUnknown {
		return rateNominal
	}
	return r.Bits
}

// A pick is a candidate for the place of the path in use.
type pick struct {
	path  netip.AddrPort
	score float64
	bits  float64
	top   float64 // the best score; score is nearly equal to it
}

// picks are what a candidate is worth.
type picks struct {
	known    pick // trains are believed as far as the share of the path in use says
	promised pick // to the letter
}

// pick returns the best candidate besides the path in use: the one that was drawn before while it is
// better by limit, or as good as the best; else among near-equals one of the most preferred kind,
// among those one by the draw.
//
// So a challenger must be better all the time. Of many that are equal but for noise, one is always
// better by chance.
func (c *Chooser) pick(f *field, which which, drawn netip.AddrPort, limit float64, random uint64) (pick, bool) {
	var top, best pick
	for i := range f.candidates {
		p := c.rate(f, which, i)
		if p.score > top.score {
			top = p
		}
		if p.path == drawn && p.score > 0 {
			best = p
		}
	}
	if top.score == 0 {
		return pick{}, false
	}
	if best.score > 0 && (best.score >= top.score*nearEqual || best.score >= f.ownScore*limit) {
		best.top = best.score
		return best, true
	}
	kind, n := Streamed+1, uint64(0)
	for i := range f.candidates {
		p := c.rate(f, which, i)
		at := KindOf(f.candidates[i].Path)
		if p.score < top.score*nearEqual || at > kind {
			continue
		}
		if at < kind {
			kind, n = at, 0
		}
		n++
	}
	nth := random % n
	for i := range f.candidates {
		p := c.rate(f, which, i)
		if p.score < top.score*nearEqual || KindOf(p.path) != kind {
			continue
		}
		if nth == 0 {
			best = p
			break
		}
		nth--
	}
	best.top = top.score
	return best, true
}

// rate scores a candidate, 0 if it may not be picked.
func (c *Chooser) rate(f *field, which which, i int) pick {
	k := &f.candidates[i]
	if k.Path == f.current || !f.answers(k) {
		return pick{}
	}
	urgent := f.own == nil || f.silent() || f.own.Draining
	if !urgent && c.barred(f.now, k.Path) {
		return pick{}
	}
	m := &k.Measure
	kind := KindOf(k.Path)
	switch {
	case which == preferable && kind >= KindOf(f.current),
		which != anyMeasure && (m.RTTMin == 0 || m.Rate.Kind == RateUnknown && kind != Direct):
		return pick{}
	}
	if f.wait && m.Rate.By == ByTrain && which != anyMeasure {
		return pick{}
	}
	if which == promised {
		return f.picks[i].promised
	}
	return f.picks[i].known
}

// runnerUp returns the best usable path besides the chosen one, a measured one if there is any.
func (f *field) runnerUp(chosen netip.AddrPort) (at netip.AddrPort, _ float64) {
	var best struct {
		score float64
		known bool
	}
	for i := range f.candidates {
		k := &f.candidates[i]
		if k.Path == chosen || !f.answers(k) {
			continue
		}
		known := k.Measure.Rate.Kind != RateUnknown || KindOf(k.Path) == Direct
		if s := score(&k.Measure, float64(f.bits(k)), f.size); known && !best.known || known == best.known && s > best.score {
			at, best.score, best.known = k.Path, s, known
		}
	}
	return at, best.score
}
