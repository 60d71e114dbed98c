package node

import (
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/cpu"

	"github.com/vine-mesh/vine/node/alert"
	"github.com/vine-mesh/vine/node/forward"
	"github.com/vine-mesh/vine/node/vr"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport"
	"github.com/vine-mesh/vine/transport/path"
	"github.com/vine-mesh/vine/transport/secure"
)

// A loop is the control state of a VR. One goroutine owns all of it: it takes datagrams, results
// and commands one at a time, lets the pure states decide, does what they say, and publishes
// what the lanes read. It never waits for anything but its inputs.
type loop struct {
	n       *Node
	now     time.Time // of the event being handled
	store   *tables.Store
	tables  *tables.Installer
	closing map[tables.VNID]time.Time // since when the VNs that were merged lately have been closing
	links   *transport.Links
	clerk   *clerk
	backlog *backlog
	gossip  *replication
	server  *admission // newcomers' conversations
	author  *authority // nil on most VRs
	book    *hostBook
	alarm   alarm

	streams map[transport.Stream]*stream
	peers   map[tables.RouterID]*peer
	waiting int       // packets in all peers' queues
	shaken  time.Time // when the last first message was taken from its queue

	installed []tables.Installed
	compiled  *forward.Snapshot               // of installed
	onDisk    map[tables.VNID]uint64          // version of each VN whose set is on disk
	delivers  [][]netip.Prefix                // what Options.Delivers was last told
	waits     map[tables.Hash][]chan struct{} // who waits for the outcome of a request
	diskError error                           // of the last write; nil: it went well

	chores    [choreEnd]time.Time // when each is due; zero: not
	timers    []timer
	todo      []transport.Action // see do
	doing     bool
	observed  map[tables.RouterID]netip.AddrPort // where each linked peer sees us
	hops      map[uint32]hop
	queues    *queues
	self      *selfhood
	streaming *streaming
	drains    bool // `vine drain`: no new clients, and those that are here are asked to leave
	emptying  emptying
	apart     *apart
	record    record
	settings  Settings
}

// A peer is what the control loop knows of one router that it has, or wants, a link with.
type peer struct {
	endpoint netip.AddrPort // of the link; invalid: there is none
	largest  int            // datagram that the path in use carries; zero: not known yet
	send     *sendPeer      // nil: no channel yet
	grants   map[uint32]grant
	packets  []waitingPacket // waiting for a channel; at most peerPacketsMax
	since    time.Time       // when the first of them began to wait
	dials    []dialWait
	sent     *atomic.Bool
	got      *atomic.Bool
	roamed   *atomic.Bool
	vns      []tables.VNID // what SetChannels was last told
	silent   bool          // it leaves us without an answer

	hop      *secure.HopSender // nil: no link
	hopIndex uint32
	served   *served
	missed   *atomic.Bool // see hop.missed
	misses   *forward.TokenBucket
}

// A dialWait is somebody who waits for a link with a router.
type dialWait struct {
	done    func(now time.Time, conn transport.Conn, ok bool)
	expires time.Time
}

const (
	// peerPacketsMax is how many packets wait for one link: enough for the first packets of some
	// flows, too few to be a queue. The oldest is dropped.
	peerPacketsMax = 32
	// packetsWaitMax bounds all such packets of the VR: at 1,400 bytes 1.4 MB.
	packetsWaitMax = 1024
	// packetPatience is how long packets wait for a link: a handshake that lost its first message
	// twice still comes in time, and a host that gets a packet later has sent it again.
	packetPatience = 3 * time.Second
	// dialPatience is how long somebody waits for a link before he is told that there is none.
	dialPatience = 10 * time.Second
	// sweepEvery is how often at most the lanes' marks are read: liveness decides in hundreds of
	// milliseconds, so finer marks would only cost wake-ups.
	sweepEvery = 100 * time.Millisecond
)

// A chore is something the control loop does by itself at a time.
type chore uint8

const (
	choreSweep     chore = iota // read the lanes' marks
	chorePublish                // compile the tables anew
	choreRecord                 // look whether our link record is still right
	choreAuthority              // answer requests, renew heads and enrolments
	choreRejoin                 // look whether gossip has lost everybody
	choreExpire                 // dials that took too long, join conversations
	choreHasten                 // meet the authority, while somebody waits for its answer
	choreForget                 // drop what time has ended
	choreQueues                 // look at the election and our queue-VRs
	chorePoll                   // fetch what our queue-VRs keep for us
	choreLocal                  // look at the addresses of this machine
	choreHosts                  // answer what hosts ask for
	choreMembers                // dial the VRs of delivery sets
	choreApart                  // look whether our LAN is split
	choreAlarm                  // look whether something is wrong
	choreEnd
)

func newLoop(n *Node, now time.Time, store *tables.Store) (*loop, error) {
	l := &loop{
		n: n, now: now, store: store, tables: tables.NewInstaller(n.self.Router), closing: map[tables.VNID]time.Time{},
		waits: map[tables.Hash][]chan struct{}{}, onDisk: map[tables.VNID]uint64{}, streams: map[transport.Stream]*stream{}, peers: map[tables.RouterID]*peer{},
		observed: map[tables.RouterID]netip.AddrPort{}, settings: n.options.Settings,
	}
	l.hops = map[uint32]hop{}
	l.apart = &apart{l: l, peers: map[tables.RouterID]time.Time{}}
	l.alarm = alarm{alert.New(alarmHold), &n.silent}
	l.self = newSelfhood(l)
	l.streaming = newStreaming(l)
	l.queues = newQueues(l)
	l.clerk = newClerk(n)
	l.backlog = newBacklog(l)
	l.gossip = newReplication(l, now)
	l.server = newAdmission(l)
	l.book = newHostBook(l)
	if n.self.authority != nil {
		l.author = newAuthority(l)
	}
	l.links = transport.NewLinks(transport.Config{
		Self: n.self.Router, Static: n.self.static, Federation: n.self.Federation, Boot: n.self.boot, FastAES: fastAES(),
		Rand: n.options.Rand, Hello: l.hello, Accept: l.accept, Peer: l.address,
		Allowed:  func(id tables.RouterID) bool { return l.store.Admitted(id, l.now) },
		Joinable: func() bool { return l.settings.Joinable },
		Leads:    l.leads, Candidates: l.candidates, Punchable: l.punchable, Draining: l.draining,
		Origin: n.origin, Largest: l.largest,
	})
	n.gate.SetJoinable(l.settings.Joinable)
	if err := l.restore(); err != nil {
		return nil, err
	}
	if err := l.publish(now); err != nil {
		return nil, err
	}
	l.self.look(now)
	return l, nil
}

// fastAES reports whether this machine computes AES-GCM in hardware: then it is the faster suite.
func fastAES() bool {
	return cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL || cpu.S390X.HasAESGCM
}

// run is the control goroutine.
func (l *loop) run(ctx context.Context) error {
	defer close(l.n.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	l.start(time.Now())
	for {
		select {
		case <-ctx.Done():
			l.stop(time.Now())
			return nil
		case f := <-l.n.commands:
			l.handle(func(now time.Time) { f(now, l) })
		case f := <-l.n.hearsay:
			l.handle(func(now time.Time) { f(now, l) })
		case a := <-l.n.controls:
			l.handle(func(now time.Time) { l.arrive(now, a) })
		case a := <-l.n.handshakes:
			l.handle(func(now time.Time) { l.n.shake(l, now, a) })
		case w := <-l.n.waiting:
			l.handle(func(now time.Time) { l.queue(now, w) })
		case <-l.n.hints:
			l.handle(func(now time.Time) { l.hinted(now) })
		case <-timer.C:
			l.handle(func(time.Time) {})
		}
		l.drainControls()
		timer.Reset(max(0, time.Until(l.next())))
	}
}

// handle runs one event and then everything that has come due.
func (l *loop) handle(event func(now time.Time)) {
	now := time.Now()
	l.now = now
	event(now)
	l.do(now, l.links.Advance(now))
	l.gossip.advance(now)
	l.self.advance(now)
	l.fire(now)
	for c := range choreEnd {
		if at := l.chores[c]; !at.IsZero() && !at.After(now) {
			l.chores[c] = time.Time{}
			l.chore(now, c)
		}
	}
}

// next returns the least deadline of everything the loop owns.
func (l *loop) next() time.Time {
	next := time.Now().Add(time.Hour)
	consider := func(at time.Time) {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	consider(l.links.Next())
	consider(l.gossip.next())
	consider(l.self.state.Next())
	for _, at := range l.chores {
		consider(at)
	}
	for _, t := range l.timers {
		consider(t.at)
	}
	return next
}

// A timer calls f once, when it is due.
type timer struct {
	at time.Time
	f  func(now time.Time)
}

// after has f called in the control loop after a while.
func (l *loop) after(now time.Time, wait time.Duration, f func(now time.Time)) {
	l.timers = append(l.timers, timer{now.Add(wait), f})
}

func (l *loop) fire(now time.Time) {
	var ripe []timer
	l.timers = slices.DeleteFunc(l.timers, func(t timer) bool {
		if t.at.After(now) {
			return false
		}
		ripe = append(ripe, t)
		return true
	})
	for _, t := range ripe {
		t.f(now)
	}
}

// hinted has the lanes' marks read, soon or when the last reading is old enough.
func (l *loop) hinted(now time.Time) {
	if l.chores[choreSweep].IsZero() {
		l.sweep(now)
		l.due(now, choreSweep, sweepEvery)
	}
}

// due makes chore c due at now+wait at the latest.
func (l *loop) due(now time.Time, c chore, wait time.Duration) {
	at := now.Add(wait)
	if l.chores[c].IsZero() || at.Before(l.chores[c]) {
		l.chores[c] = at
	}
}

// start makes everything due that a VR does once it runs.
func (l *loop) start(now time.Time) {
	for _, c := range []chore{choreRecord, choreAuthority, choreRejoin, choreExpire, choreForget, choreQueues, choreLocal, choreMembers, choreApart} {
		l.due(now, c, 0)
	}
	l.due(now, choreAlarm, alarmEvery)
	l.gossip.start(now)
	l.dialAll(now)
}

func (l *loop) chore(now time.Time, c chore) {
	switch c {
	case choreSweep:
		l.sweep(now)
	case chorePublish:
		if err := l.publish(now); err != nil {
			l.n.log.Error("tables not changed", "err", err)
		}
	case choreRecord:
		l.refreshRecord(now)
	case choreAuthority:
		if l.author != nil {
			l.author.act(now)
		}
	case choreRejoin:
		l.gossip.rejoin(now)
		l.due(now, choreRejoin, rejoinEvery)
	case choreForget:
		l.forget(now)
		l.due(now, choreForget, forgetEvery)
	case choreLocal:
		l.self.look(now)
		l.due(now, choreLocal, localEvery)
	case choreHosts:
		l.book.tend(now)
	case choreMembers:
		l.dialMembers(now)
		l.due(now, choreMembers, membersEvery)
	case choreApart:
		l.apart.look(now)
		l.apart.expire(now)
		l.due(now, choreApart, apartEvery)
	case choreQueues:
		l.queues.advance(now)
		l.due(now, choreQueues, electEvery)
	case chorePoll:
		l.queues.poll(now)
	case choreHasten:
		l.gossip.hasten(now)
	case choreAlarm:
		l.alarmed(now)
	case choreExpire:
		l.expire(now)
		l.calm(now)
		l.streaming.tidy(now)
		l.queues.tidy(now)
		l.due(now, choreExpire, time.Second)
	}
}

// stop says goodbye on every link: peers need not find out by silence.
func (l *loop) stop(now time.Time) {
	for _, s := range l.links.Status(now) {
		l.do(now, l.links.Close(now, s.Router, transport.ReasonLeaving))
	}
}

// do does what the links decided, in order. Doing one thing may have the links decide more: that
// waits behind what was decided before, so that packets leave in the order they were made.
func (l *loop) do(now time.Time, actions []transport.Action) {
	l.todo = append(l.todo, actions...)
	if l.doing {
		return
	}
	l.doing = true
	for len(l.todo) > 0 {
		next := l.todo[0]
		l.todo = l.todo[1:]
		switch a := next.(type) {
		case transport.Send:
			l.sendRun(now, a)
		case transport.Up:
			l.linkUp(now, a)
		case transport.Rekeyed:
			if a.Restarted {
				l.stopSending(a.Router)
				l.queues.restarted(now, a.Router)
			}
		case transport.Moved:
			l.moved(now, a)
		case transport.Sized:
			l.sized(a)
		case transport.Channels:
			l.channels(a)
		case transport.Granted:
			l.granted(a)
		case transport.Withdrawn:
			l.withdrawn(a)
		case transport.Down:
			l.linkDown(now, a)
		case transport.JoinUp:
			l.n.keep(a.Endpoint)
			if !a.Dialled && path.KindOf(a.Endpoint) == path.Direct {
				l.self.handle(now, vr.Reached{From: a.Endpoint})
			}
			l.server.joinUp(now, a)
		case transport.StreamOpened:
			l.streamOpened(now, a)
		case transport.StreamReadable:
			l.pollStream(now, a.Stream)
		case transport.StreamWritable:
			l.pollStream(now, a.Stream)
		case transport.StreamClosed:
			l.streamClosed(now, a.Stream, a.Err)
		case transport.Listening:
			l.n.listening.set(a)
		case transport.Observed:
			l.observe(now, a)
		case transport.Hop:
			l.hop(a)
		case transport.HopGone:
			l.hopGone(a.Index)
		case transport.Unanswered:
			l.unanswered(now, a.Router)
		case transport.Degraded:
			l.degraded(now, a.Router)
		case transport.Silent:
			l.silent(a)
		case transport.Relays:
			l.offerRelays(now, a.Router, a.Relays)
		case transport.Asked:
			l.asked(now, a)
		}
	}
	l.doing = false
}

// sendRun sends a datagram and those that directly follow it, in one go: the datagrams of a train must leave
// back to back.
func (l *loop) sendRun(now time.Time, first transport.Send) {
	l.contact(now, first)
	out := l.n.appendDatagram(nil, first.To, first.Datagram)
	for len(l.todo) > 0 {
		next, ok := l.todo[0].(transport.Send)
		if !ok {
			break
		}
		l.todo = l.todo[1:]
		l.contact(now, next)
		out = l.n.appendDatagram(out, next.To, next.Datagram)
	}
	l.n.write(out)
}

func (l *loop) streamOpened(now time.Time, a transport.StreamOpened) {
	s := &stream{conn: a.Conn, router: a.Router, kind: a.Kind}
	l.streams[a.Stream] = s
	switch {
	case a.Kind == streamGossip && a.Router != 0:
		if !l.n.gossip.Accept(a.Router, l.n.newConn(a.Stream, a.Router)) {
			l.do(now, l.links.ResetStream(now, a.Stream))
		}
	case a.Kind == streamExchange && a.Router != 0:
		l.gossip.respond(now, a.Stream, s)
	case a.Kind == streamJoin:
		l.server.converse(now, a.Stream, s)
	default:
		l.do(now, l.links.ResetStream(now, a.Stream))
	}
}
