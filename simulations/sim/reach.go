package sim

import (
	"fmt"

	"github.com/vine-mesh/vine/simulations/result"
)

// A pair is two hosts of a network, at two VRs, whose packets are followed.
type pair struct {
	net     *vnet
	a, b    int32
	linked  bool
	kind    pathKind
	lives   [2]int32 // of the two, when the link came up
	silent  int64    // since when nothing comes over the link, 0: it does
	badFrom int64    // since when no path works although one should, 0: it works
}

type pathKind uint8

const (
	noPath pathKind = iota
	direct
	punched
	relayed
)

// pairsMax bounds the pairs that are followed.
const pairsMax = 2000

// samplePairs draws pairs of a network.
func (e *Engine) samplePairs(n *vnet) {
	count := 200
	for _, t := range e.s.Traffic {
		if t.VN == n.name {
			count = t.Pairs
		}
	}
	members := n.now().list()
	if len(members) < 2 {
		return
	}
	for range min(count, pairsMax-len(e.pairs)) {
		a := members[e.rnd.below(int64(len(members)))]
		b := members[e.rnd.below(int64(len(members)))]
		if a == b {
			continue
		}
		e.pairs = append(e.pairs, pair{net: n, a: a, b: b})
		for _, v := range [2]int32{a, b} {
			if l := e.vrs[v].limited; l != nil {
				l.busy = true
			}
		}
	}
}

// pathOf returns how packets go from a to b now: as docs/paths.md has it for their translators.
func (e *Engine) pathOf(a, b int32, linked bool) pathKind {
	if e.net.parted(a, b) && !(e.vrs[a].limited != nil || e.vrs[b].limited != nil) {
		return noPath
	}
	switch best := bestPath(e.nat(a), e.nat(b)); {
	case best == relayed:
		if e.relayFor(a, b) >= 0 {
			return relayed
		}
		return noPath
	case e.net.parted(a, b):
		return noPath
	case linked, best == direct && e.vrs[b].limited == nil:
		return best
	case e.relayFor(a, b) >= 0: // the first message goes this way
		return best
	}
	return noPath
}

// should reports whether the packets of a pair are meant to arrive.
func (e *Engine) should(p *pair) bool {
	now := p.net.now()
	return e.receives(p.a) && e.receives(p.b) && e.vrs[p.a].joined && e.vrs[p.b].joined &&
		!e.vrs[p.a].leaving && !e.vrs[p.b].leaving && !e.vrs[p.a].revoked && !e.vrs[p.b].revoked &&
		now.has(p.a) && now.has(p.b) && !e.net.parted(p.a, p.b)
}

// admits reports whether v, by the version that it uses, takes packets of the network between a and b.
func (e *Engine) admits(n *vnet, v, a, b int32) bool {
	members := n.uses(v)
	return members != nil && members.has(a) && members.has(b) && !e.revokedBy(v, a) && !e.revokedBy(v, b)
}

// follow sends one packet of a pair and reports whether it arrives. It keeps the link of the pair.
func (e *Engine) follow(p *pair) bool {
	if p.linked && (e.vrs[p.a].life != p.lives[0] || e.vrs[p.b].life != p.lives[1]) {
		p.linked = false
	}
	if !e.receives(p.a) || !e.admits(p.net, p.a, p.a, p.b) {
		return false
	}
	if p.linked && e.defects.gossipCloses && e.look(p.a, p.b).state > suspect {
		e.closeLink(p)
		return false
	}
	kind := e.pathOf(p.a, p.b, p.linked)
	if kind == noPath || !e.receives(p.b) {
		if p.silent == 0 {
			p.silent = e.now
		}
		p.linked = p.linked && e.now-p.silent < activeQuiet+activeDead
		return false
	}
	if kind == relayed && !e.hops(p) {
		return false
	}
	if !e.admits(p.net, p.b, p.a, p.b) && !e.defects.takesAll {
		return false
	}
	if members := p.net.uses(p.b); members == nil || !members.has(p.a) || !members.has(p.b) {
		e.broke(invariantIsolation, "%s takes a packet of %s in %s, which does not hold both there", e.name(p.b), e.name(p.a), p.net.name)
	}
	if !p.linked {
		e.vrs[p.a].sent += handshakeBytes / 2
		e.vrs[p.b].sent += handshakeBytes / 2
		e.linkUp(p.a, p.b)
	}
	p.linked, p.kind, p.silent = true, kind, 0
	p.lives = [2]int32{e.vrs[p.a].life, e.vrs[p.b].life}
	return true
}

// closeLink ends the link of a pair whose ends are well: what must never happen for what gossip says.
func (e *Engine) closeLink(p *pair) {
	p.linked = false
	if e.recording() && e.receives(p.a) && e.receives(p.b) && !e.net.parted(p.a, p.b) {
		e.counts.withdrawn++
	}
}

// hops follows a relayed packet from router to router and reports whether it comes to its end.
func (e *Engine) hops(p *pair) bool {
	at, last := e.relayFor(p.a, p.b), int32(-1)
	for range 8 {
		if at < 0 {
			return false
		}
		if (e.hasClient(at, p.b) || e.vrs[p.b].limited == nil) && !e.defects.relaysPassOn {
			return true
		}
		if !e.defects.relaysPassOn {
			return false
		}
		// With the defect a relay passes on to the other queue-VR that the record names.
		next := int32(-1)
		if e.vrs[p.b].limited == nil {
			return true
		}
		for _, q := range e.listOf(at, p.b) {
			if q >= 0 && q != at {
				next = q
			}
		}
		if next >= 0 && next == last {
			e.broke(invariantLoop, "a packet from %s to %s goes round between %s and %s", e.name(p.a), e.name(p.b), e.name(at), e.name(next))
			return false
		}
		last, at = at, next
	}
	return false
}

// look over all pairs, once a virtual second.
func (e *Engine) followPairs() {
	e.reach.should, e.reach.do = 0, 0
	e.reach.kinds = [4]int64{}
	bound := int64(e.s.Bounds.Reach)
	for i := range e.pairs {
		p := &e.pairs[i]
		should, do := e.should(p), e.follow(p)
		if p.linked {
			e.reach.kinds[p.kind]++
		}
		if !should || do {
			p.badFrom = 0
		} else if p.badFrom == 0 {
			p.badFrom = e.now
		}
		if !should {
			continue
		}
		e.reach.should++
		e.reach.do += int64(b2i(do))
		if do || bound == 0 {
			continue
		}
		if !e.feasible(p) {
			p.badFrom = e.now
		}
		if since := max(p.badFrom, e.fault, e.vrs[p.a].fault, e.vrs[p.b].fault); e.now-since > bound {
			e.broke(invariantReach, "%s does not reach %s in %s, %v after the last fault: %s", e.name(p.a), e.name(p.b), p.net.name, seconds(e.now-since), e.why(p))
		}
	}
	if e.recording() {
		e.reach.sumShould += e.reach.should
		e.reach.sumDo += e.reach.do
	}
}

// feasible reports whether the network allows a pair a path at all: without a queue-VR on its side of a split a limited VR has none.
func (e *Engine) feasible(p *pair) bool {
	return !e.isLimited[p.b] && bestPath(e.nat(p.a), e.nat(p.b)) != relayed || e.queueThere(p.b) || e.isLimited[p.a] && e.queueThere(p.a)
}

// why tells what keeps the packets of a pair from arriving.
func (e *Engine) why(p *pair) string {
	for _, v := range [2]int32{p.a, p.b} {
		if !e.admits(p.net, v, p.a, p.b) {
			return fmt.Sprintf("%s uses version %d of it", e.name(v), p.net.installed[v])
		}
	}
	l := e.vrs[p.b].limited
	if l == nil || l.record < 0 {
		return "no path"
	}
	names := func(list [queuesWanted]int32) (s string) {
		for _, q := range list {
			if q >= 0 {
				s += " " + e.name(q)
				if !e.hasClient(q, p.b) {
					s += " (serves it not)"
				}
			}
		}
		return s
	}
	return fmt.Sprintf("the record it holds, version %d, names%s; the newest, %d, names%s; attached to%s", e.version(p.a, l.record), names(e.listOf(p.a, p.b)),
		e.docs[l.record].latest, names(l.announced[0].list), names(l.list))
}

// bestPath is the path that two sites end on by their translators, as docs/paths.md has measured it.
func bestPath(a, b natKind) pathKind {
	if a > b {
		a, b = b, a
	}
	switch {
	case a == natNone:
		return direct
	case b == natBlocked:
		return relayed
	case a == natFullCone:
		return direct
	case b == natSymmetric:
		return relayed
	}
	return punched
}

// A natKind is what stands between a VR and the Internet, the most open first.
type natKind uint8

const (
	natNone natKind = iota
	natFullCone
	natRestricted
	natPortRestricted
	natFirewall
	natSymmetric
	natBlocked
)

var natKinds = map[string]natKind{
	"": natNone, "none": natNone, "full-cone": natFullCone, "restricted-cone": natRestricted, "port-restricted": natPortRestricted,
	"firewall": natFirewall, "symmetric": natSymmetric, "udp-blocked": natBlocked,
}

// limits reports whether a VR behind such a box is limited, as package node/vr finds (TestClassification there).
func (k natKind) limits() bool { return k > natFullCone }

var pathNames = [...]string{noPath: "", direct: result.Direct, punched: result.Punched, relayed: result.Relayed}
