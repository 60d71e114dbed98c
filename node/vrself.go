package node

import (
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vine-mesh/vine/node/vr"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
)

// localEvery is how often the addresses of this machine are looked at: a change is followed within
// seconds.
const localEvery = 2 * time.Second

// contactsMax bounds the endpoints remembered as sent to by contacts; then it forgets them all, which
// costs a few hints.
const contactsMax = 4096

// contacts tells the control loop, once a minute each, to which endpoints datagrams go: a filter that we have
// opened ourselves proves nothing about reachability.
type contacts struct {
	mu   sync.Mutex // guards last
	last map[netip.AddrPort]time.Time
}

// sentTo takes note of a datagram that is about to go to an endpoint. Any goroutine may call it.
func (n *Node) sentTo(at netip.AddrPort) {
	if path.KindOf(at) != path.Direct {
		return
	}
	now := time.Now()
	c := &n.contacts
	c.mu.Lock()
	last, known := c.last[at]
	news := !known || now.Sub(last) >= vr.ContactEvery
	if news {
		if len(c.last) >= contactsMax || c.last == nil {
			c.last = map[netip.AddrPort]time.Time{}
		}
		c.last[at] = now
	}
	c.mu.Unlock()
	if !news {
		return
	}
	select {
	case n.hearsay <- func(now time.Time, l *loop) { l.self.handle(now, vr.Contacted{At: at}) }:
	default:
	}
}

// contact takes note of a datagram of the links that is sent of our own accord, not as an answer to whoever asked:
// a newcomer's conversation is the newcomer's idea.
func (l *loop) contact(now time.Time, a transport.Send) {
	switch frame.TypeOf(a.Datagram) {
	case frame.TypeInit, frame.TypeControl:
		if !l.server.talksTo(a.To) {
			l.n.sentTo(a.To)
		}
	}
}

// A selfhood is what this VR finds out about itself, and its help for others who do. The control loop owns
// it.
type selfhood struct {
	l      *loop
	state  *vr.Self
	helper vr.Helper
	local  []netip.AddrPort
	mapped []netip.AddrPort // what the gateway said last
}

func newSelfhood(l *loop) *selfhood {
	e, _ := l.store.Enrolment(l.n.self.Router)
	s := &selfhood{l: l}
	c := vr.Config{
		Router: l.n.self.Router, Site: e.Site, Declared: l.declaredKind(), Endpoints: l.settings.Endpoints,
		Random: s.random,
	}
	c.Others = len(l.store.Snapshot().Enrolments()) > 1
	if l.n.self.boot > 1 {
		c.Used = l.now // the process before may have sent just now
	}
	if r, ok := l.store.LinkRecord(l.n.self.Router); ok && r.VRKind == vr.Regular.String() {
		c.Proven = r.Endpoints
	}
	s.state = vr.New(c)
	return s
}

// declaredKind is what the operator says that we are. Who polls by TCP says that UDP is no use here.
func (l *loop) declaredKind() vr.Kind {
	switch {
	case l.settings.Kind == "regular":
		return vr.Regular
	case l.settings.Kind == "limited", l.overTCP():
		return vr.Limited
	}
	return vr.Auto
}

func (s *selfhood) random(b []byte) {
	if _, err := io.ReadFull(s.l.n.options.Rand, b); err != nil {
		panic("node: internal error: no randomness: " + err.Error())
	}
}

// handle gives an event to the state and does what it says.
func (s *selfhood) handle(now time.Time, ev vr.Event) { s.do(now, s.state.Handle(now, ev)) }

func (s *selfhood) advance(now time.Time) {
	if next := s.state.Next(); !next.IsZero() && !next.After(now) {
		s.do(now, s.state.Advance(now))
	}
}

// look takes note of the addresses of this machine.
func (s *selfhood) look(now time.Time) {
	local := localEndpoints(s.l.n.socket.LocalAddr(), func(a netip.Addr) bool {
		return s.l.store.InSpaceAddr(a) || slices.Contains(s.l.n.options.Shared, a)
	})
	if s.local != nil && slices.Equal(local, s.local) {
		return
	}
	s.local = local
	s.l.n.setFamilies(local)
	s.handle(now, vr.Local{Endpoints: local})
}

// declare takes what the operator has changed.
func (s *selfhood) declare(now time.Time) {
	s.handle(now, vr.Declared{Kind: s.l.declaredKind(), Endpoints: s.l.settings.Endpoints})
}

func (s *selfhood) do(now time.Time, actions []vr.Action) {
	l := s.l
	for _, a := range actions {
		switch a := a.(type) {
		case vr.AskDialBack:
			l.do(now, l.links.Tell(now, a.Via, frame.DialBack{Token: a.Token, Helper: a.Helper}.Append(nil)))
		case vr.Changed:
			v := a.Verdict
			l.n.log.Info("what this VR is", "kind", v.Kind, "confirmed", v.Confirmed, "endpoints", v.Endpoints,
				"mapping", v.Mapping, "filtering", v.Filtering, "reason", v.Reason)
			l.due(now, choreRecord, recordAfter)
			l.due(now, choreQueues, 0)
			l.publishPeers()
		}
	}
}

// linked tells the state about a link and where its datagrams go.
func (s *selfhood) linked(now time.Time, id tables.RouterID, at netip.AddrPort) {
	e, _ := s.l.store.Enrolment(id)
	if path.KindOf(at) != path.Direct {
		at = netip.AddrPort{}
	}
	s.handle(now, vr.Linked{Router: id, Site: e.Site, At: at})
}

// room is what the helper must know.
func (s *selfhood) room(now time.Time) vr.Room {
	l := s.l
	e, _ := l.store.Enrolment(l.n.self.Router)
	r := vr.Room{
		Self: l.n.self.Router, Site: e.Site, Endpoints: s.state.Verdict().Endpoints, InSpace: l.store.InSpaceAddr,
		Enrolled: func(id tables.RouterID) bool { return l.store.Admitted(id, now) },
	}
	for _, id := range l.links.Established() {
		at, _ := l.links.Endpoint(id)
		if path.KindOf(at) != path.Direct {
			continue
		}
		peer, _ := l.store.Enrolment(id)
		r.Links = append(r.Links, vr.Candidate{Router: id, Site: peer.Site, At: at})
	}
	return r
}

// asked takes a frame about dialling back.
func (s *selfhood) asked(now time.Time, a transport.Asked) {
	l := s.l
	switch a.Frame.Kind {
	case frame.KindDialBack:
		f, err := frame.ParseDialBack(a.Frame.Body)
		if err != nil {
			return
		}
		helper, request, refusal := s.helper.Ask(now, s.room(now), a.Router, f.Token, f.Helper, s.random)
		if refusal == vr.Served {
			l.do(now, l.links.Tell(now, helper, frame.DialFor{
				Token: request.Token, Router: request.Router, Endpoint: request.Endpoint,
			}.Append(nil)))
		} else {
			l.n.log.Debug("dial-back not served", "peer", l.name(a.Router), "reason", refusal)
		}
		l.do(now, l.links.Tell(now, a.Router, frame.Dialled{Token: f.Token, Helper: helper}.Append(nil)))
	case frame.KindDialFor:
		f, err := frame.ParseDialFor(a.Frame.Body)
		if err != nil {
			return
		}
		request := vr.Request{Token: f.Token, Router: f.Router, Endpoint: f.Endpoint}
		if refusal := s.helper.Dial(now, s.room(now), a.Router, request); refusal != vr.Served {
			l.n.log.Debug("not dialled back", "peer", l.name(f.Router), "via", l.name(a.Router), "reason", refusal)
			return
		}
		s.dial(request)
	case frame.KindDialled:
		if f, err := frame.ParseDialled(a.Frame.Body); err == nil {
			s.handle(now, vr.Dialled{By: a.Router, Token: f.Token, Helper: f.Helper})
		}
	}
}

// dial sends the one datagram of a dial-back, from a socket that nobody has heard of.
func (s *selfhood) dial(r vr.Request) {
	n := s.l.n
	if n.options.Fresh == nil {
		return
	}
	socket, err := n.options.Fresh(r.Endpoint.Addr())
	if err != nil {
		n.log.Debug("no socket to dial back from", "err", err)
		return
	}
	for _, d := range n.pouch.seal(r.Router, frame.AppendGossipDialBack(nil, r.Token)) {
		_, _ = socket.WriteBatch(datagrams(r.Endpoint, d))
	}
	_ = socket.Close()
}

// Mapped takes at which endpoints the gateway says that it passes packets on to us. It is a hint, believed once
// somebody has come that way.
func (n *Node) Mapped(endpoints []netip.AddrPort) {
	n.command(func(now time.Time, l *loop) {
		l.self.mapped = endpoints
		l.self.handle(now, vr.Mapped{Endpoints: endpoints})
	})
}

// dialledBack takes the datagram of a dial-back. It runs on the receiving lane.
func (n *Node) dialledBack(helper tables.RouterID, at netip.AddrPort, packet []byte) {
	token, err := frame.ParseGossipDialBack(packet)
	if err != nil || !at.IsValid() || path.KindOf(at) != path.Direct {
		return
	}
	select {
	case n.hearsay <- func(now time.Time, l *loop) {
		l.self.handle(now, vr.DialArrived{Token: token, From: at, Helper: helper})
	}:
	default:
	}
}
