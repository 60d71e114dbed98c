package vr

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

const (
	// askerEvery is how often one router may have us find a helper for it. Self asks three times in a
	// round, at least as far apart as its answers take.
	askerEvery = time.Second
	// askerBurst lets a round with quick answers pass.
	askerBurst = 3
	// viaEvery and viaBurst bound what one via may have us dial, for all that ask it.
	viaEvery = time.Second
	viaBurst = 4
	// targetEvery is how often we send a dial-back to one address, whoever asks: what a victim gets of
	// us when members conspire, some 100 bytes each. A refusal looks like silence to the asker, so some
	// VRs that share an address may start together.
	targetEvery = 5 * time.Second
	targetBurst = 8
	// allEvery and allBurst bound the dial-backs that we send in all.
	allEvery = time.Second / 16
	allBurst = 16
	// bucketsMax bounds what each limiter remembers. Full ones are forgotten; if that is not enough,
	// newcomers are refused.
	bucketsMax = 4096
)

// A Candidate is an enrolled router that we have a link with, and the UDP endpoint where we see it.
type Candidate struct {
	Router tables.RouterID
	Site   string
	At     netip.AddrPort
}

// A Room is what Helper must know of the federation and of us at the moment.
type Room struct {
	Self      tables.RouterID
	Site      string           // our own
	Endpoints []netip.AddrPort // our own
	Links     []Candidate      // enrolled, with a direct link
	InSpace   func(netip.Addr) bool
	Enrolled  func(tables.RouterID) bool
}

// A Request is a dial-back that a helper is asked to send.
type Request struct {
	Token    Token
	Router   tables.RouterID // whom it is for, and sealed to
	Endpoint netip.AddrPort  // where it goes
}

// A Refusal says why a request for a dial-back is not served. Zero is no refusal.
type Refusal uint8

// The refusals.
const (
	Served Refusal = iota
	NotLinked
	NotEnrolled
	NoHelper
	BadTarget
	TooOften
)

// String returns the word of counters and logs.
func (r Refusal) String() string {
	return [...]string{"served", "not-linked", "not-enrolled", "no-helper", "bad-target", "too-often"}[min(r, TooOften)]
}

// A Helper serves the dial-backs of others, within limits. It is owned by one goroutine. The zero value
// is ready.
type Helper struct {
	askers  limiter[tables.RouterID]
	vias    limiter[tables.RouterID]
	targets limiter[netip.AddrPort] // port 0 but for loopback
	all     limiter[struct{}]
	// lax is for tests: it takes the limits of targets out.
	lax bool
}

// Ask serves AskDialBack as the via: it returns the helper to send the request to. With a refusal the
// helper is 0, and so is the answer (Dialled). named is whom the asker wants, 0 for anybody.
// random fills a slice with random bytes.
func (h *Helper) Ask(
	now time.Time, room Room, asker tables.RouterID, token Token, named tables.RouterID, random func([]byte),
) (tables.RouterID, Request, Refusal) {
	i := slices.IndexFunc(room.Links, func(c Candidate) bool { return c.Router == asker })
	if i < 0 {
		return 0, Request{}, NotLinked
	}
	if !room.Enrolled(asker) {
		return 0, Request{}, NotEnrolled
	}
	from := room.Links[i]
	from.At = unmap(from.At)
	if !plausible(from.At) {
		return 0, Request{}, BadTarget
	}
	if !h.askers.allow(now, asker, askerEvery, askerBurst) {
		return 0, Request{}, TooOften
	}
	helper, ok := choose(room, from, named, random)
	if !ok {
		return 0, Request{}, NoHelper
	}
	return helper, Request{Token: token, Router: asker, Endpoint: from.At}, Served
}

// choose picks the helper: at another address than ours, for the asker's filters are open to us, and than
// the asker's, for what is behind the same translator does not pass it. Of those, rather one of a
// third site. Only where all share an address with us, as on one machine, another port must do.
func choose(room Room, asker Candidate, named tables.RouterID, random func([]byte)) (tables.RouterID, bool) {
	ours := func(a netip.Addr) bool {
		return slices.ContainsFunc(room.Endpoints, func(o netip.AddrPort) bool { return unmap(o).Addr() == a })
	}
	type choice struct {
		id         tables.RouterID
		cost, draw int
	}
	var best choice
	for _, c := range room.Links {
		at := unmap(c.At)
		switch {
		case c.Router == asker.Router || c.Router == room.Self || named != 0 && c.Router != named || !room.Enrolled(c.Router):
			continue
		case !plausible(at) || family(at.Addr()) != family(asker.At.Addr()) || at.Addr().IsLoopback() != asker.At.Addr().IsLoopback():
			continue
		case at.Addr() == asker.At.Addr() && !ours(at.Addr()):
			continue // behind the asker's translator, or on its machine
		}
		t := choice{id: c.Router}
		if ours(at.Addr()) {
			t.cost += 4
		}
		if c.Site == asker.Site {
			t.cost += 2
		}
		if c.Site == room.Site {
			t.cost++
		}
		var b [2]byte
		random(b[:])
		t.draw = int(b[0])<<8 | int(b[1])
		if best.id == 0 || cmp.Or(t.cost-best.cost, t.draw-best.draw, int(t.id)-int(best.id)) < 0 {
			best = t
		}
	}
	return best.id, best.id != 0
}

// Dial serves a Request as the helper. Served means: send one datagram with the token, sealed for
// the router, from a socket that has never sent anything, to the endpoint; then close the socket.
func (h *Helper) Dial(now time.Time, room Room, via tables.RouterID, r Request) Refusal {
	if !slices.ContainsFunc(room.Links, func(c Candidate) bool { return c.Router == via }) {
		return NotLinked
	}
	if !room.Enrolled(via) || !room.Enrolled(r.Router) || r.Router == via || r.Router == room.Self {
		return NotEnrolled
	}
	at := unmap(r.Endpoint)
	if !h.lax && !target(room, at) {
		return BadTarget
	}
	// Of all targets with one address: on one machine there are several VRs.
	key := netip.AddrPortFrom(at.Addr(), 0)
	if at.Addr().IsLoopback() {
		key = at
	}
	switch {
	case h.lax:
	case !h.vias.allow(now, via, viaEvery, viaBurst), !h.targets.allow(now, key, targetEvery, targetBurst),
		!h.all.allow(now, struct{}{}, allEvery, allBurst):
		return TooOften
	}
	return Served
}

// target reports whether a dial-back may go to an endpoint: never into the ViNe space, never to more
// than one machine, and to our own machine only if we are on it alone, as in the demo.
func target(room Room, at netip.AddrPort) bool {
	a := at.Addr()
	switch {
	case !plausible(at) || a.Zone() != "" || a.IsLinkLocalUnicast() || room.InSpace(a):
		return false
	case a.IsLoopback():
		for _, own := range room.Endpoints {
			if !unmap(own).Addr().IsLoopback() {
				return false
			}
		}
		return len(room.Endpoints) > 0
	}
	return !slices.Contains(room.Endpoints, at)
}

// A limiter is a set of token buckets. What is full is forgotten when there are many.
type limiter[K comparable] struct{ full map[K]time.Time } // when the bucket of a key is full again

// allow takes a token if there is one: of burst at most, one more every so often.
func (l *limiter[K]) allow(now time.Time, key K, every time.Duration, burst int) bool {
	full := l.full[key]
	if full.Before(now) || full.Sub(now) > every*time.Duration(burst) { // else the clock went back
		full = now
	}
	if full = full.Add(every); full.Sub(now) > every*time.Duration(burst) {
		return false
	}
	if _, known := l.full[key]; !known && len(l.full) >= bucketsMax {
		for k, at := range l.full {
			if !at.After(now) {
				delete(l.full, k)
			}
		}
		if len(l.full) >= bucketsMax {
			return false
		}
	}
	if l.full == nil {
		l.full = map[K]time.Time{}
	}
	l.full[key] = full
	return true
}
