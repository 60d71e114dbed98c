package vr

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// ask sends the next request of a round, or sets when it may; false if there is nobody left to ask.
func (s *Self) ask(fam int) bool {
	f := &s.faces[fam]
	via, ok := s.via(f, fam)
	if !ok {
		return false
	}
	if at, ok := s.mayAsk(); !ok {
		f.deadline = at
		return true
	}
	t := try{via: via, named: s.name(f, via), endpoint: s.witnesses[via].seen}
	s.config.Random(t.token[:])
	f.tries = append(f.tries, t)
	f.deadline = s.now.Add(arrivalWait)
	s.asks = append(s.asks, s.now)
	s.out = append(s.out, AskDialBack{Via: t.via, Token: t.token, Helper: t.named})
	return true
}

// mayAsk keeps the requests below asksMinuteMax in any minute; if not now, it says when.
func (s *Self) mayAsk() (time.Time, bool) {
	s.asks = slices.DeleteFunc(s.asks, func(at time.Time) bool { return s.now.Sub(at) >= time.Minute })
	if len(s.asks) < asksMinuteMax {
		return time.Time{}, true
	}
	return s.asks[0].Add(time.Minute), false
}

// via chooses whom to ask: a VR that sees us at the endpoint in question, rather one that has no part
// in the silences so far, that was not asked yet, and of another site.
func (s *Self) via(f *face, fam int) (tables.RouterID, bool) {
	suspects := s.suspects(f)
	type choice struct {
		id   tables.RouterID
		cost int
		draw int
	}
	var best choice
	for _, id := range s.routers() {
		w := s.witnesses[id]
		if !w.at.IsValid() || !w.seen.IsValid() || family(w.seen.Addr()) != fam {
			continue
		}
		if f.sight.endpoint.IsValid() && w.seen != f.sight.endpoint {
			continue
		}
		c := choice{id: id}
		useless := false
		for _, t := range f.tries {
			if t.via == id {
				c.cost += 4
				// It has nobody, unless we named one whom it has not.
				useless = useless || t.end == barren && t.named == 0
			} else if t.helper == id {
				c.cost++
			}
		}
		if useless {
			continue
		}
		if suspects[id] {
			c.cost += 8
		}
		if !s.outside(w) {
			c.cost += 16
		}
		c.draw = s.draw(256)
		if best.id == 0 || cmp.Or(c.cost-best.cost, c.draw-best.draw) < 0 {
			best = c
		}
	}
	return best.id, best.id != 0
}

// routers returns the linked routers in order, so that the same events give the same actions.
func (s *Self) routers() []tables.RouterID {
	ids := make([]tables.RouterID, 0, len(s.witnesses))
	for id := range s.witnesses {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// name chooses who shall dial, 0 to leave it to the via. Somebody whom we have not sent to proves most,
// and the via knows more of those than we; only after silence a linked VR is named, whose
// silence too says something: of the filter, and that nobody else is the liar.
func (s *Self) name(f *face, via tables.RouterID) tables.RouterID {
	silences := f.count(silent)
	if silences == 0 || f.sight.class == classTranslated && (silences < 2 || f.count(loose) > 0) {
		return 0
	}
	suspects := s.suspects(f)
	for _, id := range s.routers() {
		used := slices.ContainsFunc(f.tries, func(t try) bool { return t.helper == id || t.named == id })
		if !used && !suspects[id] && s.nameable(id, via) {
			return id
		}
	}
	return 0
}

// nameable reports whether a linked VR can be the helper of a via: not at its address, for then a
// filter for addresses would let it in, and of another site.
func (s *Self) nameable(id, via tables.RouterID) bool {
	w, v := s.witnesses[id], s.witnesses[via]
	return id != via && s.outside(w) && w.at.IsValid() && w.at.Addr() != v.at.Addr() &&
		family(w.at.Addr()) == family(v.at.Addr())
}

// canName reports whether there is a pair left of a via and a linked VR to name.
func (s *Self) canName(f *face) bool {
	if f.count(loose) > 0 {
		return false
	}
	for _, via := range s.routers() {
		v := s.witnesses[via]
		if !v.at.IsValid() || !v.seen.IsValid() || f.sight.endpoint.IsValid() && v.seen != f.sight.endpoint {
			continue
		}
		if s.name(f, via) != 0 {
			return true
		}
	}
	return false
}

// dialled takes the answer of a via.
func (s *Self) dialled(ev Dialled) {
	for fam := range s.faces {
		f := &s.faces[fam]
		t := f.last()
		if t == nil || !f.asking || t.end != pending || t.helper != 0 || t.via != ev.By || t.token != ev.Token {
			continue
		}
		// A via that dials itself, has us dial ourselves, or sends another than we named helps nobody.
		if ev.Helper == 0 || ev.Helper == ev.By || ev.Helper == s.config.Router || t.named != 0 && ev.Helper != t.named {
			t.end = barren
			s.goOn(fam)
			return
		}
		t.helper = ev.Helper
		f.deadline = s.now.Add(arrivalWait)
		early := t.early
		t.early = nil
		if i := slices.IndexFunc(early, func(a arrival) bool { return a.helper == t.helper }); i >= 0 {
			s.weigh(fam, t, early[i])
		}
		return
	}
}

// arrived takes a dial-back. One that comes late, after its try, still proves what it proves.
func (s *Self) arrived(ev DialArrived) {
	a := arrival{from: unmap(ev.From), helper: ev.Helper, at: s.now}
	a.reach = max(s.contacts.of(s.now, a.from), s.linkedAt(a.from))
	for fam := range s.faces {
		f := &s.faces[fam]
		for i := range f.tries {
			t := &f.tries[i]
			switch {
			case t.token != ev.Token || t.end >= void:
			case t.helper == ev.Helper || s.off.sources:
				s.weigh(fam, t, a)
				return
			case t.helper == 0 && t.end == pending && len(t.early) < earlyMax:
				t.early = append(t.early, a)
				return
			}
		}
	}
}

// weigh decides what an arrival of a dial-back proves, and goes on.
func (s *Self) weigh(fam int, t *try, a arrival) {
	f := &s.faces[fam]
	switch {
	case s.off.sources:
		t.end = proof
	case !f.tells(a.from) || a.reach == reachPort || s.neighbour(a.helper):
		t.end = void
	case t.endpoint == f.sight.endpoint && f.through(a):
		t.end = proof
	default:
		t.end = loose
	}
	if t.end == proof {
		s.prove(f, a.reach == reachNone, "dialled")
	} else if f.asking && t == f.last() {
		s.goOn(fam)
	}
}

// through reports whether something that came in went through no filter that we had opened. At an
// endpoint of our own that is so when it came from a socket that we had not sent to, for firewalls keep
// addresses and ports; and so it is with a mapping of the gateway, which lets everybody in (RFC 6887,
// Section 11). On any other translator nothing may have been sent to the whole address.
func (f *face) through(a arrival) bool {
	if f.sight.class == classTranslated {
		return a.reach == reachNone
	}
	return a.reach < reachPort
}

// neighbour reports whether a router is of our own site, so that its datagrams may not pass what
// stands before the site. It counts only when there are others.
func (s *Self) neighbour(id tables.RouterID) bool {
	w := s.witnesses[id]
	if w == nil || s.outside(w) {
		return false
	}
	for _, other := range s.witnesses {
		if s.outside(other) {
			return true
		}
	}
	return false
}

// tells reports whether a datagram from an address says something of the endpoint: one from near by,
// sent to a place far away, has not passed what stands between.
func (f *face) tells(from netip.AddrPort) bool {
	e := f.sight.endpoint
	if !e.IsValid() {
		return true
	}
	return family(from.Addr()) == family(e.Addr()) && (near(e.Addr()) || !near(from.Addr()))
}

// prove ends a round: we were reached.
func (s *Self) prove(f *face, stranger bool, how string) {
	f.asking, f.deadline = false, time.Time{}
	f.result, f.confirmed, f.doubts = open, true, 0
	f.filtering = Finding{EndpointIndependent, stranger}
	f.reason = how + " at " + f.sight.endpoint.String()
	s.pause(f)
}

// reachedBy takes a conversation that somebody began with us.
func (s *Self) reachedBy(ev Reached) {
	from := unmap(ev.From)
	if !plausible(from) || s.neighbour(ev.By) {
		return
	}
	f := &s.faces[family(from.Addr())]
	f.reached = arrival{from: from, helper: ev.By, at: s.now, reach: max(s.contacts.of(s.now, from), s.linkedAt(from))}
	if f.sight.class != classNone { // else nobody has said yet where we are
		s.useReached(f)
	}
}

// useReached takes a conversation that somebody began with us for what it proves.
func (s *Self) useReached(f *face) {
	a := f.reached
	f.reached = arrival{}
	if !a.from.IsValid() || s.now.Sub(a.at) >= reachedHold || !f.sight.endpoint.IsValid() {
		return
	}
	if f.sight.class == classTranslated && len(s.mapped) > 0 {
		return // it may have come by the mapped port, and not by where peers see us
	}
	if f.tells(a.from) && f.through(a) {
		s.prove(f, true, "reached")
	}
}
