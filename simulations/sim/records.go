package sim

// prepared is how long from the start everybody is told of link records at once: a run begins with a federation that
// stands, not with its founding.
const prepared = int64(8e9)

// publishRecord has a limited VR say in its link record whom it is attached to, soon and not too often.
func (e *Engine) publishRecord(v int32) {
	l := e.vrs[v].limited
	if l.recordDue {
		return
	}
	l.recordDue = true
	e.q.add(e.now+recordAfter, evRecord, v, e.vrs[v].life, 0)
}

func (e *Engine) signRecord(v int32) {
	l := e.vrs[v].limited
	l.tokens = min(l.tokens+e.now-l.filled, recordBurst*recordEvery)
	l.filled = e.now
	if l.tokens < recordEvery && e.now >= prepared {
		e.q.add(e.now+recordEvery-l.tokens, evRecord, v, e.vrs[v].life, 0)
		return
	}
	l.tokens = max(l.tokens-recordEvery, 0)
	l.recordDue = false
	if l.record < 0 {
		l.record = e.addDocument(linkRecord, v, linkRecordBytes)
	}
	d := &e.docs[l.record]
	if e.now < prepared && d.held == nil {
		d.latest++
		d.base = d.latest
	} else {
		e.sign(v, l.record)
	}
	copy(l.announced[1:], l.announced[:])
	l.announced[0] = announcement{version: e.docs[l.record].latest, list: l.list}
}

// listOf returns the queue-VRs that the link record of b names, in the version that a holds.
func (e *Engine) listOf(a, b int32) [queuesWanted]int32 {
	l := e.vrs[b].limited
	if l.record >= 0 {
		version := e.version(a, l.record)
		for i := range l.announced {
			if l.announced[i].version == version && version > 0 {
				return l.announced[i].list
			}
		}
	}
	return [queuesWanted]int32{-1, -1}
}

// relayFor returns the queue-VR through which a reaches b, by the record that a holds; -1 if there is none. A regular b that
// a cannot reach directly is reached through a queue-VR of a's own.
func (e *Engine) relayFor(a, b int32) int32 {
	client, list := b, [queuesWanted]int32{-1, -1}
	switch {
	case e.vrs[b].limited != nil:
		list = e.listOf(a, b)
	case e.vrs[a].limited != nil:
		client, list = a, e.vrs[a].limited.list
	}
	for _, q := range list {
		if q >= 0 && e.hasClient(q, client) && (q == a || q == b || e.receives(q)) && !e.net.parted(a, q) && !e.net.parted(q, b) && e.liar(q) != liarDrops {
			return q
		}
	}
	return -1
}

// hasClient reports whether a queue-VR relays for b.
func (e *Engine) hasClient(q, b int32) bool {
	l := e.vrs[b].limited
	if l == nil {
		return false
	}
	u := l.use(q)
	return u != nil && u.served && u.accepted && e.vrs[q].life == u.life && e.vrs[q].up
}

// A place is a queue-VR that would relay for a limited VR, in one of its lives; -1: there is none.
type place struct{ queue, life int32 }

// relayOf draws the queue-VR that a gossip packet to b goes through; -1 if the packet is lost: who sends does not know better
// yet, or b has none.
func (e *Engine) relayOf(b int32) int32 {
	at := &e.places[b]
	p := at[e.rnd.below(queuesWanted)]
	if p.queue < 0 {
		if p = at[0]; p.queue < 0 {
			p = at[1]
		}
	}
	if p.queue < 0 || e.lives[p.queue] != p.life {
		return -1
	}
	return p.queue
}

// placeAll notes who relays for v, of those that it has announced.
func (e *Engine) placeAll(v int32) {
	l := e.vrs[v].limited
	for i, q := range l.list {
		e.places[v][i] = place{-1, 0}
		if q < 0 {
			continue
		}
		e.places[v][i] = place{q, -1} // announced, and deaf
		if u := l.use(q); u != nil && u.served && u.accepted {
			e.places[v][i].life = u.life
		}
	}
}
