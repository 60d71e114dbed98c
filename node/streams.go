package node

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/path"
	"github.com/vine-mesh/vine/transport/underlay"
)

const (
	// streamStagger lies between the beginnings of two ways to dial one router, the better first (the idea of
	// RFC 8305): whoever drops silently costs no more.
	streamStagger = 300 * time.Millisecond
	// streamPatience bounds one round of dialling.
	streamPatience = 8 * time.Second
	// streamPause is how long a router is not dialled again by streams after a round.
	streamPause = 10 * time.Second
	// streamsDiallingMax bounds the rounds under way.
	streamsDiallingMax = 16
	// streamUnused is how long a stream connection that carries no link is kept.
	streamUnused = 30 * time.Second
	// streamFresh is how old a connection may be that polls go over: networks that end connections, or drop what they
	// carry, let them live for longer.
	streamFresh = 10 * time.Second
	// streamStep is how often its replacement is looked at.
	streamStep = 100 * time.Millisecond
	// streamProof is how long a fresh connection may take to prove that it leads to the router, and streamGrace how
	// long the one that it replaces is kept for what is under way.
	streamProof = 3 * time.Second
	streamGrace = 500 * time.Millisecond
)

// streaming makes stream connections to routers that no datagram reaches. The control loop owns it.
type streaming struct {
	l        *loop
	dialling map[tables.RouterID]bool
	next     map[tables.RouterID]time.Time // not to be dialled before
	made     map[netip.AddrPort]*streamMade
	renewing map[tables.RouterID]time.Time // until when no other connection is made in place of an old one
}

// A streamMade is a stream connection that we dialled.
type streamMade struct {
	router tables.RouterID
	born   time.Time
	used   time.Time // when it last carried the link
}

func newStreaming(l *loop) *streaming {
	return &streaming{
		l: l, dialling: map[tables.RouterID]bool{}, next: map[tables.RouterID]time.Time{}, made: map[netip.AddrPort]*streamMade{},
		renewing: map[tables.RouterID]time.Time{},
	}
}

// unanswered looks for other ways to a router that answers over none that is known.
func (l *loop) unanswered(now time.Time, router tables.RouterID) {
	for _, relay := range l.queues.elected { // one of them may reach it
		if relay != router && len(l.queues.list) == 0 && l.relayAllowed(now, relay) {
			if _, up := l.links.Conn(relay); up {
				l.do(now, l.links.Offer(now, router, path.Relay(relay, router)))
			}
		}
	}
	l.streaming.dial(now, router)
}

// dial begins a round of stream connections to a router.
func (s *streaming) dial(now time.Time, router tables.RouterID) {
	if !now.Before(s.next[router]) {
		s.round(router, s.dialled)
	}
}

// round makes stream connections to a router, one after the other until there is one, unless that is under way, and gives
// done the outcome.
func (s *streaming) round(router tables.RouterID, done func(now time.Time, router tables.RouterID, o streamOutcome)) {
	l := s.l
	r, ok := l.store.LinkRecord(router)
	if l.n.streams == nil || !ok || len(r.Streams) == 0 || s.dialling[router] || len(s.dialling) >= streamsDiallingMax {
		return
	}
	var targets []underlay.StreamTarget
	for _, t := range streamTargets(r.Streams, l.n.options.Proxy) {
		if t.Proxy != nil || l.n.reaches(t.Endpoint.Addr()) {
			targets = append(targets, t)
		}
	}
	if len(targets) == 0 {
		return
	}
	s.dialling[router] = true
	n := l.n
	n.tasks.Go(func() error {
		var o streamOutcome
		o.at, o.target, o.err = dialStreams(n.ctx, n.streams, targets)
		n.command(func(now time.Time, l *loop) {
			delete(l.streaming.dialling, router)
			done(now, router, o)
		})
		return nil
	})
}

// streamTargets returns the ways to dial stream endpoints in order of merit: what looks like a visit to a web server
// first, straight and then through a proxy, then plain TCP, then SOCKS.
func streamTargets(endpoints []tables.StreamEndpoint, proxyFor func(netip.AddrPort) (*url.URL, error)) (targets []underlay.StreamTarget) {
	var proxied, socks []underlay.StreamTarget
	for _, protocol := range []underlay.Protocol{underlay.TLS, underlay.TCP} {
		for _, e := range endpoints {
			if e.Protocol != protocol.String() {
				continue
			}
			t := underlay.StreamTarget{Protocol: protocol, Endpoint: e.Endpoint}
			targets = append(targets, t)
			if proxyFor == nil {
				continue
			}
			proxy, err := proxyFor(e.Endpoint)
			if err != nil || proxy == nil {
				continue
			}
			t.Proxy = proxy
			if proxy.Scheme == "socks5" || proxy.Scheme == "socks5h" {
				socks = append(socks, t)
			} else {
				proxied = append(proxied, t)
			}
		}
		targets = append(targets, proxied...)
		proxied = nil
	}
	return append(targets, socks...)
}

// dialStreams dials targets one streamStagger after the other and returns the first connection. Others are closed.
func dialStreams(ctx context.Context, streams *underlay.Streams, targets []underlay.StreamTarget) (netip.AddrPort, underlay.StreamTarget, error) {
	ctx, cancel := context.WithTimeout(ctx, streamPatience)
	defer cancel()
	results := make(chan streamOutcome, len(targets))
	for i, target := range targets {
		go func() {
			timer := time.NewTimer(time.Duration(i) * streamStagger)
			defer timer.Stop()
			select {
			case <-timer.C:
				at, err := streams.Dial(ctx, target)
				results <- streamOutcome{at, target, err}
			case <-ctx.Done():
				results <- streamOutcome{target: target, err: ctx.Err()}
			}
		}()
	}
	var won streamOutcome
	var failures []string
	for range targets {
		r := <-results
		switch {
		case r.err != nil:
			failures = append(failures, r.err.Error())
		case won.at.IsValid():
			streams.Hangup(r.at)
		default:
			won = r
			cancel()
		}
	}
	if won.at.IsValid() {
		return won.at, won.target, nil
	}
	return netip.AddrPort{}, underlay.StreamTarget{}, errors.New(strings.Join(failures, "; "))
}

// A streamOutcome is a stream connection, or why there is none.
type streamOutcome struct {
	at     netip.AddrPort
	target underlay.StreamTarget
	err    error
}

// dialled takes the outcome of a round.
func (s *streaming) dialled(now time.Time, router tables.RouterID, o streamOutcome) {
	l := s.l
	s.next[router] = now.Add(streamPause)
	if o.err != nil {
		l.n.log.Info("no stream connection", "peer", l.name(router), "err", o.err)
		return
	}
	if direct, up := l.links.Endpoint(router); up && path.KindOf(direct) == path.Direct {
		l.n.streams.Hangup(o.at)
		return
	}
	proxy := ""
	if o.target.Proxy != nil {
		proxy = o.target.Proxy.Host
	}
	l.n.log.Info("stream connection", "peer", l.name(router), "endpoint", o.target.Endpoint, "transport", o.target.Protocol, "proxy", proxy)
	s.made[o.at] = &streamMade{router: router, born: now, used: now}
	l.do(now, l.links.Offer(now, router, o.at))
	l.do(now, l.links.Dial(now, router))
}

// ended takes note that a stream connection is no more.
func (s *streaming) ended(now time.Time, at netip.AddrPort) {
	if m := s.made[at]; m != nil {
		delete(s.made, at)
		s.next[m.router] = now.Add(time.Second)
	}
	s.l.do(now, s.l.links.Lost(now, at))
}

// tidy closes the stream connections that carry no link any more, and judges whether UDP leads anywhere.
func (s *streaming) tidy(now time.Time) {
	l := s.l
	if l.n.streams == nil {
		return
	}
	direct, streamed := 0, 0
	for _, id := range l.links.Established() {
		at, _ := l.links.Endpoint(id)
		switch path.KindOf(at) {
		case path.Direct:
			direct++
		case path.Streamed:
			streamed++
			if m := s.made[at]; m != nil {
				m.used = now
			}
		}
	}
	l.n.reach.silent.Store(direct == 0 && streamed > 0)
	for at, m := range s.made {
		if now.Sub(m.used) > streamUnused {
			delete(s.made, at)
			l.n.streams.Hangup(at)
		}
	}
	for id, at := range s.next {
		if now.After(at) {
			delete(s.next, id)
		}
	}
}

// keep says that whoever is at a path has proved itself: see underlay.Streams.Keep.
func (n *Node) keep(at netip.AddrPort) {
	if path.KindOf(at) == path.Streamed && n.streams != nil {
		n.streams.Keep(at)
	}
}

// watchStreams passes on which stream connections have ended.
func (n *Node) watchStreams(ctx context.Context) error {
	for {
		select {
		case at := <-n.streams.Ended():
			n.command(func(now time.Time, l *loop) { l.streaming.ended(now, at) })
		case <-ctx.Done():
			return nil
		}
	}
}
