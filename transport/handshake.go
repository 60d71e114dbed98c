package transport

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
	"github.com/vine-mesh/vine/transport/secure"
)

// answersMax bounds how often one response is repeated: as often as a first message is in initLife.
const answersMax = 16

// helloFixedLen is what stands before Config.Hello in a handshake payload: the epoch of our side of
// the connection.
const helloFixedLen = 8

// A dial is one first message of ours and its repetitions. Its bytes stay the same, so that an
// answer to any copy finishes it.
type dial struct {
	handshake *secure.Initiator
	index     uint32
	datagram  []byte
	born      time.Time
	next      time.Time
	sent      map[netip.AddrPort]bool // where it went
	last      netip.AddrPort
}

// startDial makes advanceDial, at the end of this call, make a first message and send it.
func (l *Links) startDial(now time.Time, k *link) {
	if k.dial != nil {
		panic("transport: internal error: dial under way")
	}
	k.dial = &dial{born: now, next: now}
	l.touch(k)
}

// makeInit fills a dial with a first message, if the router is known and bounds allow. Otherwise
// advanceDial comes back to it while there is interest.
func (l *Links) makeInit(now time.Time, k *link) {
	d := k.dial
	d.born = now
	peer, known := l.cfg.Peer(k.router)
	if !known || peer.Link.IsZero() {
		return
	}
	if l.dials+l.pending >= handshakesMax {
		l.counters.Limited++
		return
	}
	l.lastInit++
	index := l.newIndex()
	h, err := secure.NewInitiator(&l.secure, peer.Link, index, secure.Order{Boot: l.cfg.Boot, Counter: l.lastInit}, l.hello(k.epoch))
	if err != nil {
		return // a peer key that no exchange can be made with: nothing to send
	}
	d.handshake, d.index = h, index
	d.datagram = h.Datagram()
	k.cookieClient(peer.Link).Stamp(now, d.datagram)
	l.own(index, owner{dial: k})
	l.dials++
	d.sent = make(map[netip.AddrPort]bool)
}

// unmakeInit forgets the first message of a dial.
func (l *Links) unmakeInit(d *dial) {
	if d.handshake == nil {
		return
	}
	l.disown(d.index)
	l.dials--
	d.handshake, d.datagram, d.sent = nil, nil, nil
}

func (l *Links) endDial(k *link) {
	l.unmakeInit(k.dial)
	k.dial = nil
}

// advanceDial repeats the first message, renews it, or gives up.
func (l *Links) advanceDial(now time.Time, k *link) {
	d := k.dial
	if d == nil || now.Before(d.next) {
		return
	}
	if k.conn == nil && !k.wants(now) {
		l.endDial(k)
		k.transition(StateIdle)
		return
	}
	if d.handshake == nil || !now.Before(d.born.Add(initLife)) {
		l.unmakeInit(d)
		l.makeInit(now, k)
	}
	if d.handshake != nil {
		for _, to := range l.targets(k) {
			d.sent[to], d.last = true, to
			l.send(to, append([]byte(nil), d.datagram...))
		}
	}
	interval := min(initRetryMin<<min(k.tries, 10), initRetryMax)
	if now.Before(k.wanted.Add(initLife)) || k.conn != nil {
		interval = min(interval, initRetryWanted)
	}
	k.tries++
	if k.conn == nil && k.tries == unansweredTries {
		l.emit(Unanswered{Router: k.router})
	}
	d.next = now.Add(interval + l.between(0, interval/4))
}

// targets returns where the next copy of a first message goes: to the path that answered last, to
// relays and stream connections, and to the endpoints in turn.
func (l *Links) targets(k *link) []netip.AddrPort {
	if k.conn != nil && k.tries < 4 {
		return []netip.AddrPort{k.conn.endpoint}
	}
	peer, _ := l.cfg.Peer(k.router)
	var direct, other []netip.AddrPort
	for _, at := range append(slices.Clone(peer.Endpoints), k.offers...) {
		switch {
		case slices.Contains(direct, at) || slices.Contains(other, at):
		case path.KindOf(at) == path.Direct:
			direct = append(direct, at)
		case len(other) < dialOthersMax:
			other = append(other, at)
		}
	}
	var to []netip.AddrPort
	if !peer.Reachable || k.tries >= unansweredTries || len(direct) == 0 {
		to = other
	}
	for i := range min(len(direct), dialDirectMax) {
		to = append(to, direct[(k.tries*dialDirectMax+i)%len(direct)])
	}
	if k.good.IsValid() && path.KindOf(k.good) == path.Direct && !slices.Contains(to, k.good) {
		to = append(to, k.good)
	}
	return to
}

func (l *Links) hello(epoch uint64) []byte {
	b := binary.BigEndian.AppendUint64(nil, epoch)
	if l.cfg.Hello == nil {
		return b
	}
	h := l.cfg.Hello()
	if len(h) > helloBytesMax {
		return b // the peer has our documents, or will get them; better a link than none
	}
	return append(b, h...)
}

// splitHello takes a handshake payload apart. A payload without an epoch has epoch zero.
func splitHello(b []byte) (epoch uint64, hello []byte) {
	if len(b) < helloFixedLen {
		return 0, nil
	}
	return binary.BigEndian.Uint64(b), b[helloFixedLen:]
}

// onInit takes a first message that has passed the gate.
func (l *Links) onInit(now time.Time, from netip.AddrPort, datagram []byte) {
	m, err := frame.ParseInit(datagram)
	if err != nil {
		l.counters.Malformed++
		return
	}
	// A copy of what we answered already gets the same answer, since that may have been lost.
	id := tables.Hash(sha256.Sum256(m.Noise))
	if s := l.answers[id]; s != nil {
		if s.answerTry < answersMax {
			s.answerTry++
			l.send(from, append([]byte(nil), s.answer...))
		}
		return
	}
	if l.dials+l.pending >= handshakesMax {
		l.counters.Limited++
		return
	}
	r, err := secure.ReadInit(&l.secure, datagram)
	if err != nil {
		l.counters.Unauthentic++
		return
	}
	epoch, hello := splitHello(r.Hello())
	router, err := l.cfg.Accept(r.Peer(), hello)
	if err != nil || router == 0 || router == l.cfg.Self {
		l.counters.Refused++
		return
	}
	if !l.leadsTo(from, router) {
		l.counters.Refused++
		return
	}
	k := l.lookup(router)
	if k == nil {
		return
	}
	if !r.Order().After(k.high) && !l.acceptReplays {
		l.counters.Replayed++
		return
	}
	index := l.newIndex()
	answer, ss, err := r.Respond(now, index, l.hello(k.epoch))
	if err != nil {
		l.counters.Unauthentic++
		return
	}
	ss.Bind(l.cfg.Self, router)
	k.cookieClient(r.Peer()).Stamp(now, answer)
	k.high = r.Order()
	if k.pend != nil {
		l.dropSession(k, k.pend) // an older first message of the same peer, never confirmed
	}
	s := &session{
		Session: ss, link: k, from: from, heard: len(datagram), peerEpoch: epoch, pendEnds: now.Add(pendLife),
		answer: answer, answerTo: id, answerTry: 1, grants: map[tables.VNID]uint32{},
	}
	l.answers[id] = s
	l.pending++
	k.pend = s
	l.addSession(k, s)
	l.send(from, append([]byte(nil), answer...))
	if l.believeInits {
		l.promote(now, k, s, from)
	}
	l.touch(k)
}

// onResponse takes the answer to a first message of ours.
func (l *Links) onResponse(now time.Time, from netip.AddrPort, datagram []byte) {
	m, err := frame.ParseResponse(datagram)
	if err != nil {
		l.counters.Malformed++
		return
	}
	k := l.index[m.Receiver].dial
	if k == nil {
		l.counters.UnknownIndex++
		return
	}
	d := k.dial
	ss, payload, err := d.handshake.ReadResponse(now, datagram)
	if err != nil {
		l.counters.Unauthentic++
		return
	}
	epoch, hello := splitHello(payload)
	if router, err := l.cfg.Accept(ss.Peer, hello); err != nil || router != k.router {
		l.counters.Refused++
		return // revoked meanwhile; the dial ends with our interest
	}
	if !l.leadsTo(from, k.router) {
		l.counters.Refused++
		return
	}
	ss.Bind(l.cfg.Self, k.router)
	s := &session{
		Session: ss, link: k, from: from, heard: len(datagram), peerEpoch: epoch, confirmed: true,
		grants: map[tables.VNID]uint32{},
	}
	// An address that we dialled has answered: that is as good as a challenge. Any other must
	// still prove itself.
	endpoint := d.last
	if d.sent[from] {
		endpoint = from
	}
	l.unmakeInit(d) // its index now names the session
	l.addSession(k, s)
	l.promote(now, k, s, endpoint)
	k.conn.sawSource(now, from, len(datagram), false)
}

// onCookie takes a cookie for a first message of ours and repeats that at once with the cookie.
func (l *Links) onCookie(now time.Time, from netip.AddrPort, datagram []byte) {
	m, err := frame.ParseCookie(datagram)
	if err != nil {
		l.counters.Malformed++
		return
	}
	k := l.index[m.Receiver].dial
	if k == nil {
		l.counters.UnknownIndex++
		return
	}
	if !k.dial.sent[from] || k.client.ReadCookie(now, datagram) != nil {
		l.counters.Unauthentic++
		return
	}
	k.client.Stamp(now, k.dial.datagram)
	l.send(from, append([]byte(nil), k.dial.datagram...))
}
