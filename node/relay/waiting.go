package relay

import (
	"cmp"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

const (
	// packetMax is the largest packet that is kept: the largest UDP payload.
	packetMax = 65535

	// clientsMax bounds the clients that a Queue or a Poll knows. An elected queue-VR serves some
	// 250 at 10,000 VRs (package mesh); sixteen times as many is an emergency.
	clientsMax = 4096

	// recycledMax is the largest buffer that is used again: a jumbo frame and what wraps it. Larger
	// packets are too rare to keep memory for.
	recycledMax = 9216

	// recycledBytes bounds what is kept for use again.
	recycledBytes = 4 << 20
)

// limits say how much may wait, and how long.
type limits struct {
	age           time.Duration // older packets are dropped instead of handed out
	clientBytes   int
	clientPackets int
	bytes         int // all clients together
}

// A backlog is the packets that wait, client by client, within bounds.
type backlog struct {
	limits  limits
	clients map[tables.RouterID]*waiting
	bytes   int // that wait
	pool    pool
	refused uint64 // packets of clients beyond clientsMax, or beyond packetMax
}

func newBacklog(l limits) backlog { return backlog{limits: l, clients: map[tables.RouterID]*waiting{}} }

// client returns a client, a new one if there is room for it.
func (b *backlog) client(id tables.RouterID) *waiting {
	w := b.clients[id]
	if w == nil && len(b.clients) < clientsMax {
		w = &waiting{client: id}
		b.clients[id] = w
	}
	return w
}

// keep copies a packet of a client, or drops it. The oldest of the client make room for it.
func (b *backlog) keep(now time.Time, w *waiting, p Packet) bool {
	b.dropOld(now, w)
	for w.count > 0 && b.full(w, len(p.Bytes)) {
		b.drop(w)
	}
	if b.full(w, len(p.Bytes)) {
		w.dropped++
		return false
	}
	w.add(held{b.pool.copyOf(p.Bytes), now, p.ECN})
	b.bytes += len(p.Bytes)
	return true
}

// full reports whether n more bytes are beyond the bounds of a client: its own, and what is left free
// of that of all.
func (b *backlog) full(w *waiting, n int) bool {
	return w.count >= b.limits.clientPackets || w.bytes+n > min(b.limits.clientBytes, b.limits.bytes-b.bytes-n)
}

// hand takes the oldest packet of a client for the caller, until returned.
func (b *backlog) hand(w *waiting) Packet {
	h := w.take()
	b.bytes -= len(h.packet)
	w.sent(len(h.packet))
	b.pool.out = append(b.pool.out, h.packet)
	return Packet{w.client, h.packet, h.ecn}
}

func (b *backlog) drop(w *waiting) {
	h := w.take()
	w.dropped++
	b.bytes -= len(h.packet)
	b.pool.recycle(h.packet)
}

func (b *backlog) dropOld(now time.Time, w *waiting) {
	for w.count > 0 && now.Sub(w.oldest().at) > b.limits.age {
		b.drop(w)
	}
}

func (b *backlog) forget(client tables.RouterID) (lost int) {
	w := b.clients[client]
	if w == nil {
		return 0
	}
	for lost = w.count; w.count > 0; {
		b.drop(w)
	}
	delete(b.clients, client)
	return lost
}

func (b *backlog) status() []ClientStatus {
	list := make([]ClientStatus, 0, len(b.clients))
	for _, w := range b.clients {
		list = append(list, ClientStatus{w.client, w.bytes, w.count, w.sentBytes, w.sentPackets, w.dropped})
	}
	slices.SortFunc(list, func(a, b ClientStatus) int { return cmp.Compare(a.Client, b.Client) })
	return list
}

// A ClientStatus is what waits for one client, and what happened so far.
type ClientStatus struct {
	Client         tables.RouterID
	Bytes, Packets int    // waiting now
	SentBytes      uint64 // handed out, or passed on at once
	SentPackets    uint64
	Dropped        uint64 // packets: too many, too many bytes, or too old
}

// A Packet waits under the name of a client.
type Packet struct {
	Client tables.RouterID
	Bytes  []byte
	ECN    uint8 // what the datagram's IP header said of congestion (RFC 3168, Section 5), for the next hop's
}

// A waiting is the packets of one client, oldest first, in a ring that grows as needed.
type waiting struct {
	client tables.RouterID
	ring   []held // length zero or a power of two
	first  int    // of the oldest
	count  int
	bytes  int

	sentBytes, sentPackets, dropped uint64

	// deficit and next belong to Queue: the bytes that the client may still send in this round, and
	// the client after it, nil if the client has nothing that waits.
	deficit int
	next    *waiting
}

type held struct {
	packet []byte
	at     time.Time
	ecn    uint8
}

func (w *waiting) oldest() *held { return &w.ring[w.first] }

func (w *waiting) add(h held) {
	if w.count == len(w.ring) {
		ring := make([]held, max(16, 2*len(w.ring)))
		for i := range w.count {
			ring[i] = w.ring[(w.first+i)&(len(w.ring)-1)]
		}
		w.ring, w.first = ring, 0
	}
	w.ring[(w.first+w.count)&(len(w.ring)-1)] = h
	w.count++
	w.bytes += len(h.packet)
}

func (w *waiting) take() held {
	h := w.ring[w.first]
	w.ring[w.first] = held{}
	w.first = (w.first + 1) & (len(w.ring) - 1)
	w.count--
	w.bytes -= len(h.packet)
	return h
}

func (w *waiting) sent(n int) {
	w.sentBytes += uint64(n)
	w.sentPackets++
}

// A pool keeps buffers for use again. out are those that the caller of Pop or Take still reads.
type pool struct {
	free      [][]byte
	freeBytes int
	out       [][]byte
}

func (p *pool) copyOf(packet []byte) []byte {
	var b []byte
	if n := len(p.free); n > 0 {
		b = p.free[n-1]
		p.free[n-1] = nil
		p.free = p.free[:n-1]
		p.freeBytes -= cap(b)
	}
	return append(b[:0], packet...)
}

func (p *pool) recycle(b []byte) {
	if cap(b) <= recycledMax && p.freeBytes+cap(b) <= recycledBytes {
		p.free = append(p.free, b)
		p.freeBytes += cap(b)
	}
}

// returned takes back what the last call handed out.
func (p *pool) returned() {
	for i, b := range p.out {
		p.recycle(b)
		p.out[i] = nil
	}
	p.out = p.out[:0]
}
