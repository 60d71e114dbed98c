package node

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport"
)

// An admission talks with newcomers who know only our address. It lets nobody in: it passes
// their requests on to the authority and the outcome back. The control loop owns it.
type admission struct {
	l     *loop
	conns map[transport.Conn]*guest
}

// A guest is one newcomer's conversation.
type guest struct {
	conn    transport.Conn
	at      transport.JoinUp
	stream  transport.Stream
	in      []byte
	out     []byte // not yet taken by the stream
	request tables.Hash
	told    joinState
	gift    []*tables.Document // still to be sent, then done
	giving  bool               // the gift and then done are to be sent
	given   bool               // or have been
}

// giftBytesMax bounds what a newcomer is given to start with; the rest it gets as a member, by
// anti-entropy. It is half of what a join connection may carry.
const giftBytesMax = 128 << 10

func newAdmission(l *loop) *admission {
	return &admission{l: l, conns: map[transport.Conn]*guest{}}
}

func (a *admission) joinUp(_ time.Time, up transport.JoinUp) {
	if !up.Dialled {
		a.conns[up.Conn] = &guest{conn: up.Conn, at: up}
	}
}

// talksTo reports whether a newcomer is at an endpoint.
func (a *admission) talksTo(at netip.AddrPort) bool {
	for _, g := range a.conns {
		if g.at.Endpoint == at {
			return true
		}
	}
	return false
}

func (a *admission) joinDown(_ time.Time, c transport.Conn) { delete(a.conns, c) }

// converse begins the conversation on the stream that the newcomer opened.
func (a *admission) converse(now time.Time, st transport.Stream, s *stream) {
	g := a.conns[s.conn]
	if g == nil || g.stream != 0 {
		a.l.do(now, a.l.links.ResetStream(now, st))
		return
	}
	g.stream = st
	s.readable = func(now time.Time) { a.pump(now, g) }
	o := offer{Observed: g.at.Endpoint}
	for v := uint64(1); ; v++ {
		d := a.l.store.Get(tables.RootKey(v))
		if d == nil {
			break
		}
		o.Roots = append(o.Roots, d.Bytes())
	}
	g.out = appendJoinBody(g.out, joinOffer, o)
	a.pump(now, g)
}

// pump reads what the newcomer said and writes what it shall hear, as far as the stream goes.
func (a *admission) pump(now time.Time, g *guest) {
	l := a.l
	var buf [4096]byte
	for {
		n, _, actions := l.links.ReadStream(now, g.stream, buf[:])
		l.do(now, actions)
		if n == 0 {
			break
		}
		g.in = append(g.in, buf[:n]...)
	}
	for {
		t, body, rest, ok, err := parseJoin(g.in)
		if err != nil || ok && (t != joinApply || !g.request.IsZero()) || len(g.in) > 2*tables.SizeMax(tables.KindRequest) {
			l.do(now, l.links.CloseConn(now, g.conn, transport.ReasonLimit))
			return
		}
		if !ok {
			break
		}
		g.in = rest
		a.apply(now, g, body)
	}
	for {
		if len(g.out) == 0 && !a.give(g) {
			return
		}
		n, actions := l.links.WriteStream(now, g.stream, g.out)
		g.out = g.out[n:]
		l.do(now, actions)
		if len(g.out) > 0 {
			return // StreamWritable will call again
		}
	}
}

// give puts the next of the newcomer's documents into out; false when there is nothing to say.
func (a *admission) give(g *guest) bool {
	switch {
	case len(g.gift) > 0:
		g.out = appendJoin(g.out[:0], joinDocument, g.gift[0].Bytes())
		g.gift = g.gift[1:]
	case g.giving:
		g.giving = false
		g.out = appendJoin(g.out[:0], joinDone, nil)
	default:
		return false
	}
	return true
}

// apply takes the newcomer's request: a document like any other, kept under its own quota.
func (a *admission) apply(now time.Time, g *guest, envelope []byte) {
	d, err := tables.ParseDocument(envelope)
	if err == nil {
		r, ok := d.Body().(tables.Request)
		if err = errJoinMessage; ok {
			err = policy.CheckJoin(r)
		}
	}
	if err != nil {
		a.tell(now, g, joinState{tables.StateRefused, fmt.Sprintf("the join request is malformed: %v", err)})
		return
	}
	switch err := a.l.keep(now, []*tables.Document{d}, 0); {
	case errors.Is(err, tables.ErrQuota):
		// Not kept: the newcomer applies again in its next conversation.
		a.tell(now, g, joinState{tables.StatePending, "too many wait; trying again"})
		return
	case err != nil:
		a.tell(now, g, joinState{tables.StateRefused, err.Error()})
		return
	}
	g.request = d.Hash()
	a.outcome(now, g)
	a.l.gossip.awaited(now)
}

// waiting reports whether a newcomer waits for the authority's answer.
func (a *admission) waiting() bool {
	for _, g := range a.conns {
		if _, answered := a.l.store.Receipt(g.request); !g.request.IsZero() && !answered {
			return true
		}
	}
	return false
}

// news is told of documents that are on disk now: one may be what a newcomer waits for.
func (a *admission) news(now time.Time) {
	for _, g := range a.conns {
		if !g.request.IsZero() && !g.given {
			a.outcome(now, g)
		}
	}
}

// outcome tells the newcomer what has become of its request, if that is news.
func (a *admission) outcome(now time.Time, g *guest) {
	state := joinState{State: tables.StatePending}
	receipt, answered := a.l.store.Receipt(g.request)
	if answered {
		state = joinState{receipt.State, receipt.Reason}
	}
	if answered && receipt.State == tables.StateDone {
		request, ok := a.l.store.Request(g.request)
		if !ok {
			return
		}
		e, ok := a.l.store.EnrolmentByIdentity(request.User)
		if !ok {
			return // it is on its way
		}
		g.gift, g.giving, g.given = a.gift(e), true, true
	}
	a.tell(now, g, state)
}

func (a *admission) tell(now time.Time, g *guest, state joinState) {
	if state == g.told {
		return
	}
	g.told = state
	g.out = appendJoinBody(g.out, joinStatus, state)
	a.pump(now, g)
}

// gift returns what a newcomer starts with: the roots, what the authority stands by, its own
// enrolment and this VR; then other routers with where they are, so that it never depends on us
// again, up to half of what may be given; then who is revoked and who may ask for what. The rest it
// gets as a member.
func (a *admission) gift(e tables.Enrolment) []*tables.Document {
	store, self := a.l.store, a.l.n.self.Router
	var list []*tables.Document
	size, room := 0, giftBytesMax
	given := map[tables.DocKey]bool{}
	add := func(d *tables.Document) {
		if d != nil && !given[d.Key()] && size+len(d.Bytes()) <= room {
			list = append(list, d)
			size += len(d.Bytes())
			given[d.Key()] = true
		}
	}
	kinds := func(kinds ...tables.Kind) {
		for d := range store.Documents() {
			if slices.Contains(kinds, d.Kind()) {
				add(d)
			}
		}
	}
	kinds(tables.KindRoot, tables.KindHead)
	for d := range store.Documents() { // or the newcomer does not know us, if a retired authority has enrolled us
		if a, ok := d.Body().(tables.Adoption); ok && a.Lists(tables.EnrolmentKey(self)) {
			add(d)
		}
	}
	add(store.Get(tables.EnrolmentKey(e.Router)))
	add(store.Get(tables.EnrolmentKey(a.l.n.self.Router)))
	add(store.Get(tables.LinkRecordKey(a.l.n.self.Router)))
	room = giftBytesMax / 2
	for d := range store.Documents() {
		if d.Kind() == tables.KindLinkRecord {
			add(store.Get(tables.EnrolmentKey(d.Body().(tables.LinkRecord).Router)))
			add(d)
		}
	}
	room = giftBytesMax
	kinds(tables.KindAdoption)
	kinds(tables.KindRevocation)
	kinds(tables.KindGrant)
	return list
}
