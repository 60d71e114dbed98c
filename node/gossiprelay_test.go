package node_test

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// TestGossipRelayAbused: a member has another carry gossip: more than it may, what a third has sealed, inside
// each other, to itself. What goes on is bounded, and nothing comes of the rest; with the rules off it all goes on.
func TestGossipRelayAbused(t *testing.T) {
	for _, off := range []bool{false, true} {
		t.Run(map[bool]string{false: "rules", true: "no rules"}[off], func(t *testing.T) {
			inWorld(t, 77, func(t *testing.T, w *nodetest.World) {
				if off {
					w.Prepare = func(n *node.Node) { n.CarryAnyGossip() }
				}
				a := w.Found("a")
				b := w.Join("b", a)
				evil := w.Join("evil", a)
				w.Settle(20 * time.Second)
				var recorded atomic.Pointer[[]byte]
				w.Net.OnDeliver(func(_ time.Time, from, to netip.AddrPort, p []byte) {
					if from == a.Endpoint() && to == b.Endpoint() && frame.TypeOf(p) == frame.TypeGossip {
						recorded.Store(&p)
					}
				})
				w.Settle(20 * time.Second)
				if recorded.Load() == nil {
					t.Fatal("a and b do not gossip")
				}
				evil.Kill()
				evil.Plug()
				p := newImpostor(t, evil)
				defer p.close()
				var carried atomic.Int64
				w.Net.OnDeliver(func(_ time.Time, from, to netip.AddrPort, p []byte) {
					if from == a.Endpoint() && to == b.Endpoint() && frame.TypeOf(p) == frame.TypeGossip {
						carried.Add(1)
					}
				})
				send := func(what string, most int64, least int64, packet func() []byte) {
					carried.Store(0)
					for range 2000 {
						p.say(a, packet())
						time.Sleep(500 * time.Microsecond)
					}
					w.Settle(time.Second)
					n := carried.Load()
					t.Logf("%s: %d of 2,000 go on", what, n)
					if !off && n > most || off && n < least {
						t.Errorf("%s, rules off %v: %d go on", what, off, n)
					}
				}
				own := func(to tables.RouterID) []byte {
					return append(frame.Gossip{Sender: p.self, Pieces: 1, Counter: 1 << 40}.Append(nil), make([]byte, 64)...)
				}
				send("its own", 700, 1900, func() []byte { return frame.AppendGossipRelay(nil, b.Joined.Router, own(b.Joined.Router)) })
				w.Settle(3 * time.Second)
				send("a third's", 50, 1900, func() []byte { return frame.AppendGossipRelay(nil, b.Joined.Router, *recorded.Load()) })
				before := a.Node.Refused()
				p.say(a, frame.AppendGossipRelay(nil, p.self, own(p.self)))
				p.say(a, frame.AppendGossipRelay(nil, 4000000, own(p.self)))
				w.Settle(time.Second)
				if n := a.Node.Refused() - before; n < 2 {
					t.Errorf("%d refused of two that lead nowhere", n)
				}
			})
		})
	}
}
