package transport

import (
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/path"
	"github.com/vine-mesh/vine/transport/secure"
)

// A link is what is kept of one enrolled router: the connection while there is one, and between
// connections what must outlive them (the high-water mark of its first messages, the VNs that we accept).
//
// Invariant: conn is set exactly while state is established; then conn.session is one of sessions,
// confirmed and not retired. dial is set while state is dialling.
type link struct {
	timed
	router tables.RouterID
	state  State
	pinned bool
	// interest is until when we dial without a pin; wanted is when data last asked for the link.
	interest time.Time
	wanted   time.Time
	used     time.Time // last data or stream, either way: for idleClose
	vns      []tables.VNID
	since    time.Time // of the session in use

	// high is the order of the newest first message accepted from the router: none at or below
	// it is answered again. After a restart of ours it is zero, so a captured message may be
	// answered once more; the session that makes is never confirmed and displaces nothing.
	high secure.Order

	// epoch names our side of the connection in handshakes; it changes with each connection.
	epoch    uint64
	conn     *conn
	sessions []*session // newest last
	pend     *session   // the unconfirmed one among sessions, nil if none
	dial     *dial
	tries    int              // first messages sent since the link was last up
	good     netip.AddrPort   // the last path that answered
	offers   []netip.AddrPort // paths that Offer named, newest last; at most waysMax

	client    *secure.CookieClient // for messages to clientKey
	clientKey tables.LinkKey

	silent  bool // the last Silent that was told
	touched bool
}

// hush tells of silence, or of its end, once.
func (l *Links) hush(k *link, silent bool) {
	if k.silent != silent {
		k.silent = silent
		l.emit(Silent{Router: k.router, On: silent})
	}
}

// lookup returns the link with a router, made on demand, or nil when there are too many.
func (l *Links) lookup(router tables.RouterID) *link {
	if k := l.links[router]; k != nil {
		return k
	}
	if len(l.links) >= linksMax && !l.evict() {
		l.counters.Limited++
		return nil
	}
	l.lastOrder++
	k := &link{router: router, epoch: l.random64()}
	k.timed = timed{order: l.lastOrder, at: -1, link: k}
	l.links[router] = k
	return k
}

// evict forgets one idle link that nobody wants, the one used longest ago.
func (l *Links) evict() bool {
	var oldest *link
	for _, k := range l.links {
		if k.state != StateIdle || k.pend != nil || k.pinned || len(k.vns) > 0 {
			continue
		}
		if oldest == nil || k.used.Before(oldest.used) || k.used.Equal(oldest.used) && k.order < oldest.order {
			oldest = k
		}
	}
	if oldest == nil {
		return false
	}
	l.unschedule(&oldest.timed)
	delete(l.links, oldest.router)
	return true
}

// cookieClient returns the stamper for messages to the owner of key.
func (k *link) cookieClient(key tables.LinkKey) *secure.CookieClient {
	if k.client == nil || k.clientKey != key {
		k.client, k.clientKey = secure.NewCookieClient(key), key
	}
	return k.client
}

// wants reports whether the link is to be dialled when it is not there.
func (k *link) wants(now time.Time) bool { return k.pinned || now.Before(k.interest) }

// promote makes a confirmed session the one that we send with, and brings the link up if it was not.
// It is called when the peer has proved to be alive in s.
func (l *Links) promote(now time.Time, k *link, s *session, endpoint netip.AddrPort) {
	l.counters.Handshakes++
	if k.pend == s {
		k.pend = nil
		l.pending--
		s.confirmed = true
	}
	if s.answer != nil {
		delete(l.answers, s.answerTo)
		s.answer = nil
	}
	if k.dial != nil {
		l.endDial(k)
	}
	if s.Initiator && k.pend != nil && l.cfg.Self < k.router {
		// Both dialled at once: the lower router ID's handshake wins. Our peer keeps our session
		// unconfirmed until it hears from us in it, and then leaves its own.
		l.dropSession(k, k.pend)
	}
	s.retireAt = time.Time{}
	for _, old := range k.sessions {
		if old != s && old.confirmed && old.retireAt.IsZero() {
			old.retireAt = now.Add(retireAfter)
		}
	}
	k.since, k.tries = now, 0
	if k.conn == nil {
		k.transition(StateUp)
		k.conn = newConn(now, l, k.router, s, endpoint, l.cfg.Self < k.router)
		k.used = now
		k.conn.liveness.start(now, l)
		l.offerKnown(now, k)
		if k.conn.leads() { // the handshake may have gone over several paths, and the other side have taken another
			k.conn.paths.order, k.conn.paths.useNext = 1, now
		}
		l.emit(Up{Router: k.router, Conn: k.conn.id, Endpoint: endpoint, Initiator: s.Initiator})
	} else {
		c := k.conn
		c.emit() // what is queued belongs to the old session
		c.session = s
		c.delivered = path.Delivery{}
		if w := c.way(c.endpoint); w != nil {
			c.rebase(w)
		}
		restarted := c.peerEpoch != s.peerEpoch
		if restarted {
			for len(c.streams) > 0 {
				c.drop(c.streams[0], ErrLinkDown)
			}
			c.peerEpoch = s.peerEpoch
			c.resetNumbers()
			c.tellAnew(now)
		}
		l.emit(Rekeyed{Router: k.router, Conn: c.id, Restarted: restarted})
	}
	k.conn.heard(now, k, k.conn.endpoint)
	k.good = k.conn.endpoint
	k.conn.told = netip.AddrPort{} // once a session, for the frame may be lost
	k.conn.observe()
	if s.Initiator {
		// The peer uses the session only once it has heard from us in it.
		k.conn.ping(now)
		k.conn.liveness.await(now)
	} else {
		k.conn.ping(now) // how long an answer takes must be known before one is missed
	}
	l.emitHop(s)
	s.grant(now, l, k.vns)
	l.touch(k)
}

// crossed reports whether a packet that came in the replaced session s shows that the two sides have left two sessions for each
// other: both began at once, each heard the other in the other's session, in which it then was, when that had gone over to its
// own. Each would send in a session in which the other does not listen for news, until the keys are forgotten. The session that
// the lower router ID began wins, as in promote. What was under way when the sessions changed has come by then, or does no
// harm: a side that goes back is followed.
func (l *Links) crossed(now time.Time, k *link, s *session) bool {
	lower := func(s *session) bool { return s.Initiator == (l.cfg.Self < k.router) }
	in := k.conn.session
	return s != in && !s.retireAt.IsZero() && s.peerEpoch == in.peerEpoch && lower(s) && !lower(in) && !now.Before(k.since.Add(crossedAfter))
}

// emitHop says how relay datagrams go in a session. The initiator uses it for sending only when a packet came in it: until
// then the peer may not have made its end, and would drop what we relay.
func (l *Links) emitHop(s *session) {
	h := Hop{Router: s.link.router, Index: s.Local}
	h.Sender, h.Receiver = s.Hop()
	if s.Initiator && !s.proven {
		h.Sender = nil
	}
	l.emit(h)
	s.hop = true
}

// offerKnown makes the paths that are known of a router ways of its new connection.
func (l *Links) offerKnown(now time.Time, k *link) {
	if peer, ok := l.cfg.Peer(k.router); ok {
		for _, at := range peer.Endpoints {
			k.conn.offer(now, at)
		}
	}
	for _, at := range k.offers {
		k.conn.offer(now, at)
	}
	if path.KindOf(k.conn.endpoint) != path.Direct {
		k.conn.paths.tellDue = now
	}
	k.conn.paths.next = now.Add(chooseEvery)
}

// addOffer remembers a path that Offer named.
func (k *link) addOffer(at netip.AddrPort) {
	k.dropOffer(at)
	if len(k.offers) >= waysMax {
		k.offers = slices.Delete(k.offers, 0, 1)
	}
	k.offers = append(k.offers, at)
}

func (k *link) dropOffer(at netip.AddrPort) {
	k.offers = slices.DeleteFunc(k.offers, func(o netip.AddrPort) bool { return o == at })
}

// dropSession forgets one session of a link that is not the one in use.
func (l *Links) dropSession(k *link, s *session) {
	l.forget(s)
	if k.pend == s {
		k.pend = nil
	}
	k.sessions = slices.DeleteFunc(k.sessions, func(x *session) bool { return x == s })
}

// addSession makes room for a session among sessionsMax and appends it. What goes is the one that
// was replaced first.
func (l *Links) addSession(k *link, s *session) {
	for len(k.sessions) >= sessionsMax {
		i := slices.IndexFunc(k.sessions, func(x *session) bool { return !x.retireAt.IsZero() })
		if i < 0 {
			panic("transport: internal error: too many sessions in use")
		}
		l.dropSession(k, k.sessions[i])
	}
	k.sessions = append(k.sessions, s)
	l.own(s.Local, owner{session: s})
}

// down ends an established link, and dials again if somebody wants it.
func (l *Links) down(now time.Time, k *link, reason Reason) {
	c := k.conn
	c.close(ErrLinkDown)
	for len(k.sessions) > 0 {
		l.dropSession(k, k.sessions[len(k.sessions)-1])
	}
	if k.dial != nil {
		l.endDial(k)
	}
	k.conn, k.silent = nil, false
	k.epoch = l.random64()
	again := k.wants(now)
	if again {
		k.transition(StateDialling)
	} else {
		k.transition(StateIdle)
	}
	l.emit(Down{Router: k.router, Conn: c.id, Reason: reason})
	l.lostRelay(now, k.router)
	if again {
		l.startDial(now, k)
	}
	l.touch(k)
}

// advanceLink fires the deadlines of one link.
func (l *Links) advanceLink(now time.Time, k *link) {
	for i := 0; i < len(k.sessions); {
		s := k.sessions[i]
		switch {
		case !s.confirmed && !now.Before(s.pendEnds):
			l.dropSession(k, s)
		case !s.retireAt.IsZero() && !now.Before(s.retireAt), s.confirmed && s.Expired(now):
			if k.conn != nil && s == k.conn.session {
				l.down(now, k, ReasonExpired)
				return
			}
			l.dropSession(k, s)
		default:
			i++
		}
	}
	if k.conn != nil && !l.advanceUp(now, k) {
		return
	}
	l.advanceDial(now, k)
}

// advanceUp fires the deadlines of an established link. It reports whether the link is still up.
func (l *Links) advanceUp(now time.Time, k *link) bool {
	c := k.conn
	if !k.pinned && len(c.streams) == 0 && !now.Before(k.used.Add(idleClose)) {
		l.sayClose(c, ReasonIdle)
		l.down(now, k, ReasonIdle)
		return false
	}
	probe, dead := c.liveness.advance(now, &c.rtt)
	if dead {
		l.down(now, k, ReasonDead)
		return false
	}
	if probe {
		if k.state == StateUp && (c.liveness.active || c.liveness.silentAt.Before(now)) {
			k.transition(StateSuspect)
		}
		c.ping(now)
		if c.liveness.suspects(now, &c.rtt) {
			l.emit(Degraded{Router: k.router})
			c.askOthers(now)
		}
		if c.liveness.active && c.liveness.unanswered(now, &c.rtt) >= silentProbes {
			l.hush(k, true)
		}
	}
	c.advanceGauge(now)
	c.advanceSize(now)
	c.advanceWays(now)
	c.advanceStreams(now)
	c.session.tell(now, c)
	if k.dial == nil && c.session.RekeyDue(now) {
		l.startDial(now, k)
	}
	return true
}

// dueLink returns the earliest deadline of a link.
func (l *Links) dueLink(now time.Time, k *link) time.Time {
	var t time.Time
	for _, s := range k.sessions {
		switch {
		case !s.confirmed:
			t = earliest(t, s.pendEnds)
		case !s.retireAt.IsZero():
			t = earliest(t, earliest(s.retireAt, s.ExpiresAt()))
		default:
			t = earliest(t, s.ExpiresAt())
		}
	}
	if k.dial != nil {
		t = earliest(t, k.dial.next)
	}
	c := k.conn
	if c == nil {
		return t
	}
	if !k.pinned && len(c.streams) == 0 {
		t = earliest(t, k.used.Add(idleClose))
	}
	if k.dial == nil {
		t = earliest(t, c.session.RekeyAt())
	}
	if a := &c.session.announce; a.version > 0 && !a.acked {
		t = earliest(t, a.next)
	}
	t = earliest(t, c.dueSize(now))
	return earliest(t, earliest(c.liveness.due(), earliest(c.dueWays(now), c.due(now))))
}
