package node

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/vr"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport"
	"github.com/vine-mesh/vine/transport/path"
	"github.com/vine-mesh/vine/transport/underlay"
)

// Paths implements control.Router.
func (a api) Paths(ctx context.Context, from, to string) (out control.Paths, err error) {
	v := a.view()
	ends := [2]tables.Enrolment{}
	for i, name := range []string{from, to} {
		id, ok := a.n.self.Router, true
		if i == 1 || name != "" {
			id, ok = routerNamed(v, name)
		}
		if e, enrolled := v.Enrolment(id); ok && enrolled {
			ends[i] = e
			continue
		}
		return out, fmt.Errorf("VR %q: %w", name, control.ErrNotFound)
	}
	peer := ends[1].Router
	if peer == a.n.self.Router {
		peer = ends[0].Router
	}
	switch self := a.n.self.Router; {
	case ends[0].Router == ends[1].Router:
		return out, fmt.Errorf("%w: there are no paths from %s to itself", control.ErrRefused, ends[0].Name)
	case self != ends[0].Router && self != ends[1].Router:
		return out, fmt.Errorf("%w: this VR is %s, and only the VRs at both ends know the paths between them: ask at %s or at %s",
			control.ErrElsewhere, a.n.self.Name, ends[0].Name, ends[1].Name)
	}
	hints := map[tables.RouterID]string{}
	for _, m := range a.n.gossip.Members() {
		if m.Router == peer {
			hints[peer] = m.Tags["nat"]
		}
	}
	err = a.n.call(ctx, func(now time.Time, l *loop) {
		out = l.describePaths(now, peer)
		for _, e := range ends {
			out.Ends = append(out.Ends, l.describeEnd(e, hints))
		}
	})
	return out, err
}

// routerNamed returns the router with a name, or with that text as its ID.
func routerNamed(v *tables.View, name string) (tables.RouterID, bool) {
	if e, ok := v.EnrolmentByName(name); ok {
		return e.Router, true
	}
	digits, prefixed := strings.CutPrefix(name, "vr")
	n, err := strconv.ParseUint(digits, 10, 32)
	return tables.RouterID(n), prefixed && err == nil
}

// describeEnd says what matters of a VR at an end of a path. What we know of the other's NAT is what it says by
// gossip.
func (l *loop) describeEnd(e tables.Enrolment, hints map[tables.RouterID]string) control.End {
	r, _ := l.store.LinkRecord(e.Router)
	end := control.End{Peer: e.Name, Router: e.Router, Site: e.Site, Kind: r.VRKind, NAT: hints[e.Router], Queues: []string{}}
	queues := r.Queues
	if e.Router == l.n.self.Router { // the link record may be some seconds late
		v := l.self.state.Verdict()
		end.Self, end.Kind, end.NAT, queues = true, v.Kind.String(), natText(v), l.queues.list
	}
	for _, id := range queues {
		end.Queues = append(end.Queues, l.name(id))
	}
	return end
}

// natText says what stands between us and the others, "" if that is not known.
func natText(v vr.Verdict) string {
	if v.Mapping.Behaviour == vr.Unknown && v.Filtering.Behaviour == vr.Unknown {
		return ""
	}
	return fmt.Sprintf("%v/%v", v.Mapping.Behaviour, v.Filtering.Behaviour)
}

// describePaths lists the paths to a router: those of the link, and those that it does not try at present.
func (l *loop) describePaths(now time.Time, peer tables.RouterID) control.Paths {
	out := control.Paths{Ends: []control.End{}, State: "none", Leads: l.name(peer), Paths: []control.Path{}}
	if l.leads(peer) {
		out.Leads = l.n.self.Name
	}
	for _, s := range l.links.Status(now) {
		if s.Router == peer {
			out.State = s.State
		}
	}
	streams := l.streamStatus()
	ways, choice, leads := l.links.Ways(now, peer)
	if leads && choice.Path.IsValid() {
		out.Reason = choice.Reason.String()
	}
	known, _ := l.address(peer)
	for _, w := range ways {
		p := l.describeWay(now, peer, w, streams)
		switch {
		case !leads || w.Chosen.Rate.Kind == path.RateUnknown: // then the score is a guess
		case w.Path == choice.Path:
			p.Score = int64(choice.Score)
		case w.Path == choice.RunnerUp:
			p.Score = int64(choice.RunnerUpScore)
		}
		p.RunnerUp = leads && w.Path == choice.RunnerUp
		out.Paths = append(out.Paths, p)
		known.Endpoints = slices.DeleteFunc(known.Endpoints, func(at netip.AddrPort) bool { return at == w.Path })
	}
	for _, at := range known.Endpoints {
		out.Paths = append(out.Paths, l.describeWay(now, peer, transport.WayStatus{Path: at}, streams))
	}
	return out
}

func (l *loop) streamStatus() map[netip.AddrPort]underlay.StreamStatus {
	all := map[netip.AddrPort]underlay.StreamStatus{}
	if l.n.streams != nil {
		for _, s := range l.n.streams.Status() {
			all[s.At] = s
		}
	}
	return all
}

func (l *loop) describeWay(now time.Time, peer tables.RouterID, w transport.WayStatus, streams map[netip.AddrPort]underlay.StreamStatus) control.Path {
	m := w.Measure
	p := control.Path{InUse: w.InUse, Validated: w.Validated, Asked: w.Asked, Heard: -1, RTT: millis(m.RTT), Loss: m.Loss, Used: m.Used}
	p.Kind, p.Via, p.Transport = l.wordsOf(peer, w.Path)
	if !w.Heard.IsZero() {
		p.Heard = now.Sub(w.Heard).Seconds()
	}
	if m.Rate.Kind != path.RateUnknown {
		p.Rate, p.RateKind, p.RateBy = m.Rate.Bits, m.Rate.Kind.String(), m.Rate.By.String()
		p.RateAge = now.Sub(m.Rate.At).Seconds()
	}
	first := w.Path
	if relay, _ := path.RelayOf(first); relay != 0 {
		first, _ = l.links.Endpoint(relay)
	}
	if s, ok := streams[first]; ok {
		p.Proxy, first = s.Proxy, s.Remote
	}
	if path.KindOf(first) == path.Direct && first.IsValid() {
		p.Endpoint = &first
	}
	return p
}

// describePath says how a link's packets travel, in words and figures for people.
func (l *loop) describePath(now time.Time, link *control.Link, at netip.AddrPort) {
	link.RTTMillis = link.RTT * 1000
	if !at.IsValid() {
		link.Path = "" // it is being dialled
		return
	}
	link.Path, link.Via, link.Transport = l.wordsOf(link.Router, at)
	ways, _, leads := l.links.Ways(now, link.Router)
	link.Leads, link.MTU = leads, l.pathMTU(l.store.Snapshot(), link.Router)
	for _, w := range ways {
		if !w.InUse {
			continue
		}
		m := w.Measure
		link.Loss, link.Used = m.Loss, m.Used
		if m.Rate.Kind != path.RateUnknown {
			link.Rate, link.RateKind, link.RateBy = m.Rate.Bits, m.Rate.Kind.String(), m.Rate.By.String()
			link.RateAge = now.Sub(m.Rate.At).Seconds()
		}
	}
}

// wordsOf names a path: its kind, the relay, and the transport of its first hop.
func (l *loop) wordsOf(router tables.RouterID, at netip.AddrPort) (kind, via, transport string) {
	transport = "udp"
	switch path.KindOf(at) {
	case path.Relayed:
		relay, _ := path.RelayOf(at)
		kind, via = "relayed", l.name(relay)
		if hop, up := l.links.Endpoint(relay); up {
			transport = l.transportOf(hop)
		}
	case path.Streamed:
		kind, transport = "stream", l.transportOf(at)
	default:
		kind = "direct"
		if r, ok := l.store.LinkRecord(router); ok && at.IsValid() && l.limited() && r.VRKind == "limited" {
			kind = "punched"
		}
	}
	return kind, via, transport
}

// transportOf names what carries the datagrams of a first hop.
func (l *loop) transportOf(at netip.AddrPort) string {
	if path.KindOf(at) != path.Streamed || l.n.streams == nil {
		return "udp"
	}
	for _, s := range l.n.streams.Status() {
		if s.At == at {
			return s.Protocol.String()
		}
	}
	return "stream"
}
