package transporttest

import (
	"net/netip"
	"time"
)

// carryBatch is how many events are carried with the lock held once, so that senders get in between.
const carryBatch = 256

func (in *Internet) now() time.Duration { return time.Since(in.epoch) }

// send takes the packets of one WriteBatch and returns how many the host has sent.
func (in *Internet) send(s *socket, first *packet) int {
	h := s.host
	in.mu.Lock()
	for p := first; p != nil; p = p.next {
		if src, ok := h.source(p.to.Addr()); ok {
			p.from = netip.AddrPortFrom(src, s.port)
		}
	}
	if onSend, intercept := in.onSend, in.intercept; onSend != nil || intercept != nil {
		in.mu.Unlock()
		show(onSend, intercept, first)
		in.mu.Lock()
	}
	defer in.mu.Unlock()
	now := in.now()
	sent := 0
	for p := first; p != nil; {
		next := p.next
		p.next = nil
		if p.from.IsValid() {
			sent++
			in.start(now, p)
		} else {
			h.count(p)
			in.drop(p, DropNoRoute)
		}
		p = next
	}
	in.rearm()
	return sent
}

// show calls the hooks, without the lock.
func show(onSend Observer, intercept func(from, to netip.AddrPort, payload []byte) bool, first *packet) {
	now := time.Now()
	for p := first; p != nil; p = p.next {
		if !p.from.IsValid() {
			continue
		}
		if onSend != nil {
			onSend(now, p.from, p.to, append([]byte(nil), p.payload...))
		}
		p.intercepted = intercept != nil && !intercept(p.from, p.to, p.payload)
	}
}

// start puts a packet on the wire, or holds it back when its host is paused. It wants the lock.
func (in *Internet) start(now time.Duration, p *packet) {
	h := p.origin
	if h.paused {
		if len(h.held) >= heldMax {
			h.count(p)
			in.drop(p, DropPaused)
			return
		}
		h.held = append(h.held, p)
		return
	}
	h.count(p)
	switch {
	case in.closed:
		in.drop(p, DropClosed)
	case p.intercepted:
		in.drop(p, DropIntercepted)
	default:
		in.move(now, p)
	}
}

func (h *Host) count(p *packet) {
	h.counts.PacketsSent++
	h.counts.BytesSent += uint64(p.size())
}

// drop ends a packet.
func (in *Internet) drop(p *packet, why Drop) {
	p.origin.counts.Dropped[why]++
	p.free()
}

// rearm wakes Run when the next event is earlier than the one it waits for. It wants the lock.
func (in *Internet) rearm() {
	if !in.asleep || len(in.events) == 0 || in.wakeAt != 0 && in.wakeAt <= in.events[0].at {
		return
	}
	in.asleep = false // it has been told
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// carry carries what is due and returns how long to wait for the next event, if there is one.
func (in *Internet) carry() (wait time.Duration, idle bool) {
	for {
		in.mu.Lock()
		in.asleep = false
		now := in.now()
		for n := 0; n < carryBatch && len(in.events) > 0 && in.events[0].at <= now; n++ {
			e := in.events.pop()
			// An event is carried at its own time even when we are late: delays do not add up.
			in.move(e.at, e.p)
		}
		more := len(in.events) > 0
		if more {
			wait = in.events[0].at - now
		}
		if !more || wait > 0 {
			in.asleep, in.wakeAt = true, 0
			if more {
				in.wakeAt = in.events[0].at
			}
		}
		asleep := in.asleep
		shown, onDeliver := in.delivered, in.onDeliver
		in.delivered = nil
		in.mu.Unlock()
		for _, d := range shown {
			if onDeliver != nil {
				onDeliver(in.epoch.Add(d.at), d.from, d.to, d.payload)
			}
		}
		if asleep {
			return wait, !more
		}
	}
}

// move takes a packet as far as it gets at one instant. It wants the lock.
func (in *Internet) move(now time.Duration, p *packet) {
	for {
		var drop Drop
		var moved bool
		switch p.stage {
		case stageLeave:
			p.realm = p.at.realm
			if !p.at.wall.out(now, p.from, p.to) {
				drop = DropFirewall
				break
			}
			p.stage = stageCross
			moved, drop = in.through(now, &p.at.up, p, false)
		case stageCross:
			moved, drop = in.cross(now, p)
		case stageArrive:
			p.stage = stageEnter
			moved, drop = in.through(now, &p.at.down, p, false)
		case stageEnter:
			moved, drop = in.enter(now, p)
		}
		if drop != 0 {
			in.drop(p, drop)
			return
		}
		if !moved {
			return
		}
	}
}

// through sends a packet, whose stage is already the next one, through a pipe. It reports true when the
// packet is there at once; otherwise an event has it, or it was dropped. An event is always made when
// later is true.
func (in *Internet) through(now time.Duration, l *pipe, p *packet, later bool) (bool, Drop) {
	at := now
	if l.instant() {
		if p.size() > mtuDefault {
			return false, DropTooBig
		}
	} else {
		var twice bool
		var drop Drop
		at, twice, drop = l.transit(now, p.size(), p.origin.rng)
		if drop != 0 {
			return false, drop
		}
		if twice {
			defer in.schedule(at, p.twin())
		}
	}
	if at == now && !later {
		return true, 0
	}
	in.schedule(at, p)
	return false, 0
}

func (in *Internet) schedule(at time.Duration, p *packet) {
	if len(in.events) >= flyingMax {
		in.drop(p, DropInFlight)
		return
	}
	in.seq++
	in.events.push(event{at: at, seq: in.seq, p: p})
}

// cross takes a packet from one node of a realm to the other, or to the gateway.
func (in *Internet) cross(now time.Duration, p *packet) (bool, Drop) {
	r, from := p.realm, p.at
	to := r.addrs[p.to.Addr()]
	switch {
	case to != nil:
		p.stage, p.at = stageArrive, to
	case r.gateway != nil && from != r.gateway.node:
		// It reaches the inner side of the gateway: there is no line to pass and no outer firewall.
		to = r.gateway.node
		p.stage, p.at = stageEnter, to
	default:
		return false, DropNoRoute
	}
	if r == in.core && in.loss > 0 && p.origin.rng.Float64() < in.loss {
		return false, DropLoss
	}
	// A packet to another node always becomes an event, so that no delivery happens inside the
	// WriteBatch of the sender and all of them are in one order.
	return in.through(now, r.between(from, to, &in.scratch), p, p.stage == stageArrive)
}

// enter takes a packet into the node it has reached.
func (in *Internet) enter(now time.Duration, p *packet) (bool, Drop) {
	n := p.at
	if n.nat != nil && p.realm == n.nat.inner {
		drop := n.nat.outbound(now, p)
		return drop == 0, drop
	}
	if !n.wall.in(now, p.to, p.from) {
		return false, DropFirewall
	}
	if n.nat != nil {
		drop := n.nat.inbound(now, p)
		return drop == 0, drop
	}
	return false, in.deliver(now, n.host, p)
}

// deliver gives a packet to the socket it is for.
func (in *Internet) deliver(now time.Duration, h *Host, p *packet) Drop {
	if in.cut(p.origin.node, h.node) {
		return DropCut
	}
	s := h.sockets[p.to.Port()]
	if s == nil {
		return DropPortClosed
	}
	size := uint64(p.size())
	var shown delivery
	if in.onDeliver != nil {
		shown = delivery{now, p.from, p.to, append([]byte(nil), p.payload...)}
	}
	if drop := s.put(p); drop != 0 {
		return drop
	}
	h.counts.PacketsReceived++
	h.counts.BytesReceived += size
	if in.onDeliver != nil {
		in.delivered = append(in.delivered, shown)
	}
	return 0
}
