package sim

type eventKind uint8

// The kinds of events. Of those of a VR, a is the VR and b its life, unless something else is said.
const (
	_             eventKind = iota
	evPacket                // to a comes packet b
	evProbe                 // the next probe, of chain c
	evIndirect              // a probe had no direct answer
	evProbeEnd              // nor an indirect one
	evGossip                // a tick of gossip
	evSuspicion             // a suspicion of b ends, timer c
	evExchange              // an exchange of states is due
	evReconnect             // serf looks after the failed
	evPushPull              // an exchange of states with c
	evView                  // the View's deadline
	evExchangeEnd           // an exchange of documents with c is over
	evPullEnd               // pull c is over
	evInstall               // document b, version c, is stored
	evJoin                  // a VR that has started looks for others
	evLeft                  // a VR that says good-bye stops
	evResume                // a pause ends
	evChurn                 // comes or goes, the c-th time
	evTrace                 // line b of a trace
	evFast                  // is not slow any more, c in slows
	evQueues                // Attachments' deadline
	evLinked                // the link with queue-VR c is up, nonce b
	evAttached              // queue-VR c answers, nonce b
	evSilent                // queue-VR c has been silent, nonce b
	evRecord                // a link record is made
	evScenario              // event a of the file
	evAuthority             // the authority is back
	evConverged             // document a should be everywhere, version c
	evLossOver              // the loss is as before
	evSecond                // each second
	evSample                // the next value of the series
	evFold                  // columns are folded
	evWarm                  // recording begins
)

var eventNames = [...]string{
	evPacket: "packet to", evProbe: "probe by", evIndirect: "indirect probe by", evProbeEnd: "probe fails of", evGossip: "gossip of",
	evSuspicion: "suspicion ends at", evExchange: "exchange of states by", evReconnect: "reconnect by", evPushPull: "states exchanged:",
	evView: "deadline of the View of", evExchangeEnd: "documents exchanged:", evPullEnd: "pull ends at", evInstall: "stored at",
	evJoin: "joins:", evLeft: "has left:", evResume: "resumes:", evChurn: "comes or goes:", evTrace: "trace:", evFast: "slow no more:",
	evQueues: "queue-VRs looked at by", evLinked: "linked:", evAttached: "attached:", evSilent: "silent:", evRecord: "link record of",
	evScenario: "scenario:", evAuthority: "the authority is back", evConverged: "convergence checked", evLossOver: "loss is over",
	evSecond: "second", evSample: "sample", evFold: "fold", evWarm: "recording begins",
}

func (k eventKind) String() string { return eventNames[k] }

// ofLife says which events are for one life of a VR.
var ofLife = [...]bool{
	evProbe: true, evIndirect: true, evProbeEnd: true, evGossip: true, evExchange: true, evReconnect: true, evPushPull: true,
	evView: true, evExchangeEnd: true, evJoin: true, evLeft: true, evResume: true, evQueues: true, evRecord: true, evWarm: false,
}

// dull are events of which there are too many to be told.
var dull = [...]bool{evProbe: true, evGossip: true, evPacket: true, evView: true, evQueues: true, evSecond: true, evFold: true, evSample: true, evWarm: false}

// take does what an event says.
func (e *Engine) take(ev event) {
	if ofLife[ev.kind] && e.vrs[ev.a].life != ev.b {
		return
	}
	if (ev.kind == evProbe || ev.kind == evIndirect || ev.kind == evProbeEnd) && e.vrs[ev.a].probes != ev.c {
		return
	}
	if !dull[ev.kind] {
		e.last[e.lastAt] = ev
		e.lastAt = (e.lastAt + 1) % lastMax
	}
	switch ev.kind {
	case evPacket:
		e.arrive(ev.b)
	case evProbe:
		e.probe(ev.a)
	case evIndirect:
		e.indirect(ev.a)
	case evProbeEnd:
		e.probeEnd(ev.a)
	case evGossip:
		e.gossip(ev.a)
	case evSuspicion:
		e.suspicionOver(ev.a, ev.b, ev.c)
	case evExchange:
		e.exchangeStates(ev.a)
	case evReconnect:
		e.reconnect(ev.a)
	case evPushPull:
		if e.vrs[ev.a].joined && e.vrs[ev.c].joined && e.meets(ev.a, ev.c) {
			e.pushPull(ev.a, ev.c)
		}
	case evView:
		e.viewDue(ev.a)
	case evExchangeEnd:
		e.exchangeEnd(ev.a, ev.c)
	case evPullEnd:
		e.pullEnd(ev.a, ev.b, ev.c)
	case evInstall:
		e.install(ev.a, ev.b, uint32(ev.c))
	case evJoin:
		e.join(ev.a)
	case evLeft:
		e.stop(ev.a, true)
		e.planChurn(ev.a)
	case evResume:
		e.resume(ev.a)
	case evChurn:
		e.churn(ev.a, ev.c)
	case evTrace:
		e.change(ev.a, e.s.Groups[e.net.groupOf[ev.a]].Churn.Trace[ev.b].What)
	case evFast:
		e.net.slowed[ev.a] -= e.slows[ev.c]
	case evQueues:
		e.decide(ev.a)
	case evLinked:
		e.linked(ev.a, ev.b, ev.c)
	case evAttached:
		e.attached(ev.a, ev.b, ev.c)
	case evSilent:
		e.silent(ev.a, ev.b, ev.c)
	case evRecord:
		e.signRecord(ev.a)
	case evScenario:
		e.happen(&e.s.Events[ev.a])
	case evAuthority:
		e.operate()
	case evConverged:
		e.converged(ev.a, uint32(ev.c))
	case evLossOver:
		if e.now >= e.lossUntil {
			e.net.loss = e.net.lossBase
		}
	case evSecond:
		e.second()
	case evSample:
		e.takeSample()
	case evFold:
		e.fold()
	case evWarm:
		e.startRecording()
	}
}
