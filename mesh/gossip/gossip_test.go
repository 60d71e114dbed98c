package gossip

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// joined starts all nodes and waits until they know each other. Honest members must not lose
// a message to the policing on the way.
func (m *mesh) joined() {
	m.t.Helper()
	m.runAll()
	d := m.within(2*time.Minute, "everybody knows everybody", func() bool {
		return all(m.nodes, func(n *node) bool { return n.alive() == len(m.nodes) })
	})
	m.t.Logf("%d VRs know each other %v after the last start", len(m.nodes), d)
	m.noDrops()
}

func (m *mesh) noDrops() {
	m.t.Helper()
	for _, n := range m.nodes {
		if d := n.Drops(); len(d) > 0 {
			m.t.Errorf("%v drops from honest members: %v", n.id, d)
		}
	}
}

// without returns all nodes but one.
func (m *mesh) without(n *node) []*node {
	var rest []*node
	for _, o := range m.nodes {
		if o != n {
			rest = append(rest, o)
		}
	}
	return rest
}

func TestJoinThroughOneSeed(t *testing.T) {
	bubble(t, 20, false, func(m *mesh) {
		m.joined()
		time.Sleep(time.Minute)
		before := m.sw.Traffic()
		time.Sleep(10 * time.Minute)
		// Without exchanges, which are streams, and the headers of the links.
		rate := float64(m.sw.Traffic()-before) / 600 / 20
		t.Logf("quiet: %.0f bytes of packets a second and VR", rate)
		if rate > 400 {
			t.Errorf("%.0f bytes a second and VR when nothing happens", rate)
		}
		m.noDrops()
		for _, n := range m.nodes {
			if n.alive() != 20 {
				t.Errorf("%v sees %d of 20 after ten quiet minutes", n.id, n.alive())
			}
			for _, o := range m.without(n) {
				if c := n.count("up " + o.id.String()); c != 1 {
					t.Errorf("%v was told %d times that %v is up", n.id, c, o.id)
				}
				if c := n.count("failed " + o.id.String()); c != 0 {
					t.Errorf("%v was told that %v failed", n.id, o.id)
				}
			}
		}
	})
}

func TestFailureIsDetected(t *testing.T) {
	bubble(t, 20, false, func(m *mesh) {
		m.joined()
		victim := m.nodes[7]
		victim.port.Close()
		rest := m.without(victim)
		d := m.within(time.Minute, "all see the failure", func() bool {
			return all(rest, func(n *node) bool { return n.status(victim.id) == StatusFailed })
		})
		t.Logf("failure seen by all after %v", d)
		if !all(rest, func(n *node) bool { return n.alive() == 19 }) {
			t.Error("somebody else was taken for failed")
		}
	})
}

func TestLossIsNotFailure(t *testing.T) {
	bubble(t, 12, false, func(m *mesh) {
		m.joined()
		m.sw.SetLoss(0.10)
		time.Sleep(5 * time.Minute)
		for _, n := range m.nodes {
			for _, o := range m.nodes {
				if n.count("failed "+o.id.String()) > 0 {
					t.Errorf("%v took %v for failed at 10 %% loss", n.id, o.id)
				}
			}
		}
	})
}

func TestLeaveIsHeardByAll(t *testing.T) {
	bubble(t, 20, false, func(m *mesh) {
		m.joined()
		leaver := m.nodes[4]
		start := time.Now()
		leaver.cancel()
		if err := <-leaver.done; err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d > 2*leaveTimeout+2*time.Second {
			t.Errorf("leaving took %v", d)
		} else {
			t.Logf("leaving took %v", d)
		}
		leaver.done <- nil
		leaver.port.Close()
		rest := m.without(leaver)
		m.within(time.Second, "all hear the leave", func() bool {
			return all(rest, func(n *node) bool { return n.status(leaver.id) == StatusLeft })
		})
		time.Sleep(2 * time.Minute)
		if !all(rest, func(n *node) bool { return n.status(leaver.id) == StatusLeft && n.alive() == 19 }) {
			t.Error("the leave did not last")
		}
	})
}

func TestRestartIsSeenAtOnce(t *testing.T) {
	for _, incarnation := range []uint32{0, 900} {
		t.Run(fmt.Sprint(incarnation), func(t *testing.T) {
			bubble(t, 6, false, func(m *mesh) {
				m.joined()
				old := m.nodes[3]
				old.port.Close()
				rest := m.without(old)
				m.within(time.Minute, "failure", func() bool {
					return all(rest, func(n *node) bool { return n.status(old.id) == StatusFailed })
				})
				old.cancel()
				<-old.done
				again := m.make(old.id, incarnation)
				m.nodes[3] = again
				m.run(again, 1)
				d := m.within(time.Minute, "all see it again", func() bool {
					return all(m.nodes, func(n *node) bool { return n.alive() == 6 })
				})
				for _, n := range m.nodes {
					if n.alive() < 6 {
						t.Logf("%v: %v %v %v", n.id, n.Members(), n.Drops(), n.police.(*police).known)
					}
				}
				m.within(10*time.Second, "the incarnation goes on", func() bool { return again.Incarnation() > incarnation })
				t.Logf("back after %v, incarnation %d", d, again.Incarnation())
			})
		})
	}
}

func TestPartitionMergesAgain(t *testing.T) {
	for _, apart := range []time.Duration{20 * time.Second, 10 * time.Minute} {
		t.Run(apart.String(), func(t *testing.T) {
			bubble(t, 12, false, func(m *mesh) {
				m.joined()
				m.sw.Cut(func(a, b tables.RouterID) bool { return (a <= 6) != (b <= 6) })
				if apart > time.Minute {
					m.within(time.Minute, "each half misses the other", func() bool {
						return all(m.nodes, func(n *node) bool { return n.alive() == 6 })
					})
				}
				time.Sleep(apart)
				m.sw.Cut(nil)
				d := m.within(5*time.Minute, "one mesh again", func() bool {
					return all(m.nodes, func(n *node) bool { return n.alive() == 12 })
				})
				t.Logf("one mesh %v after the cut of %v healed", d, apart)
				time.Sleep(2 * time.Minute)
				if !all(m.nodes, func(n *node) bool { return n.alive() == 12 }) {
					t.Error("and apart again")
				}
			})
		})
	}
}

func TestRumourReachesAll(t *testing.T) {
	bubble(t, 20, false, func(m *mesh) {
		m.joined()
		time.Sleep(10 * time.Second)
		m.nodes[2].rumours.put("news", 8)
		m.nodes[2].Deliver(2, nil) // nothing; must not panic
		rest := m.without(m.nodes[2])
		d := m.within(10*time.Second, "all hear the news", func() bool {
			return all(rest, func(n *node) bool {
				n.mu.Lock()
				defer n.mu.Unlock()
				_, ok := n.heard["news"]
				return ok
			})
		})
		t.Logf("19 heard the news in %v", d)
		for _, n := range rest {
			n.mu.Lock()
			if from := n.heard["news"]; from == n.id || from == 0 {
				t.Errorf("%v heard it from %v", n.id, from)
			}
			n.mu.Unlock()
		}
	})
}

func TestRootsAreLearnedFromAcks(t *testing.T) {
	bubble(t, 10, false, func(m *mesh) {
		m.joined()
		root := func(id tables.RouterID) [RootLen]byte { return [RootLen]byte{byte(id), 42} }
		for _, n := range m.nodes {
			n.SetRoot(root(n.id))
		}
		d := m.within(2*time.Minute, "everybody knows every root", func() bool {
			return all(m.nodes, func(n *node) bool {
				n.mu.Lock()
				defer n.mu.Unlock()
				for _, o := range m.without(n) {
					if n.roots[o.id] != root(o.id) {
						return false
					}
				}
				return true
			})
		})
		t.Logf("all roots of 9 others after %v", d)
		// serf's coordinate in front of the root still arrives whole.
		time.Sleep(time.Minute)
		for _, member := range m.nodes[0].Members() {
			if member.Router != 1 && (member.RTT < 5*time.Millisecond || member.RTT > 40*time.Millisecond) {
				t.Errorf("%v seems %v away, it is 10 to 20 ms", member.Router, member.RTT)
			}
		}
	})
}

func TestTagsChange(t *testing.T) {
	bubble(t, 5, false, func(m *mesh) {
		m.joined()
		if err := m.nodes[1].SetTags(map[string]string{"role": "queue"}); err != nil {
			t.Fatal(err)
		}
		m.within(10*time.Second, "all see the tag", func() bool {
			return all(m.nodes, func(n *node) bool { return n.Members()[1].Tags["role"] == "queue" })
		})
		if m.nodes[0].count("updated vr2") != 1 {
			t.Error("no event for changed tags")
		}
		if err := m.nodes[1].SetTags(map[string]string{"role": string(make([]byte, 600))}); err == nil {
			t.Error("600 bytes of tags were taken")
		}
	})
}

func TestRevokedIsSilenced(t *testing.T) {
	bubble(t, 6, false, func(m *mesh) {
		m.joined()
		liar := m.nodes[5]
		m.roll.revoke(liar.id)
		rest := m.nodes[:5]
		m.within(time.Minute, "nobody counts it as a member", func() bool {
			return all(rest, func(n *node) bool { return n.alive() == 5 && n.status(liar.id) == "" })
		})
		liar.rumours.put("let me in", 100)
		time.Sleep(2 * time.Minute)
		for _, n := range rest {
			n.mu.Lock()
			if _, ok := n.heard["let me in"]; ok {
				t.Errorf("%v hears a revoked VR", n.id)
			}
			n.mu.Unlock()
			if n.Drops()["stranger"] == 0 {
				t.Errorf("%v counted nothing from the revoked VR", n.id)
			}
			for _, s := range n.serf.Load().Members() {
				if s.Name == liar.id.String() && s.Status.String() == "alive" {
					t.Errorf("%v: serf still takes the revoked VR for alive", n.id)
				}
			}
		}
	})
}

func TestFloodIsCapped(t *testing.T) {
	bubble(t, 6, false, func(m *mesh) {
		m.joined()
		flooder, target := m.nodes[5], m.nodes[0]
		before := target.Drops()[DropRate.String()]
		for range 100 { // 10,000 messages a second for ten seconds
			for range 1000 {
				v := name(m.nodes[2].id)
				flooder.port.Send(target.id, appendAccusation(nil, typeSuspect, accusation{1, v, name(flooder.id)}))
			}
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		if d := target.Drops()[DropRate.String()] - before; d < 90_000 {
			t.Errorf("only %d of 100,000 messages were dropped for their rate", d)
		}
		if !all(m.nodes, func(n *node) bool { return n.count("failed vr3") == 0 && n.alive() == 6 }) {
			t.Error("the flood had an effect")
		}
	})
}

func TestJoinRefusals(t *testing.T) {
	bubble(t, 3, false, func(m *mesh) {
		n := m.nodes[0]
		if _, err := n.Join(m.t.Context(), "vr2"); err == nil {
			t.Error("joined before running")
		}
		n.Deliver(2, []byte{typePing}) // dropped
		m.run(n, 0)
		for _, name := range []string{"nobody", "vr1", "vr3", "vr2/[::1]:7946", "127.0.0.1:80"} {
			if k, err := n.Join(m.t.Context(), name); err == nil || k != 0 {
				t.Errorf("joined %q", name)
			}
		}
		ctx, cancel := context.WithCancel(m.t.Context())
		cancel()
		if _, err := n.Join(ctx, "vr2"); err == nil {
			t.Error("joined with an ended context")
		}
		synctest.Wait()
		if err := n.Run(m.t.Context()); err == nil {
			t.Error("ran twice")
		}
	})
}

func TestNewRefuses(t *testing.T) {
	good := Config{Self: Self{1, "vr1"}, Directory: newRoll(1), Send: func(tables.RouterID, []byte) {},
		Dial: nil}
	if _, err := New(good); err == nil {
		t.Error("no Dial")
	}
	for id := tables.RouterID(1); id != 0; id <<= 1 {
		if got, ok := routerOf(Addr(id)); !ok || got != id {
			t.Errorf("address of %v names %v", id, got)
		}
	}
	if _, ok := routerOf(Addr(0)); ok {
		t.Error("router 0 has an address")
	}
}
