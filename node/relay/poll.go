package relay

import (
	"time"

	"github.com/vine-mesh/vine/tables"
)

// pollLimits: the interval of a poll is 1 s at most, so 3 s outlive two lost polls; older packets
// have been sent again by whoever cares. 256 KiB in a second are 2 Mb/s, for who needs more there is
// the open channel. All together are 64 clients at their bound.
var pollLimits = limits{age: 3 * time.Second, clientBytes: 256 << 10, clientPackets: 2048, bytes: 16 << 20}

// A Poll holds the packets for clients that come for them, because their networks kill idle
// channels (dissertation table 3-3, the poll modes). It is bounded like a Queue: a client beyond its
// bounds loses its own oldest packets.
//
// NewPoll makes one. Once as many packets have waited as ever will, it allocates nothing.
type Poll struct{ backlog }

// NewPoll returns an empty Poll.
func NewPoll() *Poll { return &Poll{newBacklog(pollLimits)} }

// Push keeps a copy of a packet until its client comes for it.
func (p *Poll) Push(now time.Time, packet Packet) {
	w := p.client(packet.Client)
	if w == nil || len(packet.Bytes) > packetMax {
		p.refused++
		return
	}
	p.keep(now, w, packet)
}

// Take writes the oldest packets of a client into the given slice and returns how many. They are
// valid until the next call of Take. Waiting returns what is left.
func (p *Poll) Take(now time.Time, client tables.RouterID, into []Packet) int {
	p.pool.returned()
	w := p.clients[client]
	if w == nil {
		return 0
	}
	p.dropOld(now, w)
	n := 0
	for ; n < len(into) && w.count > 0; n++ {
		into[n] = p.hand(w)
	}
	return n
}

// Waiting returns how many packets wait for a client, too old ones included.
func (p *Poll) Waiting(client tables.RouterID) int {
	if w := p.clients[client]; w != nil {
		return w.count
	}
	return 0
}

// Expire drops what is too old. To be called about once a second while anything waits, or what
// nobody comes for holds memory.
func (p *Poll) Expire(now time.Time) {
	for _, w := range p.clients {
		p.dropOld(now, w)
	}
}

// Drop forgets a client and what waits for it, and returns how many packets that were.
func (p *Poll) Drop(client tables.RouterID) (lost int) { return p.forget(client) }

// Status returns the clients, sorted, and how many packets were refused because there were too many
// clients or the packet was too large.
func (p *Poll) Status() (clients []ClientStatus, refused uint64) {
	return p.status(), p.refused
}
