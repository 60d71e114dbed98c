package sim

import "slices"

// probe has a VR probe its next member. Of a probe that succeeds nothing more is heard: it is one event, and two
// packets more if somebody has something to tell.
func (e *Engine) probe(v int32) {
	r := &e.vrs[v]
	if r.paused {
		return // resume plans the next
	}
	t := e.nextTarget(v)
	if t < 0 {
		e.q.add(e.now+probeInterval, evProbe, v, r.life, r.probes)
		return
	}
	have := e.look(v, t)
	var accusation *message
	if have.state == suspect {
		e.accusation = message{kind: saySuspect, subject: t, from: v, number: have.number}
		accusation = &e.accusation
	}
	good := e.pings(v, t, pingBytes, ackBytes, accusation, probeInterval*int64(1+r.awareness))
	if good {
		r.awareness = max(r.awareness-1, 0)
		e.hearRoot(v, t)
		e.q.add(e.now+probeInterval, evProbe, v, r.life, r.probes)
		return
	}
	r.probed, r.probedNumber = t, have.number
	e.q.add(e.now+probeTimeout, evIndirect, v, r.life, r.probes)
}

// pings sends a ping from v to t and the ack back, each with what its sender has to tell, and reports whether the ack
// is there within limit.
func (e *Engine) pings(v, t int32, ping, ack int, extra *message, limit int64) bool {
	out, ok := e.carry(v, t, ping, extra, 0)
	if !ok || !e.receives(t) || e.revokedBy(t, v) {
		return false
	}
	back, ok := e.carry(t, v, ack, nil, out)
	return ok && e.receives(v) && out+back < limit
}

// carry sends a packet of n bytes and what fits beside it from the queues of a.
func (e *Engine) carry(a, b int32, n int, extra *message, after int64) (int64, bool) {
	r := &e.vrs[a]
	if len(r.broadcasts) == 0 && len(r.rumours) == 0 && extra == nil {
		return e.transit(a, b, n)
	}
	p := e.newPacket(a, b)
	if extra != nil {
		e.packets[p].messages = append(e.packets[p].messages, *extra)
		n += accuseBytes + compoundPart
	}
	n += e.fill(a, p, packetMax-compoundHead-n)
	delay, ok := e.transit(a, b, n)
	if !ok || !e.sift(p) {
		e.dropPacket(p)
		return delay, ok
	}
	e.q.add(e.now+after+delay, evPacket, b, p, 0)
	return delay, true
}

// nextTarget returns the next member to be probed: all in turn, in an order that is new each round. -1 if there is none.
func (e *Engine) nextTarget(v int32) int32 {
	r := &e.vrs[v]
	n := int32(len(e.vrs))
	for range n {
		if r.probeLeft == 0 {
			e.shuffle(r, n)
		}
		r.probeLeft--
		t := r.probeNext
		r.probeNext += r.probeStride
		if r.probeNext >= n || r.probeNext < 0 {
			r.probeNext -= n
		}
		if t == v {
			continue
		}
		if col := e.colOf[t]; col < 0 {
			if e.base[t].state == alive {
				return t
			}
		} else if e.cols[col].cells[v].state <= suspect {
			return t
		}
	}
	return -1
}

// shuffle begins a round: a start and a stride that has no divisor in common with n. Who has been dead for long is
// forgotten here, as memberlist does.
func (e *Engine) shuffle(r *vr, n int32) {
	r.probeLeft = n
	r.probeNext = int32(e.rnd.below(int64(n)))
	r.probeStride = 1
	for n > 2 {
		r.probeStride = 1 + int32(e.rnd.below(int64(n-1)))
		if gcd(r.probeStride, n) == 1 {
			break
		}
	}
	r.members = r.alive + min(r.failed, r.members-r.alive)
	if r.members > r.alive {
		r.members = r.alive + (r.members-r.alive)/2
	}
}

func gcd(a, b int32) int32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// indirect asks three others to probe whom v got no answer from, and tries a stream itself.
func (e *Engine) indirect(v int32) {
	r := &e.vrs[v]
	if r.paused {
		return
	}
	t := r.probed
	limit := probeInterval*int64(1+r.awareness) - probeTimeout
	var helpers [indirectChecks]int32
	n := 0
	for tries := 0; n < indirectChecks && tries < 3*len(e.vrs) && tries < 200; tries++ {
		h := int32(e.rnd.below(int64(len(e.vrs))))
		if h != v && h != t && !slices.Contains(helpers[:n], h) && e.look(v, h).state == alive {
			helpers[n] = h
			n++
		}
	}
	good, nacks := false, 0
	for _, h := range helpers[:n] {
		ask, ok := e.carry(v, h, indirectBytes, nil, 0)
		if !ok || !e.receives(h) || e.revokedBy(h, v) {
			continue
		}
		if e.pings(h, t, pingBytes, ackBytes, nil, probeTimeout) {
			back, ok := e.transit(h, v, bareAckBytes)
			rtt := 2 * e.net.steady(h, t)
			good = good || ok && ask+rtt+back < limit
			continue
		}
		back, ok := e.transit(h, v, nackBytes)
		if ok && ask+probeTimeout+back < limit {
			nacks++
		}
	}
	// The ping over a stream: a handshake, then the ping. Streams make losses good.
	if e.meets(v, t) && 4*e.net.steady(v, t) < limit {
		good = true
	}
	r.probeGood, r.missing = good, int8(n-nacks)
	if n == 0 {
		r.missing = 1
	}
	e.q.add(e.now+limit, evProbeEnd, v, r.life, r.probes)
}

// probeEnd is the end of a probe that had no direct answer.
func (e *Engine) probeEnd(v int32) {
	r := &e.vrs[v]
	if r.paused {
		return
	}
	if r.probeGood {
		r.awareness = max(r.awareness-1, 0)
	} else {
		r.awareness = min(r.awareness+r.missing, awarenessMost)
		e.hearSuspect(v, r.probed, r.probedNumber, v)
	}
	e.q.add(e.now, evProbe, v, r.life, r.probes)
}

// meets reports whether a stream between two VRs would come about now.
func (e *Engine) meets(a, b int32) bool {
	if !e.receives(a) || !e.receives(b) || e.revokedBy(a, b) || e.revokedBy(b, a) {
		return false
	}
	if e.vrs[b].limited == nil {
		return !e.net.parted(a, b)
	}
	return e.relayFor(a, b) >= 0 // whoever calls a limited VR has its first message relayed
}
