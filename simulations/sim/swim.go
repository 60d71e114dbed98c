package sim

// hearAlive is memberlist's aliveNode.
func (e *Engine) hearAlive(v, s int32, number uint32) {
	if v == s {
		if r := &e.vrs[v]; number > r.number {
			r.number = number
			e.refute(v, number)
		}
		return
	}
	if have := e.look(v, s); number <= have.number && have.state != unknown || e.revokedBy(v, s) {
		return
	}
	col := e.open(s)
	c := &col.cells[v]
	e.become(v, col, c, alive, number)
	e.queueBroadcast(v, message{kind: sayAlive, subject: s, from: s, number: number})
}

// hearSuspect is memberlist's suspectNode.
func (e *Engine) hearSuspect(v, s int32, number uint32, from int32) {
	if v == s {
		if number >= e.vrs[v].number {
			e.refute(v, number)
		}
		return
	}
	have := e.look(v, s)
	if number < have.number || have.state > suspect {
		return
	}
	col := e.open(s)
	c := &col.cells[v]
	if have.state == suspect {
		k := e.wanted(v)
		if int(c.heard) >= k || from == c.from[0] || c.heard > 0 && from == c.from[1] {
			return
		}
		if c.heard == 0 {
			c.from[1] = from
		}
		c.heard++
		col.changed = e.now
		// The timer that there is comes before the new end, unless it has come once already.
		if end := c.since + e.suspicion(v, int(c.heard), k); e.now >= c.since+e.suspicion(v, k, k) {
			e.q.add(max(e.now, end), evSuspicion, v, s, int32(c.timer))
		}
		e.queueBroadcast(v, message{kind: saySuspect, subject: s, from: from, number: number})
		return
	}
	e.queueBroadcast(v, message{kind: saySuspect, subject: s, from: from, number: number})
	e.become(v, col, c, suspect, number)
	c.from, c.heard = [2]int32{from, -1}, 0
	// Confirmations nearly always bring it to its shortest. So the timer looks after that time, and again if need be.
	k := e.wanted(v)
	e.q.add(e.now+e.suspicion(v, k, k), evSuspicion, v, s, int32(c.timer))
}

// wanted is how many confirmations bring a suspicion to its shortest.
func (e *Engine) wanted(v int32) int {
	if k := suspicionMult - 2; int(e.vrs[v].members)-1 >= k {
		return k
	}
	return 0
}

// suspicionShare[n] is log(n+1)/log(3) in thousandths of thousandths: how far n of two confirmations bring it.
var suspicionShare = [3]int64{0, 630930, 1000000}

// suspicion is how long memberlist waits for a refutation after n of k confirmations, since the first accusation.
func (e *Engine) suspicion(v int32, n, k int) int64 {
	scale := max(log10Thousandths(int64(e.vrs[v].members)+1), 1000)
	least := suspicionMult * scale * (probeInterval / 1000)
	if k < 1 || n >= k {
		return least
	}
	most := suspicionMax * least
	raw := most - (most-least)/1000000*suspicionShare[n]
	return max(raw/1e6*1e6, least)
}

// log10Thousandths returns 1000*log10(n), cut off.
func log10Thousandths(n int64) int64 {
	return scaleFixed(log2(uint64(max(n, 1))), 1000*301029996, 1000000000) >> 32
}

// suspicionOver is the end of a suspicion's time.
func (e *Engine) suspicionOver(v, s, timer int32) {
	col := e.colOf[s]
	if col < 0 || !e.vrs[v].up {
		return
	}
	c := &e.cols[col].cells[v]
	if c.state != suspect || int32(c.timer) != timer {
		return
	}
	if e.vrs[v].paused {
		e.q.add(e.now+probeInterval, evSuspicion, v, s, timer) // its clock is late
		return
	}
	if end := c.since + e.suspicion(v, int(c.heard), e.wanted(v)); e.now < end {
		e.q.add(end, evSuspicion, v, s, timer)
		return
	}
	e.hearDead(v, s, c.number, v)
}

// hearDead is memberlist's deadNode.
func (e *Engine) hearDead(v, s int32, number uint32, from int32) {
	if v == s {
		if !e.vrs[v].leaving {
			e.refute(v, number)
		}
		return
	}
	have := e.look(v, s)
	if number < have.number || have.state > suspect {
		return
	}
	col := e.open(s)
	state := dead
	if from == s {
		state = left
	}
	e.queueBroadcast(v, message{kind: sayDead, subject: s, from: from, number: number})
	e.become(v, col, &col.cells[v], state, number)
}

// refute answers an accusation of oneself.
func (e *Engine) refute(v int32, accused uint32) {
	r := &e.vrs[v]
	r.number = max(r.number, accused) + 1
	r.awareness = min(r.awareness+1, awarenessMost)
	e.queueBroadcast(v, message{kind: sayAlive, subject: v, from: v, number: r.number})
}

// merge is memberlist's mergeState at v, for one entry of what a partner says.
func (e *Engine) merge(v, s int32, said belief) {
	switch said.state {
	case alive:
		e.hearAlive(v, s, said.number)
	case left:
		e.hearDead(v, s, said.number, s)
	case dead, suspect:
		e.hearSuspect(v, s, said.number, v)
	}
}

// pushPull has two VRs exchange all they believe. All else they agree on by the base.
func (e *Engine) pushPull(a, b int32) {
	members := int64(e.vrs[a].alive) + 1
	e.vrs[a].sent += members*memberBytes + e.linkBytes()
	e.vrs[b].sent += members*memberBytes + e.linkBytes()
	for n := range e.cols {
		s := e.cols[n].subject
		if s < 0 || s == a || s == b {
			continue
		}
		ca, cb := e.look(a, s), e.look(b, s)
		if ca == cb && ca.state != suspect {
			continue
		}
		e.merge(a, s, cb)
		e.merge(b, s, ca)
	}
	// Of each other: what each says of itself, and what the other believes of it.
	na, nb := e.vrs[a].number, e.vrs[b].number
	ab, ba := e.look(a, b), e.look(b, a)
	e.merge(a, b, belief{nb, alive})
	e.merge(b, a, belief{na, alive})
	e.merge(a, a, ba)
	e.merge(b, b, ab)
}
