package node

import (
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/vine-mesh/vine/mesh"
	"github.com/vine-mesh/vine/mesh/gossip"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport"
)

// A replication sees to it that this VR and the others come to hold the same documents: it
// does what the pure states of package mesh decide. The control loop owns it, but for rumours.
type replication struct {
	l         *loop
	index     mesh.Index
	view      *mesh.View
	rng       *rand.Rand
	rumours   *rumours
	exchanges map[transport.Stream]*exchange
	met       bool // an exchange of ours has come to its end since the start
	seen      map[tables.RouterID]bool
	hastening bool // a meeting with the authority is under way
	turn      int  // whose turn the next one is
	pause     time.Duration
	served    map[tables.RouterID]int // exchanges that a peer started and that go on
}

// An exchange is one mesh.Exchange on its stream.
type exchange struct {
	state  *mesh.Exchange
	frames mesh.FrameReader
	out    []byte // encoded and not yet taken by the stream; at most one frame's length
	ended  func(now time.Time, ok bool, moved int)
}

const (
	// rejoinEvery is how often a VR without live members looks for some.
	rejoinEvery = 5 * time.Second
	// exchangeRead is how much of a stream is read at a time.
	exchangeRead = 16 << 10
	// exchangesPerPeer is how many exchanges one peer may have with us that it started: one that
	// goes on and one that a rumour caused.
	exchangesPerPeer = 4
	// rejoinDials is how many routers are dialled each time: with a hundred enrolled and one
	// alive, it is found within two minutes, at the cost of one handshake message a second.
	rejoinDials = 4
)

func newReplication(l *loop, now time.Time) *replication {
	var seed [16]byte
	if _, err := io.ReadFull(l.n.options.Rand, seed[:]); err != nil {
		panic("node: internal error: no randomness: " + err.Error())
	}
	rng := rand.New(rand.NewPCG(uint64(l.n.self.Router), l.n.self.boot+uint64(seed[0])<<8+uint64(seed[1])))
	r := &replication{
		l: l, view: mesh.NewView(now, l.n.self.Router, rng), rng: rng, rumours: l.n.rumours,
		exchanges: map[transport.Stream]*exchange{}, seen: map[tables.RouterID]bool{}, served: map[tables.RouterID]int{},
	}
	for d := range l.store.Digests() {
		r.index.Put(d)
	}
	return r
}

// rumours is mesh.Rumours behind a lock: the control loop adds, memberlist's goroutines take.
type rumours struct {
	mu    sync.Mutex // guards queue
	queue *mesh.Rumours
	mute  bool // only tests set it, before Run: nothing is rumoured
}

// Take implements gossip.Rumours.
func (r *rumours) Take(members, limit, overhead int) [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.queue.Take(members, limit, overhead)
}

func (r *rumours) add(d *tables.Document) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mute {
		return
	}
	r.queue.Add(d.Digest(), d.Bytes())
}

// start tells the view of everybody who is enrolled, so that those who are gone are tried too.
func (r *replication) start(now time.Time) {
	r.rootChanged(now)
	r.members(now)
}

// members tells the view of routers that it has not heard of, and of those that are no more.
func (r *replication) members(now time.Time) {
	present := map[tables.RouterID]bool{}
	for _, e := range r.l.store.Enrolments() {
		present[e.Router] = true
		if !r.seen[e.Router] && e.Router != r.l.n.self.Router {
			r.seen[e.Router] = true
			r.tell(now, mesh.MemberDown{Peer: e.Router})
		}
	}
	for id := range r.seen {
		if !present[id] {
			delete(r.seen, id)
			r.tell(now, mesh.MemberRemoved{Peer: id})
		}
	}
	var candidates []mesh.Candidate
	for _, e := range r.l.store.Enrolments() {
		if rec, ok := r.l.store.LinkRecord(e.Router); ok && e.Router != r.l.n.self.Router {
			candidates = append(candidates, mesh.Candidate{Router: e.Router, Site: e.Site, Direct: rec.VRKind == "regular"})
		}
	}
	r.tell(now, mesh.Anchors{Peers: mesh.ChooseAnchors(now, candidates)})
}

// tell gives the view an event and does what it decides.
func (r *replication) tell(now time.Time, ev mesh.Event) { r.do(now, r.view.Handle(now, ev)) }

func (r *replication) advance(now time.Time) {
	r.do(now, r.view.Advance(now))
	for id, x := range r.exchanges {
		if x.state.Advance(now) != nil {
			r.l.do(now, r.l.links.ResetStream(now, id))
		}
	}
}

func (r *replication) next() time.Time {
	next := r.view.Next()
	for _, x := range r.exchanges {
		if at := x.state.Next(); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

func (r *replication) do(now time.Time, actions []mesh.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case mesh.StartExchange:
			r.exchangeWith(now, a.Peer, func(now time.Time, ok bool, moved int) {
				r.met = r.met || ok
				r.tell(now, mesh.ExchangeEnded{Peer: a.Peer, OK: ok, Moved: moved})
			})
		case mesh.Pull:
			r.initiate(now, a.Peer, func(now time.Time) *mesh.Exchange {
				return mesh.NewPull(now, a.Keys, mesh.ExchangeLimits{})
			}, func(now time.Time, ok bool, _ int) { r.tell(now, mesh.PullEnded{Peer: a.Peer, OK: ok}) })
		case mesh.Rejoin:
			r.join(a.Peer)
		}
	}
}

// exchangeWith reconciles with a peer; ended is called in every case.
func (r *replication) exchangeWith(now time.Time, id tables.RouterID, ended func(now time.Time, ok bool, moved int)) {
	r.initiate(now, id, func(now time.Time) *mesh.Exchange {
		return mesh.NewExchange(now, &r.index, true, r.body, mesh.ExchangeLimits{})
	}, ended)
}

func (r *replication) initiate(now time.Time, id tables.RouterID, make func(now time.Time) *mesh.Exchange, ended func(now time.Time, ok bool, moved int)) {
	r.l.openStream(now, id, streamExchange, func(now time.Time, st transport.Stream, s *stream) {
		if s == nil {
			ended(now, false, 0)
			return
		}
		r.run(now, st, s, &exchange{state: make(now), ended: ended})
	})
}

// respond takes the other side of an exchange that a peer started. A peer that claims to have
// nothing can ask for everything, so it has few at a time.
func (r *replication) respond(now time.Time, st transport.Stream, s *stream) {
	if r.served[s.router] >= exchangesPerPeer {
		r.l.do(now, r.l.links.ResetStream(now, st))
		return
	}
	r.served[s.router]++
	r.run(now, st, s, &exchange{
		state: mesh.NewExchange(now, &r.index, false, r.body, mesh.ExchangeLimits{}),
		ended: func(time.Time, bool, int) {
			if r.served[s.router]--; r.served[s.router] == 0 {
				delete(r.served, s.router)
			}
		},
	})
}

func (r *replication) run(now time.Time, st transport.Stream, s *stream, x *exchange) {
	r.exchanges[st] = x
	s.readable = func(now time.Time) { r.pump(now, st, s, x) }
	s.ended = func(now time.Time, err error) {
		delete(r.exchanges, st)
		_, _, in, out := x.state.Counts()
		x.ended(now, x.state.Done(), in+out)
		if xerr := x.state.Err(); xerr != nil {
			r.l.n.log.Debug("exchange failed", "peer", r.l.name(s.router), "err", xerr)
		}
	}
	r.pump(now, st, s, x)
}

// pump moves bytes between the stream and the exchange, both ways, as far as they go.
func (r *replication) pump(now time.Time, st transport.Stream, s *stream, x *exchange) {
	buf := make([]byte, exchangeRead)
	for {
		n, eof, actions := r.l.links.ReadStream(now, st, buf)
		r.l.do(now, actions)
		if n == 0 {
			if eof && !x.state.Done() {
				r.l.do(now, r.l.links.ResetStream(now, st))
				return
			}
			break
		}
		x.frames.Feed(buf[:n])
		if !r.take(now, s.router, x) {
			r.l.do(now, r.l.links.ResetStream(now, st))
			return
		}
	}
	for {
		if len(x.out) == 0 {
			f, ok := x.state.Out(now)
			if !ok {
				break
			}
			x.out = mesh.AppendFrame(x.out[:0], f)
		}
		n, actions := r.l.links.WriteStream(now, st, x.out)
		x.out = x.out[n:]
		r.l.do(now, actions)
		if len(x.out) > 0 {
			return // StreamWritable will call again
		}
	}
	if x.state.Done() {
		r.l.do(now, r.l.links.CloseStream(now, st))
	}
}

// take gives whole frames to the exchange and what they bring to the clerk. It reports false
// when the peer broke the protocol.
func (r *replication) take(now time.Time, from tables.RouterID, x *exchange) bool {
	var documents [][]byte
	for {
		f, ok, err := x.frames.Next()
		if err != nil {
			return false
		}
		if !ok {
			break
		}
		wanted, err := x.state.Handle(now, f)
		if err != nil {
			return false
		}
		for _, w := range wanted {
			documents = append(documents, w.Envelope)
		}
	}
	r.l.receive(documents, from)
	return true
}

// body returns the envelope of a document that a peer wants. A newer one that is not on disk is not given: after a crash this VR,
// if it is the signer, could sign another one of that version.
func (r *replication) body(key tables.DocKey) []byte {
	if d := r.l.backlog.stored.Get(key); d != nil {
		return d.Bytes()
	}
	return nil
}

// changed tells the index of documents on disk, and the mesh of those that are new.
func (r *replication) changed(now time.Time, changes []tables.Change) {
	for _, c := range changes {
		if c.Doc == nil {
			r.index.Remove(c.Key)
			continue
		}
		r.index.Put(c.Doc.Digest())
		r.rumours.add(c.Doc)
	}
	r.rootChanged(now)
}

func (r *replication) rootChanged(now time.Time) {
	root := r.index.Root()
	r.l.n.gossip.SetRoot(root)
	r.tell(now, mesh.OwnRoot{Root: root})
}

// heard takes a rumour: what is new is verified and kept, or fetched from who holds it.
func (r *replication) heard(now time.Time, from tables.RouterID, message []byte) {
	rumour, err := mesh.ParseRumour(message)
	if err != nil || rumour.Holder != from {
		return // nobody speaks for others: a liar could send everybody to one victim
	}
	switch mesh.Heard(&r.index, rumour) {
	case mesh.VerdictVerify:
		r.l.receive([][]byte{rumour.Body}, from)
	case mesh.VerdictPull:
		r.tell(now, mesh.PullWanted{Holder: rumour.Holder, Key: rumour.Digest.Key, Version: rumour.Digest.Version})
	}
}

// rejoin looks for members while gossip knows none: those with whom we have links, then anchors.
func (r *replication) rejoin(now time.Time) {
	if r.view.LiveCount() > 0 {
		return
	}
	linked := false
	for _, s := range r.l.links.Status(now) {
		if _, up := r.l.links.Conn(s.Router); up {
			r.join(s.Router)
			linked = true
		}
	}
	if linked {
		return
	}
	var others []tables.RouterID
	for _, e := range r.l.store.Enrolments() {
		if _, ok := r.l.address(e.Router); ok { // never ourselves
			others = append(others, e.Router)
		}
	}
	r.rng.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	for _, id := range others[:min(len(others), rejoinDials)] {
		r.l.do(now, r.l.links.Dial(now, id))
	}
}

// awaited starts meetings with the authority: somebody here waits for its answer. Rumours are
// as fast as a rule, but a newcomer's member may have come up a second before him.
func (r *replication) awaited(now time.Time) {
	r.pause = 0
	r.l.due(now, choreHasten, 0)
}

// hasten meets a VR that runs the authority, if somebody still waits, and comes back after a pause
// that grows. Where nothing is new a meeting costs a hundred bytes.
func (r *replication) hasten(now time.Time) {
	if r.l.author != nil || len(r.l.waits) == 0 && !r.l.server.waiting() {
		return
	}
	if serving := r.serving(); len(serving) > 0 && !r.hastening {
		r.turn++
		r.hastening = true
		r.exchangeWith(now, serving[r.turn%len(serving)], func(time.Time, bool, int) { r.hastening = false })
	}
	r.pause = min(max(2*r.pause, hastenMin), hastenMax)
	r.l.due(now, choreHasten, r.pause)
}

// serving returns the routers that say they run the authority, those that gossip believes alive
// first. Anybody can say so: they are taken in turn, so a liar costs a pause.
func (r *replication) serving() []tables.RouterID {
	var live, silent []tables.RouterID
	alive := r.view.Live()
	for _, e := range r.l.store.Enrolments() {
		rec, ok := r.l.store.LinkRecord(e.Router)
		switch {
		case !ok || !rec.Serving || e.Router == r.l.n.self.Router:
		case slices.Contains(alive, e.Router):
			live = append(live, e.Router)
		default:
			silent = append(silent, e.Router)
		}
	}
	if len(live) > 0 {
		return live
	}
	return silent
}

// The pauses between two meetings with the authority, while somebody waits.
const (
	hastenMin = 250 * time.Millisecond
	hastenMax = 10 * time.Second
)

// join has gossip join through a router.
func (r *replication) join(id tables.RouterID) {
	e, ok := r.l.store.Enrolment(id)
	if !ok {
		return
	}
	select {
	case r.l.n.joins <- e.Name:
	default:
	}
}

// joinGossip is the goroutine that has gossip join through routers that we have met: a join
// waits for the network.
func (n *Node) joinGossip(ctx context.Context) error {
	for {
		select {
		case name := <-n.joins:
			wait, cancel := context.WithTimeout(ctx, joinPatience)
			if _, err := n.gossip.Join(wait, name); err != nil {
				n.log.Debug("gossip did not join", "peer", name, "err", err)
			}
			cancel()
		case <-ctx.Done():
			return nil
		}
	}
}

// joinPatience bounds one join of gossip.
const joinPatience = 10 * time.Second

var _ gossip.Rumours = (*rumours)(nil)
