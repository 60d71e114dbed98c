package node

import (
	"context"
	"slices"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
)

// Queues implements control.Router.
func (a api) Queues(ctx context.Context) (out control.Queues, err error) {
	err = a.n.call(ctx, func(now time.Time, l *loop) { out = l.describeQueues(now) })
	return out, err
}

// describeSelf says what we have found out about ourselves, and what we do for others.
func (l *loop) describeSelf(s *control.Status) {
	v := l.self.state.Verdict()
	s.Kind = v.Kind.String() // the link record may be some seconds late
	s.Confirmed, s.Why, s.Mapping, s.Filtering = v.Confirmed, v.Reason, v.Mapping.String(), v.Filtering.String()
	for _, at := range l.settings.Listens {
		s.Streams = append(s.Streams, at.Protocol+"://"+at.Endpoint.String())
	}
	s.PortMappings = append(s.PortMappings, l.self.mapped...)
	for _, id := range l.queues.list {
		s.Queues = append(s.Queues, l.name(id))
	}
	s.Clients, s.Draining = len(l.queues.clients), l.drains
}

// describeQueues says which queue-VRs we use and why, and whom we serve.
func (l *loop) describeQueues(now time.Time) control.Queues {
	q := l.queues
	elected := q.elect(now)
	out := control.Queues{
		Kind: l.self.state.Verdict().Kind.String(), Attached: []control.Attached{},
		Serves: l.relays(), Why: l.whyNoRelay(), Elected: slices.Contains(q.elected, l.n.self.Router),
		Full: len(q.clients) >= clientsMax, Draining: l.drains, Clients: q.describeClients(), ClientsMax: clientsMax,
	}
	var shortlist []tables.RouterID
	measures := map[tables.RouterID]path.QueueMeasure{}
	if l.limited() {
		out.Wanted = queuesWanted
		shortlist = q.shortlist(elected)
		for _, m := range q.measures(now, slices.Clone(shortlist)) {
			measures[m.Router] = m
		}
	}
	for _, at := range q.state.Current() {
		runnerUp := ""
		if at.RunnerUp != 0 {
			runnerUp = l.name(at.RunnerUp)
		}
		out.Attached = append(out.Attached, control.Attached{
			Peer: l.name(at.Router), Router: at.Router, Site: at.Site, Since: at.Since.UTC(), Accepted: q.accepted[at.Router],
			Mode: l.settings.Poll.String(), RTT: millis(measures[at.Router].RTT), Score: int64(measures[at.Router].Score), Reason: at.Reason,
			RunnerUp: runnerUp, RunnerUpScore: int64(at.RunnerUpScore),
		})
	}
	out.Candidates = q.describeCandidates(now, shortlist, measures)
	return out
}

// describeCandidates lists the elected queue-VRs, those that we use or may choose, and those that would be
// elected if they were not full or draining.
func (q *queues) describeCandidates(now time.Time, shortlist []tables.RouterID, measures map[tables.RouterID]path.QueueMeasure) []control.QueueVR {
	l := q.l
	list := []control.QueueVR{}
	view := l.store.Snapshot()
	for _, e := range view.Enrolments() {
		r, _ := view.LinkRecord(e.Router)
		c := control.QueueVR{
			Peer: e.Name, Router: e.Router, Site: e.Site, Elected: slices.Contains(q.elected, e.Router),
			Shortlist: slices.Index(shortlist, e.Router) + 1, Full: r.Full, Draining: r.Draining,
			RTT: millis(measures[e.Router].RTT), Score: int64(measures[e.Router].Score),
		}
		if at := q.refused[e.Router]; !at.IsZero() {
			c.Refused = now.Sub(at) < refusedShown
		}
		switch {
		case q.attachedTo(e.Router):
			c.Use = "attached"
		case !q.trials[e.Router].IsZero():
			c.Use = "trial"
		}
		if c.Elected || c.Shortlist > 0 || c.Use != "" || e.MayQueue && r.VRKind == "regular" && (r.Full || r.Draining) {
			list = append(list, c)
		}
	}
	return list
}

// refusedShown is how long people are told that a queue-VR has refused to serve us: as long as it is not
// asked again.
const refusedShown = 10 * time.Minute

func (q *queues) describeClients() []control.Served {
	l := q.l
	list := []control.Served{}
	for id, c := range q.clients {
		e, _ := l.store.Enrolment(id)
		served := l.peerOf(id).served
		s := control.Served{
			Peer: l.name(id), Router: id, Site: e.Site, Since: c.since.UTC(), Mode: "channel", Transport: "udp",
			From: served.from.Load(), To: served.to.Load(), Refused: served.refused.Load(), Dropped: served.dropped.Load(),
		}
		if c.mode == frame.AttachPoll {
			s.Mode = "poll"
		}
		if at, up := l.links.Endpoint(id); up {
			s.Transport = l.transportOf(at)
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b control.Served) int { return int(int64(a.Router) - int64(b.Router)) })
	return list
}

// whyNoRelay says why we do not relay for others; empty if we do.
func (l *loop) whyNoRelay() string {
	e, _ := l.store.Enrolment(l.n.self.Router)
	switch {
	case !e.MayQueue:
		return "the enrolment does not allow it"
	case !l.settings.Serve:
		return "the configuration says no (queue.serve)"
	case l.limited():
		return "it cannot be reached from outside"
	}
	return ""
}

// String returns the word of the configuration.
func (p Poll) String() string {
	switch p {
	case PollUDP:
		return "udp-poll"
	case PollTCP:
		return "tcp-poll"
	}
	return "channel"
}

// millis returns a duration in milliseconds, for people and their programs.
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
