package gossip

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/serf/serf"

	"github.com/vine-mesh/vine/mesh/serfrpc"
)

// RPC returns what a serfrpc.Server shows of this VR.
func (g *Gossip) RPC() serfrpc.Serf { return rpc{g} }

type rpc struct{ g *Gossip }

func (r rpc) Name() string { return r.g.config.Self.Name }

func (r rpc) Members() []serfrpc.Member {
	s := r.g.serf.Load()
	if s == nil {
		return nil
	}
	members := rpcMembers(s.Members())
	slices.SortFunc(members, func(a, b serfrpc.Member) int { return strings.Compare(a.Name, b.Name) })
	return members
}

func rpcMembers(in []serf.Member) []serfrpc.Member {
	out := make([]serfrpc.Member, 0, len(in))
	for _, m := range in {
		out = append(out, serfrpc.Member{
			Name: m.Name, Addr: m.Addr, Port: m.Port, Tags: m.Tags, Status: m.Status.String(),
			ProtocolMin: m.ProtocolMin, ProtocolMax: m.ProtocolMax, ProtocolCur: m.ProtocolCur,
			DelegateMin: m.DelegateMin, DelegateMax: m.DelegateMax, DelegateCur: m.DelegateCur,
		})
	}
	return out
}

// Stats returns serf's counters and ours, among them every reason to drop.
func (r rpc) Stats() map[string]string {
	stats := make(map[string]string)
	s := r.g.serf.Load()
	if s == nil {
		return stats
	}
	maps.Copy(stats, s.Stats())
	for name, n := range r.g.Drops() {
		stats["dropped_"+strings.ReplaceAll(name, "-", "_")] = strconv.FormatUint(n, 10)
	}
	return stats
}

func (r rpc) Coordinate(name string) (serfrpc.Coordinate, bool) {
	s := r.g.serf.Load()
	if s == nil {
		return serfrpc.Coordinate{}, false
	}
	c, ok := s.GetCachedCoordinate(name)
	if !ok {
		return serfrpc.Coordinate{}, false
	}
	return serfrpc.Coordinate{Vec: slices.Clone(c.Vec), Error: c.Error, Adjustment: c.Adjustment, Height: c.Height}, true
}

func (r rpc) Query(ctx context.Context, q serfrpc.Query) (<-chan serfrpc.Answer, error) {
	s := r.g.serf.Load()
	if s == nil {
		return nil, errNotRunning
	}
	resp, err := s.Query(q.Name, q.Payload, &serf.QueryParam{
		FilterNodes: q.FilterNodes,
		FilterTags:  q.FilterTags,
		RequestAck:  q.RequestAck,
		Timeout:     min(q.Timeout, queryTimeoutMax),
	})
	if err != nil {
		return nil, err
	}
	out := make(chan serfrpc.Answer)
	go func() {
		defer close(out)
		// serf closes both channels when the time is over; a nil channel is silent.
		acks, answers := resp.AckCh(), resp.ResponseCh()
		for acks != nil || answers != nil {
			var a serfrpc.Answer
			select {
			case <-ctx.Done():
				return
			case from, ok := <-acks:
				if !ok {
					acks = nil
					continue
				}
				a = serfrpc.Answer{Ack: true, From: from}
			case answer, ok := <-answers:
				if !ok {
					answers = nil
					continue
				}
				a = serfrpc.Answer{From: answer.From, Payload: answer.Payload}
			}
			select {
			case <-ctx.Done():
				return
			case out <- a:
			}
		}
	}()
	return out, nil
}

var errWatchers = errors.New("too many streams of events")

func (r rpc) Watch(ctx context.Context, buffer int) (<-chan serfrpc.Event, error) {
	sub, ok := r.g.subs.add(buffer)
	if !ok {
		return nil, errWatchers
	}
	stop := context.AfterFunc(ctx, func() { r.g.subs.remove(sub) })
	out := make(chan serfrpc.Event)
	go func() {
		defer close(out)
		defer stop()
		defer r.g.subs.remove(sub)
		for e := range sub.events {
			event, ok := rpcEvent(e)
			if !ok {
				continue
			}
			select {
			case <-ctx.Done():
				return
			case out <- event:
			}
		}
	}()
	return out, nil
}

func rpcEvent(e serf.Event) (serfrpc.Event, bool) {
	switch e := e.(type) {
	case serf.MemberEvent:
		return serfrpc.Event{Type: e.String(), Members: rpcMembers(e.Members)}, true
	case *serf.Query:
		return serfrpc.Event{Type: "query", Time: uint64(e.LTime), Name: e.Name, Payload: e.Payload,
			Deadline: e.Deadline(), Respond: e.Respond}, true
	}
	return serfrpc.Event{}, false // there are no user events
}
