package node

import (
	"encoding/binary"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/vine-mesh/vine/mesh"
	"github.com/vine-mesh/vine/node/vr"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
)

const (
	// queuesWanted is how many queue-VRs a limited VR is attached to: with one, its death is a silence until
	// another one is found.
	queuesWanted = 2
	// shortlistLen is how many of the elected a limited VR chooses from: enough to find a good one, few
	// enough to try them all.
	shortlistLen = 6
	// electEvery is how often the election is looked at.
	electEvery = time.Second
	// attachPatience is how long a queue-VR may take to answer an attach frame.
	attachPatience = 3 * time.Second
	// trialLife is how long at most peers are told of a trial: path.Attachments ends one before that.
	trialLife = 6 * time.Minute
	// clientsMax bounds the limited VRs attached to this one. At 1,000 each has 1 Mb/s of a gigabit.
	clientsMax = 1000
	// nameEvery is how often at most the log names a client that comes and goes.
	nameEvery = time.Minute
	// detoursMax is how many relays are offered to a link whose path has gone bad.
	detoursMax = 3
	// detourPause is how often at most they are offered.
	detourPause = 5 * time.Second
)

// queues is what a limited VR does about its queue-VRs, and a queue-VR about its clients. The control loop
// owns it.
type queues struct {
	l        *loop
	state    *path.Attachments
	list     []tables.RouterID // attached to, in order of preference: what the link record says
	trials   map[tables.RouterID]time.Time
	wanted   map[tables.RouterID]bool      // asked to serve us, or to be
	refused  map[tables.RouterID]time.Time // when a queue-VR said no
	accepted map[tables.RouterID]bool
	asking   map[tables.RouterID]time.Time // since when an answer to attach is waited for
	left     map[tables.RouterID]bool      // detached from; those who have missed it are told again
	order    uint32
	asked    map[tables.RouterID]uint32 // the order of the last attach
	elected  []tables.RouterID
	clients  map[tables.RouterID]*client
	gone     map[tables.RouterID]uint32    // the order by which a client left, while the link lives
	named    map[tables.RouterID]time.Time // clients that the log has named lately
	detoured map[tables.RouterID]time.Time
	polls    uint32    // polls sent: the order of the last one
	polled   time.Time // when the last were sent
	flow     time.Time // when data last went through a relay, either way
}

func newQueues(l *loop) *queues {
	return &queues{
		l: l, state: path.NewAttachments(l.n.self.Router, queuesWanted),
		trials: map[tables.RouterID]time.Time{}, refused: map[tables.RouterID]time.Time{},
		wanted: map[tables.RouterID]bool{}, accepted: map[tables.RouterID]bool{}, asking: map[tables.RouterID]time.Time{},
		left: map[tables.RouterID]bool{}, clients: map[tables.RouterID]*client{}, detoured: map[tables.RouterID]time.Time{},
		asked: map[tables.RouterID]uint32{}, gone: map[tables.RouterID]uint32{}, named: map[tables.RouterID]time.Time{},
	}
}

// limited reports whether we need queue-VRs.
func (l *loop) limited() bool {
	return l.self.state.Verdict().Kind == vr.Limited
}

// relays reports whether we relay for others: the authority allows it and we can be reached.
func (l *loop) relays() bool {
	e, ok := l.store.Enrolment(l.n.self.Router)
	return ok && e.MayQueue && l.settings.Serve && !l.limited()
}

// elect computes who serves the federation.
func (q *queues) elect(now time.Time) (elected []mesh.QueueCandidate) {
	l := q.l
	view := l.store.Snapshot()
	alive := map[tables.RouterID]bool{l.n.self.Router: true}
	for _, id := range l.gossip.view.Live() {
		alive[id] = true
	}
	var candidates []mesh.QueueCandidate
	for _, e := range view.Enrolments() {
		r, ok := view.LinkRecord(e.Router)
		if !ok || !view.Admitted(e.Router, now) {
			continue
		}
		if r.Draining {
			delete(q.refused, e.Router) // that was why, and it says so when it serves again
		}
		candidates = append(candidates, mesh.QueueCandidate{
			Router: e.Router, Site: e.Site, MayQueue: e.MayQueue, Regular: r.VRKind == "regular",
			Draining: r.Draining, Full: r.Full, Alive: alive[e.Router],
		})
	}
	q.elected = mesh.Elect(candidates)
	for _, c := range candidates {
		if slices.Contains(q.elected, c.Router) {
			elected = append(elected, c)
		}
	}
	return elected
}

// advance has the election and the attachments looked at.
func (q *queues) advance(now time.Time) {
	l := q.l
	elected := q.elect(now)
	q.forget(now)
	for id := range q.wanted {
		if at, up := l.links.Endpoint(id); up && path.KindOf(at) == path.Relayed {
			l.streaming.dial(now, id) // through others it cannot serve us
		}
	}
	var measures []path.QueueMeasure
	if l.limited() {
		measures = q.measures(now, q.shortlist(elected))
	}
	if len(measures) == 0 && len(q.wanted) == 0 {
		return
	}
	actions := q.state.Decide(now, measures, func() uint64 {
		var b [8]byte
		_, _ = io.ReadFull(l.n.options.Rand, b[:])
		return binary.BigEndian.Uint64(b[:])
	})
	for _, a := range actions {
		q.do(now, a)
	}
}

func (q *queues) do(now time.Time, a path.AttachAction) {
	l := q.l
	switch a := a.(type) {
	case path.Attach:
		l.n.log.Info("attaching to queue-VR", "peer", l.name(a.Router), "reason", a.Reason)
		delete(q.trials, a.Router)
		delete(q.left, a.Router)
		q.wanted[a.Router] = true
		l.do(now, l.links.Pin(now, a.Router, true))
		q.ask(now, a.Router)
	case path.Detach:
		l.n.log.Info("leaving queue-VR", "peer", l.name(a.Router), "reason", a.Reason)
		delete(q.accepted, a.Router)
		delete(q.asking, a.Router)
		delete(q.wanted, a.Router)
		delete(q.trials, a.Router)
		q.left[a.Router] = true
		q.leave(now, a.Router)
		l.do(now, l.links.Pin(now, a.Router, false))
	case path.Try:
		q.trials[a.Router] = now.Add(trialLife)
		l.do(now, l.links.Dial(now, a.Router))
		q.offerThrough(now, a.Router)
	case path.Announce:
		q.list = slices.Clone(a.Queues)
		for _, id := range q.list {
			q.offerThrough(now, id)
		}
		l.due(now, choreRecord, recordAfter)
		l.publishDirectory()
	}
}

// shortlist returns the queue-VRs to choose from, those that the operator names if he names any.
func (q *queues) shortlist(elected []mesh.QueueCandidate) []tables.RouterID {
	l := q.l
	if list, bound := l.bound(); bound {
		return list
	}
	elected = slices.DeleteFunc(slices.Clone(elected), func(c mesh.QueueCandidate) bool { return !l.dialable(c.Router) })
	self, _ := l.store.Enrolment(l.n.self.Router)
	distances := map[tables.RouterID]time.Duration{}
	if len(elected) > shortlistLen {
		for _, m := range l.n.gossip.Members() {
			if m.RTT > 0 {
				distances[m.Router] = m.RTT
			}
		}
	}
	return mesh.Shortlist(elected, l.n.self.Router, self.Site, func(id tables.RouterID) (time.Duration, bool) {
		d, ok := distances[id]
		return d, ok
	}, shortlistLen)
}

// measures returns what we know of each queue-VR by ourselves: nothing that it says of itself is in it.
func (q *queues) measures(now time.Time, shortlist []tables.RouterID) (list []path.QueueMeasure) {
	l := q.l
	for _, id := range slices.Sorted(maps.Keys(q.wanted)) { // what is not named here is left at once
		if !slices.Contains(shortlist, id) {
			shortlist = append(shortlist, id)
		}
	}
	through := l.measuresThrough(now)
	whole := true // the round trips to the peers are known, so those to the queue-VRs do not matter
	for _, id := range shortlist {
		if _, up := l.links.Conn(id); up && through[id].RTT == 0 && (q.attachedTo(id) || !q.trials[id].IsZero()) {
			whole = false
		}
	}
	for _, id := range shortlist {
		e, ok := l.store.Enrolment(id)
		if !ok || !l.store.Admitted(id, now) {
			continue
		}
		r, _ := l.store.LinkRecord(id)
		m := through[id]
		m.Router, m.Site, m.Draining = id, e.Site, r.Draining || r.VRKind != "regular"
		m.Refused = q.refused[id]
		if at, up := l.links.Endpoint(id); up && path.KindOf(at) != path.Relayed {
			asked := q.asking[id]
			m.Linked = q.accepted[id] || !q.wanted[id] || asked.IsZero() || now.Sub(asked) < attachPatience
			if !whole {
				m.RTT = q.hopRTT(now, id)
			}
		}
		list = append(list, m)
	}
	return list
}

// hopRTT returns the round trip to a queue-VR itself.
func (q *queues) hopRTT(now time.Time, id tables.RouterID) time.Duration {
	for _, w := range first(q.l.links.Ways(now, id)) {
		if w.InUse {
			return w.Measure.RTT
		}
	}
	return 0
}

func first(list []transport.WayStatus, _ path.Decision, _ bool) []transport.WayStatus { return list }

func (q *queues) attachedTo(id tables.RouterID) bool {
	return slices.ContainsFunc(q.state.Current(), func(a path.Attached) bool { return a.Router == id })
}

// measuresThrough puts together what was measured end to end through each relay: the bandwidth and the round
// trip to every peer that it leads to, weighted by the traffic with that peer. It is a lower bound if that
// is so for most of the traffic.
func (l *loop) measuresThrough(now time.Time) map[tables.RouterID]path.QueueMeasure {
	sums := map[tables.RouterID]path.QueueMeasure{}
	weights := map[tables.RouterID]throughWeight{}
	for _, id := range l.links.Established() {
		ways, _, _ := l.links.Ways(now, id)
		weight := 1e-3 // a peer without traffic counts little, but more than nothing
		for _, w := range ways {
			if w.InUse {
				weight += float64(w.Chosen.Used)
			}
		}
		for _, w := range ways {
			relay, _ := path.RelayOf(w.Path)
			if relay == 0 || !w.Validated {
				continue
			}
			m, sum := sums[relay], weights[relay]
			if rtt := w.Chosen.RTTMin; rtt > 0 {
				m.RTT += time.Duration(weight * float64(rtt))
				sum.rtt += weight
			}
			if r := w.Chosen.Rate; r.Kind != path.RateUnknown {
				m.Score += weight * float64(r.Bits)
				sum.score += weight
				if r.At.After(m.ScoreAt) {
					m.ScoreAt = r.At
				}
				if r.Kind == path.RateAtLeast {
					sum.bound += weight
				}
			}
			sums[relay], weights[relay] = m, sum
		}
	}
	for relay, m := range sums {
		sum := weights[relay]
		if sum.score > 0 {
			m.Score /= sum.score
			m.LowerBound = sum.bound > sum.score/2
		}
		if sum.rtt > 0 {
			m.RTT = time.Duration(float64(m.RTT) / sum.rtt)
		}
		sums[relay] = m
	}
	return sums
}

// A throughWeight sums up the traffic of the peers that a queue-VR's figures come from.
type throughWeight struct{ rtt, score, bound float64 }

// ask asks a queue-VR to serve us, as soon as there is a link.
func (q *queues) ask(now time.Time, id tables.RouterID) {
	l := q.l
	if _, up := l.links.Conn(id); !up {
		return // linkUp asks
	}
	q.order++
	if q.asking[id].IsZero() {
		q.asking[id] = now
	}
	l.do(now, l.links.Tell(now, id, q.attachFrame().Append(nil)))
	order := q.order
	q.asked[id] = order
	l.after(now, time.Second, func(now time.Time) {
		if q.wanted[id] && !q.accepted[id] && q.asked[id] == order {
			q.ask(now, id)
		}
	})
}

// linkUp continues what waited for a link.
func (q *queues) linkUp(now time.Time, id tables.RouterID) {
	if q.wanted[id] {
		q.ask(now, id)
	}
	if q.wanted[id] || !q.trials[id].IsZero() {
		q.offerThrough(now, id)
	}
}

// linkDown is the end of what the link carried.
func (q *queues) linkDown(now time.Time, id tables.RouterID) {
	delete(q.accepted, id)
	delete(q.asking, id)
	q.dropClient(id)
	delete(q.gone, id)
	q.l.n.held.forget(id)
	if q.wanted[id] {
		q.l.due(now, choreQueues, 0)
	}
}

// forget ends trials whose time is over.
func (q *queues) forget(now time.Time) {
	for id, until := range q.trials {
		if !now.Before(until) {
			delete(q.trials, id)
		}
	}
	for id, at := range q.detoured {
		if now.Sub(at) > detourPause {
			delete(q.detoured, id)
		}
	}
}

// asked takes a frame that is not about the link itself.
func (l *loop) asked(now time.Time, a transport.Asked) {
	switch a.Frame.Kind {
	case frame.KindAttach:
		if f, err := frame.ParseAttach(a.Frame.Body); err == nil {
			l.queues.attach(now, a.Router, f)
		}
	case frame.KindAttached:
		if f, err := frame.ParseAttached(a.Frame.Body); err == nil {
			l.queues.attached(now, a.Router, f)
		}
	case frame.KindPoll:
		if f, err := frame.ParsePoll(a.Frame.Body); err == nil {
			l.queues.polledBy(now, a.Router, a.From, f)
		}
	case frame.KindApart:
		if f, err := frame.ParseApart(a.Frame.Body); err == nil {
			l.apart.heard(now, a.Router, f.Apart)
		}
	default:
		l.self.asked(now, a)
	}
}

// attached takes a queue-VR's answer. One that says no later asks to be left.
func (q *queues) attached(now time.Time, id tables.RouterID, f frame.Attached) {
	if q.left[id] && !f.Accepted {
		q.leave(now, id) // it still counts us
	}
	if !q.wanted[id] || f.Order > q.asked[id] {
		return
	}
	if f.Accepted {
		if q.accepted[id] {
			return // the answer to a poll
		}
		q.accepted[id] = true
		delete(q.asking, id)
		delete(q.refused, id)
		q.l.due(now, chorePoll, 0)
	} else {
		delete(q.accepted, id)
		q.refused[id] = now
		q.l.n.log.Info("queue-VR refuses", "peer", q.l.name(id))
	}
	q.l.due(now, choreQueues, 0)
}
