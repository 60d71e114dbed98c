package sim

import "github.com/vine-mesh/vine/tables"

// A pull is a fetch of some documents that is under way.
type pull struct {
	from, to int32
	docs     []int32
	next     int32
}

// linkBytes is what a new link between two VRs costs each of them until it is closed again.
func (e *Engine) linkBytes() int64 {
	return handshakeBytes/2*(1+linkLife/rekeyEvery) + pathMTUBytes + linkLife/((idleProbeLeast+idleProbeMost)/2)*linkProbeBytes
}

// startExchange begins the anti-entropy that a View asked for. It ends when as many round trips are over as the real
// comparison takes, or after streamPatience if nobody answers.
func (e *Engine) startExchange(v, peer int32) {
	if !e.meets(v, peer) || e.defects.noEntropy {
		e.q.add(e.now+streamPatience, evExchangeEnd, v, e.vrs[v].life, -1-peer)
		return
	}
	rtt := 2 * e.net.steady(v, peer)
	rounds := int64(2) // handshake, roots
	if e.vrs[v].root != e.vrs[peer].root {
		rounds += int64(reconcileTurns(e.levels()))
	}
	e.q.add(e.now+rounds*rtt+e.rnd.below(int64(1e6)), evExchangeEnd, v, e.vrs[v].life, peer)
}

// levels is how often the comparison of two indexes cuts a range in 16 until a part has 24 documents.
func (e *Engine) levels() int {
	n := 1
	for left := (3*len(e.vrs) + len(e.docs)) / 24; left > 16; left /= 16 {
		n++
	}
	return n
}

// exchangeEnd moves what differs, both ways.
func (e *Engine) exchangeEnd(v, peer int32) {
	ok := peer >= 0
	if !ok {
		peer = -1 - peer
	}
	if e.vrs[v].view == nil {
		return
	}
	moved := 0
	if ok = ok && e.meets(v, peer); ok {
		// A reconciliation with equal roots is one message of 25 bytes each way.
		bytes := e.linkBytes() + 25
		e.vrs[v].sent += bytes
		e.vrs[peer].sent += bytes
		if e.vrs[v].root != e.vrs[peer].root {
			moved = e.reconcile(v, peer)
		}
	}
	if e.vrs[v].view == nil {
		return // it has learnt that it is revoked
	}
	ev := exchangeEnded(peer, ok, moved)
	e.view(v, ev)
}

// reconcile gives each of two VRs what the other has in a later version.
func (e *Engine) reconcile(a, b int32) (moved int) {
	for doc := range e.docs {
		d := &e.docs[doc]
		if d.held == nil || d.held[a] == d.held[b] {
			continue
		}
		moved++
		from, to := a, b
		if d.held[a] < d.held[b] {
			from, to = b, a
		}
		e.vrs[from].sent += int64(d.size) + 10
		e.hold(to, int32(doc), d.held[from])
	}
	n := int64(reconcileBytes(moved, e.levels(), 3*len(e.vrs)+len(e.docs)))
	e.vrs[a].sent += n / 2
	e.vrs[b].sent += n / 2
	return moved
}

// reconcileBytes is what package mesh takes to find n differences among all documents, both sides together: the fingerprints
// of the parts of each range that differs, level by level, and lists of the last ones. TestReconcileBytes compares it with
// mesh.Reconcile.
func reconcileBytes(n, levels, all int) int {
	const fingerprints, listed = 410, 33
	bytes, parts := 0, 1
	for range levels {
		bytes += (n*parts + n + parts - 1) / (n + parts) * fingerprints
		parts *= 16
	}
	return bytes + n*parts*(all/parts+1)/(n+parts)*listed
}

// reconcileTurns is how many round trips that takes.
func reconcileTurns(levels int) int { return max(2, levels) }

// startPull begins the fetch of documents from a holder.
func (e *Engine) startPull(v, holder int32, keys []tables.DocKey) {
	n := e.freePull
	if n < 0 {
		n = int32(len(e.pulls))
		e.pulls = append(e.pulls, pull{})
	} else {
		e.freePull = e.pulls[n].next
	}
	p := &e.pulls[n]
	p.from, p.to, p.docs = holder, v, p.docs[:0]
	for _, k := range keys {
		p.docs = append(p.docs, e.docOf[k])
	}
	after := streamPatience
	if e.meets(v, holder) {
		after = 4 * e.net.steady(v, holder)
	}
	e.q.add(e.now+after, evPullEnd, v, e.vrs[v].life, n)
}

// pullEnd takes what the holder has. A pull is of nobody any more if its VR has stopped meanwhile.
func (e *Engine) pullEnd(v, life, n int32) {
	p := &e.pulls[n]
	defer func() { e.pulls[n].next, e.freePull = e.freePull, n }()
	if e.vrs[v].life != life || e.vrs[v].view == nil {
		return
	}
	holder, ok := p.from, e.meets(v, p.from)
	if ok {
		e.vrs[v].sent += handshakeBytes / 2
		e.vrs[holder].sent += handshakeBytes / 2
		for _, doc := range p.docs {
			e.vrs[holder].sent += int64(e.docs[doc].size)
			e.hold(v, doc, e.version(holder, doc))
		}
	}
	if e.vrs[v].view != nil {
		e.view(v, pullEnded(holder, ok))
	}
}

// startPushPull has memberlist join a peer: an exchange of states, after a handshake and a round trip.
func (e *Engine) startPushPull(v, peer int32) {
	e.q.add(e.now+4*e.net.steady(v, peer), evPushPull, v, e.vrs[v].life, peer)
}

// settledExchanges is how many exchanges of states a VR has made that has run for long.
const settledExchanges = 20

// firstExchange plans the first exchange of states, of a VR that has just started or, settled, has run for long.
func (e *Engine) firstExchange(v int32, settled bool) {
	r := &e.vrs[v]
	at := exchangeFirst*3/4 + e.rnd.below(exchangeFirst/2)
	r.exchanges = 1
	if settled {
		r.exchanges = settledExchanges
		at = e.rnd.below(max(exchangeMin, int64(r.alive+1)*exchangePer))
	}
	e.q.add(e.now+at, evExchange, v, r.life, 0)
}

// exchangeStates is the exchange of states with a random living member that each VR begins from time to time.
func (e *Engine) exchangeStates(v int32) {
	r := &e.vrs[v]
	steady := max(exchangeMin, int64(r.alive+1)*exchangePer)
	period := steady
	if r.exchanges < settledExchanges {
		period = min(steady, exchangeFirst<<r.exchanges)
	}
	r.exchanges++
	e.q.add(e.now+period*3/4+e.rnd.below(period/2), evExchange, v, r.life, 0)
	if r.paused {
		return
	}
	if peer := e.someMember(v, suspect); peer >= 0 {
		e.startPushPull(v, peer)
	}
}

// reconnect is serf's: now and then a join of one of the failed.
func (e *Engine) reconnect(v int32) {
	r := &e.vrs[v]
	e.q.add(e.now+reconnectEvery, evReconnect, v, r.life, 0)
	if r.failed <= 0 || r.paused || e.rnd.below(int64(max(r.alive, 1))) >= int64(r.failed) {
		return
	}
	if peer := e.someMember(v, dead); peer >= 0 {
		e.startPushPull(v, peer)
	}
}

// someMember draws a member that v believes to live, or (dead) to have failed; -1 if none was found.
func (e *Engine) someMember(v int32, state uint8) int32 {
	n := int64(len(e.vrs))
	at := int32(e.rnd.below(n))
	if state == dead { // they may be few
		for range n {
			if at = (at + 1) % int32(n); at != v && e.look(v, at).state == dead {
				return at
			}
		}
		return -1
	}
	for range 64 {
		if at != v && e.look(v, at).state <= state {
			return at
		}
		at = int32(e.rnd.below(n))
	}
	return -1
}
