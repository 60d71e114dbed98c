package sim

import (
	"fmt"
	"time"

	"github.com/vine-mesh/vine/simulations/result"
)

// The invariants, by the names that a result says are broken.
const (
	invariantLoop      = "no forwarding loop"
	invariantIsolation = "no packet across networks"
	invariantBack      = "no document goes back"
	invariantReach     = "pairs that should reach each other do"
	invariantConverge  = "documents reach everybody"
	invariantRelay     = "a limited VR has a live queue-VR"
	invariantMemory    = "memory is bounded"
)

// defects are switched on in tests, to see that each invariant finds its own.
type defects struct {
	relaysPassOn   bool // a queue-VR forwards to another queue-VR
	takesAll       bool // who receives does not check the network
	rollBack       bool // an older version of a document is taken
	gossipCloses   bool // what gossip says closes a link
	keepsDead      bool // a limited VR does not notice a silent queue-VR
	noEntropy      bool // no anti-entropy, and every second rumour is not heard
	keepsRumours   bool // rumours never leave the queue
	believesClaims bool // what a queue-VR says of its bandwidth is its measurement
}

// broke ends the run: an invariant does not hold.
func (e *Engine) broke(invariant, format string, args ...any) {
	if e.broken != nil {
		return
	}
	e.broken = &result.Broken{
		Invariant: invariant, At: time.Duration(e.now - e.warm), Detail: fmt.Sprintf(format, args...), Last: e.lastEvents(),
	}
}

// lastMax is how many events a broken invariant shows.
const lastMax = 40

// lastEvents tells the last events, the oldest first. Ticks that did nothing are not among them.
func (e *Engine) lastEvents() (list []string) {
	for i := range e.last {
		ev := e.last[(e.lastAt+i)%len(e.last)]
		if ev.kind == 0 {
			continue
		}
		list = append(list, fmt.Sprintf("%v %s%s", seconds(ev.at-e.warm), ev.kind, e.tell(ev)))
	}
	return list
}

// tell names what an event is about.
func (e *Engine) tell(ev event) string {
	switch ev.kind {
	case evScenario:
		return fmt.Sprintf(" %s (line %d)", e.s.Events[ev.a].Do, e.s.Events[ev.a].Line)
	case evSuspicion:
		return fmt.Sprintf(" %s of %s", e.name(ev.a), e.name(ev.b))
	case evInstall:
		return fmt.Sprintf(" %s: %s, version %d", e.name(ev.a), e.docName(ev.b), ev.c)
	case evLinked, evAttached, evSilent:
		return fmt.Sprintf(" %s: queue-VR %s", e.name(ev.a), e.name(ev.c))
	case evExchangeEnd, evPushPull:
		peer := ev.c
		if peer < 0 {
			return fmt.Sprintf(" %s with %s: no answer", e.name(ev.a), e.name(-1-peer))
		}
		return fmt.Sprintf(" %s with %s", e.name(ev.a), e.name(peer))
	case evSecond, evFold, evSample, evAuthority, evLossOver, evWarm, evConverged:
		return ""
	}
	return " " + e.name(ev.a)
}

func seconds(ns int64) time.Duration { return time.Duration(ns).Round(time.Millisecond) }

// second is what is looked at once a virtual second.
func (e *Engine) second() {
	e.q.add(e.now+int64(time.Second), evSecond, 0, 0, 0)
	e.lieNow()
	e.followPairs()
	e.checkRelays()
	e.checkMemory()
	e.checkRepair()
}

// checkRelays wants every limited VR to have a live queue-VR within the bound, if there is one that it could have.
func (e *Engine) checkRelays() {
	bound := int64(e.s.Bounds.Relay)
	if bound == 0 || !e.recording() {
		return
	}
	for _, v := range e.limitedVRs {
		r := &e.vrs[v]
		if !r.up || !r.joined || r.paused || r.leaving || r.limited.gap < 0 {
			continue
		}
		// Since when it could have had one: its own start, the end of a split, or the last queue-VR that came back.
		since := max(r.limited.gap, r.since, r.resumed, e.healed, e.queueBack)
		if e.now-since > bound && e.queueThere(v) {
			e.broke(invariantRelay, "%s has been without a live queue-VR for %v", e.name(v), seconds(e.now-since))
		}
	}
}

// queueThere reports whether some queue-VR would serve v.
func (e *Engine) queueThere(v int32) bool {
	for _, q := range e.queueVRs {
		if e.receives(q) && !e.net.parted(v, q) && e.vrs[q].clients < clientsMax && !e.vrs[q].revoked {
			return true
		}
	}
	return false
}

// checkMemory looks at some VRs in turn.
func (e *Engine) checkMemory() {
	bound := e.s.Bounds.Memory
	if bound == 0 {
		return
	}
	for range min(len(e.vrs), 32) {
		e.memoryAt = (e.memoryAt + 1) % int32(len(e.vrs))
		if m := e.memory(e.memoryAt); m > bound {
			e.broke(invariantMemory, "%s would hold %d bytes", e.name(e.memoryAt), m)
		}
	}
}

// What production holds, in bytes: measured for serf and memberlist with their goroutines and buffers, computed for
// the rest (mesh.Index: 120 a digest; a document is kept whole).
const (
	memoryFixed    = 6 << 20
	memoryMember   = 1500
	memoryDocument = 120
	memoryQueued   = 200
)

// memory estimates the bytes that the VR would hold in production.
func (e *Engine) memory(v int32) int64 {
	r := &e.vrs[v]
	n := memoryFixed + int64(r.alive+r.failed)*memoryMember + e.docBytes
	n += int64(len(r.broadcasts)) * memoryQueued
	for i := range r.rumours {
		n += int64(r.rumours[i].size) + memoryQueued
	}
	return n + int64(r.clients)*4096
}

// converged checks that a version is at everybody who runs, Bounds.Converge after it was signed or after the last fault.
func (e *Engine) converged(doc int32, version uint32) {
	d := &e.docs[doc]
	if d.latest > version || d.held == nil {
		return
	}
	bound := int64(e.s.Bounds.Converge)
	later := int64(0)
	for v := range e.vrs {
		r := &e.vrs[v]
		if !r.joined || r.paused || r.leaving || r.revoked || d.held[v] >= version { // nobody talks to the revoked
			continue
		}
		since := max(e.lastPartition(), r.since, r.resumed, e.lossUntil)
		if r.limited != nil {
			since = max(since, r.fault)
			if r.limited.gap >= 0 {
				since = e.now
			}
		}
		if e.net.split && e.net.side[v] != e.net.side[authority] {
			since = e.now
		}
		if e.now-since >= bound {
			e.broke(invariantConverge, "%s does not hold version %d of %s", e.name(int32(v)), version, e.docName(doc))
			return
		}
		later = max(later, since)
	}
	if later > 0 {
		e.q.add(later+bound, evConverged, doc, 0, int32(version))
	}
}

func (e *Engine) lastPartition() int64 { return e.healed }
