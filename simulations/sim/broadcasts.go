package sim

import "slices"

// A broadcast is a queued message about a member, as in memberlist's TransmitLimitedQueue.
type broadcast struct {
	message
	sent uint8
	size uint16
	id   uint32
}

// before is the order of the queue: sent least often first, then the longest, then the newest.
func (b *broadcast) before(o *broadcast) bool {
	if b.sent != o.sent {
		return b.sent < o.sent
	}
	if b.size != o.size {
		return b.size > o.size
	}
	return b.id > o.id
}

// queueBroadcast puts a message into the queue of a VR. One about the same member is replaced.
func (e *Engine) queueBroadcast(v int32, m message) {
	r := &e.vrs[v]
	size := uint16(accuseBytes)
	if m.kind == sayAlive {
		size = aliveBytes
	}
	r.nextID++
	b := broadcast{message: m, size: size, id: r.nextID}
	for i := range r.broadcasts {
		if r.broadcasts[i].subject == m.subject {
			r.broadcasts = slices.Delete(r.broadcasts, i, i+1)
			break
		}
	}
	i := 0
	for i < len(r.broadcasts) && r.broadcasts[i].before(&b) {
		i++
	}
	r.broadcasts = slices.Insert(r.broadcasts, i, b)
	e.wakeGossip(v)
}

// takeBroadcasts moves what fits into limit bytes to the packet and returns the bytes used: of each tier of
// transmissions the longest first.
func (e *Engine) takeBroadcasts(r *vr, p int32, limit int) (used int) {
	most := uint8(r.transmissions())
	pk := &e.packets[p]
	again := e.scratchBroadcasts[:0]
	kept := r.broadcasts[:0]
	for i := range r.broadcasts {
		b := r.broadcasts[i]
		if int(b.size) > limit-used-compoundPart || limit-used-compoundPart <= 0 || len(pk.messages) == 255 {
			kept = append(kept, b)
			continue
		}
		used += int(b.size) + compoundPart
		pk.messages = append(pk.messages, b.message)
		if b.sent++; b.sent < most {
			again = append(again, b)
		}
	}
	e.scratchBroadcasts = again
	// again is in order but where two tiers met; so is kept. Insert from behind.
	r.broadcasts = kept
	for _, b := range again {
		i := len(r.broadcasts)
		r.broadcasts = append(r.broadcasts, b)
		for i > 0 && b.before(&r.broadcasts[i-1]) {
			r.broadcasts[i] = r.broadcasts[i-1]
			i--
		}
		r.broadcasts[i] = b
	}
	return used
}

// transmissions is how often a message is sent: by the members that memberlist counts, itself among them.
func (r *vr) transmissions() int { return retransmitMult * ceilLog10(int64(r.members)+2) }

// ceilLog10 returns the least d with 10^d >= n, at least 1.
func ceilLog10(n int64) int {
	d := 1
	for p := int64(10); p < n; p *= 10 {
		d++
	}
	return d
}

// wakeGossip has a VR gossip at its next tick.
func (e *Engine) wakeGossip(v int32) {
	r := &e.vrs[v]
	if r.gossiping {
		return
	}
	r.gossiping = true
	since := (e.now - r.phase) % gossipInterval
	e.q.add(e.now+gossipInterval-since, evGossip, v, r.life, 0)
}

// gossip sends what is queued to three random members.
func (e *Engine) gossip(v int32) {
	r := &e.vrs[v]
	r.gossiping = false
	if r.paused {
		return // resume wakes it
	}
	var chosen [gossipNodes]int32
	n := 0
	for tries := 0; n < gossipNodes && tries < 3*len(e.vrs) && tries < 200; tries++ {
		to := int32(e.rnd.below(int64(len(e.vrs))))
		if to == v || slices.Contains(chosen[:n], to) || !e.gossipsTo(v, to) {
			continue
		}
		chosen[n] = to
		n++
	}
	for _, to := range chosen[:n] {
		e.tellMember(v, to)
	}
	if len(r.broadcasts) > 0 || len(r.rumours) > 0 {
		if n == 0 && r.members == 0 {
			r.broadcasts, r.rumours = r.broadcasts[:0], r.rumours[:0] // nobody to tell
			return
		}
		r.gossiping = true
		e.q.add(e.now+gossipInterval, evGossip, v, r.life, 0)
	}
}

// gossipsTo reports whether memberlist would gossip to a member: alive, suspected, or dead lately.
func (e *Engine) gossipsTo(v, s int32) bool {
	col := e.colOf[s]
	if col < 0 {
		return e.base[s].state <= suspect
	}
	c := &e.cols[col].cells[v]
	return c.state <= suspect || c.state == dead && e.now-c.since <= toTheDead
}
