package gossip

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/serf/serf"

	"github.com/vine-mesh/vine/mesh/gossip/gossiptest"
	"github.com/vine-mesh/vine/tables"
)

// The attacks below were measured against memberlist v0.7.0 and serf v0.11.0. The attacker
// is an enrolled VR: its packets are authentic, and all that it says of others is a lie.
// Each attack has an effect on a mesh without policing, and none on one with it.

// An attacker is an enrolled VR that sends what it likes.
type attacker struct {
	*gossiptest.Port
	id     tables.RouterID
	got    [][]byte // packets it received
	m      *mesh
	victim *node
	peers  []*node // all but the victim
}

// toAll sends one message to all peers of the victim.
func (a *attacker) toAll(message []byte) {
	for _, n := range a.peers {
		a.Send(n.id, message)
	}
}

// A scene is one attack and its effect.
type scene struct {
	name   string
	adjust func(*serf.Config)
	attack func(a *attacker)
	// for is how long the effect is looked for.
	during time.Duration
	// effect reports whether the attack shows now.
	effect func(a *attacker) bool
	// lasting says that, without policing, the effect is still there at the end.
	lasting bool
}

func name(id tables.RouterID) []byte { return []byte(id.String()) }

// gone reports whether a peer does not take the victim for alive.
func gone(a *attacker) bool {
	return !all(a.peers, func(n *node) bool { return n.status(a.victim.id) == StatusAlive })
}

// everybodyGone reports whether no peer takes the victim for alive.
func everybodyGone(a *attacker) bool {
	return all(a.peers, func(n *node) bool { return n.status(a.victim.id) != StatusAlive })
}

// hijacked reports whether a peer has another address for the victim.
func hijacked(a *attacker) bool {
	return !all(a.peers, func(n *node) bool {
		for _, m := range n.serf.Load().Members() {
			if m.Name == a.victim.id.String() && !m.Addr.Equal(net.IP(Addr(a.victim.id).AsSlice())) {
				return false
			}
		}
		return true
	})
}

func dead(a *attacker) bool { return a.victim.serf.Load() == nil }

// forgedLeave is what the victim would send if it left.
func forgedLeave(a *attacker) []byte {
	v := name(a.victim.id)
	return appendAccusation(nil, typeDead, accusation{100, v, v})
}

// claimAt says that the victim is alive, at the attacker's address.
func claimAt(a *attacker, incarnation uint32) []byte {
	addr := addr16(a.id)
	return appendAlive(nil, claim{incarnation: incarnation, node: name(a.victim.id), addr: addr[:], port: Port,
		vsn: []byte{1, 5, 2, 2, 5, 4}})
}

// takeover is the forged leave and then the victim at the attacker's address.
func takeover(a *attacker) {
	a.toAll(forgedLeave(a))
	time.Sleep(20 * time.Millisecond)
	a.toAll(claimAt(a, 101))
}

// withVote is serf's default, which our configuration switches off.
func withVote(c *serf.Config) { c.EnableNameConflictResolution = true }

// conflict is takeover, and the victim is told that another has its name.
func conflict(a *attacker) {
	takeover(a)
	time.Sleep(200 * time.Millisecond)
	a.Send(a.victim.id, claimAt(a, 200))
}

func userMessage(serf []byte) []byte { return append([]byte{typeUser}, serf...) }

var scenes = []scene{
	{
		// One datagram of 64 bytes to one member: the victim's refutation overflows.
		name: "incarnation overflow",
		attack: func(a *attacker) {
			a.Send(a.peers[0].id, appendAccusation(nil, typeSuspect, accusation{1<<32 - 1, name(a.victim.id), name(a.id)}))
		},
		during: 50 * time.Second, effect: gone, lasting: true,
	},
	{
		name:   "address takeover",
		attack: takeover,
		during: 60 * time.Second, effect: hijacked,
	},
	{
		// An alive delegate alone stops the takeover, but there is none for leaves.
		name:   "forged leave",
		attack: func(a *attacker) { a.toAll(forgedLeave(a)) },
		during: 60 * time.Second, effect: everybodyGone,
	},
	{
		// The victim loses the vote about its own name and shuts itself down.
		name:   "name conflict vote",
		adjust: withVote,
		attack: conflict,
		during: 60 * time.Second, effect: dead, lasting: true,
	},
	{
		// The same with the vote off: the victim lives, but out of sight.
		name:   "name conflict without vote",
		attack: conflict,
		during: 40 * time.Second, effect: gone,
	},
	{
		// Beyond the five: the same lies in other clothes.
		name: "forged death",
		attack: func(a *attacker) {
			a.toAll(appendAccusation(nil, typeDead, accusation{50, name(a.victim.id), name(a.id)}))
		},
		during: 30 * time.Second, effect: gone,
	},
	{
		name: "leave intent with prune",
		attack: func(a *attacker) {
			b := appendMap([]byte{typeUser, serfLeave}, 3)
			b = appendUint(appendRaw(b, "LTime"), 1000)
			b = appendRaw(appendRaw(b, "Node"), name(a.victim.id))
			a.toAll(appendBool(appendRaw(b, "Prune"), true))
		},
		during: 60 * time.Second, effect: gone,
	},
	{
		name: "lies in a state exchange",
		attack: func(a *attacker) {
			addr := addr16(a.victim.id)
			left := claim{incarnation: 100, node: name(a.victim.id), addr: addr[:], port: Port,
				vsn: []byte{1, 5, 2, 2, 5, 4}, state: stateLeft}
			for _, n := range a.peers {
				exchangeWith(a, n, left)
			}
		},
		during: 40 * time.Second, effect: everybodyGone,
	},
	{
		// One lie about versions makes every state exchange of the liar's peers fail.
		name: "impossible versions",
		attack: func(a *attacker) {
			addr := addr16(a.id)
			a.toAll(appendAlive(nil, claim{incarnation: 100, node: name(a.id), addr: addr[:], port: Port,
				vsn: []byte{5, 5, 5, 2, 5, 4}}))
		},
		during: 3 * time.Second, effect: func(a *attacker) bool {
			time.Sleep(time.Second) // a member may open one stream a second
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			_, err := a.peers[0].Join(ctx, a.peers[1].id.String())
			return err != nil
		},
	},
	{
		name: "key query",
		attack: func(a *attacker) {
			addr := addr16(a.id)
			a.toAll(userMessage(appendQuery(nil, query{time: 10, id: 7, addr: addr[:], port: Port, sourceNode: name(a.id),
				timeout: uint64(10 * time.Second), name: []byte("_serf_install-key"), payload: []byte{7}})))
		},
		during: 5 * time.Second, effect: func(a *attacker) bool {
			a.m.lock.Lock()
			defer a.m.lock.Unlock()
			answered := false
			for _, b := range a.got {
				_ = splitPacket(b, func(m []byte) {
					answered = answered || len(m) > 1 && m[0] == typeUser && m[1] == serfQueryResponse
				})
			}
			return answered
		},
	},
	{
		name: "reflected ping",
		attack: func(a *attacker) {
			addr := addr16(a.victim.id)
			for _, n := range a.peers {
				for i := range 50 {
					a.Send(n.id, appendPing(nil, ping{seq: uint32(i) + 1<<20, node: name(n.id),
						sourceAddr: addr[:], sourcePort: Port, sourceNode: name(a.victim.id)}, false))
				}
			}
		},
		during: time.Second, effect: func(a *attacker) bool {
			a.m.lock.Lock()
			defer a.m.lock.Unlock()
			return a.m.acksTo[a.victim.id] > 100
		},
	},
}

// exchangeWith opens a stream to n and claims state there.
func exchangeWith(a *attacker, n *node, state claim) {
	c, err := a.Dial(context.Background(), n.id)
	if err != nil {
		a.m.t.Error(err)
		return
	}
	defer c.Close()
	b := appendMap([]byte{typePushPull}, 3)
	b = appendUint(appendRaw(b, "Nodes"), 1)
	b = appendUint(appendRaw(b, "UserStateLen"), 0)
	b = appendBool(appendRaw(b, "Join"), false)
	if _, err := c.Write(appendState(b, state)); err != nil {
		a.m.t.Error(err)
	}
	// The answer comes before the state is merged.
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	buf := make([]byte, 4096)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

func TestAttacks(t *testing.T) {
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			t.Run("policed", func(t *testing.T) { play(t, s, false) })
			t.Run("open", func(t *testing.T) { play(t, s, true) })
		})
	}
}

// play runs a scene on five VRs and the attacker.
func play(t *testing.T, s scene, open bool) {
	const n = 5
	bubble(t, n+1, open, func(m *mesh) {
		m.adjust = s.adjust
		last := len(m.nodes) - 1
		m.nodes = m.nodes[:last] // the attacker's own software is not ours
		m.runAll()
		m.within(2*time.Minute, "join", func() bool {
			return all(m.nodes, func(n *node) bool { return n.alive() == len(m.nodes) })
		})
		a := &attacker{id: n + 1, m: m, victim: m.nodes[2]}
		a.victim.mayDie = open
		for _, n := range m.nodes {
			if n != a.victim {
				a.peers = append(a.peers, n)
			}
		}
		a.Port = m.sw.Attach(a.id, func(_ tables.RouterID, b []byte) {
			m.lock.Lock()
			defer m.lock.Unlock()
			a.got = append(a.got, b)
		}, func(_ tables.RouterID, c net.Conn) { _ = c.Close() })

		s.attack(a)
		seen, first := false, time.Duration(0)
		start := time.Now()
		for time.Since(start) < s.during {
			if s.effect(a) && !seen {
				seen, first = true, time.Since(start)
			}
			time.Sleep(50 * time.Millisecond)
		}
		switch {
		case seen && !open:
			t.Errorf("the attack shows after %v", first)
		case !seen && open:
			t.Error("the attack does not show without policing, so the test proves nothing")
		case open && s.lasting && !s.effect(a):
			t.Errorf("without policing the effect is gone after %v", s.during)
		}
		if open {
			t.Logf("without policing the attack shows after %v", first)
			return
		}
		for _, n := range a.peers {
			for _, e := range []string{"failed", "left"} {
				if c := n.count(e + " " + a.victim.id.String()); c > 0 {
					t.Errorf("%v was told that the victim %s", n.id, e)
				}
			}
		}
		drops := uint64(0)
		for _, n := range m.nodes {
			for _, d := range n.Drops() {
				drops += d
			}
		}
		if drops == 0 {
			// Only a death, which passes as a suspicion, may leave no trace.
			t.Logf("nothing was dropped")
		}
	})
}
