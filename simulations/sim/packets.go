package sim

import "github.com/vine-mesh/vine/transport/frame"

// A messageKind is what one message in a gossip packet says.
type messageKind uint8

const (
	sayAlive messageKind = iota
	saySuspect
	sayDead // left, if it is from the subject itself
	sayRumour
)

// A message is one part of a gossip packet. For a rumour, subject is the document, number its version and from
// the holder; else subject is a member, number its incarnation and from who says so.
type message struct {
	kind    messageKind
	subject int32
	from    int32
	number  uint32
}

// A packet is on its way. It belongs to the engine's list and is used again.
type packet struct {
	from, to int32
	messages []message
	next     int32
}

func (e *Engine) newPacket(from, to int32) int32 {
	n := e.freePacket
	if n < 0 {
		n = int32(len(e.packets))
		e.packets = append(e.packets, packet{})
	} else {
		e.freePacket = e.packets[n].next
	}
	p := &e.packets[n]
	p.from, p.to, p.messages = from, to, p.messages[:0]
	return n
}

func (e *Engine) dropPacket(n int32) {
	e.packets[n].next, e.freePacket = e.freePacket, n
}

// sealed returns what a gossip packet of n bytes is in datagrams.
func sealed(n int) int64 {
	n += checkBytes
	pieces := (n + frame.GossipPieceMax - 1) / frame.GossipPieceMax
	return int64(n + pieces*(frame.GossipHeaderLen+frame.TagLen+headerBytesIP))
}

// pieces returns how many datagrams carry a gossip packet of n bytes.
func pieces(n int) int { return (n + checkBytes + frame.GossipPieceMax - 1) / frame.GossipPieceMax }

// transit draws how one gossip packet of n bytes comes from a to b, and counts its bytes: over the queue-VR that b is
// attached to if b is limited. ok is false if it is lost.
func (e *Engine) transit(a, b int32, n int) (delay int64, ok bool) {
	bytes := sealed(n)
	e.vrs[a].sent += bytes
	e.gossiped++
	via := int32(-1)
	if e.isLimited[b] {
		via = e.relayOf(b)
		if via < 0 {
			return 0, false
		}
		if via != a {
			e.vrs[a].sent += relayBytes
		}
	}
	ok = true
	for range pieces(n) {
		if via < 0 || via == a {
			ok = ok && !e.net.loses(&e.rnd, a, b)
		} else {
			ok = ok && !e.net.loses(&e.rnd, a, via) && !e.net.loses(&e.rnd, via, b)
		}
	}
	if via < 0 || via == a {
		return e.net.delay(&e.rnd, a, b), ok
	}
	if !e.here[via] || e.liar(via) == liarDrops {
		return 0, false
	}
	e.vrs[via].sent += bytes + relayBytes
	return e.net.delay(&e.rnd, a, via) + e.net.delay(&e.rnd, via, b), ok
}

// receives reports whether a VR runs and takes packets.
func (e *Engine) receives(v int32) bool { return e.here[v] }

// tellMember has a gossip packet with what the queues of a hold travel to b.
func (e *Engine) tellMember(a, b int32) {
	p := e.newPacket(a, b)
	n := e.fill(a, p, packetMax-compoundHead)
	if len(e.packets[p].messages) == 0 {
		e.dropPacket(p)
		return
	}
	if !e.sift(p) {
		e.count(a, b, n)
		e.dropPacket(p)
		return
	}
	delay, ok := e.transit(a, b, n)
	if !ok {
		e.dropPacket(p)
		return
	}
	e.q.add(e.now+delay, evPacket, b, p, 0)
}

// count is transit of a packet of which it does not matter whether it arrives: its bytes.
func (e *Engine) count(a, b int32, n int) {
	bytes := sealed(n)
	e.vrs[a].sent += bytes
	e.gossiped++
	if !e.isLimited[b] {
		return
	}
	if via := e.relayOf(b); via >= 0 && via != a {
		e.vrs[a].sent += relayBytes
		if e.here[via] {
			e.vrs[via].sent += bytes + relayBytes
		}
	}
}

// sift takes out of a packet what its receiver knows, for what it knows it will know when the packet arrives; it reports whether
// something is left. Nineteen of twenty messages say nothing new, and need no event.
func (e *Engine) sift(p int32) bool {
	pk := &e.packets[p]
	kept := pk.messages[:0]
	for _, m := range pk.messages {
		if e.isNews(pk.to, m) {
			kept = append(kept, m)
		}
	}
	pk.messages = kept
	return len(kept) > 0
}

func (e *Engine) isNews(v int32, m message) bool {
	if m.kind == sayRumour {
		have := e.version(v, m.subject)
		return m.number > have || e.defects.rollBack && m.number < have
	}
	if m.subject == v {
		return m.number > e.vrs[v].number || m.kind != sayAlive && m.number == e.vrs[v].number
	}
	have := e.look(v, m.subject)
	switch {
	case m.number > have.number, have.state == unknown && m.kind == sayAlive:
		return true
	case m.number < have.number, m.kind == sayAlive, have.state > suspect:
		return false
	case have.state == suspect && (m.kind == saySuspect || m.from != m.subject && e.police):
		c := &e.cols[e.colOf[m.subject]].cells[v]
		return int(c.heard) < e.wanted(v) && m.from != c.from[0] && (c.heard == 0 || m.from != c.from[1])
	}
	return true
}

// fill takes from the queues of v what fits into limit bytes, SWIM's messages first, and returns the bytes used.
func (e *Engine) fill(v int32, p int32, limit int) int {
	r := &e.vrs[v]
	used := 0
	if len(r.broadcasts) > 0 {
		used = e.takeBroadcasts(r, p, limit)
	}
	if len(r.rumours) > 0 {
		used += e.takeRumours(r, p, limit-used)
	}
	return used
}

// arrive hands the messages of a packet to its receiver.
func (e *Engine) arrive(n int32) {
	p := &e.packets[n]
	from, to := p.from, p.to
	if e.receives(to) && !e.revokedBy(to, from) {
		for i := range p.messages {
			m := e.packets[n].messages[i]
			switch m.kind {
			case sayAlive:
				e.hearAlive(to, m.subject, m.number)
			case saySuspect:
				e.hearSuspect(to, m.subject, m.number, m.from)
			case sayDead:
				if m.from != m.subject && e.police {
					// Who says that another is dead says that he suspects it (police.go).
					e.hearSuspect(to, m.subject, m.number, m.from)
				} else if m.from == m.subject || !e.police {
					e.hearDead(to, m.subject, m.number, m.from)
				}
			case sayRumour:
				e.hearRumour(to, m.subject, m.from, m.number)
			}
		}
	}
	e.dropPacket(n)
}
