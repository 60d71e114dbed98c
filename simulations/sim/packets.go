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
	return int64(n + pieces*(frame.GossipHeaderLen+frame.TagLen))
}

// pieces returns how many datagrams carry a gossip packet of n bytes.
func pieces(n int) int { return (n + checkBytes + frame.GossipPieceMax - 1) / frame.GossipPieceMax }

// transit draws how one gossip packet of n bytes comes from a to b, and counts its bytes: over the queue-VR that b is
// attached to if b is limited. ok is false if it is lost.
func (e *Engine) transit(a, b int32, n int) (delay int64, ok bool) {
	bytes := sealed(n)
	e.vrs[a].sent += bytes
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

// send has a gossip packet of n bytes, and what fits beside it of the queues of a, travel to b. With n zero it only goes if
// there is something in the queues. lost says that the packet is known to be lost; its messages count as sent.
func (e *Engine) send(a, b int32, n int, extra *message) {
	p := e.newPacket(a, b)
	if extra != nil {
		e.packets[p].messages = append(e.packets[p].messages, *extra)
		n += accuseBytes + compoundPart
	}
	n += e.fill(a, p, packetMax-compoundHead-n)
	if len(e.packets[p].messages) == 0 {
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
