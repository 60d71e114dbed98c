package transport

import (
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
)

// A way is one path of a connection: the one that is used, one that stands by, or an address that
// the peer may have moved to.
//
// Authentic packets may come from anywhere, for whoever copies packets can send them from anywhere.
// So a way is not believed until an encrypted challenge came back over it; then it is validated.
type way struct {
	addr    netip.AddrPort
	offered bool // named by somebody whom we believe: asked unasked, and kept
	token   frame.Challenge
	in      int // bytes that came over it
	out     int // bytes that we sent over it. Invariant, unless offered or validated: out <= amplification*in
	tries   int // challenges since it last answered
	rounds  int // rounds of challengeTries without an answer
	answers int // while it stands by, at most freshAnswers
	sentAt  time.Time
	next    time.Time
	heard   time.Time      // its last answer; zero: not validated
	roamed  bool           // the peer seems to have moved there: follow when it answers
	use     uint64         // the peer asked to use it, with this order: follow when it answers
	there   path.Estimator // what we send over it, by the peer's word
	back    path.Estimator // what the peer sends over it, by our own count
	size    path.Sizer     // how large a datagram passes
	shun    time.Time      // until then it is not chosen: it swallowed data
	shunned int            // how often it did
}

// measured returns what is known of one direction.
func (w *way) measured(now time.Time, back bool) path.Measure {
	if back {
		return w.back.Measure(now)
	}
	return w.there.Measure(now)
}

// probed takes the answer to a question about the way, or that there was none.
func (w *way) probed(now time.Time, rtt time.Duration, lost bool) {
	w.there.Probed(now, rtt, lost)
	w.back.Probed(now, rtt, lost)
}

func (w *way) validated() bool { return !w.heard.IsZero() }

// ways are the paths of one connection.
type ways struct {
	list    []*way
	chooser path.Chooser
	choice  path.Decision
	flow    [2]int64  // bits per second there and back, forgotten slowly
	back    bool      // the choice goes by what the peer sends: it carries more
	next    time.Time // when the choice is looked at again
	order   uint64    // of the last use frame, sent by the leader, obeyed by the other
	used    bool      // leader: the other has acknowledged it
	useNext time.Time // leader: when it is repeated
	useTry  int       // leader: how often it was
	obeyed  time.Time // when an order was last followed
	listed  time.Time // when the peer's candidates were last taken
	told    time.Time // when our candidates were told last; zero: never
	tells   int       // how often
	tellDue time.Time
	train   trainState
}

// way returns the way with an address, nil if there is none.
func (c *conn) way(addr netip.AddrPort) *way {
	for _, w := range c.paths.list {
		if w.addr == addr {
			return w
		}
	}
	return nil
}

// addWay makes a way, in the place of the least wanted if there are too many.
func (c *conn) addWay(now time.Time, addr netip.AddrPort, offered bool) *way {
	limit := candidatesMax
	if offered {
		limit = waysMax
	}
	var same []*way
	for _, w := range c.paths.list {
		if w.addr != c.endpoint && w.offered == offered && (offered || !w.validated()) {
			same = append(same, w)
		}
	}
	if len(same) >= limit {
		oldest := slices.MinFunc(same, func(a, b *way) int { return a.heard.Compare(b.heard) })
		c.dropWay(oldest.addr)
	}
	if len(c.paths.list) >= 2*waysMax {
		for _, w := range c.paths.list {
			if w.addr != c.endpoint && !w.offered {
				c.dropWay(w.addr)
				break
			}
		}
	}
	w := &way{addr: addr, offered: offered, next: now}
	c.links.random(w.token[:])
	c.paths.list = append(c.paths.list, w)
	return w
}

func (c *conn) dropWay(addr netip.AddrPort) {
	c.paths.list = slices.DeleteFunc(c.paths.list, func(w *way) bool { return w.addr == addr && addr != c.endpoint })
}

// offer makes an address one of the ways, to be asked when there is a reason: see explores. It reports
// whether it was none before.
func (c *conn) offer(now time.Time, addr netip.AddrPort) bool {
	if !addr.IsValid() {
		return false
	}
	w := c.way(addr)
	if w == nil {
		c.addWay(now, addr, true)
		return true
	}
	w.offered = true
	return false
}

// explores reports whether standbys are asked although nothing is wrong: while packets go a longer way
// than they might, or the way loses some.
func (c *conn) explores(now time.Time) bool {
	if c.router == 0 {
		return false
	}
	if path.KindOf(c.endpoint) != path.Direct {
		return true
	}
	w := c.way(c.endpoint)
	return w != nil && w.measured(now, c.paths.back).Loss >= exploreLoss
}

// sawSource takes note of an authentic packet of n bytes from an address. moves says that it was not
// only a question or an answer about paths: the peer sends there what it has to say.
func (c *conn) sawSource(now time.Time, from netip.AddrPort, n int, moves bool) {
	if from == c.endpoint {
		return
	}
	if c.links.believeSources && moves {
		c.move(now, from)
		return
	}
	w := c.way(from)
	switch {
	case w == nil:
		w = c.addWay(now, from, false)
	case w.tries >= challengeTries && !now.Before(w.next) && !w.offered:
		w.tries, w.next = 0, now // it still sends: ask again
	}
	w.in += n
	switch {
	case !moves || w.shuns(now):
	case !w.validated() && path.KindOf(from) == path.Direct:
		w.roamed = true
	case !c.liveness.quiet(now):
		// A way that we know is followed only when the one in use is silent: a packet may be late, and
		// who chooses says so with a use frame. So is any that is not direct: relays do not roam.
	case path.KindOf(from) == path.Direct || path.KindOf(c.endpoint) != path.Direct:
		w.roamed = true
	default:
		// The direct way may be silent because we are: a translator in front of us has forgotten us, and the peer went
		// round about. What we ask opens it again; if it is dead, the other way is taken for want of an answer.
		c.liveness.doubt(now)
	}
	if w.roamed || !w.validated() {
		c.challenge(now, w)
	}
}

// challengeBytes is the length of the datagram of a path challenge.
const challengeBytes = frame.ControlHeaderLen + frame.FrameOverhead + len(frame.Challenge{}) + frame.TagLen

// mayAsk reports whether a challenge may be sent over a way now, for what is known of it. An endpoint that
// the peer has named has sent us nothing: for all of those together there are amplification times the bytes that the
// peer itself has sent, so that naming others is no way to have them flooded.
func (c *conn) mayAsk(w *way) bool {
	switch {
	case w.validated(), c.links.asksAll:
		return true
	case !w.offered:
		return w.out+challengeBytes <= amplification*w.in
	}
	return path.KindOf(w.addr) != path.Direct || c.asked+challengeBytes <= amplification*c.in
}

// leadsTo reports whether a packet of a router may have come by a path. One through a relay says who sent it;
// if that is another than who sealed it, the relay has changed it, and an answer would go to that other.
func (l *Links) leadsTo(at netip.AddrPort, router tables.RouterID) bool {
	if path.KindOf(at) != path.Relayed || l.strayPaths {
		return true
	}
	relay, to := path.RelayOf(at)
	return to == router && relay != router && relay != 0
}

// challenge sends a challenge over a way if it is due and allowed.
func (c *conn) challenge(now time.Time, w *way) {
	if now.Before(w.next) || !c.mayAsk(w) || w.tries >= challengeTries && !w.offered {
		return
	}
	if w.tries > 0 {
		w.probed(now, 0, true)
	}
	w.tries++
	w.sentAt, w.next = now, now.Add(challengeRetry)
	if w.tries >= challengeTries {
		w.rounds++
		w.next = now.Add(activeDead)
		if w.offered {
			w.tries = 0
			w.next = now.Add(min(wayRetryMin<<min(w.rounds-1, 8), wayRetryMax))
			if w.validated() && !now.Before(w.heard.Add(wayForget)) {
				w.heard = time.Time{}
			}
		}
	}
	n := c.emitTo(w.addr, w.token.Append(nil))
	w.out += n
	if w.offered && !w.validated() && path.KindOf(w.addr) == path.Direct {
		c.asked += n
	}
}

// askOthers challenges every other way at once: the one in use is silent.
func (c *conn) askOthers(now time.Time) {
	for _, w := range c.paths.list {
		if w.addr != c.endpoint && (w.offered || w.validated()) {
			if w.tries == 0 || !now.Before(w.sentAt.Add(challengeRetry)) {
				w.next = now
				w.tries = min(w.tries, challengeTries-2)
				c.challenge(now, w)
			}
		}
	}
}

// onChallenged takes the answer to a challenge. It counts only over the way that was asked.
func (c *conn) onChallenged(now time.Time, from netip.AddrPort, answer frame.Challenged) {
	w := c.way(from)
	if w == nil || frame.Challenged(w.token) != answer {
		return
	}
	if w.tries == 1 { // else it may be the answer to an earlier copy (Karn)
		w.probed(now, max(now.Sub(w.sentAt), 1), false)
	}
	c.links.random(w.token[:])
	fresh := !w.validated()
	w.heard, w.tries, w.rounds = now, 0, 0
	w.next = now.Add(c.links.between(probeIdleMin, probeIdleMax))
	if w.answers++; w.answers < freshAnswers {
		w.next = now.Add(freshRetry) // one round trip alone may have waited for anything
	}
	roamed, use := w.roamed, w.use
	w.roamed, w.use = false, 0
	switch {
	case use > 0 && use == c.paths.order && !c.leads():
		c.move(now, from)
		c.put(frame.Used{Order: use}.Append(nil))
	case roamed && !w.shuns(now):
		c.move(now, from)
	case (c.liveness.suspects(now, &c.rtt) || c.swallowed.leaving && !w.shuns(now)) && from != c.endpoint:
		c.move(now, from)
	case fresh && c.leads() && c.shortcut(now, from):
		c.move(now, from)
	}
	if fresh && c.router != 0 {
		c.observeAt(from)
		c.paths.next = now // the leader looks at it
	}
}

// shortcut reports whether a way that has just been validated is taken without further measurement: it is direct, and
// the one in use is not, nor is anything known of that one's bandwidth that would speak for it.
func (c *conn) shortcut(now time.Time, to netip.AddrPort) bool {
	if path.KindOf(c.endpoint) == path.Relayed && path.KindOf(to) != path.Relayed && c.regular() {
		return true
	}
	if path.KindOf(to) != path.Direct || path.KindOf(c.endpoint) == path.Direct {
		return false
	}
	w := c.way(c.endpoint)
	return w == nil || w.there.Measure(now).Rate.Kind != path.RateEstimate
}

// regular reports whether the peer may be a relay for us, which it is over any but a relayed way.
func (c *conn) regular() bool {
	peer, ok := c.links.cfg.Peer(c.router)
	return ok && peer.Regular
}

// move makes a way the one that is used.
func (c *conn) move(now time.Time, to netip.AddrPort) {
	if to == c.endpoint {
		return
	}
	c.emit() // what is queued was meant for the old way
	w := c.way(to)
	if w == nil {
		w = c.addWay(now, to, false)
		w.heard = now
	}
	c.endpoint = to
	c.sizing = sizing{}
	c.liveness.moved(now)
	c.came = arrivals{}
	c.swallowed.leaving, c.swallowed.since = false, time.Time{}
	if rtt := w.there.Measure(now).RTT; rtt > 0 {
		c.rtt = rttState{}
		c.rtt.sample(rtt)
	}
	c.rebase(w)
	if c.router == 0 {
		return
	}
	c.links.emit(Moved{Router: c.router, Endpoint: to})
	if k := c.links.links[c.router]; k != nil {
		k.good = to
		c.links.hush(k, false) // the other way has answered
	}
	c.observe()
	if c.leads() {
		c.paths.order++
		c.paths.used, c.paths.useNext, c.paths.useTry = false, now, 0
	}
	c.paths.next = now.Add(chooseEvery)
}

// lose takes note that a way leads nowhere any more: its relay or its stream connection is gone.
func (c *conn) lose(now time.Time, addr netip.AddrPort) {
	w := c.way(addr)
	if w == nil {
		return
	}
	w.heard, w.tries, w.answers, w.next = time.Time{}, 0, 0, now.Add(challengeRetry)
	if addr != c.endpoint {
		return
	}
	c.liveness.await(now)
	c.liveness.lost = true
	c.askOthers(now)
}

// observe tells the peer at which endpoint it is, if that is news.
func (c *conn) observe() {
	if c.told != c.endpoint && path.KindOf(c.endpoint) == path.Direct {
		c.told = c.endpoint
		c.put(frame.Observed{Endpoint: c.endpoint}.Append(nil))
	}
}

// observeAt tells the peer at which endpoint it is seen on a standby.
func (c *conn) observeAt(at netip.AddrPort) {
	if at != c.endpoint && at != c.told && path.KindOf(at) == path.Direct {
		c.emitTo(at, frame.Observed{Endpoint: at}.Append(nil))
	}
}

// due returns when something of the ways is to be done.
func (c *conn) dueWays(now time.Time) time.Time {
	ps := &c.paths
	var t time.Time
	explores := c.explores(now)
	for _, w := range ps.list {
		switch {
		case w.addr == c.endpoint:
		case w.offered:
			if explores && c.mayAsk(w) {
				t = earliest(t, w.next)
			}
		case (!w.validated() || w.roamed) && w.tries < challengeTries && c.mayAsk(w):
			t = earliest(t, w.next)
		}
	}
	if c.router == 0 {
		return t
	}
	if c.leads() && ps.order > 0 && !ps.used {
		t = earliest(t, ps.useNext)
	}
	if (len(ps.list) > 1 || c.busy(now)) && (c.leads() || c.busy(now)) {
		t = earliest(t, ps.next)
	}
	t = earliest(t, ps.tellDue)
	return earliest(t, ps.train.due())
}

// advanceWays lets the leader choose and repeats the questions that are due, in this order: what was
// chosen decides whether others are asked.
func (c *conn) advanceWays(now time.Time) {
	ps := &c.paths
	if c.router != 0 {
		c.advanceChoice(now)
	}
	explores := c.explores(now)
	for _, w := range slices.Clone(ps.list) {
		if w.addr != c.endpoint && (!w.offered && (!w.validated() || w.roamed) || w.offered && explores) {
			c.challenge(now, w)
		}
	}
}

func (c *conn) advanceChoice(now time.Time) {
	ps := &c.paths
	if !now.Before(ps.next) && (len(ps.list) > 1 || c.busy(now)) {
		c.choose(now)
	}
	if c.leads() && ps.order > 0 && !ps.used && !now.Before(ps.useNext) {
		c.put(frame.Use{Order: ps.order}.Append(nil))
		c.liveness.sentData(now)
		ps.useNext = now.Add(min(useRetry<<min(ps.useTry, 8), useRetryMax))
		ps.useTry++
	}
	if !ps.tellDue.IsZero() && !now.Before(ps.tellDue) {
		c.tellCandidates(now)
	}
	c.advanceTrain(now)
}
