package real

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/simulations/result"
	"github.com/vine-mesh/vine/simulations/scenario"
	"github.com/vine-mesh/vine/transport/transporttest"
)

// A vr is one VR of the scenario.
type vr struct {
	*nodetest.Site
	group   *scenario.Group
	host    netip.Addr // its member host
	up      bool
	unwatch func() // nil: nobody listens
	paused  bool
	revoked bool
	next    time.Time // of its churn; zero: never
	leaving bool      // the next departure is announced
	trace   []scenario.Change
}

// limited reports whether the VR cannot be reached from outside.
func (v *vr) limited() bool { return v.NAT != nil }

// deaf ends watching the VR.
func (v *vr) deaf() {
	if v.unwatch != nil {
		v.unwatch()
		v.unwatch = nil
	}
}

// An experiment is a run under way. Its goroutine is the bubble's first; only watchers and the Internet's observer call from others.
type experiment struct {
	t     *testing.T
	s     *scenario.Scenario
	w     *nodetest.World
	out   *outside
	rng   *rand.Rand
	vrs   []*vr
	start time.Time // of the bubble
	zero  time.Time // when the warm-up ended
	fault time.Time // when something was last disturbed
	todo  []scenario.Event
	later []later
	pairs []*nodetest.Flow
	seal  map[string]bool // VNs whose seal is "auth" now: what vn-update changes
	// called has the names of VNs that the scenario calls otherwise: a merge keeps the first one's.
	called map[string]string

	mu      sync.Mutex // guards all below
	bytes   int64      // sent by all VRs so far
	packets uint64
	trace   hash.Hash
	record
}

// later is what ends by itself.
type later struct {
	at time.Time
	do func()
}

// simulate runs the scenario in the bubble and gives what it has to done.
func simulate(t *testing.T, s *scenario.Scenario, seed uint64, out *outside, done func(result.Run)) {
	x := &experiment{
		t: t, s: s, out: out, rng: rand.New(rand.NewPCG(seed, 0x76696e65)), start: time.Now(), trace: sha256.New(), todo: s.Events,
		seal: map[string]bool{}, called: map[string]string{},
	}
	x.counts = map[string]int64{} // of before the warm-up ends: nobody sees it
	x.w = nodetest.New(t, seed)
	x.build()
	x.w.Net.OnSend(x.observe)
	x.advance(s.Warmup/2, nil)
	x.makeVNs()
	x.advance(s.Warmup/2, nil)
	x.zero, x.fault = time.Now(), time.Now()
	x.begin()
	whole := x.advance(s.Duration, x.second)
	done(x.finish(seed, whole))
	x.w.Net.OnSend(nil)
	for _, v := range x.vrs {
		v.deaf()
	}
	x.w.Close()
}

// observe counts and hashes what VRs send.
func (x *experiment) observe(now time.Time, from, to netip.AddrPort, payload []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.bytes += int64(len(payload)) + 28
	x.packets++
	var b [64]byte
	line := binary.BigEndian.AppendUint64(b[:0], uint64(now.Sub(x.start)))
	line = from.Addr().AppendTo(line)
	line = to.Addr().AppendTo(line)
	x.trace.Write(binary.BigEndian.AppendUint32(line, uint32(len(payload))))
}

// advance lets d of virtual time pass, calling each once a second. It reports false if the run is to end early.
func (x *experiment) advance(d time.Duration, each func()) bool {
	for end := time.Now().Add(d); time.Now().Before(end); {
		step := min(time.Second, time.Until(end))
		x.w.Run(step, step, x.pairs...)
		for next := time.Now().Add(time.Second); len(x.waits) > 0 && time.Now().Before(next); {
			x.w.Settle(100 * time.Millisecond) // a change spreads: look more often
			x.spread(time.Now())
		}
		x.mu.Lock()
		packets := x.packets
		x.mu.Unlock()
		x.out.virtual.Store(int64(time.Since(x.start)))
		x.out.packets.Store(packets)
		if each != nil {
			each()
		}
		if x.out.stop.Load() || x.broken != nil {
			return false
		}
	}
	return true
}

var natKinds = map[string]transporttest.NATKind{
	"full-cone": transporttest.FullCone, "restricted-cone": transporttest.RestrictedCone, "port-restricted": transporttest.PortRestrictedCone,
	"symmetric": transporttest.Symmetric,
	// A firewall refuses what comes first from outside, as the strictest filter does, and translates nothing that anybody could tell.
	"firewall": transporttest.PortRestrictedCone,
}

// build makes the sites and the lines between them, and starts all that are not down at the beginning.
func (x *experiment) build() {
	n := 0
	first := slices.IndexFunc(x.s.Groups, func(g scenario.Group) bool { return g.NAT == "none" }) // the founder is its first VR
	for i := range x.s.Groups {
		g := &x.s.Groups[(first+i)%len(x.s.Groups)]
		for k := range g.Count {
			name := fmt.Sprintf("%s-%d", g.Name, k+1)
			addr := netip.AddrFrom4([4]byte{20, byte(n >> 16), byte(n >> 8), byte(n)})
			n++
			v := &vr{group: g, up: true}
			if kind, ok := natKinds[g.NAT]; ok {
				nat := x.w.Net.NAT(name+"-nat", addr, kind)
				v.Site = x.w.At(name, nat.Host(name, netip.AddrFrom4([4]byte{10, 0, 0, 2})), nat)
			} else {
				v.Site = x.w.At(name, x.w.Net.Host(name, addr), nil)
			}
			if g.Up > 0 || g.Down > 0 || g.Loss > 0 {
				loss := float64(g.Loss) / 1e6
				v.edge().SetLink(transporttest.Path{Bandwidth: g.Up, Loss: loss}, transporttest.Path{Bandwidth: g.Down, Loss: loss})
			}
			x.vrs = append(x.vrs, v)
		}
	}
	x.lines()
	x.w.Net.SetLoss(float64(x.s.Network.Loss) / 1e6)
	var others []*nodetest.Site
	for _, v := range x.vrs[1:] {
		others = append(others, v.Site)
	}
	x.w.PreparedOf(x.vrs[0].Site, others)
	x.planChurn()
}

// edge is what of a VR the lines of the Internet lead to.
func (v *vr) edge() interface {
	transporttest.Node
	SetLink(up, down transporttest.Path)
} {
	if v.NAT != nil {
		return v.NAT
	}
	return v.Host
}

// lines gives every pair of sites its latency. Pairs beyond some ten thousand have lines of a few classes: the in-memory Internet keeps each line.
func (x *experiment) lines() {
	l, jitter := x.s.Network.Latency, x.s.Network.Jitter
	x.w.Net.SetDefaultPath(transporttest.Path{Latency: (l.Least + l.Most) / 2, Jitter: jitter})
	if l.Kind == "fixed" {
		return
	}
	type point struct{ x, y float64 }
	points := make([]point, len(x.vrs))
	for i := range points {
		points[i] = point{x.rng.Float64(), x.rng.Float64()}
	}
	for i, a := range x.vrs {
		for k := i + 1; k < len(x.vrs); k++ {
			b := x.vrs[k]
			x.w.Net.SetPath(a.edge(), b.edge(), transporttest.Path{Latency: latency(l, x.rng, points[i].x-points[k].x, points[i].y-points[k].y, i, k, len(x.vrs), a.group.Region, b.group.Region), Jitter: jitter})
		}
	}
}
