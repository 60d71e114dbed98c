package node_test

import (
	"context"
	"testing"
	"time"

	"github.com/vine-mesh/vine/mesh"
	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/tables"
)

// TestRefusedGossipStream: the control loop refuses a peer's gossip stream without waiting for itself.
// Refusing once closed the stream as its user would, by a command to the control loop; with a full
// queue, as a burst of rumours made it, the loop waited for the loop for ever and the VR was dead.
func TestRefusedGossipStream(t *testing.T) {
	inWorld(t, 95, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		b := w.Join("beta", a)
		w.Eventually("two members", time.Minute, func() bool { return a.Status().Members == 2 })
		n := a.Node
		for _, c := range []struct {
			name  string
			from  tables.RouterID
			count int
		}{
			{"of nobody", 4711, 1},
			{"above the rate of one peer", b.Joined.Router, 50},
		} {
			done := make(chan struct{})
			go func() {
				defer close(done)
				n.Inside(func(l node.Loop) {
					for i := range c.count {
						l.FillCommands()
						l.GossipOpened(c.from, i)
					}
				})
			}()
			for hangs := false; ; {
				select {
				case <-done:
				case <-time.After(10 * time.Second):
					if !hangs {
						hangs = true
						t.Errorf("a stream %s: the control loop waits for itself", c.name)
					}
					n.DropCommand()
					continue
				}
				break
			}
		}
		ctx, cancel := context.WithTimeout(background, time.Minute)
		defer cancel()
		if _, err := a.API().Status(ctx); err != nil {
			t.Errorf("status: %v", err)
		}
	})
}

// TestFloodOfRumours: while the control loop is held up, a peer floods the VR with rumours. They do
// not take the room of commands, and when the loop goes on, Status is answered. With one queue for
// both, rumours filled it, and everything that waits for the loop (the operator's commands, the
// streams of gossip, the clerk) stood behind them.
func TestFloodOfRumours(t *testing.T) {
	inWorld(t, 96, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		evil := w.Join("evil", a)
		w.Eventually("two members", time.Minute, func() bool { return a.Status().Members == 2 && nodetest.Same(a, evil) })
		evil.Stop()
		p := newImpostor(t, evil)
		defer p.close()
		const stall = 3 * time.Second
		begun, ended := make(chan struct{}), make(chan time.Time, 1)
		go a.Node.Inside(func(node.Loop) {
			close(begun)
			time.Sleep(stall)
			ended <- time.Now()
		})
		<-begun
		for i := range 2000 {
			r := mesh.Rumour{Holder: p.self, Digest: tables.Digest{Key: tables.VNKey(tables.VNID(1 + i)), Version: 1}}
			p.rumour(a, r)
			if i%20 == 19 {
				time.Sleep(10 * time.Millisecond)
			}
		}
		answered := make(chan time.Time, 1)
		go func() {
			ctx, cancel := context.WithTimeout(background, time.Minute)
			defer cancel()
			if _, err := a.API().Status(ctx); err != nil {
				t.Errorf("status: %v", err)
			}
			answered <- time.Now()
		}()
		commands, hearsay := a.Node.Queued()
		t.Logf("%d commands and %d rumours wait", commands, hearsay)
		if hearsay <= node.CommandsMax {
			t.Errorf("%d rumours wait, which proves nothing", hearsay)
		}
		if commands > node.CommandsMax/2 {
			t.Errorf("%d commands wait: rumours take their room", commands)
		}
		if late := (<-answered).Sub(<-ended); late > 5*time.Second {
			t.Errorf("status is answered %v after the loop went on", late)
		}
	})
}

// TestGossipStreamsEnd: the streams of gossip's exchanges end on both sides. Ones that gossip had
// closed before the peer did lingered once, and after some hours no more could be opened.
func TestGossipStreamsEnd(t *testing.T) {
	inWorld(t, 97, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		b := w.Join("beta", a)
		const samples = 240
		some := map[string]int{}
		for range samples {
			time.Sleep(2500 * time.Millisecond)
			for _, s := range []*nodetest.Site{a, b} {
				s.Node.Inside(func(l node.Loop) {
					if l.Streams() > 0 {
						some[s.Name]++
					}
				})
			}
		}
		t.Log("of 240 times there were streams: ", some)
		for name, n := range some {
			if n > samples/10 { // an exchange takes a few milliseconds
				t.Errorf("at %d of %d times %s had streams: they linger", n, samples, name)
			}
		}
	})
}
