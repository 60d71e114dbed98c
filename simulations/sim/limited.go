package sim

import (
	"slices"
	"time"

	"github.com/vine-mesh/vine/mesh"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/path"
)

// A limited holds what a limited VR does about its queue-VRs: the Attachments of package path, and what node
// does for them.
type limited struct {
	state  *path.Attachments
	short  []int32 // the short list
	epoch  uint64  // of the election when it was looked at
	key    uint64  // of what v believes of the candidates, when the list was made
	uses   []use
	list   [queuesWanted]int32 // announced, -1: none
	first  int32               // of list, before
	due    int64
	gap    int64 // since when it is without a live queue-VR, -1: it is not
	record int32 // its link record, -1: none changed yet
	// announced are the lists of the last versions of its link record.
	announced [8]announcement
	tokens    int64 // records that it may make, in ns of recordEvery
	filled    int64
	recordDue bool
	busy      bool // it exchanges packets: silence is noticed soon
}

type announcement struct {
	version uint32
	list    [queuesWanted]int32
}

// A use is what a limited VR has to do with one queue-VR.
type use struct {
	queue    int32
	wanted   bool  // a channel is meant to stay
	trial    int64 // until then a link for a measurement is kept
	linked   bool  // it believes that the link is up
	accepted bool  // it believes that the queue-VR serves it
	served   bool  // the queue-VR does, or did when it stopped
	life     int32 // of the queue-VR, when it was linked
	asked    int64
	refused  int64
	rtt      int64
	score    int64
	scored   int64
	linkedAt int64
	nonce    int32 // of the last dial or silence
}

// usesMax bounds the queue-VRs that one limited VR has to do with at a time.
const usesMax = 24

const (
	trialLife = int64(6 * time.Minute)
	// trainEvery is how often a standby is measured, scoreEvery the first, which carries traffic.
	trainEvery, scoreEvery, trainFirst = int64(time.Minute), int64(5 * time.Second), int64(3 * time.Second)
	attachPatience                     = int64(5 * time.Second)
)

func (e *Engine) startLimited(v int32) {
	l := e.vrs[v].limited
	if l == nil {
		return
	}
	l.state = path.NewAttachments(routerOf(v), queuesWanted)
	l.uses, l.short, l.epoch = l.uses[:0], l.short[:0], 0
	l.key = 0
	l.list, l.first = [queuesWanted]int32{-1, -1}, -1
	l.gap, l.tokens, l.filled, l.recordDue = e.now, recordBurst*recordEvery, e.now, false
	l.due = 0
	e.planQueues(v, e.now+e.rnd.below(int64(2e8)))
}

func (e *Engine) stopLimited(v int32) {
	l := e.vrs[v].limited
	if l == nil {
		return
	}
	for i := range l.uses {
		e.release(&l.uses[i])
	}
	l.uses = l.uses[:0]
	l.list = [queuesWanted]int32{-1, -1}
	l.gap = -1
	e.placeAll(v)
}

// release frees the place of a client.
func (e *Engine) release(u *use) {
	if u.served && e.vrs[u.queue].life == u.life {
		if e.vrs[u.queue].clients--; e.vrs[u.queue].clients == clientsMax-1 {
			e.electionEpoch++ // it was full
		}
	}
	u.served = false
}

func (e *Engine) planQueues(v int32, at int64) {
	l := e.vrs[v].limited
	if l.due > e.now && l.due <= at {
		return
	}
	l.due = at
	e.q.add(at, evQueues, v, e.vrs[v].life, 0)
}

// electedOf returns who v holds for elected. All VRs that believe the same of the candidates have the same answer,
// so it is computed once.
func (e *Engine) electedOf(v int32, l *limited) (elected []mesh.QueueCandidate, key uint64) {
	if e.electionEpoch == l.epoch {
		return nil, l.key // nobody has changed his mind of any candidate
	}
	l.epoch = e.electionEpoch
	for i, q := range e.queueVRs {
		bits := uint64(b2i(e.queueAlive(v, q)) | b2i(e.vrs[q].clients >= clientsMax)<<1 | b2i(e.revokedBy(v, q))<<2)
		key = finish(key ^ bits ^ uint64(i)<<3)
	}
	if elected, ok := e.elections[key]; ok {
		return elected, key
	}
	candidates := make([]mesh.QueueCandidate, 0, len(e.queueVRs))
	for _, q := range e.queueVRs {
		if e.revokedBy(v, q) {
			continue
		}
		candidates = append(candidates, mesh.QueueCandidate{
			Router: routerOf(q), Site: e.name(q), MayQueue: true, Regular: true,
			Full: e.vrs[q].clients >= clientsMax, Alive: e.queueAlive(v, q),
		})
	}
	ids := mesh.Elect(candidates)
	elected = slices.DeleteFunc(candidates, func(c mesh.QueueCandidate) bool { return !slices.Contains(ids, c.Router) })
	if len(e.elections) >= 256 {
		clear(e.elections)
	}
	e.elections[key] = elected
	return elected, key
}

func (e *Engine) queueAlive(v, q int32) bool { return e.look(v, q).state <= suspect }

// decide has the Attachments of a limited VR look at what was measured.
func (e *Engine) decide(v int32) {
	r := &e.vrs[v]
	l := r.limited
	if l.due != e.now || r.paused {
		return
	}
	if elected, key := e.electedOf(v, l); key != l.key || len(l.short) == 0 {
		l.key = key
		l.short = l.short[:0]
		for _, id := range mesh.Shortlist(elected, routerOf(v), e.name(v), func(id tables.RouterID) (time.Duration, bool) {
			return time.Duration(2 * e.net.steady(v, vrOf(id))), true
		}, shortLen) {
			l.short = append(l.short, vrOf(id))
		}
	}
	list := e.scratchMeasures[:0]
	for i := range l.uses {
		if u := &l.uses[i]; u.trial > 0 && u.trial <= e.now {
			u.trial = 0
			if !u.wanted {
				u.linked = false
			}
		}
	}
	for _, q := range l.short {
		list = append(list, e.measure(v, l, q))
	}
	for i := range l.uses {
		if u := &l.uses[i]; u.wanted && !slices.Contains(l.short, u.queue) && !e.revokedBy(v, u.queue) {
			list = append(list, e.measure(v, l, u.queue))
		}
	}
	e.scratchMeasures = list
	// The links to its queue-VRs are kept open.
	for i := range l.uses {
		if l.uses[i].linked {
			r.sent += linkProbeBytes * int64(5*time.Second) / ((idleProbeLeast + idleProbeMost) / 2)
		}
	}
	for _, a := range l.state.Decide(e.time(), list, e.rnd.next) {
		e.attachment(v, a)
	}
	next := l.state.Next()
	at := e.now + int64(30*time.Second)
	if !next.IsZero() {
		at = min(at, max(int64(next.Sub(epoch)), e.now+int64(10*time.Millisecond)))
	}
	l.due = 0
	e.planQueues(v, at)
}

func (l *limited) use(q int32) *use {
	for i := range l.uses {
		if l.uses[i].queue == q {
			return &l.uses[i]
		}
	}
	return nil
}

// measure is what v has measured of a queue-VR itself.
func (e *Engine) measure(v int32, l *limited, q int32) path.QueueMeasure {
	m := path.QueueMeasure{Router: routerOf(q), Site: e.name(q)}
	u := l.use(q)
	if u == nil {
		return m
	}
	m.Linked = u.linked && (u.accepted || !u.wanted || u.asked == 0 || e.now-u.asked < attachPatience)
	if u.refused > 0 {
		m.Refused = epoch.Add(time.Duration(u.refused))
	}
	every := trainEvery
	if q == l.list[0] {
		every = scoreEvery
	}
	if u.linked && e.now-u.linkedAt >= trainFirst && (u.scored == 0 || e.now-u.scored >= every) && e.serves(q, u) {
		u.score = e.throughput(v, q)
		u.score += u.score / 100 * (e.rnd.below(21) - 10) // measurements err by a tenth
		u.scored = e.now
		u.rtt = 2*e.net.steady(v, q) + e.rnd.below(e.net.jitter)
	}
	if u.linked {
		m.RTT = time.Duration(u.rtt)
	}
	if u.scored > 0 {
		m.Score, m.ScoreAt = float64(u.score), epoch.Add(time.Duration(u.scored))
	}
	return m
}

// throughput is what a queue-VR really carries for v, in bits a second: its own line is shared by its clients.
func (e *Engine) throughput(v, q int32) int64 {
	own, theirs := &e.s.Groups[e.net.groupOf[v]], &e.s.Groups[e.net.groupOf[q]]
	rate := int64(1e9)
	if theirs.Up > 0 {
		rate = theirs.Up
	}
	if e.liar(q) == liarCapacity && e.defects.believesClaims {
		return rate * 1000
	}
	if e.liar(q) == liarDrops {
		return 1000
	}
	rate /= int64(max(e.vrs[q].clients, 1))
	if own.Up > 0 {
		rate = min(rate, own.Up)
	}
	if own.Down > 0 {
		rate = min(rate, own.Down)
	}
	return max(rate, 1000)
}

// serves reports whether the queue-VR of a use is there and in its place.
func (e *Engine) serves(q int32, u *use) bool {
	return e.receives(q) && e.vrs[q].life == u.life
}

// reaches is serves, and that the network lets packets through.
func (e *Engine) reaches(v int32, u *use) bool {
	return e.serves(u.queue, u) && !e.net.parted(v, u.queue)
}

// attachment does what Attachments says.
func (e *Engine) attachment(v int32, a path.AttachAction) {
	l := e.vrs[v].limited
	switch a := a.(type) {
	case path.Attach:
		u := e.makeUse(l, vrOf(a.Router))
		u.wanted, u.trial = true, 0
		u.accepted, u.asked = false, 0
		if u.linked {
			e.ask(v, u)
		} else {
			e.dial(v, u)
		}
	case path.Try:
		u := e.makeUse(l, vrOf(a.Router))
		u.trial = e.now + trialLife
		e.dial(v, u)
	case path.Detach:
		if u := l.use(vrOf(a.Router)); u != nil {
			e.release(u)
			u.wanted, u.accepted, u.linked, u.trial, u.asked = false, false, false, 0, 0
			u.nonce++
		}
	case path.Announce:
		list := [queuesWanted]int32{-1, -1}
		for i, id := range a.Queues {
			if i < queuesWanted {
				list[i] = vrOf(id)
			}
		}
		if l.list[0] >= 0 && list[0] != l.list[0] && e.recording() {
			if u := l.use(l.list[0]); u != nil && u.accepted && e.reaches(v, u) {
				e.counts.switches++
			}
		}
		l.list = list
		e.publishRecord(v)
	}
	e.checkRelay(v)
}

func (e *Engine) makeUse(l *limited, q int32) *use {
	if u := l.use(q); u != nil {
		return u
	}
	if len(l.uses) >= usesMax {
		for i := range l.uses {
			if u := &l.uses[i]; !u.wanted && u.trial == 0 {
				l.uses = slices.Delete(l.uses, i, i+1)
				break
			}
		}
	}
	l.uses = append(l.uses, use{queue: q})
	return &l.uses[len(l.uses)-1]
}

// dial opens a link with a queue-VR: two round trips, more if packets are lost. Nobody there: nothing comes of it.
func (e *Engine) dial(v int32, u *use) {
	u.nonce++
	e.vrs[v].sent += handshakeBytes
	if !e.meets(v, u.queue) {
		return
	}
	after := int64(0)
	for range 8 {
		if !e.net.loses(&e.rnd, v, u.queue) && !e.net.loses(&e.rnd, u.queue, v) {
			break
		}
		after += int64(600 * time.Millisecond)
	}
	e.q.add(e.now+after+2*e.net.steady(v, u.queue), evLinked, v, u.nonce, u.queue)
}

// linked continues what waited for a link.
func (e *Engine) linked(v, nonce, q int32) {
	u := e.vrs[v].limited.use(q)
	if u == nil || u.nonce != nonce || !e.meets(v, q) {
		return
	}
	u.linked, u.linkedAt, u.life, u.served = true, e.now, e.vrs[q].life, false
	u.rtt = 2 * e.net.steady(v, q)
	if u.wanted {
		e.ask(v, u)
	}
	e.linkUp(v, q)
	e.planQueues(v, e.now+int64(time.Millisecond))
}

// ask asks a queue-VR to serve v; asking again makes losses good.
func (e *Engine) ask(v int32, u *use) {
	if u.asked == 0 {
		u.asked = e.now
	}
	e.vrs[v].sent += attachBytes
	after := 2 * e.net.steady(v, u.queue)
	for range 8 {
		if !e.net.loses(&e.rnd, v, u.queue) && !e.net.loses(&e.rnd, u.queue, v) {
			break
		}
		after += int64(time.Second)
	}
	e.q.add(e.now+after, evAttached, v, u.nonce, u.queue)
}

// attached takes a queue-VR's answer.
func (e *Engine) attached(v, nonce, q int32) {
	u := e.vrs[v].limited.use(q)
	if u == nil || u.nonce != nonce || !u.wanted || u.accepted || !e.reaches(v, u) {
		return
	}
	e.vrs[q].sent += attachBytes
	u.asked = 0
	if e.vrs[q].clients >= clientsMax {
		u.refused = e.now
	} else {
		u.accepted, u.served = true, true
		if e.vrs[q].clients++; e.vrs[q].clients == clientsMax {
			e.electionEpoch++
		}
	}
	e.planQueues(v, e.now+int64(time.Millisecond))
	e.checkRelay(v)
}

// touchQueue looks after those who have to do with a VR that has come, gone, frozen or changed sides: its clients notice
// its silence in time.
func (e *Engine) touchQueue(q int32) {
	e.electionEpoch++
	if e.vrs[q].limited != nil {
		e.quiet(q, &e.vrs[q].limited.uses)
	}
	if !e.isQueue[q] {
		return
	}
	if !e.vrs[q].up {
		e.vrs[q].clients = 0
	}
	if e.here[q] && !slices.ContainsFunc(e.queueVRs, func(o int32) bool { return o != q && e.here[o] }) {
		e.queueBack = e.now // the first that there is
	}
	for _, v := range e.limitedVRs {
		if u := e.vrs[v].limited.use(q); u != nil && e.vrs[v].up {
			e.hush(v, u)
			e.checkRelay(v)
		}
	}
}

func (e *Engine) quiet(v int32, uses *[]use) {
	if !e.vrs[v].up {
		return
	}
	for i := range *uses {
		e.hush(v, &(*uses)[i])
	}
	e.checkRelay(v)
}

// hush plans when v notices that a queue-VR is silent, if it is.
func (e *Engine) hush(v int32, u *use) {
	if !u.linked || e.reaches(v, u) && !e.vrs[v].paused {
		return
	}
	after := activeQuiet + activeDead
	if !e.vrs[v].limited.busy {
		after = e.rnd.below(idleProbeMost) + idleDead
	}
	u.nonce++
	e.q.add(e.now+after, evSilent, v, u.nonce, u.queue)
}

// silent is when a limited VR gives up a link, unless it answers again.
func (e *Engine) silent(v, nonce, q int32) {
	u := e.vrs[v].limited.use(q)
	if u == nil || u.nonce != nonce || e.reaches(v, u) || e.defects.keepsDead {
		return
	}
	e.release(u)
	u.linked, u.accepted, u.asked = false, false, 0
	e.planQueues(v, e.now+int64(time.Millisecond))
	e.checkRelay(v)
}

// live reports whether a queue-VR that v is attached to would relay for it now.
func (e *Engine) live(v int32) bool {
	l := e.vrs[v].limited
	for i := range l.uses {
		if u := &l.uses[i]; u.wanted && u.accepted && e.reaches(v, u) {
			return true
		}
	}
	return false
}

// checkRelay follows how long a limited VR is without a live queue-VR.
func (e *Engine) checkRelay(v int32) {
	l := e.vrs[v].limited
	e.placeAll(v)
	if !e.vrs[v].up {
		return
	}
	switch live := e.live(v); {
	case live && l.gap >= 0:
		if e.recording() {
			e.relayGap.add(e.now - max(l.gap, e.warm))
		}
		l.gap = -1
		e.vrs[v].fault = e.now
	case !live && l.gap < 0:
		l.gap = e.now
		e.vrs[v].fault = e.now
	}
}
