package sim

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/vine-mesh/vine/mesh"
	"github.com/vine-mesh/vine/simulations/result"
	"github.com/vine-mesh/vine/simulations/scenario"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/path"
)

// VRsMax is the most VRs that an Engine takes: memory is what ends it.
const VRsMax = 1_000_000

// A vr is one virtual router.
type vr struct {
	up, joined, paused, leaving bool
	revoked                     bool // signed, whoever knows of it
	crashed, noticed            bool // of its last end: not said, and seen by somebody
	gossiping                   bool // a tick is planned
	probeGood                   bool
	awareness, missing          int8

	life    int32 // grows with each start and end, so that timers of a former life are known; odd while it runs
	churned int

	number                        uint32 // its incarnation
	alive, failed, members        int32  // others that it believes to live; failed; that memberlist counts
	probeNext, probeStride        int32
	probeLeft, probed             int32
	probedNumber                  uint32
	exchanges, probes             int32 // probes is the chain of probes: a new one after a pause
	nextID                        uint32
	phase                         int64
	since, downAt, resumed, fault int64 // its start, its end, the end of its pause, the last of these or of its relay
	sent, ranFor                  int64 // bytes, and time, since the warm-up
	broadcasts                    []broadcast
	rumours                       []rumour
	root                          [2]uint64
	differs                       int64
	view                          *mesh.View
	viewAt                        int64
	sample, extras                []int32
	limited                       *limited
	clients                       int32
}

// An Engine runs one scenario with one seed.
type Engine struct {
	s    *scenario.Scenario
	seed uint64
	rnd  source
	now  int64
	warm int64 // when recording begins
	end  int64
	q    *eventQueue
	net  network

	vrs   []vr
	up    int
	base  []belief
	colOf []int32
	cols  []column
	// freeCols are columns without a subject.
	freeCols []int32

	packets              []packet
	freePacket, freePull int32
	pulls                []pull
	accusation           message
	scratchBroadcasts    []broadcast
	scratchRumours       []rumour
	scratchMeasures      []path.QueueMeasure

	docs         []document
	docOf        map[tables.DocKey]int32
	docBytes     int64
	vns          []*vnet
	revocationOf []int32
	revokedAt    []int64
	anyRevoked   bool

	queueVRs, limitedVRs []int32
	isQueue, isLimited   []bool
	// here, lives and places are of each VR what packets need to know: whether it runs and is not paused, its life, who relays for
	// it. They are small, so that the processor has them at hand.
	here          []bool
	lives         []int32
	places        [][queuesWanted]place
	elections     map[uint64][]mesh.QueueCandidate
	electionEpoch uint64

	groupLies []lie
	groupNATs []natKind
	anyLiar   bool

	pairs []pair
	asked []operation
	slows []int64

	fault, healed, lossUntil, authorityBack, queueBack int64

	police  bool // dead messages about others count as suspicions, as in production
	defects defects
	broken  *result.Broken
	last    [lastMax]event
	lastAt  int
	trace   [2]uint64
	events  uint64

	memoryAt int32
	measures
}

var errNothing = errors.New("sim: the scenario has no VRs")

// New returns the engine of a checked scenario, before its first event. It refuses what it cannot run: no VRs or too many,
// a kind of network that it does not know.
func New(s *scenario.Scenario, seed uint64) (*Engine, error) {
	n := s.VRs()
	switch {
	case n == 0:
		return nil, errNothing
	case n > VRsMax:
		return nil, fmt.Errorf("sim: %d VRs: at most %d", n, VRsMax)
	case s.Duration <= 0:
		return nil, errors.New("sim: the scenario has no duration")
	}
	var groupOf []int32
	var groupLies []lie
	var groupNATs []natKind
	anyLiar := false
	for g := range s.Groups {
		if _, ok := natKinds[s.Groups[g].NAT]; !ok {
			return nil, fmt.Errorf("sim: group %s: unknown NAT %q", s.Groups[g].Name, s.Groups[g].NAT)
		}
		lie, ok := lies[s.Groups[g].Liar]
		if !ok {
			return nil, fmt.Errorf("sim: group %s: unknown liar %q", s.Groups[g].Name, s.Groups[g].Liar)
		}
		groupLies, groupNATs = append(groupLies, lie), append(groupNATs, natKinds[s.Groups[g].NAT])
		anyLiar = anyLiar || lie == liarSuspects || lie == liarStale
		for range s.Groups[g].Count {
			groupOf = append(groupOf, int32(g))
		}
	}
	e := &Engine{
		s: s, seed: seed, rnd: source{finish(seed ^ 0x73696d)}, warm: int64(s.Warmup), end: int64(s.Warmup + s.Duration),
		q: newEventQueue(), net: newNetwork(s, seed, groupOf), vrs: make([]vr, n), base: make([]belief, n), colOf: make([]int32, n),
		freePacket: -1, freePull: -1, docOf: map[tables.DocKey]int32{}, revocationOf: make([]int32, n), isQueue: make([]bool, n), isLimited: make([]bool, n),
		here: make([]bool, n), lives: make([]int32, n), places: make([][queuesWanted]place, n),
		elections: map[uint64][]mesh.QueueCandidate{}, electionEpoch: 1, police: true, trace: [2]uint64{seed, 0x7472616365},
		groupLies: groupLies, groupNATs: groupNATs, anyLiar: anyLiar,
		docBytes: int64(n) * (400 + 300 + linkRecordBytes + 3*memoryDocument),
	}
	for v := range e.colOf {
		e.colOf[v], e.revocationOf[v] = -1, -1
	}
	e.found()
	return e, nil
}

// found puts the federation where it stands when a run begins: everybody who runs knows everybody, and holds all documents.
func (e *Engine) found() {
	for v := range e.vrs {
		g := &e.s.Groups[e.net.groupOf[v]]
		kind := natKinds[g.NAT]
		if kind.limits() {
			e.vrs[v].limited = &limited{gap: -1, record: -1, list: [queuesWanted]int32{-1, -1}}
			e.limitedVRs = append(e.limitedVRs, int32(v))
			e.isLimited[v] = true
		} else if g.Queue {
			e.queueVRs = append(e.queueVRs, int32(v))
			e.isQueue[v] = true
		}
		e.vrs[v].number = 1
		e.base[v] = belief{1, alive}
		if e.beginsDown(int32(v)) {
			e.base[v] = belief{0, unknown}
		} else {
			e.up++
		}
	}
	for _, vn := range e.s.VNs {
		n := e.newNetwork(vn.Name)
		n.members, n.signed = append(n.members, e.groupMembers(vn.Groups, vn.Sample)), append(n.signed, 0)
		n.with = append(n.with, nil)
		for v := range n.installed {
			n.installed[v] = 1
		}
		for _, doc := range []int32{n.header, n.manifest, n.fragment} {
			e.docs[doc].base, e.docs[doc].latest = 1, 1
		}
		e.samplePairs(n)
	}
	for i := range e.vrs {
		v, r := int32(i), &e.vrs[i]
		if e.base[v].state != alive {
			continue
		}
		r.up, r.joined, r.life = true, true, 1
		e.moved(v)
		r.alive = int32(e.up) - 1
		r.members = r.alive
		r.phase = e.rnd.below(gossipInterval) - gossipInterval
		e.startLimited(v)
		e.run(v, true)
	}
	for v := range e.vrs {
		e.planChurnFirst(int32(v))
	}
	for i := range e.s.Events {
		e.q.add(e.warm+int64(e.s.Events[i].At), evScenario, int32(i), 0, 0)
	}
	e.q.add(e.warm, evWarm, 0, 0, 0)
	e.q.add(int64(time.Second), evSecond, 0, 0, 0)
	e.q.add(foldEvery, evFold, 0, 0, 0)
}

// beginsDown reports whether a VR does not run at the start: it comes with a flash crowd or by its trace.
func (e *Engine) beginsDown(v int32) bool {
	c := &e.s.Groups[e.net.groupOf[v]].Churn
	if v == authority {
		return false
	}
	switch c.Kind {
	case "flash":
		return true
	case "trace":
		for i := range c.Trace {
			if c.Trace[i].VR == e.name(v) {
				return c.Trace[i].What == "up"
			}
		}
	}
	return false
}

func (e *Engine) planChurnFirst(v int32) {
	c := &e.s.Groups[e.net.groupOf[v]].Churn
	switch c.Kind {
	case "flash":
		if v != authority {
			e.q.add(e.warm+int64(c.At)+e.rnd.below(int64(c.Within)), evChurn, v, 0, 0)
		}
	case "trace":
		for i := range c.Trace {
			if c.Trace[i].VR == e.name(v) {
				e.q.add(e.warm+int64(c.Trace[i].At), evTrace, v, int32(i), 0)
			}
		}
	default:
		e.planChurn(v)
	}
}

// name is the name of a VR: its group's and its number there.
func (e *Engine) name(v int32) string {
	for g := range e.s.Groups {
		if n := int32(e.s.Groups[g].Count); v >= n {
			v -= n
		} else {
			return e.s.Groups[g].Name + "-" + strconv.Itoa(int(v)+1)
		}
	}
	return "?"
}

// Run takes events until the scenario is over, until says so, or an invariant is broken. It calls p and until every 65,536
// events; both may be nil.
func (e *Engine) Run(until func() bool, p result.Progress) result.Run {
	whole := false
	for e.broken == nil {
		if !e.step() {
			e.now, whole = e.end, true
			break
		}
		if e.events&0xffff == 0 {
			if p != nil {
				p(time.Duration(e.now), e.events)
			}
			if until != nil && until() {
				break
			}
		}
	}
	return e.result(whole && e.broken == nil)
}

// step takes the next event; false if the scenario is over.
func (e *Engine) step() bool {
	ev, ok := e.q.next()
	if !ok || ev.at > e.end {
		return false
	}
	e.now = max(e.now, ev.at)
	e.events++
	e.trace[0] = finish(e.trace[0] ^ uint64(ev.at) ^ uint64(ev.kind)<<56)
	e.trace[1] = finish(e.trace[1] + (uint64(uint32(ev.a))<<32 | uint64(uint32(ev.b))) + uint64(uint32(ev.c))*0x9e3779b97f4a7c15)
	e.take(ev)
	return true
}
