package node

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vine-mesh/vine/node/relay"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/underlay"
)

// pumpStep is the least time between two turns of the relay pump: a timer for every packet would cost more
// than the packets. relay.Queue saves up ten times as long.
const pumpStep = time.Millisecond

// held is what a queue-VR has of its clients and may not send yet: what waits for a poll, and with a rate
// what waits for its turn. The lanes push, the relay pump and the control loop take. Datagrams are held as they came,
// and get the next hop's tag only when they go: keys and paths may have changed, and the next hop's replay
// window must not see them late.
type held struct {
	n     *Node
	rated atomic.Bool   // there is a rate, or something waits since there was one
	wake  chan struct{} // the pump has something to do

	mu    sync.Mutex // guards all below; held while the pump or a release sends, so that order is kept
	queue *relay.Queue
	poll  *relay.Poll
	rate  int64
	idle  bool // the pump has no timer
	into  [laneBatch]relay.Packet
	room  []underlay.Datagram // one for each place of out
	out   []underlay.Datagram
	drops map[tables.RouterID]uint64 // what was counted by tally so far; under 0 what had no client
}

func (h *held) init(n *Node) {
	h.n, h.wake, h.idle = n, make(chan struct{}, 1), true
	h.queue, h.poll = relay.NewQueue(0), relay.NewPoll()
	h.room, h.drops = newDatagrams(laneBatch, packetMax), map[tables.RouterID]uint64{}
}

// setRate sets what is relayed at most, in bits/s, 0 for no limit.
func (h *held) setRate(rate int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if rate == h.rate {
		return
	}
	h.rate = rate
	h.queue.SetRate(time.Now(), float64(rate))
	if rate > 0 {
		h.rated.Store(true)
	}
	h.kick() // Next has a new answer, and without a rate everything goes
}

func (h *held) kick() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// mayGo reports whether the caller has to send a relay datagram now. Else it was kept or dropped.
func (h *held) mayGo(s *snapshot, next *hopPeer, r frame.Relay, b []byte, ecn uint8) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if next.polls {
		h.poll.Push(now, relay.Packet{Client: r.Destination, Bytes: b, ECN: ecn})
		return false
	}
	return h.turn(now, s, next, r, b, ecn)
}

// turn reports whether a datagram may go now; else the queue has it. It is charged to the client that it is
// carried for: the sender, unless only the receiver is one. h.mu is held.
func (h *held) turn(now time.Time, s *snapshot, next *hopPeer, r frame.Relay, b []byte, ecn uint8) bool {
	if !h.rated.Load() {
		return true
	}
	client := r.Source
	if from := s.hops[r.Source]; next.attached && (from == nil || !from.attached) {
		client = r.Destination
	}
	if h.queue.Push(now, relay.Packet{Client: client, Bytes: b, ECN: ecn}) {
		return true
	}
	if h.idle {
		h.idle = false
		h.kick()
	}
	return false
}

// relayPump sends what waited for its turn. It runs until ctx ends.
func (h *held) relayPump(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-h.wake:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		if next := h.pump(); !next.IsZero() {
			timer.Reset(max(time.Until(next), pumpStep))
		}
	}
}

// pump sends what may go and returns when more may, zero if nothing waits.
func (h *held) pump() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		count := h.queue.Pop(time.Now(), h.into[:])
		if count == 0 {
			break
		}
		s := h.n.snapshot.Load()
		for _, p := range h.into[:count] {
			h.send(s, p)
		}
		h.flush()
	}
	next := h.queue.Next()
	h.idle = next.IsZero()
	if h.idle && h.rate == 0 {
		h.rated.Store(false)
	}
	return next
}

// release sends what waits for a client's poll, or gives it to the queue.
func (h *held) release(client tables.RouterID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.n.snapshot.Load()
	next := s.hops[client]
	if next == nil {
		return // kept until there is a way
	}
	for now := time.Now(); ; {
		count := h.poll.Take(now, client, h.into[:])
		if count == 0 {
			return
		}
		for _, p := range h.into[:count] {
			r, _, err := frame.ParseRelay(p.Bytes)
			if err == nil && h.turn(now, s, next, r, p.Bytes, p.ECN) {
				h.send(s, p)
			}
		}
		h.flush()
	}
}

// send puts a datagram that was held into the batch, unless it may not be passed on any more. h.mu is held.
func (h *held) send(s *snapshot, p relay.Packet) {
	n, b := h.n, p.Bytes
	r, payload, err := frame.ParseRelay(b)
	if err != nil || !s.passes(n.self.Router, r, payload) {
		n.refused.Add(1)
		return
	}
	next := s.hops[r.Destination]
	if next == nil {
		n.unrelayed.Add(1)
		return
	}
	room := h.room[len(h.out)].Buf[:0]
	if dg, ok := n.onward(next, r, append(room, b[:len(b)-frame.TagLen]...)); ok {
		dg.ECN = p.ECN
		h.out = append(h.out, dg)
	}
}

func (h *held) flush() {
	if len(h.out) > 0 {
		h.n.write(h.out)
		h.out = h.out[:0]
	}
}

// forget drops what is kept for a router, and what is known of it.
func (h *held) forget(client tables.RouterID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n.unqueued.Add(uint64(h.poll.Drop(client) + h.queue.Drop(client)))
	delete(h.drops, client)
}

// tally drops what is too old and returns how many datagrams were dropped since it was called last, by client,
// under 0 those that had none.
func (h *held) tally() map[tables.RouterID]uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.poll.Expire(time.Now())
	sums := map[tables.RouterID]uint64{}
	for _, status := range []func() ([]relay.ClientStatus, uint64){h.poll.Status, h.queue.Status} {
		list, refused := status()
		sums[0] += refused
		for _, c := range list {
			sums[c.Client] += c.Dropped
		}
	}
	for client, sum := range sums {
		sums[client] = sum - min(sum, h.drops[client])
		h.drops[client] = sum
	}
	return sums
}
