package transport

import (
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
)

// controlBytesMax is the most plaintext in one control datagram.
const controlBytesMax = datagramBytesMax - frame.ControlHeaderLen - frame.TagLen

// onControl takes a control datagram.
func (l *Links) onControl(now time.Time, from netip.AddrPort, datagram []byte) {
	h, _, err := frame.ParseControlHeader(datagram)
	if err != nil {
		l.counters.Malformed++
		return
	}
	s := l.index[h.Receiver].session
	if s == nil {
		l.counters.UnknownIndex++
		return
	}
	plain, err := s.OpenControl(nil, datagram)
	if err != nil {
		l.counters.Unauthentic++
		return
	}
	if s.join != nil {
		l.joinControl(now, s, from, plain, len(datagram))
		return
	}
	k := s.link
	if !l.leadsTo(from, k.router) {
		l.counters.Refused++
		return
	}
	if !s.confirmed && l.cfg.Allowed != nil && !l.cfg.Allowed(k.router) {
		l.counters.Refused++ // revoked since its first message
		l.dropSession(k, s)
		l.touch(k)
		return
	}
	if !s.confirmed {
		// "A new session becomes the sending one only when the initiator proved that it is alive
		// by a packet in it." The answer went to s.from, so a packet from there closes the circle.
		l.promote(now, k, s, s.from)
		if k.conn.endpoint != from && s.from == from {
			k.conn.move(now, from)
		}
	}
	c := k.conn
	if l.crossed(now, k, s) {
		l.promote(now, k, s, c.endpoint)
	}
	c.heard(now, k, from)
	c.in += len(datagram)
	if s == c.session {
		c.sawSource(now, from, len(datagram), !onlyAboutPaths(plain))
	}
	c.received++
	l.touch(k)
	if !s.proven {
		s.proven = true
		if s == c.session && s.Initiator {
			l.emitHop(s)
		}
		l.foundRelay(now, k.router)
	}
	l.frames(now, c, s, from, plain)
}

// onlyAboutPaths reports whether frames ask or answer about paths and do nothing else: they travel over
// ways that the sender does not use.
func onlyAboutPaths(b []byte) bool {
	for len(b) > 0 {
		f, rest, err := frame.ParseControl(b)
		if err != nil {
			return false
		}
		switch f.Kind {
		case frame.KindPadding, frame.KindPong, frame.KindDelivered, frame.KindChallenge, frame.KindChallenged,
			frame.KindTrain, frame.KindTrainReport, frame.KindUse, frame.KindObserved:
		default:
			return false
		}
		b = rest
	}
	return true
}

// heard takes note that the peer is alive, and that the way in use leads to it if the packet came over
// that one.
func (c *conn) heard(now time.Time, k *link, from netip.AddrPort) {
	c.lastRecv = now
	if from != c.endpoint {
		c.liveness.elsewhere(now)
		return
	}
	c.liveness.heard(now, c.links)
	c.links.hush(k, false)
	if k.state == StateSuspect {
		k.transition(StateUp)
	}
}

// frames takes the control frames of one authentic packet, until one does not parse: the peer's
// program is then not ours, and the rest has no meaning.
func (l *Links) frames(now time.Time, c *conn, s *session, from netip.AddrPort, b []byte) {
	for len(b) > 0 && !c.closed {
		f, rest, err := frame.ParseControl(b)
		if err == nil {
			err = l.frame(now, c, s, from, f)
		}
		if err != nil {
			l.counters.Malformed++
			return
		}
		b = rest
	}
}

// frame takes one control frame. Unknown kinds are skipped.
func (l *Links) frame(now time.Time, c *conn, s *session, from netip.AddrPort, f frame.Control) error {
	switch f.Kind {
	case frame.KindPing:
		p, err := frame.ParsePing(f.Body)
		if err != nil {
			return err
		}
		c.onPing(now, from, p)
	case frame.KindPong:
		p, err := frame.ParsePong(f.Body)
		if err != nil {
			return err
		}
		c.peerRx = p.Rx
		c.onPong(now, from, p)
	case frame.KindChallenge:
		ch, err := frame.ParseChallenge(f.Body)
		if err != nil {
			return err
		}
		// The answer goes where the challenge came from, whatever we believe of that address.
		c.answer(from, frame.Challenged(ch).Append(nil))
	case frame.KindChallenged:
		a, err := frame.ParseChallenged(f.Body)
		if err != nil {
			return err
		}
		c.onChallenged(now, from, a)
	case frame.KindUse, frame.KindUsed, frame.KindCandidates, frame.KindTrain, frame.KindTrainReport, frame.KindDelivered:
		if s.link != nil && s == c.session {
			return c.onPathFrame(now, from, f)
		}
	case frame.KindAttach, frame.KindAttached, frame.KindPoll, frame.KindDialBack, frame.KindDialFor, frame.KindDialled, frame.KindApart:
		if s.link != nil && c.mayBother(now) {
			l.emit(Asked{Router: c.router, From: from, Frame: frame.Control{Kind: f.Kind, Body: append([]byte(nil), f.Body...)}})
		}
	case frame.KindChannels:
		ch, err := frame.ParseChannels(f.Body)
		if err != nil {
			return err
		}
		l.onChannels(c, s, ch)
	case frame.KindChannelsAck:
		a, err := frame.ParseChannelsAck(f.Body)
		if err != nil {
			return err
		}
		if s == c.session && a.Version == s.announce.version {
			s.announce.acked = true
		}
	case frame.KindObserved:
		o, err := frame.ParseObserved(f.Body)
		if err != nil {
			return err
		}
		if c.heardAt != o.Endpoint && !path.Reserved(o.Endpoint.Addr()) && c.mayBother(now) {
			c.heardAt = o.Endpoint
			l.emit(Observed{Router: c.router, Endpoint: o.Endpoint})
		}
	case frame.KindClose:
		cl, err := frame.ParseClose(f.Body)
		if err != nil {
			return err
		}
		l.onClose(now, c, s, cl)
	case frame.KindStreamOpen, frame.KindStreamBytes, frame.KindStreamAck, frame.KindStreamReset, kindStreamSpans:
		if s.peerEpoch != c.peerEpoch {
			return nil // of a connection that the peer has forgotten
		}
		if s.link != nil {
			s.link.used = now
		}
		return c.onStreamFrame(now, f)
	}
	return nil
}

// mayBother reports whether another frame of the peer may have the control loop work: see askEvery.
func (c *conn) mayBother(now time.Time) bool {
	if c.links.asksAll || c.asks.take(now, askEvery, askBurst) {
		return true
	}
	c.links.counters.Limited++
	return false
}

// A bucket holds tokens: one more every so often, burst at most. The zero bucket is full.
type bucket struct{ empty time.Time } // when the tokens taken will be back

// take takes a token if there is one. A clock that goes back fills the bucket.
func (b *bucket) take(now time.Time, every time.Duration, burst int) bool {
	most := every * time.Duration(burst)
	if b.empty.Before(now) || b.empty.Sub(now) > most {
		b.empty = now
	}
	if b.empty.Add(every).Sub(now) > most {
		return false
	}
	b.empty = b.empty.Add(every)
	return true
}

// onPathFrame takes one frame about the ways of a link.
func (c *conn) onPathFrame(now time.Time, from netip.AddrPort, f frame.Control) error {
	switch f.Kind {
	case frame.KindUse:
		u, err := frame.ParseUse(f.Body)
		if err != nil {
			return err
		}
		c.onUse(now, from, u)
	case frame.KindUsed:
		u, err := frame.ParseUsed(f.Body)
		if err != nil {
			return err
		}
		c.onUsed(from, u)
	case frame.KindCandidates:
		list, err := frame.ParseCandidates(f.Body)
		if err != nil {
			return err
		}
		c.onCandidates(now, list)
	case frame.KindTrain:
		t, err := frame.ParseTrain(f.Body)
		if err != nil {
			return err
		}
		c.onTrain(now, from, t, len(f.Body)+frame.FrameOverhead+frame.ControlHeaderLen+frame.TagLen)
	case frame.KindTrainReport:
		r, err := frame.ParseTrainReport(f.Body)
		if err != nil {
			return err
		}
		c.onTrainReport(now, r)
	case frame.KindDelivered:
		d, err := frame.ParseDelivered(f.Body)
		if err != nil {
			return err
		}
		c.onDelivered(now, from, d)
	}
	return nil
}

// onDelivered takes what the peer says it received of our data.
func (c *conn) onDelivered(now time.Time, from netip.AddrPort, d frame.Delivered) {
	c.delivered = path.Delivery{Bytes: d.Bytes, Packets: d.Packets, Highest: d.Highest, Clock: d.Clock}
	if w := c.way(c.endpoint); w != nil && from == c.endpoint {
		rtt := c.lastRTT
		if !w.carries(now, false) {
			rtt = 0
		}
		w.there.Delivered(now, c.delivered, rtt)
		c.lastRTT = 0
	}
}

// onChannels takes what the peer accepts. Only the session in use counts: in an older one it is
// news of the past.
func (l *Links) onChannels(c *conn, s *session, ch frame.Channels) {
	if s.link == nil || s != c.session {
		return
	}
	fresh, ack := s.learn(ch)
	if ack > 0 {
		c.put(frame.ChannelsAck{Version: ack}.Append(nil))
	}
	if fresh {
		sender, _ := s.Lane(0)
		l.emit(Channels{Router: c.router, Endpoint: c.endpoint, Sender: sender, Session: s.Session, Index: s.channels.index})
	}
}

// closeReasons maps the reasons that go over the wire.
var closeReasons = map[frame.CloseReason]Reason{
	frame.CloseIdle:     ReasonIdle,
	frame.CloseShutdown: ReasonLeaving,
	frame.CloseRevoked:  ReasonRevoked,
	frame.CloseReplaced: ReasonReplaced,
}

// onClose takes the peer's close. In an old session it means nothing: the peer has a newer one.
func (l *Links) onClose(now time.Time, c *conn, s *session, cl frame.Close) {
	if s != c.session {
		return
	}
	reason, known := closeReasons[cl.Reason]
	if !known {
		reason = ReasonPeer
	}
	if s.join != nil {
		l.closeJoin(now, s.join, reason, ErrLinkDown, false)
		return
	}
	k := s.link
	if reason == ReasonIdle || reason == ReasonRevoked {
		k.interest = time.Time{} // the peer does not want it: only a pin or new interest dials
	}
	l.down(now, k, reason)
}

// sayClose tells the peer that the connection ends. It is not repeated: a peer that misses it
// finds out by its probes.
func (l *Links) sayClose(c *conn, reason Reason) {
	f := frame.Close{Reason: frame.CloseUnspecified}
	for wire, r := range closeReasons {
		if r == reason {
			f.Reason = wire
		}
	}
	c.put(f.Append(nil))
	c.emit()
}
