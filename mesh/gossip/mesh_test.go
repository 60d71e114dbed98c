package gossip

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/serf/serf"

	"github.com/vine-mesh/vine/mesh/gossip/gossiptest"
	"github.com/vine-mesh/vine/tables"
)

// A roll is a Directory for tests: vr1 is 1 and so on.
type roll struct {
	mu    sync.Mutex
	names map[tables.RouterID]string
	ids   map[string]tables.RouterID
}

func newRoll(n int) *roll {
	r := &roll{names: make(map[tables.RouterID]string), ids: make(map[string]tables.RouterID)}
	for i := 1; i <= n; i++ {
		id := tables.RouterID(i)
		r.names[id], r.ids[id.String()] = id.String(), id
	}
	return r
}

func (r *roll) ByName(name string) (tables.RouterID, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, ok := r.ids[name]
	return id, ok
}

func (r *roll) Name(id tables.RouterID) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name, ok := r.names[id]
	return name, ok
}

func (r *roll) revoke(id tables.RouterID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ids, r.names[id])
	delete(r.names, id)
}

// A queue is a Rumours for tests: it sends every message a fixed number of times.
type queue struct {
	mu    sync.Mutex
	items map[string]int // message: sendings left
}

func (q *queue) put(m string, times int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.items == nil {
		q.items = make(map[string]int)
	}
	q.items[m] = times
}

func (q *queue) Take(_, limit, overhead int) [][]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out [][]byte
	for m, left := range q.items {
		if left > 0 && len(m)+overhead <= limit {
			limit -= len(m) + overhead
			q.items[m]--
			out = append(out, []byte(m))
		}
	}
	return out
}

// A node is one VR of a test mesh.
type node struct {
	*Gossip
	id      tables.RouterID
	port    *gossiptest.Port
	rumours *queue
	cancel  context.CancelFunc
	done    chan error
	mayDie  bool // an attack is allowed to stop it

	mu      sync.Mutex
	log     []string // events in order, such as "failed vr3"
	roots   map[tables.RouterID][RootLen]byte
	heard   map[string]tables.RouterID
	onHeard func(string)
}

func (n *node) note(what string) func(tables.RouterID) {
	return func(id tables.RouterID) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.log = append(n.log, what+" "+id.String())
	}
}

// count returns how often the event was seen.
func (n *node) count(event string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := 0
	for _, e := range n.log {
		if e == event {
			c++
		}
	}
	return c
}

// status returns what n believes of a member, "" if nothing.
func (n *node) status(id tables.RouterID) Status {
	for _, m := range n.Members() {
		if m.Router == id {
			return m.Status
		}
	}
	return ""
}

func (n *node) alive() int {
	c := 0
	for _, m := range n.Members() {
		if m.Status == StatusAlive {
			c++
		}
	}
	return c
}

// A mesh is a switch and nodes in a bubble.
type mesh struct {
	t      *testing.T
	sw     *gossiptest.Switch
	cancel context.CancelFunc
	roll   *roll
	nodes  []*node // nodes[i] has router ID i+1
	open   bool    // police replaced by a pass-through
	adjust func(*serf.Config)

	lock   sync.Mutex // guards what follows
	acksTo map[tables.RouterID]int
}

// bubble runs f with a mesh of n VRs, none of which runs yet, enrolled being the number of
// enrolled VRs.
func bubble(t *testing.T, n int, open bool, f func(m *mesh)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		m := &mesh{t: t, sw: gossiptest.New(1, 5*time.Millisecond), cancel: cancel, roll: newRoll(n), open: open,
			acksTo: make(map[tables.RouterID]int)}
		swDone := make(chan struct{})
		go func() { defer close(swDone); m.sw.Run(ctx) }()
		for i := range n {
			m.nodes = append(m.nodes, m.make(tables.RouterID(i+1), 0))
		}
		f(m)
		for _, n := range m.nodes {
			n.cancel()
		}
		for _, n := range m.nodes {
			if err := <-n.done; err != nil && !n.mayDie {
				t.Errorf("%v: %v", n.id, err)
			}
		}
		cancel()
		<-swDone
		Drain()
	})
}

func (m *mesh) make(id tables.RouterID, incarnation uint32) *node {
	n := &node{id: id, rumours: &queue{}, done: make(chan error, 1),
		roots: make(map[tables.RouterID][RootLen]byte), heard: make(map[string]tables.RouterID)}
	var level slog.Level = slog.LevelError
	if os.Getenv("GOSSIP_LOG") != "" {
		level = slog.LevelDebug
	}
	c := Config{
		Self:        Self{Router: id, Name: id.String()},
		Tags:        map[string]string{"site": fmt.Sprint("s", id)},
		Incarnation: incarnation,
		Directory:   m.roll,
		Rumours:     n.rumours,
		Log:         slog.New(slog.NewTextHandler(m.t.Output(), &slog.HandlerOptions{Level: level})).With("vr", id),
		Events: Events{
			Up: n.note("up"), Failed: n.note("failed"), Left: n.note("left"), Updated: n.note("updated"),
			Root: func(from tables.RouterID, root [RootLen]byte) {
				n.mu.Lock()
				defer n.mu.Unlock()
				n.roots[from] = root
			},
			Rumour: func(from tables.RouterID, b []byte) {
				n.mu.Lock()
				_, known := n.heard[string(b)]
				n.heard[string(b)] = from
				n.mu.Unlock()
				if !known {
					n.rumours.put(string(b), 8)
				}
			},
		},
	}
	n.port = m.sw.Attach(id, func(from tables.RouterID, b []byte) { n.Deliver(from, b) }, n.accept)
	c.Dial = n.port.Dial
	c.Send = func(to tables.RouterID, b []byte) {
		_ = splitPacket(b, func(message []byte) {
			if message[0] == typeAck {
				m.lock.Lock()
				m.acksTo[to]++
				m.lock.Unlock()
			}
		})
		n.port.Send(to, b)
	}
	g, err := New(c)
	if err != nil {
		m.t.Fatal(err)
	}
	if m.open {
		g.police = passThrough{}
	}
	n.Gossip = g
	n.cancel = func() { n.done <- nil }
	return n
}

// run starts the node and lets it join through seed, 0 for nobody.
func (m *mesh) run(n *node, seed tables.RouterID) {
	ctx, cancel := context.WithCancel(m.t.Context())
	n.cancel = cancel
	n.adjust = m.adjust
	go func() { n.done <- n.Run(ctx) }()
	synctest.Wait()
	if seed != 0 {
		if _, err := n.Join(ctx, seed.String()); err != nil {
			m.t.Errorf("%v joins: %v", n.id, err)
		}
	}
}

// runAll starts all nodes, a little apart as in life, and joins them through the first.
func (m *mesh) runAll() {
	for i, n := range m.nodes {
		var seed tables.RouterID
		if i > 0 {
			seed = 1
		}
		m.run(n, seed)
		time.Sleep(37 * time.Millisecond)
	}
}

// within waits until cond holds, at most for d.
func (m *mesh) within(d time.Duration, what string, cond func() bool) time.Duration {
	m.t.Helper()
	start := time.Now()
	for !cond() {
		if time.Since(start) > d {
			m.t.Errorf("not within %v: %s", d, what)
			return d
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(start)
}

// all reports whether cond holds for every given node.
func all(nodes []*node, cond func(n *node) bool) bool {
	for _, n := range nodes {
		if !cond(n) {
			return false
		}
	}
	return true
}
