package transport

import (
	"crypto/sha256"
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/secure"
)

// A joinState is where a join conversation stands.
//
//	newcomer:  helloing --reply--> finishing --first control packet--> talking
//	member:    answered --finish----------------------------------->  talking
//
// Any state ends by Close, by the peer's close, or at the end of joinLife.
type joinState uint8

const (
	joinHelloing  joinState = iota // newcomer: the hello is repeated, later with the cookie
	joinFinishing                  // newcomer: the finish is repeated until the member is heard
	joinAnswered                   // member: the reply was sent
	joinTalking                    // keys are known to work both ways
)

// transition moves a join conversation to another state. It is the only place that does.
func (j *join) transition(to joinState) {
	legal := j.state == joinHelloing && to == joinFinishing ||
		j.state == joinFinishing && to == joinTalking || j.state == joinAnswered && to == joinTalking
	if !legal {
		panic("transport: internal error: join conversation moves backwards")
	}
	j.state = to
}

// A join is one conversation between a newcomer and the member that it dialled.
type join struct {
	timed
	state   joinState
	conn    *conn // from the start, so that it has a number; its session is nil before the handshake ends
	peer    netip.AddrPort
	born    time.Time
	tries   int
	next    time.Time // repetition
	repeat  []byte    // what is repeated: hello, reply or finish
	joiner  *secure.Joiner
	member  *secure.JoinResponder
	hello   tables.Hash // member: of the hello answered, to know its copies
	index   uint32
	ends    time.Time
	up      bool // JoinUp was emitted
	spoken  bool // stream bytes have come: ends is at joinLife
	touched bool
}

// addJoin makes a conversation, or returns nil when there are too many.
func (l *Links) addJoin(now time.Time, peer netip.AddrPort, state joinState, index uint32) *join {
	if len(l.joins) >= joinsMax {
		l.counters.Limited++
		return nil
	}
	l.lastOrder++
	l.lastConn++
	j := &join{state: state, peer: peer, born: now, index: index, ends: now.Add(joinLife)}
	j.timed = timed{order: l.lastOrder, at: -1, join: j}
	j.conn = &conn{
		links: l, id: l.lastConn, endpoint: peer, even: state == joinHelloing,
		budget: joinStreamBytesMax, lastRecv: now,
	}
	j.conn.resetNumbers()
	l.joins[j.conn.id] = j
	l.own(index, owner{join: j})
	return j
}

// joinNet returns the network that an address counts with: what one site has, or what one host with
// a routed prefix can take addresses from (RFC 6177 gives sites up to a /48).
func joinNet(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, _ := a.Prefix(bits)
	return p
}

// joinsFrom counts the conversations that newcomers of the network of a path dialled.
func (l *Links) joinsFrom(at netip.AddrPort) (n int) {
	site := joinNet(l.origin(at))
	for _, j := range l.joins {
		if j.member != nil && joinNet(l.origin(j.peer)) == site {
			n++
		}
	}
	return n
}

// origin returns the address that whoever is at a path counts with.
func (l *Links) origin(at netip.AddrPort) netip.Addr {
	if l.cfg.Origin == nil {
		return at.Addr()
	}
	return l.cfg.Origin(at).Addr()
}

// speak takes note that a newcomer's stream bytes came: it means to join.
func (j *join) speak() {
	if j.member != nil && !j.spoken {
		j.spoken, j.ends = true, j.born.Add(joinLife)
	}
}

// DialJoin starts a join conversation with whatever member listens at seed. The Conn is zero when
// too many are under way. JoinUp or Down follows.
func (l *Links) DialJoin(now time.Time, seed netip.AddrPort) (Conn, []Action) {
	l.begin(now)
	index := l.newIndex()
	joiner, err := secure.NewJoiner(&l.secure, index)
	if err != nil {
		return 0, l.end()
	}
	j := l.addJoin(now, seed, joinHelloing, index)
	if j == nil {
		return 0, l.end()
	}
	j.joiner = joiner
	j.repeat = joiner.Datagram()
	j.next = now
	l.touchJoin(j)
	return j.conn.id, l.end()
}

// onJoinHello takes a join hello whose cookie the gate has found good.
func (l *Links) onJoinHello(now time.Time, from netip.AddrPort, datagram []byte) {
	m, err := frame.ParseJoinHello(datagram)
	if err != nil {
		l.counters.Malformed++
		return
	}
	id := tables.Hash(sha256.Sum256(append(from.Addr().AsSlice(), m.Ephemeral[:]...)))
	if j := l.hellos[id]; j != nil {
		if j.state == joinAnswered && j.peer == from && j.tries < answersMax {
			j.tries++
			l.send(from, append([]byte(nil), j.repeat...))
		}
		return
	}
	if l.cfg.Joinable == nil || !l.cfg.Joinable() {
		l.counters.Refused++
		return
	}
	if len(l.joins) >= joinsMax || l.joinsFrom(from) >= joinsNetMax && !l.crowdedJoins {
		l.counters.Limited++
		return
	}
	index := l.newIndex()
	member, reply, err := secure.ReadJoinHello(&l.secure, datagram, index, l.hello(0))
	if err != nil || len(reply) > len(datagram) {
		l.counters.Unauthentic++
		return
	}
	j := l.addJoin(now, from, joinAnswered, index)
	j.member, j.repeat, j.hello, j.tries = member, reply, id, 1
	if !l.crowdedJoins {
		j.ends = now.Add(joinQuiet)
	}
	l.hellos[id] = j
	l.send(from, append([]byte(nil), reply...))
	l.touchJoin(j)
}

// onJoinCookie takes the cookie and repeats the hello at once with it.
func (l *Links) onJoinCookie(now time.Time, from netip.AddrPort, datagram []byte) {
	m, err := frame.ParseJoinCookie(datagram)
	if err != nil {
		l.counters.Malformed++
		return
	}
	j := l.index[m.Receiver].join
	if j == nil || j.state != joinHelloing || j.peer != from {
		l.counters.UnknownIndex++
		return
	}
	if err := j.joiner.ReadCookie(datagram); err != nil {
		l.counters.Unauthentic++
		return
	}
	j.repeat = j.joiner.Datagram()
	if j.tries < answersMax { // a stream of forged cookies makes no stream of hellos
		j.next = now
	}
	l.touchJoin(j)
}

// onJoinReply takes the member's answer and finishes the handshake.
func (l *Links) onJoinReply(now time.Time, from netip.AddrPort, datagram []byte) {
	m, err := frame.ParseJoinReply(datagram)
	if err != nil {
		l.counters.Malformed++
		return
	}
	j := l.index[m.Receiver].join
	if j == nil || j.state != joinHelloing || j.peer != from {
		l.counters.UnknownIndex++
		return
	}
	payload, err := j.joiner.ReadReply(datagram)
	if err != nil {
		l.counters.Unauthentic++
		if j.joiner.Failed() {
			l.closeJoin(now, j, ReasonPeer, ErrLinkDown, false)
		}
		return
	}
	finish, ss, err := j.joiner.Finish(now, l.hello(0))
	if err != nil {
		l.closeJoin(now, j, ReasonPeer, ErrLinkDown, false)
		return
	}
	j.transition(joinFinishing)
	j.repeat, j.tries, j.next = finish, 0, now
	l.talk(now, j, ss, payload, from, true)
	j.conn.ping(now) // shows the member that we have the keys, and makes it answer
}

// onJoinFinish takes the newcomer's last message.
func (l *Links) onJoinFinish(now time.Time, from netip.AddrPort, datagram []byte) {
	m, err := frame.ParseJoinFinish(datagram)
	if err != nil {
		l.counters.Malformed++
		return
	}
	j := l.index[m.Receiver].join
	if j == nil || j.peer != from || j.member == nil {
		l.counters.UnknownIndex++
		return
	}
	if j.state != joinAnswered {
		return // a copy
	}
	ss, payload, err := j.member.ReadFinish(now, datagram)
	if err != nil {
		l.counters.Unauthentic++
		if j.member.Failed() {
			l.closeJoin(now, j, ReasonPeer, ErrLinkDown, false)
		}
		return
	}
	j.transition(joinTalking)
	j.repeat, j.next = nil, time.Time{}
	l.talk(now, j, ss, payload, from, false)
	j.conn.ping(now)
	j.conn.observe()
}

// talk gives a conversation its session.
func (l *Links) talk(now time.Time, j *join, ss *secure.Session, payload []byte, from netip.AddrPort, dialled bool) {
	l.disown(j.index)
	s := &session{Session: ss, join: j, confirmed: true}
	j.index = ss.Local
	l.own(ss.Local, owner{session: s, join: j})
	j.conn.session = s
	l.conns[j.conn.id] = j.conn
	l.counters.Handshakes++
	_, hello := splitHello(payload)
	j.up = true
	l.emit(JoinUp{Conn: j.conn.id, Peer: ss.Peer, Hello: hello, Endpoint: from, Dialled: dialled})
	l.touchJoin(j)
}

// joinControl takes an authentic control packet of a join conversation. Its addresses never move.
func (l *Links) joinControl(now time.Time, s *session, from netip.AddrPort, plain []byte, n int) {
	j := s.join
	if from != j.peer {
		l.counters.UnknownIndex++
		return
	}
	if j.state == joinFinishing {
		j.transition(joinTalking)
		j.repeat, j.next = nil, time.Time{}
		j.conn.observe()
	}
	j.conn.lastRecv = now
	j.conn.received++
	l.touchJoin(j)
	l.frames(now, j.conn, s, from, plain)
}

// closeJoin ends a conversation.
func (l *Links) closeJoin(now time.Time, j *join, reason Reason, err error, tell bool) {
	if j.conn.closed {
		return
	}
	if tell && j.conn.session != nil {
		l.sayClose(j.conn, reason)
	}
	j.conn.close(err)
	l.disown(j.index)
	delete(l.hellos, j.hello)
	delete(l.joins, j.conn.id)
	l.unschedule(&j.timed)
	if j.up || j.joiner != nil {
		l.emit(Down{Conn: j.conn.id, Reason: reason})
	}
}

// advanceJoin fires the deadlines of a conversation.
func (l *Links) advanceJoin(now time.Time, j *join) {
	if !now.Before(j.ends) {
		l.closeJoin(now, j, ReasonExpired, ErrLinkDown, true)
		return
	}
	if j.repeat != nil && j.state != joinAnswered && !j.next.IsZero() && !now.Before(j.next) {
		l.send(j.peer, append([]byte(nil), j.repeat...))
		if j.state == joinFinishing && j.tries > 0 {
			j.conn.ping(now)
		}
		interval := min(initRetryMin<<min(j.tries, 10), initRetryMax)
		j.tries++
		j.next = now.Add(interval + l.between(0, interval/4))
	}
	if j.conn.session != nil {
		j.conn.advanceStreams(now)
	}
}

// dueJoin returns the earliest deadline of a conversation.
func (l *Links) dueJoin(now time.Time, j *join) time.Time {
	t := j.ends
	if j.repeat != nil && j.state != joinAnswered {
		t = earliest(t, j.next)
	}
	return earliest(t, j.conn.due(now))
}
