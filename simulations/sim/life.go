package sim

import (
	"slices"

	"github.com/vine-mesh/vine/simulations/scenario"
)

// start begins the process of a VR. It has its documents and its incarnation, and knows nobody until it has joined.
func (e *Engine) start(v int32) {
	r := &e.vrs[v]
	if r.up || r.revoked {
		return
	}
	r.up, r.joined, r.leaving, r.paused = true, false, false, false
	r.life++
	r.since, r.fault = e.now, e.now
	e.moved(v)
	r.awareness, r.probeLeft, r.exchanges = 0, 0, 0
	r.alive, r.members, r.failed = 0, 0, 0
	r.broadcasts, r.rumours, r.gossiping = r.broadcasts[:0], r.rumours[:0], false
	r.phase = e.now + e.rnd.below(gossipInterval)
	r.phase -= gossipInterval
	e.up++
	if e.recording() {
		e.counts.restarts++
	}
	e.q.add(e.now+e.rnd.below(int64(1e8)), evJoin, v, r.life, 0)
	e.startLimited(v)
	e.touchQueue(v)
}

// join has a VR that has started exchange states with somebody who runs; it tries until it has met one.
func (e *Engine) join(v int32) {
	r := &e.vrs[v]
	peer := int32(-1)
	for range 8 {
		if s := int32(e.rnd.below(int64(len(e.vrs)))); s != v && e.vrs[s].joined && e.meets(v, s) {
			peer = s
			break
		}
	}
	if peer < 0 && e.up > 1 {
		e.q.add(e.now+int64(1e9)+e.rnd.below(int64(1e9)), evJoin, v, r.life, 0)
		return
	}
	r.joined = true
	for n := range e.cols {
		col := &e.cols[n]
		if col.subject < 0 || col.subject == v {
			continue
		}
		c := &col.cells[v]
		*c = cell{state: unknown, timer: c.timer + 1, since: e.now}
		if peer >= 0 && col.subject == peer {
			c.state, c.number = alive, e.vrs[peer].number
		} else if peer >= 0 && !e.revokedBy(v, col.subject) {
			if p := col.cells[peer]; p.state == alive {
				c.state, c.number = alive, p.number
			}
		}
		r.alive += int32(b2i(c.state == alive))
		col.changed = e.now
	}
	for s := range e.base {
		r.alive += int32(b2i(int32(s) != v && e.colOf[s] < 0 && e.base[s].state == alive))
	}
	r.members = r.alive
	e.queueBroadcast(v, message{kind: sayAlive, subject: v, from: v, number: r.number})
	e.run(v, false)
	if peer >= 0 {
		e.startPushPull(v, peer)
	}
}

// run begins the timers of a VR that knows others.
func (e *Engine) run(v int32, settled bool) {
	r := &e.vrs[v]
	e.q.add(e.now+e.rnd.below(probeInterval), evProbe, v, r.life, r.probes)
	e.q.add(e.now+e.rnd.below(reconnectEvery), evReconnect, v, r.life, 0)
	e.firstExchange(v, settled)
	e.startView(v)
}

// moved notes what packets need to know of a VR that has started, stopped, or been paused.
func (e *Engine) moved(v int32) {
	e.here[v] = e.vrs[v].up && !e.vrs[v].paused
	e.lives[v] = e.vrs[v].life
}

// stop ends the process of a VR. gracefully says that it has said good-bye before.
func (e *Engine) stop(v int32, gracefully bool) {
	r := &e.vrs[v]
	if !r.up {
		return
	}
	r.up, r.joined, r.paused = false, false, false
	r.life++
	e.moved(v)
	r.ranFor += e.now - max(r.since, e.warm)
	r.view, r.gossiping = nil, false
	r.downAt, r.crashed, r.noticed = e.now, !gracefully, false
	e.up--
	if e.recording() {
		if gracefully {
			e.counts.leaves++
		} else {
			e.counts.crashes++
		}
	}
	e.stopLimited(v)
	e.touchQueue(v)
}

// leave has a VR say good-bye, and stop when that had time to spread.
func (e *Engine) leave(v int32) {
	r := &e.vrs[v]
	if !r.up || r.leaving {
		return
	}
	r.leaving = true
	e.queueBroadcast(v, message{kind: sayDead, subject: v, from: v, number: r.number})
	e.q.add(e.now+leaveTakes, evLeft, v, r.life, 0)
}

// pause freezes a VR: it neither sends nor receives, and its clocks are late.
func (e *Engine) pause(v int32, length int64) {
	r := &e.vrs[v]
	if !r.up || r.paused {
		return
	}
	r.paused = true
	e.moved(v)
	e.q.add(e.now+length, evResume, v, r.life, 0)
	e.touchQueue(v)
}

func (e *Engine) resume(v int32) {
	r := &e.vrs[v]
	r.paused = false
	e.moved(v)
	r.resumed, r.fault = e.now, e.now
	e.wakeGossip(v)
	r.probes++
	if r.joined {
		e.q.add(e.now, evProbe, v, r.life, r.probes)
	}
	e.touchQueue(v)
}

// planChurn plans when a VR that has come stays no longer, or one that has gone comes back.
func (e *Engine) planChurn(v int32) {
	c := &e.s.Groups[e.net.groupOf[v]].Churn
	if c.Kind == "none" || c.Kind == "" || c.Kind == "trace" || v == authority {
		return
	}
	session := e.vrs[v].up
	median := int64(c.Session)
	if !session {
		median = int64(c.Away)
	}
	if median <= 0 {
		return
	}
	var d int64
	switch {
	case c.Kind == "weibull":
		d = e.rnd.weibull(median, c.ShapeThousands)
	case c.Kind == "pareto":
		d = e.rnd.pareto(median, c.ShapeThousands)
	default:
		d = e.rnd.exponential(median)
	}
	if c.Kind == "diurnal" && !session && c.Period > 0 {
		// At the best hour they stay away as long as the file says, at the worst four times as long.
		at, period := (e.now-e.warm)%int64(c.Period), int64(c.Period)
		if at < 0 {
			at += period
		}
		d += scaleFixed(3*d, abs(2*at-period), period)
	}
	d = min(max(d, int64(1e6)), drawMost)
	e.q.add(e.now+d, evChurn, v, 0, int32(e.vrs[v].churned))
}

// churn has a VR come or go.
func (e *Engine) churn(v, n int32) {
	r := &e.vrs[v]
	if n != int32(r.churned) {
		return
	}
	r.churned++
	switch {
	case !r.up:
		e.start(v)
	case e.rnd.hits(e.s.Groups[e.net.groupOf[v]].Churn.Graceful):
		e.leave(v)
	default:
		e.stop(v, false)
	}
	if !r.leaving || !r.up {
		e.planChurn(v)
	}
}

// change does what a line of a trace says.
func (e *Engine) change(v int32, what string) {
	switch what {
	case "up":
		e.start(v)
	case "down":
		e.stop(v, false)
	case "leave":
		e.leave(v)
	}
}

// pick draws count VRs of groups that are as asked. All, if groups is empty.
func (e *Engine) pick(groups []string, count int, fits func(v int32) bool) []int32 {
	var of []int32
	for v := range e.vrs {
		if int32(v) != authority && e.inGroups(int32(v), groups) && fits(int32(v)) {
			of = append(of, int32(v))
		}
	}
	for i := range of {
		j := i + int(e.rnd.below(int64(len(of)-i)))
		of[i], of[j] = of[j], of[i]
	}
	if count > 0 && count < len(of) {
		of = of[:count]
	}
	slices.Sort(of)
	return of
}

func (e *Engine) inGroups(v int32, groups []string) bool {
	return len(groups) == 0 || slices.Contains(groups, e.s.Groups[e.net.groupOf[v]].Name)
}

// happen does what an event of the scenario says.
func (e *Engine) happen(ev *scenario.Event) {
	runs := func(v int32) bool { return e.vrs[v].up && !e.vrs[v].leaving }
	switch ev.Do {
	case "partition", "heal":
		e.partition(ev)
	case "kill":
		for _, v := range e.pick(ev.Groups, ev.Count, runs) {
			e.stop(v, false)
		}
	case "restart":
		for _, v := range e.pick(ev.Groups, ev.Count, func(v int32) bool { return !e.vrs[v].up && !e.vrs[v].revoked }) {
			e.start(v)
		}
	case "leave":
		for _, v := range e.pick(ev.Groups, ev.Count, runs) {
			e.leave(v)
		}
	case "pause":
		for _, v := range e.pick(ev.Groups, ev.Count, runs) {
			e.pause(v, int64(ev.For))
		}
	case "slow":
		for _, v := range e.pick(ev.Groups, ev.Count, runs) {
			e.net.slowed[v] += int64(ev.Latency)
			e.slows = append(e.slows, int64(ev.Latency))
			e.q.add(e.now+int64(ev.For), evFast, v, 0, int32(len(e.slows)-1))
		}
	case "loss":
		e.net.loss = ev.Loss
		e.lossUntil = e.now + int64(ev.For)
		e.q.add(e.lossUntil, evLossOver, 0, 0, 0)
		e.fault = e.lossUntil
	case "authority-away":
		e.authorityBack = max(e.authorityBack, e.now+int64(ev.For))
	case "revoke":
		for _, v := range e.pick(ev.Groups, ev.Count, func(v int32) bool { return !e.vrs[v].revoked }) {
			e.asked = append(e.asked, operation{revoke: v})
		}
		e.operate()
	default: // vn-...
		e.asked = append(e.asked, operation{event: ev, revoke: -1})
		e.operate()
	}
}

// partition puts the groups of each part on a side of their own; those that no part names are together on another.
func (e *Engine) partition(ev *scenario.Event) {
	parts := ev.Parts
	if len(parts) == 0 && len(ev.Groups) > 0 {
		parts = [][]string{ev.Groups}
	}
	for v := range e.vrs {
		e.net.side[v] = 0
		if ev.Do == "heal" {
			continue
		}
		for i, groups := range parts {
			if e.inGroups(int32(v), groups) && len(groups) > 0 {
				e.net.side[v] = uint8(i + 1)
			}
		}
	}
	e.net.split = ev.Do == "partition"
	e.fault, e.healed = e.now, e.now
	if !e.net.split {
		e.startRepair()
	}
	for v := range e.vrs {
		e.touchQueue(int32(v))
	}
}
