package real

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/simulations/result"
)

const (
	// pairsMax is how many pairs of hosts send each other a packet a second.
	pairsMax = 40
	// lastMax is how many things that happened are kept for a broken invariant.
	lastMax = 30
)

// A record is what is measured.
type record struct {
	counts   map[string]int64
	series   map[string]*result.Series
	values   map[string][]int64              // of distributions
	death    map[string]*death               // of VRs that crashed, by name
	dead     map[string]map[string]time.Time // who holds a live VR for dead since when: VR, member
	waits    []*waiting
	last     []string
	broken   *result.Broken
	cut      bool
	healed   time.Time // zero: no heal waits for all documents to be alike
	sampled  time.Time
	bytesAt  int64 // at the sample before
	ends     map[*nodetest.Flow][2]*vr
	versions map[string]uint64 // highest installed, by VR and VN
	bare     map[*vr]time.Time // limited VRs without a queue-VR, since when
}

type death struct {
	at    time.Time
	first bool
	seen  map[string]bool
}

// waiting is a change on its way: of a VN, or a revocation.
type waiting struct {
	vn      string
	revoked *vr
	version uint64
	signed  time.Time
	left    map[*vr]bool
}

// note keeps what happened for a broken invariant to show.
func (x *experiment) note(format string, args ...any) {
	x.last = append(x.last, fmt.Sprintf("%9.3f s  ", time.Since(x.zero).Seconds())+fmt.Sprintf(format, args...))
	if len(x.last) > lastMax {
		x.last = x.last[1:]
	}
}

func (x *experiment) breaks(invariant, format string, args ...any) {
	if x.broken == nil {
		x.broken = &result.Broken{Invariant: invariant, At: time.Since(x.zero), Detail: fmt.Sprintf(format, args...), Last: x.last}
	}
}

// begin begins to record.
func (x *experiment) begin() {
	x.mu.Lock()
	x.counts, x.series, x.values = map[string]int64{}, map[string]*result.Series{}, map[string][]int64{}
	x.death, x.dead = map[string]*death{}, map[string]map[string]time.Time{}
	x.versions, x.bare = map[string]uint64{}, map[*vr]time.Time{}
	x.sampled, x.bytesAt = x.zero, x.bytes
	x.mu.Unlock()
	for _, v := range x.vrs {
		if v.up {
			x.watch(v)
		}
	}
}

// watch notes what gossip tells a VR of the others, until the VR ends.
func (x *experiment) watch(v *vr) {
	if x.series == nil {
		return
	}
	api, name := v.API(), v.Name
	ctx, cancel := context.WithCancel(context.Background())
	v.unwatch = cancel
	go api.Watch(ctx, "", func(ev control.Event) error { //nolint:errcheck // it ends with the VR
		if ev.Kind != control.EventMember {
			return nil
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		now := time.Now()
		switch d := x.death[ev.Subject]; {
		case ev.State == "failed" && d != nil:
			if !d.seen[name] {
				d.seen[name] = true
				x.values[result.DetectAll] = append(x.values[result.DetectAll], int64(now.Sub(d.at)))
				if !d.first {
					d.first = true
					x.values[result.DetectFirst] = append(x.values[result.DetectFirst], int64(now.Sub(d.at)))
				}
			}
		case ev.State == "failed" && !x.cut:
			if x.dead[ev.Subject] == nil {
				x.dead[ev.Subject] = map[string]time.Time{}
			}
			x.dead[ev.Subject][name] = now
		case ev.State == "alive":
			if since, ok := x.dead[ev.Subject][name]; ok {
				x.values[result.FalseDead] = append(x.values[result.FalseDead], int64(now.Sub(since)))
				delete(x.dead[ev.Subject], name)
			}
		}
		return nil
	})
}

// died notes a crash.
func (x *experiment) died(v *vr) {
	if x.death == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.death[v.Name] = &death{at: time.Now(), seen: map[string]bool{}}
	delete(x.dead, v.Name)
}

// pair has a packet go from a host of one VR to one of another each second.
func (x *experiment) pair(a, b *vr) {
	f := x.w.NewFlow(a.Site, a.host, b.Site, b.host)
	if x.ends == nil {
		x.ends = map[*nodetest.Flow][2]*vr{}
	}
	x.ends[f] = [2]*vr{a, b}
	x.pairs = append(x.pairs, f)
}

// await has each VR that runs be looked at until it has the change.
func (x *experiment) await(w waiting) {
	w.signed = time.Now()
	w.left = map[*vr]bool{}
	for _, v := range x.vrs {
		if v.up && v != w.revoked {
			w.left[v] = true
		}
	}
	if w.vn != "" {
		w.version = x.vrs[0].Installed(w.vn) + 1
	}
	if w.vn != "" || w.revoked != nil {
		x.waits = append(x.waits, &w)
	}
}

// second does what is due and looks at what there is, once a second of virtual time.
func (x *experiment) second() {
	now := time.Now()
	for _, v := range x.vrs {
		if v.up && x.death[v.Name] != nil {
			x.mu.Lock()
			delete(x.death, v.Name)
			x.mu.Unlock()
		}
	}
	x.happen(now)
	x.churn(now)
	x.spread(now)
	x.hold(now)
	if now.Sub(x.sampled) >= x.s.Every {
		x.sample(now)
	}
}

// spread looks how far changes have come, ten times a second while one spreads.
func (x *experiment) spread(now time.Time) {
	for _, w := range x.waits {
		for v := range w.left {
			switch {
			case !v.up || v.revoked:
				delete(w.left, v)
			case w.revoked != nil && x.knowsRevoked(v, w.revoked), w.revoked == nil && v.Installed(w.vn) >= w.version:
				name := result.Converge
				if w.revoked != nil {
					name = result.Revoke
				}
				x.values[name] = append(x.values[name], int64(now.Sub(w.signed)))
				delete(w.left, v)
			}
		}
	}
	rest := x.waits[:0]
	for _, w := range x.waits {
		switch {
		case len(w.left) == 0:
		case !x.cut && now.Sub(w.signed) > x.s.Bounds.Converge && now.Sub(x.fault) > x.s.Bounds.Converge && x.s.Bounds.Converge > 0:
			x.breaks("converge", "%d VRs have not %s%s after %v", len(w.left), w.vn, w.name(), now.Sub(w.signed))
		default:
			rest = append(rest, w)
		}
	}
	x.waits = rest
	if !x.healed.IsZero() && nodetest.Same(x.running()...) {
		x.values[result.Repair] = append(x.values[result.Repair], int64(now.Sub(x.healed)))
		x.healed = time.Time{}
	}
}

func (w *waiting) name() string {
	if w.revoked != nil {
		return "the revocation of " + w.revoked.Name
	}
	return fmt.Sprintf(" version %d", w.version)
}

func (x *experiment) knowsRevoked(v, gone *vr) bool {
	list, err := v.API().VRs(context.Background())
	if err != nil {
		return false
	}
	for _, e := range list {
		if e.Name == gone.Joined.Name {
			return false
		}
	}
	return true
}

func (x *experiment) running() (list []*nodetest.Site) {
	for _, v := range x.vrs {
		if v.up && !v.revoked {
			list = append(list, v.Site)
		}
	}
	return list
}

// hold checks the invariants.
func (x *experiment) hold(now time.Time) {
	if n := len(x.w.Strays); n > 0 {
		p := x.w.Strays[0]
		x.breaks("isolation", "a host at %s got a packet from %v to %v that was not for it", p.Site.Name, p.Src, p.Dst)
	}
	sample := x.vrs[x.rng.IntN(len(x.vrs))]
	if sample.up {
		for _, vn := range x.s.VNs {
			key := sample.Name + " " + vn.Name
			version := sample.Installed(vn.Name)
			if version < x.versions[key] && version > 0 {
				x.breaks("versions", "%s had version %d of %s and has %d", sample.Name, x.versions[key], vn.Name, version)
			}
			x.versions[key] = max(version, x.versions[key])
		}
	}
	if x.cut || x.s.Bounds.Reach == 0 || now.Sub(x.fault) < x.s.Bounds.Reach {
		return
	}
	for _, f := range x.pairs {
		a, b := x.ends[f][0], x.ends[f][1]
		if !a.up || !b.up || a.revoked || b.revoked || len(x.todo) != len(x.s.Events) && x.vnsChanged() {
			continue
		}
		if lost, sent := f.LostBetween(now.Add(-x.s.Bounds.Reach), now.Add(-2*time.Second)); sent > 5 && lost == sent {
			x.breaks("reach", "%s has not reached %s for %v, %v after the last fault", a.Name, b.Name, x.s.Bounds.Reach, now.Sub(x.fault).Round(time.Second))
		}
	}
}

// vnsChanged reports whether events have changed who is in which VN, so that pairs may rightly be apart.
func (x *experiment) vnsChanged() bool {
	for _, e := range x.s.Events[:len(x.s.Events)-len(x.todo)] {
		switch e.Do {
		case "vn-split", "vn-shutdown", "vn-merge":
			return true
		}
	}
	return false
}

// sample takes one value of each series.
func (x *experiment) sample(now time.Time) {
	put := func(name, unit string, v int64) {
		s := x.series[name]
		if s == nil {
			s = &result.Series{Name: name, Unit: unit, Every: x.s.Every}
			x.series[name] = s
		}
		s.Values = append(s.Values, v)
	}
	up := int64(0)
	for _, v := range x.vrs {
		if v.up {
			up++
		}
	}
	put(result.Up, "", up)
	x.mu.Lock()
	bytes := x.bytes
	x.mu.Unlock()
	if d := now.Sub(x.sampled); up > 0 && d > 0 {
		put(result.ControlRate, "bytes", int64(float64(bytes-x.bytesAt)/d.Seconds())/up)
	}
	x.bytesAt, x.sampled = bytes, now
	fine, all := int64(0), int64(0)
	for _, f := range x.pairs {
		a, b := x.ends[f][0], x.ends[f][1]
		if a.up && b.up && !a.revoked && !b.revoked {
			if lost, sent := f.LostBetween(now.Add(-4*time.Second), now.Add(-2*time.Second)); sent > 0 {
				all++
				if lost < sent {
					fine++
				}
			}
		}
	}
	if all > 0 {
		put(result.Reachable, "ppm", 1e6*fine/all)
	}
	most := int64(0)
	paths := map[string]int64{}
	for _, v := range x.vrs {
		if !v.up || v.limited() && x.rng.IntN(4) > 0 {
			continue
		}
		if !v.limited() {
			most = max(most, int64(v.Status().Clients))
			continue
		}
		links, err := v.API().Links(context.Background())
		if err != nil {
			continue
		}
		for _, l := range links {
			paths[l.Path]++
		}
	}
	put(result.QueueLoadMax, "", most)
	put(result.Direct, "", paths["direct"])
	put(result.Punched, "", paths["punched"])
	put(result.Relayed, "", paths["relayed"])
}

// finish makes the result.
func (x *experiment) finish(seed uint64, whole bool) result.Run {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := result.Run{
		Scenario: x.s.Name, Hash: x.s.Hash, Engine: "real", Seed: seed, VRs: x.s.VRs(), Virtual: time.Since(x.start), Trace: hex.EncodeToString(x.trace.Sum(nil))[:48],
		Events: x.packets, Whole: whole && x.broken == nil, Broken: x.broken, Counts: x.counts,
		Series: []result.Series{}, Distributions: []result.Distribution{},
	}
	for _, name := range []string{result.Up, result.Reachable, result.ControlRate, result.QueueLoadMax, result.Direct, result.Punched, result.Relayed} {
		if s := x.series[name]; s != nil {
			r.Series = append(r.Series, *s)
		}
	}
	for _, name := range []string{result.DetectFirst, result.DetectAll, result.FalseDead, result.Converge, result.Revoke, result.Repair} {
		if v := x.values[name]; len(v) > 0 {
			r.Distributions = append(r.Distributions, result.Keep(name, "ns", v))
		}
	}
	return r
}
