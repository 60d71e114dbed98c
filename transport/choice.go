package transport

import (
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
)

// leads reports whether this side chooses the way, and the other follows: if both chose by their own
// measurements, they would pull each other to and fro.
func (c *conn) leads() bool {
	l := c.links
	if c.router == 0 {
		return false
	}
	if l.cfg.Leads != nil {
		return l.cfg.Leads(c.router)
	}
	return l.cfg.Self < c.router
}

// choose looks at the choice. What it goes by is the direction that carries more. The leader then moves;
// the follower only finds out which ways lack a train, for each side measures what it sends itself, and
// tells the other by sending.
func (c *conn) choose(now time.Time) {
	ps := &c.paths
	ps.next = now.Add(chooseEvery)
	leads, sends := c.leads(), c.direct(now)
	if !leads && (!sends || !c.busy(now)) {
		return
	}
	// A relayed way is as fast as a stream and needs less; but over it a regular peer could be no relay for us.
	streamed := path.KindOf(c.endpoint) == path.Streamed && c.regular()
	var candidates []path.Candidate
	var demand int64
	for _, w := range ps.list {
		if w.shuns(now) && w.addr != c.endpoint {
			continue
		}
		if streamed && path.KindOf(w.addr) == path.Relayed {
			continue
		}
		cand := path.Candidate{
			Path: w.addr, Measure: w.measured(now, ps.back), Validated: w.validated(), Heard: w.heard, Unanswered: w.tries,
		}
		if relay, _ := path.RelayOf(w.addr); relay != 0 && c.links.cfg.Draining != nil {
			cand.Draining = c.links.cfg.Draining(relay)
		}
		if w.addr == c.endpoint {
			cand.Validated, cand.Heard = true, c.liveness.heardAt
			cand.Unanswered = c.liveness.unanswered(now, &c.rtt)
			r := c.report()
			c.came.note(r.Highest, r.Packets)
			cand.Measure.Loss = max(cand.Measure.Loss, c.came.loss())
			if leads && cand.Measure.Loss >= exploreLoss {
				c.links.emit(Degraded{Router: c.router})
			}
			demand = cand.Measure.Used
		}
		candidates = append(candidates, cand)
	}
	choice := ps.chooser.Choose(now, c.endpoint, demand, candidates, c.links.random64())
	if leads {
		ps.choice = choice
		if to := choice.Path; to != c.endpoint && to.IsValid() {
			c.move(now, to)
			return
		}
	}
	if !sends || !c.busy(now) {
		return
	}
	if at, ok := ps.chooser.NeedTrain(now, candidates); ok {
		c.sendTrain(now, at)
	}
}

// direct finds out which direction of the way in use carries more by now, and reports whether it is ours
// or nearly so. What hardly differs changes nothing.
func (c *conn) direct(now time.Time) (sends bool) {
	w := c.way(c.endpoint)
	if w == nil {
		return true
	}
	there, back := w.there.Measure(now).Used, w.back.Measure(now).Used
	f := &c.paths.flow
	f[0], f[1] = max(there, f[0]-f[0]/8), max(back, f[1]-f[1]/8) // what paused a moment ago counts too
	switch {
	case f[0] > directionBy*f[1]:
		c.paths.back = false
	case f[1] > directionBy*f[0]:
		c.paths.back = true
	}
	return !c.paths.back || directionBy*f[0] >= f[1]
}

// carries reports whether a round trip tells something about the queue of a direction of a way: unless the
// other one carries far more, for a queue is then that one's. While nothing is known yet it tells nothing.
func (w *way) carries(now time.Time, back bool) bool {
	used, other := w.measured(now, back).Used, w.measured(now, !back).Used
	return used > 0 && directionBy*used >= other
}

// rebase says that a way begins to carry data, or that the session changed.
func (c *conn) rebase(w *way) {
	w.there.Rebase(c.delivered)
	w.back.Rebase(path.Delivery{})
	if c.session.link != nil {
		bytes, packets, highest := c.session.Delivered()
		w.back.Rebase(path.Delivery{Bytes: bytes, Packets: packets, Highest: highest})
	}
}

// countBack measures what the peer sends over the way in use, with the round trip that was just measured.
func (c *conn) countBack(now time.Time, rtt time.Duration) {
	w := c.way(c.endpoint)
	if w == nil || c.session.link == nil {
		return
	}
	if !w.carries(now, true) {
		rtt = 0
	}
	bytes, packets, highest := c.session.Delivered()
	w.back.Delivered(now, path.Delivery{Bytes: bytes, Packets: packets, Highest: highest, Clock: uint64(now.UnixMicro())}, rtt)
}

// busy reports whether data went over the link lately: only then is a better way worth a train.
func (c *conn) busy(now time.Time) bool {
	k := c.links.links[c.router]
	return k != nil && !k.used.IsZero() && now.Sub(k.used) < busyFor
}

// onUse takes the leader's word that it sends over the way that this frame came by.
func (c *conn) onUse(now time.Time, from netip.AddrPort, u frame.Use) {
	ps := &c.paths
	if c.leads() || u.Order < ps.order || u.Order == 0 {
		return
	}
	if u.Order > ps.order {
		if now.Sub(ps.obeyed) < obeyPause && !now.Before(ps.obeyed) && !c.links.asksAll {
			return
		}
		ps.obeyed = now
	}
	ps.order = u.Order
	if from == c.endpoint {
		c.put(frame.Used{Order: u.Order}.Append(nil))
		return
	}
	w := c.way(from)
	if w == nil {
		w = c.addWay(now, from, false)
		w.in += challengeBytes // at least as long as what brought it
	}
	if w.shuns(now) {
		return // it takes what the leader sends, not what we do: each side keeps to what works for it
	}
	if w.validated() && now.Sub(w.heard) < wayForget {
		c.move(now, from)
		c.put(frame.Used{Order: u.Order}.Append(nil))
		return
	}
	w.use = u.Order
	w.tries = min(w.tries, challengeTries-1)
	c.challenge(now, w)
}

// onUsed takes the other side's word that it follows.
func (c *conn) onUsed(from netip.AddrPort, u frame.Used) {
	if c.leads() && u.Order == c.paths.order {
		c.paths.used = true
	}
}

// tellCandidates tells the peer where else we may be found. Each side asks what it is told as soon as it
// hears of it, so that both send at about the same time and open the translators and firewalls
// between them for each other: hole punching (RFC 5128, Section 3.3), with the relay that carries
// this frame as the go-between.
func (c *conn) tellCandidates(now time.Time) {
	ps := &c.paths
	ps.tellDue = time.Time{}
	l := c.links
	if l.cfg.Candidates == nil {
		return
	}
	endpoints, relays := l.cfg.Candidates(c.router)
	ps.told = now
	ps.tells++
	if len(endpoints)+len(relays) > 0 {
		c.put(frame.Candidates{Endpoints: endpoints, Relays: relays}.Append(nil))
	}
	if path.KindOf(c.endpoint) != path.Direct {
		ps.tellDue = now.Add(min(tellRetryMin<<min(ps.tells, 8), tellRetryMax))
	}
}

// tellAnew has the candidates told again, to a peer that has forgotten them.
func (c *conn) tellAnew(now time.Time) {
	ps := &c.paths
	ps.listed, ps.told, ps.tells = time.Time{}, time.Time{}, 0
	if path.KindOf(c.endpoint) != path.Direct {
		ps.tellDue = now
	}
}

// onCandidates takes where the peer may be found. It is a member whose word we take only as a hint of
// where to ask: at most waysMax addresses, each asked challengeTries times.
func (c *conn) onCandidates(now time.Time, f frame.Candidates) {
	l, ps := c.links, &c.paths
	if now.Sub(ps.listed) < listPause && !now.Before(ps.listed) && !l.asksAll {
		return // it says so again
	}
	ps.listed = now
	for _, at := range f.Endpoints {
		if path.Reserved(at.Addr()) {
			continue
		}
		if l.cfg.Punchable != nil && !l.cfg.Punchable(at) {
			continue
		}
		c.offer(now, at)
		if w := c.way(at); w != nil && !w.validated() {
			w.tries, w.next = 0, now
			c.challenge(now, w)
		}
	}
	if len(f.Relays) > 0 {
		l.emit(Relays{Router: c.router, Relays: f.Relays})
	}
	// The peer's question would meet our translator alone if we did not say now where we are.
	if c.paths.told.IsZero() || now.Sub(c.paths.told) >= tellPause {
		c.tellCandidates(now)
	}
}

// Offer names paths to a router: as if they stood in its link record. They are tried when a link is
// wanted, and stand by for one that is up.
func (l *Links) Offer(now time.Time, router tables.RouterID, paths ...netip.AddrPort) []Action {
	l.begin(now)
	if k := l.enrolled(router); k != nil {
		for _, at := range paths {
			k.addOffer(at)
			if k.conn != nil {
				if k.conn.offer(now, at) && path.KindOf(at) == path.Relayed && path.KindOf(k.conn.endpoint) != path.Direct {
					// The peer has to have a link with the relay too.
					k.conn.paths.tells, k.conn.paths.tellDue = 0, now
				}
			}
		}
		if k.dial != nil && k.conn == nil {
			k.dial.next = now
		}
		l.touch(k)
	}
	return l.end()
}

// Lost takes note that a path leads nowhere any more. Whatever link used it looks for another at once.
func (l *Links) Lost(now time.Time, at netip.AddrPort) []Action {
	l.begin(now)
	for _, k := range l.links {
		k.dropOffer(at)
		if k.good == at {
			k.good = netip.AddrPort{}
		}
		if k.conn != nil && k.conn.way(at) != nil {
			k.conn.lose(now, at)
			if k.conn.endpoint != at {
				k.conn.dropWay(at)
			}
			l.touch(k)
		}
	}
	return l.end()
}

// lostRelay is Lost for every path through a router whose link has gone down.
func (l *Links) lostRelay(now time.Time, relay tables.RouterID) {
	for _, k := range l.links {
		if k.conn == nil {
			continue
		}
		at := path.Relay(relay, k.router)
		if k.conn.way(at) != nil {
			k.conn.lose(now, at)
			l.touch(k)
		}
	}
}

// foundRelay has first messages repeated at once that led nowhere while there was no link with a router that they go
// through. It is called when the router has answered in the link's session: before that it may drop what we relay.
func (l *Links) foundRelay(now time.Time, relay tables.RouterID) {
	for _, k := range l.links {
		if k.dial != nil && k.conn == nil && slices.Contains(l.targets(k), path.Relay(relay, k.router)) {
			k.dial.next = now
			l.touch(k)
		}
	}
}

// Tell sends a frame that is not about the link itself to a router, once, if there is a link.
func (l *Links) Tell(now time.Time, router tables.RouterID, frames []byte) []Action {
	l.begin(now)
	if k := l.links[router]; k != nil && k.conn != nil {
		k.used = now
		k.conn.put(frames)
		k.conn.liveness.sentData(now)
		l.touch(k)
	}
	return l.end()
}

// Reply is Tell for a frame that answers another: no answer is waited for, so the link is not asked for a sign of
// life because of it.
func (l *Links) Reply(now time.Time, router tables.RouterID, frames []byte) []Action {
	l.begin(now)
	if k := l.links[router]; k != nil && k.conn != nil {
		k.conn.put(frames)
		l.touch(k)
	}
	return l.end()
}
