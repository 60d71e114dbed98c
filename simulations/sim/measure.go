package sim

import (
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"slices"
	"time"

	"github.com/vine-mesh/vine/simulations/result"
)

// A histogram counts values in buckets of at most one part in 256 of their value. The zero value is ready.
type histogram struct {
	count   int64
	buckets []int64
	least   int64
	most    int64
}

func (h *histogram) add(x int64) {
	x = max(x, 0)
	if h.count == 0 || x < h.least {
		h.least = x
	}
	h.most = max(h.most, x)
	h.count++
	i := bucketOf(x)
	if i >= len(h.buckets) {
		h.buckets = append(h.buckets, make([]int64, i+1-len(h.buckets))...)
	}
	h.buckets[i]++
}

func bucketOf(x int64) int {
	shift := max(bits.Len64(uint64(x))-9, 0)
	return shift*256 + int(x>>shift)
}

// middle is the middle of a bucket.
func middle(i int) int64 {
	if i < 512 {
		return int64(i)
	}
	shift := i/256 - 1
	return int64(i-shift*256)<<shift + 1<<shift/2
}

// quantiles returns up to n values, evenly spaced by rank, the first and the last exact.
func (h *histogram) quantiles(n int64) (values []int64) {
	n = min(n, h.count)
	rank, before := int64(0), int64(0)
	for i, c := range h.buckets {
		for rank < n && rankOf(rank, n, h.count) < before+c {
			values = append(values, min(max(middle(i), h.least), h.most))
			rank++
		}
		before += c
	}
	if n > 0 {
		values[0], values[n-1] = h.least, h.most
	}
	return values
}

func rankOf(i, n, count int64) int64 {
	if n <= 1 {
		return 0
	}
	return i * (count - 1) / (n - 1)
}

// at returns the value of a rank in thousandths; 0 if there are no values.
func (h *histogram) at(thousandths int64) int64 {
	if h.count == 0 {
		return 0
	}
	want, before := (h.count-1)*thousandths/1000, int64(0)
	for i, c := range h.buckets {
		if before += c; want < before {
			return min(max(middle(i), h.least), h.most)
		}
	}
	return h.most
}

// measures are what a run is about.
type measures struct {
	detectFirst, detectAll, falseDead histogram
	converge, revoked, relayGap       histogram
	controlEach, memoryEach, repair   histogram
	counts                            struct{ withdrawn, switches, crashes, restarts, leaves int64 }
	series                            []result.Series
	sentAt                            int64 // bytes of all at the last sample
	gossiped                          int64 // packets of gossip of all, ever
	reach                             struct {
		should, do       int64
		kinds            [4]int64
		sumShould, sumDo int64 // of all seconds since the last sample
	}
	mending mending
}

func (e *Engine) recording() bool { return e.now >= e.warm }

// measureDown is told when v comes to believe that s is gone.
func (e *Engine) measureDown(v, s int32, c *cell) {
	e.electionEpoch += uint64(b2i(e.isQueue[s]))
	r := &e.vrs[s]
	if r.up || !r.crashed || !e.recording() || r.downAt < e.warm || e.vrs[v].since > r.downAt {
		return
	}
	took := e.now - r.downAt
	if !r.noticed {
		r.noticed = true
		e.detectFirst.add(took)
	}
	e.detectAll.add(took)
}

// measureUp is told when v believes again that s lives. If s has lived all the time, v was wrong. was is what v believed.
func (e *Engine) measureUp(v, s int32, c *cell, was uint8) {
	e.electionEpoch += uint64(b2i(e.isQueue[s]))
	r := &e.vrs[s]
	if was == dead && e.recording() && r.up && r.since < c.since && r.resumed < c.since && e.healed < c.since && !e.net.split && c.since > 0 {
		e.falseDead.add(e.now - max(c.since, e.warm))
	}
}

// startRecording forgets what was before.
func (e *Engine) startRecording() {
	for i := range e.vrs {
		e.vrs[i].sent = 0
	}
	for _, s := range []struct{ name, unit string }{
		{result.Up, ""}, {result.ViewRight, "ppm"}, {result.Reachable, "ppm"}, {result.ControlRate, "bytes"},
		{result.QueueLoadMax, ""}, {result.QueueLoadFew, ""}, {result.Direct, ""}, {result.Punched, ""}, {result.Relayed, ""},
	} {
		e.series = append(e.series, result.Series{Name: s.name, Unit: s.unit, Every: e.every()})
	}
	e.q.add(e.now+int64(e.every()), evSample, 0, 0, 0)
}

func (e *Engine) every() time.Duration {
	if e.s.Every > 0 {
		return e.s.Every
	}
	return 10 * time.Second
}

// takeSample adds a value to each series.
func (e *Engine) takeSample() {
	e.q.add(e.now+int64(e.every()), evSample, 0, 0, 0)
	sent := int64(0)
	for i := range e.vrs {
		sent += e.vrs[i].sent
	}
	rate := (sent - e.sentAt) * 1000 / max(int64(e.every()/time.Millisecond), 1) / int64(max(e.up, 1))
	e.sentAt = sent
	load := make([]int64, 0, len(e.queueVRs))
	for _, q := range e.queueVRs {
		if e.vrs[q].up {
			load = append(load, int64(e.vrs[q].clients))
		}
	}
	slices.Sort(load)
	fullest, emptiest := int64(0), int64(0)
	if len(load) > 0 {
		fullest, emptiest = load[len(load)-1], load[len(load)/20]
	}
	reachable := int64(1e6)
	if e.reach.sumShould > 0 {
		reachable = e.reach.sumDo * 1e6 / e.reach.sumShould
	}
	e.reach.sumShould, e.reach.sumDo = 0, 0
	for i, x := range []int64{
		int64(e.up), e.viewRight(), reachable, rate, fullest, emptiest, e.reach.kinds[direct], e.reach.kinds[punched], e.reach.kinds[relayed],
	} {
		e.series[i].Values = append(e.series[i].Values, x)
	}
}

// longDown is when a VR that is gone should be known to be.
const longDown = int64(time.Minute)

// viewRight is how many of the pairs (VR, member) are seen rightly, in ppm. Members that have just gone do not count. Where there
// are many, some VRs stand for all.
func (e *Engine) viewRight() int64 {
	columns := len(e.cols) - len(e.freeCols)
	step := 1 + columns*len(e.vrs)/4_000_000
	pairs, wrong := int64(0), int64(0)
	settled := int64(0)
	for s := range e.vrs {
		r := &e.vrs[s]
		settled += int64(b2i(r.up && r.joined || !r.up && e.now-r.downAt > longDown))
	}
	for v := 0; v < len(e.vrs); v += step {
		if e.vrs[v].joined {
			pairs += settled - 1
		}
	}
	for n := range e.cols {
		s := e.cols[n].subject
		if s < 0 {
			continue
		}
		r := &e.vrs[s]
		if !(r.up && r.joined) && !(!r.up && e.now-r.downAt > longDown) {
			continue
		}
		for v := 0; v < len(e.vrs); v += step {
			if e.vrs[v].joined && int32(v) != s && (e.cols[n].cells[v].state <= suspect) != r.up {
				wrong++
			}
		}
	}
	if pairs <= 0 {
		return 1e6
	}
	return 1e6 - wrong*1e6/pairs
}

// result puts the run together.
func (e *Engine) result(whole bool) result.Run {
	for i := range e.vrs {
		r := &e.vrs[i]
		ran := r.ranFor
		if r.up {
			ran += e.now - max(r.since, e.warm)
			e.memoryEach.add(e.memory(int32(i)))
		}
		if ran > int64(time.Second) {
			e.controlEach.add(r.sent * 1000 / (ran / 1e6))
		}
	}
	var trace [24]byte
	binary.BigEndian.PutUint64(trace[0:], e.trace[0])
	binary.BigEndian.PutUint64(trace[8:], e.trace[1])
	binary.BigEndian.PutUint64(trace[16:], e.rnd.state)
	run := result.Run{
		Scenario: e.s.Name, Hash: e.s.Hash, Engine: "model", Seed: e.seed, VRs: len(e.vrs), Virtual: time.Duration(max(e.now-e.warm, 0)),
		Trace: hex.EncodeToString(trace[:]), Events: e.events, Whole: whole, Broken: e.broken, Series: e.series,
		Counts: map[string]int64{
			result.Withdrawn: e.counts.withdrawn, result.Switches: e.counts.switches, result.Crashes: e.counts.crashes,
			result.Restarts: e.counts.restarts, result.Leaves: e.counts.leaves,
		},
	}
	for _, d := range []struct {
		name, unit string
		h          *histogram
	}{
		{result.DetectFirst, "ns", &e.detectFirst}, {result.DetectAll, "ns", &e.detectAll}, {result.FalseDead, "ns", &e.falseDead},
		{result.Converge, "ns", &e.converge}, {result.Revoke, "ns", &e.revoked}, {result.RelayGap, "ns", &e.relayGap},
		{result.ControlEach, "bytes", &e.controlEach}, {result.MemoryEach, "bytes", &e.memoryEach}, {result.Repair, "ns", &e.repair},
	} {
		run.Distributions = append(run.Distributions, result.Distribution{
			Name: d.name, Unit: d.unit, Count: d.h.count, Values: d.h.quantiles(result.ValuesMax),
		})
	}
	return run
}
