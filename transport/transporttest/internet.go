package transporttest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// LatencyDefault is the latency between two public nodes until SetDefaultPath or SetPath say otherwise.
const LatencyDefault = 10 * time.Millisecond

// flyingMax bounds the packets under way. A packet takes about 2.5 KB, so that they are at most 2.6 GB;
// 1,000 hosts with 100 packets/s each and a latency of 100 ms have 10,000.
const flyingMax = 1 << 20

// An Observer is shown a packet. The payload is its own copy, and from and to are the endpoints as the
// caller of the Observer sees them. It may be called by several goroutines at once.
type Observer func(now time.Time, from, to netip.AddrPort, payload []byte)

// An Internet is the whole: make it with New, add hosts, and have one goroutine run it. Everything may
// be changed while it runs, by any goroutine.
type Internet struct {
	seed  uint64
	epoch time.Time

	wake   chan struct{} // tells Run that its next event is not the next any more; sends never wait
	done   chan struct{} // closed by Close
	exited chan struct{} // closed when Run has returned; made by New, used only if it ran

	// mu guards what follows, and the fields of all nodes, realms and packets under way. It is held
	// for one batch or a few hundred events at a time, and nothing is waited for with it held.
	mu        sync.Mutex
	closed    bool
	running   bool
	asleep    bool          // Run waits, until wakeAt or a token in wake
	wakeAt    time.Duration // zero: nothing is under way
	nodes     []*node
	hosts     []*Host
	core      *realm
	loss      float64
	cuts      map[pair]bool
	events    events
	seq       uint64
	onSend    Observer
	onDeliver Observer
	intercept func(from, to netip.AddrPort, payload []byte) bool
	delivered []delivery // to be shown to onDeliver
	scratch   pipe
}

// New returns an empty Internet. Run starts it.
func New(seed uint64) *Internet {
	return &Internet{
		seed:   seed,
		epoch:  time.Now(),
		wake:   make(chan struct{}, 1),
		done:   make(chan struct{}),
		exited: make(chan struct{}),
		core:   newRealm(nil, Path{Latency: LatencyDefault}),
		cuts:   make(map[pair]bool),
	}
}

// Start returns an Internet that runs until the test ends.
func Start(t testing.TB, seed uint64) *Internet {
	in := New(seed)
	go in.Run(context.Background())
	t.Cleanup(in.Close)
	return in
}

// Run carries packets until ctx ends, whose error it returns, or until Close. It is called once.
// Packets sent before it is called are carried as soon as it is.
func (in *Internet) Run(ctx context.Context) error {
	in.mu.Lock()
	if in.closed || in.running {
		closed := in.closed
		in.mu.Unlock()
		if closed {
			return nil
		}
		return errors.New("transporttest: Run called twice")
	}
	in.running = true
	in.mu.Unlock()
	defer close(in.exited)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait, idle := in.carry()
		switch {
		case idle:
			timer.Stop()
		default:
			timer.Reset(wait)
		}
		select {
		case <-timer.C:
		case <-in.wake:
		case <-ctx.Done():
			return ctx.Err()
		case <-in.done:
			return nil
		}
	}
}

// Close closes every socket, drops what is under way, and returns when Run has. It may be called
// more than once.
func (in *Internet) Close() {
	in.mu.Lock()
	if !in.closed {
		in.closed = true
		for _, h := range in.hosts {
			for _, s := range h.sockets {
				s.close()
			}
			clear(h.sockets)
		}
		for _, e := range in.events {
			e.p.free()
		}
		in.events = nil
		close(in.done)
	}
	running := in.running
	in.mu.Unlock()
	if running {
		<-in.exited
	}
}

// Host adds a host with public addresses. The name is for people and may be anything.
func (in *Internet) Host(name string, addrs ...netip.Addr) *Host {
	return in.newHost(in.core, name, addrs)
}

// NAT adds a NAT box with a public IPv4 address.
func (in *Internet) NAT(name string, public netip.Addr, kind NATKind) *NAT {
	return in.newNAT(in.core, name, public, kind)
}

func (in *Internet) newNode(r *realm, name string) *node {
	n := &node{in: in, id: uint32(len(in.nodes)), name: name, realm: r, wall: newWall(Firewall{})}
	in.nodes = append(in.nodes, n)
	return n
}

func (in *Internet) newHost(r *realm, name string, addrs []netip.Addr) *Host {
	checkAddrs(name, addrs)
	in.mu.Lock()
	defer in.mu.Unlock()
	h := &Host{node: in.newNode(r, name), addrs: append([]netip.Addr(nil), addrs...), sockets: make(map[uint16]*socket)}
	h.node.host = h
	h.rng = in.random(h.node)
	in.hosts = append(in.hosts, h)
	for _, a := range addrs {
		h.claim(a)
	}
	return h
}

func (in *Internet) newNAT(r *realm, name string, public netip.Addr, kind NATKind) *NAT {
	if !public.Is4() {
		panic("transporttest: the public address of NAT " + name + " is not an IPv4 address")
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	n := &NAT{node: in.newNode(r, name)}
	n.node.nat = n
	n.inner = newRealm(n, Path{})
	n.table = newNATTable(public, kind, in.random(n.node))
	n.claim(public)
	return n
}

// random returns the randomness of one node.
func (in *Internet) random(n *node) *rand.Rand { return rand.New(rand.NewPCG(in.seed, uint64(n.id))) }

// Counters returns the sum over all hosts.
func (in *Internet) Counters() Counters {
	in.mu.Lock()
	defer in.mu.Unlock()
	var c Counters
	for _, h := range in.hosts {
		c.add(&h.counts)
	}
	return c
}

// OnSend has f called for every packet that a socket sends, before anything can happen to it, from
// within WriteBatch. Nil ends it.
func (in *Internet) OnSend(f Observer) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.onSend = f
}

// OnDeliver has f called for every packet that was put into a socket, in order, by the goroutine of
// Run. Nil ends it.
func (in *Internet) OnDeliver(f Observer) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.onDeliver = f
}

// Intercept has f called for every packet that a socket sends, from within WriteBatch. The packet is
// dropped when f returns false; f may change the bytes of the payload, as an attacker on the path
// may. Nil ends it.
func (in *Internet) Intercept(f func(from, to netip.AddrPort, payload []byte) bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.intercept = f
}
