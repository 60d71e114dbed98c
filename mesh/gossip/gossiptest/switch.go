package gossiptest

import (
	"container/heap"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// packetsMax bounds the packets on the way. It is far above what tests send; reaching it
// drops, as a real queue would.
const packetsMax = 1 << 16

// ErrUnreachable reports a dial to a port that is not there or cut off.
var ErrUnreachable = errors.New("gossiptest: unreachable")

// A Switch connects ports. Create one with New, run Run, then attach ports.
type Switch struct {
	mu      sync.Mutex // guards what follows; never held while waiting or calling out
	rand    *rand.Rand
	delay   time.Duration
	loss    float64
	cut     func(a, b tables.RouterID) bool
	ports   map[tables.RouterID]*Port
	queue   packets
	next    uint64
	dropped uint64        // packets lost, cut off or not deliverable
	bytes   uint64        // sent
	wake    chan struct{} // capacity 1
}

// New returns a switch without ports. Each packet takes between delay and two delays.
func New(seed uint64, delay time.Duration) *Switch {
	return &Switch{
		rand:  rand.New(rand.NewPCG(seed, 1)),
		delay: delay,
		ports: make(map[tables.RouterID]*Port),
		wake:  make(chan struct{}, 1),
	}
}

// A Port is one VR's connection to the switch.
type Port struct {
	sw      *Switch
	id      tables.RouterID
	deliver func(from tables.RouterID, packet []byte)
	accept  func(from tables.RouterID, conn net.Conn)
	conns   map[*conn]struct{} // guarded by sw.mu
	closed  bool               // guarded by sw.mu
}

// Attach connects a VR. deliver and accept are called from the switch's and the dialer's
// goroutines and must not wait.
func (s *Switch) Attach(id tables.RouterID, deliver func(tables.RouterID, []byte), accept func(tables.RouterID, net.Conn)) *Port {
	p := &Port{sw: s, id: id, deliver: deliver, accept: accept, conns: make(map[*conn]struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports[id] = p
	return p
}

// SetLoss sets the part of the packets that is lost from now on.
func (s *Switch) SetLoss(part float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loss = part
}

// Cut separates the pairs for which cut is true; nil heals. Open streams are not touched.
func (s *Switch) Cut(cut func(a, b tables.RouterID) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = cut
}

// Traffic returns how many bytes of packets were sent so far.
func (s *Switch) Traffic() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// Dropped returns how many packets were lost so far, for whatever reason.
func (s *Switch) Dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// Run delivers packets until ctx ends, and then closes all ports.
func (s *Switch) Run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := time.Hour
		for {
			s.mu.Lock()
			if len(s.queue) == 0 {
				s.mu.Unlock()
				break
			}
			if d := time.Until(s.queue[0].at); d > 0 {
				wait = d
				s.mu.Unlock()
				break
			}
			p := heap.Pop(&s.queue).(packet)
			to := s.reach(p.from, p.to)
			if to == nil {
				s.dropped++
			}
			s.mu.Unlock()
			if to != nil {
				to.deliver(p.from, p.b)
			}
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			s.mu.Lock()
			ports := s.ports
			s.ports = nil
			s.mu.Unlock()
			for _, p := range ports {
				p.Close()
			}
			return
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// reach returns to's port if from can reach it, else nil. The caller holds mu.
func (s *Switch) reach(from, to tables.RouterID) *Port {
	p := s.ports[to]
	if p == nil || p.closed || s.cut != nil && s.cut(from, to) {
		return nil
	}
	return p
}

// Send sends a packet, or drops it.
func (p *Port) Send(to tables.RouterID, b []byte) {
	s := p.sw
	s.mu.Lock()
	s.bytes += uint64(len(b))
	if p.closed || len(s.queue) >= packetsMax || s.rand.Float64() < s.loss {
		s.dropped++
		s.mu.Unlock()
		return
	}
	s.next++
	delay := s.delay + time.Duration(s.rand.Int64N(int64(s.delay)+1))
	heap.Push(&s.queue, packet{time.Now().Add(delay), s.next, p.id, to, append([]byte(nil), b...)})
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Dial opens a stream.
func (p *Port) Dial(ctx context.Context, to tables.RouterID) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := p.sw
	s.mu.Lock()
	peer := s.reach(p.id, to)
	if peer == nil || p.closed {
		s.mu.Unlock()
		return nil, ErrUnreachable
	}
	here, there := pair(p, peer)
	p.conns[here], peer.conns[there] = struct{}{}, struct{}{}
	s.mu.Unlock()
	peer.accept(p.id, there)
	return here, nil
}

// Close takes the VR off the switch at once: its streams break and nothing reaches it.
func (p *Port) Close() {
	p.sw.mu.Lock()
	p.closed = true
	var open []*conn
	for c := range p.conns {
		open = append(open, c)
	}
	p.sw.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}

// A packet is on its way.
type packet struct {
	at       time.Time
	sequence uint64
	from, to tables.RouterID
	b        []byte
}

// packets is a heap by time, then sequence.
type packets []packet

func (q packets) Len() int { return len(q) }
func (q packets) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].sequence < q[j].sequence
}
func (q packets) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *packets) Push(x any)   { *q = append(*q, x.(packet)) }
func (q *packets) Pop() any {
	old := *q
	p := old[len(old)-1]
	*q = old[:len(old)-1]
	return p
}
