package node

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vine-mesh/vine/internal/poll"
	"github.com/vine-mesh/vine/mesh"
	"github.com/vine-mesh/vine/mesh/gossip"
	"github.com/vine-mesh/vine/mesh/serfrpc"
	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/forward"
	"github.com/vine-mesh/vine/node/hosts"
	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/secure"
	"github.com/vine-mesh/vine/transport/underlay"
)

// ErrNotEnrolled says that the state directory belongs to no enrolled VR yet.
var ErrNotEnrolled = errors.New("this machine is not enrolled in a federation")

// Options say what a Node runs on. A Node owns what it is given and closes it.
type Options struct {
	State  *state.Dir
	Socket underlay.Socket
	// More is the sockets of further lanes, at most frame.LanesMax - 1, on Socket's port (underlay.UDP.Beside). With them
	// every attachment's device should have as many more queues.
	More    []underlay.Socket
	Streams *underlay.Streams // stream connections; nil: none
	// Proxy returns the proxy for a stream connection to an endpoint, nil for none. It may be nil.
	Proxy func(netip.AddrPort) (*url.URL, error)
	// Fresh opens a socket that has never sent anything, to send to an address of that family: to dial
	// back for others. nil: we do not help them.
	Fresh func(netip.Addr) (underlay.Socket, error)
	// Offload has Socket move several datagrams at once where it can.
	Offload     bool
	Attachments []Attachment // none: a VR without hosts, which still gossips and admits
	// Shared are gateway addresses that this machine may have for a while: they are no addresses of this VR.
	Shared []netip.Addr
	// Hears returns the VRs that share our blocks and are heard on the LAN; nil: we do not listen. It may be called from any
	// goroutine.
	Hears func() []tables.RouterID
	// Gateways says how it stands with them; nil: there are none. It may be called from any goroutine.
	Gateways func() []control.Gateway
	// Scale says how VRs of the site are started and stopped; nil: they are not. It may be called from any goroutine.
	Scale       func() control.Scale
	Settings    Settings
	Control     net.Listener  // the management API; nil: none
	Remote      net.Listener  // the same over the network, by TLS; nil: none
	RemoteNames []string      // names of this machine that callers of Remote may use
	SerfRPC     net.Listener  // for the stock serf command; nil: none
	SerfLogs    *serfrpc.Ring // feeds "serf monitor"; nil: nothing
	SerfToken   string        // what serf must give as -rpc-auth; empty: nothing
	Rand        io.Reader     // safe for several goroutines at once
	Log         *slog.Logger
	Software    string // version text for the link record, at most 32 bytes
	// Reload reads the configuration again; nil when there is none to read.
	Reload func() (Settings, error)
	// Alerts tells people when something is wrong; nil: nobody but who asks.
	Alerts Alerter
	// Delivers is told, at the start and on every change, which prefixes each attachment
	// delivers, so that the machine can be set up for them. The control loop calls it: it must not
	// wait. It may be nil.
	Delivers func(prefixes [][]netip.Prefix)
}

// An Attachment is a capture device and the VNs whose hosts are behind it.
type Attachment struct {
	Name   string
	Device capture.Device
	VNs    []string // names; none: every VN
}

// Settings may change while the Node runs: see Node.Apply.
type Settings struct {
	Endpoints []netip.AddrPort // declared; none: found out from what peers observe
	Kind      string           // "auto", "regular" or "limited"
	Joinable  bool
	PathMTU   int    // largest underlay packet of every path, in bytes
	AutoAdmit string // "invite", "open" or "never"; for the VR that runs the authority
	// Queues names the queue-VRs that a limited VR is to be attached to; none: chosen by measurement.
	Queues []string
	// Listens is where this VR takes stream connections, if it can be reached.
	Listens []tables.StreamEndpoint
	Serve   bool  // relay for limited VRs
	Rate    int64 // what is relayed at most, bits per second; 0: no limit
	// Capacity is what the link record says, bits per second. No choice follows it.
	Capacity int64
	// Poll says how a limited VR gets its packets.
	Poll     Poll
	Interval time.Duration // of polls
}

// A Poll is a way to get packets from a queue-VR (dissertation table 3-3).
type Poll uint8

// The ways.
const (
	PollNone Poll = iota // an always-open channel
	PollUDP
	PollTCP // and no UDP at all: see loop.overTCP
)

// self is who we are. It is immutable.
type self struct {
	Router     tables.RouterID
	Name       string
	Federation tables.Hash
	identity   ed25519.PrivateKey
	static     secure.StaticKey
	authority  ed25519.PrivateKey // nil on most VRs
	boot       uint64
}

// A Node is one running virtual router. New starts nothing; Run does everything.
type Node struct {
	self        self
	socket      underlay.Socket
	more        []underlay.Socket // of the lanes but the first
	streams     *underlay.Streams // nil: none
	many        bool              // the socket may give several datagrams as one
	attachments []*attachment
	options     Options
	log         *slog.Logger
	started     time.Time
	gate        *secure.Gate
	gossip      *gossip.Gossip
	pouch       *pouch // gossip keys by peer
	rumours     *rumours
	joins       chan string // names that gossip should join through; a full queue drops them
	loop        *loop       // owned by the control goroutine once Run has begun

	// commands carries work into the control loop. Senders wait; they stop waiting at done.
	commands chan func(now time.Time, l *loop)
	// hearsay carries what gossip heard. It has a queue of its own, so that a flood of rumours does
	// not hold up commands; when it is full they are dropped, and anti-entropy does without.
	hearsay chan func(now time.Time, l *loop)
	// controls carries datagrams for the links from the receiving lane, handshakes first messages.
	// When one is full the lane drops the datagram and counts it: what matters is sent again.
	controls   chan arrival
	handshakes chan arrival
	// hints wakes the control loop to look at the lanes' used marks.
	hints chan struct{}
	// waiting carries packets that have no channel yet; a full queue drops them, counted.
	waiting chan waitingPacket
	// done is closed when the control loop has ended.
	done     chan struct{}
	senders  senders
	lanSplit atomic.Bool // another VR that shares our blocks is alive, and not heard on the LAN
	// arrived judges a packet that a router sent: forward.Arrived. Only tests put in another, to
	// show what would come through without it.
	arrived func(s *forward.Snapshot, from tables.RouterID, vn tables.VNID, b []byte) (attachment int, drop forward.Drop)

	// shake handles a first message, and underLoad decides: see loop.shake and underLoad. Only
	// tests put in others, to make handshakes dear or to show what happens without cookies.
	shake     func(l *loop, now time.Time, a arrival)
	underLoad func(on bool, queued, capacity int, idle time.Duration) bool

	// Only tests set these: hostile takes what is to be relayed, instead of passing it on; the others each
	// take one defence out, to show that its attack then succeeds.
	hostile   func(r frame.Relay, payload []byte)
	unmetered bool // what is done for others is not limited
	anyGossip bool // gossip is relayed whoever's it is, and wherever it goes
	off       relayDefences

	reach    reachable
	contacts contacts
	// tasks and ctx are those of Run: for what the control loop has done beside it.
	tasks     *errgroup.Group
	ctx       context.Context
	listening indexes
	snapshot  atomic.Pointer[snapshot]
	grants    atomic.Pointer[map[uint32]grant]
	hops      atomic.Pointer[map[uint32]hop]
	// receiving is held for reading by a receive lane for one batch.
	receiving sync.RWMutex
	windows   [frame.LanesMax + 1]laneLock             // held by a receive lane, one at a time: see receiveLane
	waits     [frame.LanesMax]atomic.Pointer[poll.Set] // what each lane but the first waits for
	directory atomic.Pointer[directory]
	ledger    atomic.Pointer[hosts.Ledger] // of the LAN, as on disk
	events    *control.Events
	silent    silence
	held      held

	counters
}

// counters count packets. Lanes add, anybody reads.
type counters struct {
	drops    [forward.DropCount]atomic.Uint64
	lanes    [frame.LanesMax]laneCounters
	local    atomic.Uint64 // packets from one attachment to another
	spent    atomic.Uint64 // packets dropped because the key's counter was spent
	junk     atomic.Uint64 // data datagrams that named no channel or did not open
	gated    atomic.Uint64 // other datagrams that the gate dropped
	busy     atomic.Uint64 // control datagrams dropped because the control loop was behind
	crowded  atomic.Uint64 // first messages of handshakes dropped because of that
	unknown  atomic.Uint64 // datagrams for the links that named no index of theirs
	waited   atomic.Uint64 // packets dropped while they waited for a link
	gossiped atomic.Uint64 // gossip datagrams that did not open or came from nobody

	forged    atomic.Uint64 // datagrams that claimed to come from an address that names a path
	relayed   atomic.Uint64 // relay datagrams passed on
	carried   atomic.Uint64 // those of them that carried data
	unhopped  atomic.Uint64 // relay datagrams that named no hop of ours or whose tag was wrong
	refused   atomic.Uint64 // relay datagrams that their hop may not send, or that break the rules
	unqueued  atomic.Uint64 // datagrams dropped while they waited for a poll or for their turn
	unrelayed atomic.Uint64 // datagrams for a router that we, or the relay, have no link with
}

// laneCounters are those that a lane adds to for each packet.
type laneCounters struct {
	sent     atomic.Uint64 // data packets sealed and sent
	received atomic.Uint64 // data packets opened
	_        [48]byte      // each lane has a cache line of its own
}

// sent returns how many data packets were sealed and sent.
func (c *counters) sent() (n uint64) {
	for i := range c.lanes {
		n += c.lanes[i].sent.Load()
	}
	return n
}

// received returns how many data packets were opened.
func (c *counters) received() (n uint64) {
	for i := range c.lanes {
		n += c.lanes[i].received.Load()
	}
	return n
}

// A waitingPacket has a destination but no channel yet.
type waitingPacket struct {
	decision forward.Decision
	packet   []byte
}

const (
	waitingMax  = 256
	commandsMax = 64
	hearsayMax  = 1024 // one gossip packet may bring dozens of rumours
	joinsMax    = 8
)

// New returns the Node of an enrolled VR. It reads the state directory and counts the boot; it
// starts no goroutine. It returns an error that wraps ErrNotEnrolled when the VR has yet to join.
func New(o Options) (*Node, error) {
	n := &Node{
		socket: o.Socket, more: o.More, streams: o.Streams, options: o, log: o.Log, started: time.Now().UTC(),
		commands:   make(chan func(time.Time, *loop), commandsMax),
		hearsay:    make(chan func(time.Time, *loop), hearsayMax),
		controls:   make(chan arrival, arrivalsMax),
		handshakes: make(chan arrival, handshakesMax),
		shake:      (*loop).shake, underLoad: underLoad,
		hints:   make(chan struct{}, 1),
		waiting: make(chan waitingPacket, waitingMax),
		done:    make(chan struct{}),
		joins:   make(chan string, joinsMax),
		arrived: forward.Arrived,
	}
	for _, a := range o.Attachments {
		n.attachments = append(n.attachments, newAttachment(a.Device))
	}
	now := time.Now()
	store, err := n.load(now)
	if err != nil {
		return nil, err
	}
	n.events = control.NewEvents(n.self.boot)
	n.silent.set = map[tables.RouterID]bool{}
	if n.gate, err = secure.NewGate(n.self.static.Public(), now, o.Rand); err != nil {
		return nil, err
	}
	if n.pouch, err = newPouch(n); err != nil {
		return nil, err
	}
	n.rumours = &rumours{queue: mesh.NewRumours(n.self.Router)}
	n.held.init(n)
	n.held.setRate(o.Settings.Rate)
	n.grants.Store(&map[uint32]grant{})
	n.hops.Store(&map[uint32]hop{})
	if n.gossip, err = newGossip(n); err != nil {
		return nil, err
	}
	if n.loop, err = newLoop(n, now, store); err != nil {
		return nil, err
	}
	n.offload()
	return n, nil
}

// offload has the socket move several datagrams at once, if it is to.
func (n *Node) offload() {
	if !n.options.Offload {
		return
	}
	does, err := n.socket.Offload()
	n.many = does.Receive
	for _, s := range n.more {
		same, e := s.Offload()
		n.many = n.many || same.Receive
		err = errors.Join(err, e)
	}
	if err != nil {
		n.log.Warn("the system does not move several datagrams at once", "send", does.Send, "receive", does.Receive, "err", err)
	}
}

// Run runs the VR until ctx ends or a part fails; then it leaves, closes what Options gave it,
// and returns when its last goroutine has. Only serf's own goroutines may linger: see package
// gossip.
//
// Leaving goes from the top down: gossip says goodbye while links still work, then the control
// loop closes the links, then the sockets go.
func (n *Node) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	lower, stopLower := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLower()
	n.tasks, n.ctx = g, ctx
	if n.streams != nil {
		g.Go(func() error { return n.streams.Run(lower) })
		g.Go(func() error { return n.watchStreams(lower) })
		g.Go(func() error { return n.receiveLane(n.streams) })
	}
	g.Go(func() error {
		defer stopLower()
		defer n.loop.clerk.keepIncarnation()
		return n.gossip.Run(ctx)
	})
	g.Go(func() error { return n.joinGossip(ctx) })
	n.serve(ctx, g)
	g.Go(func() error { return n.loop.run(lower) })
	g.Go(n.loop.clerk.run)
	g.Go(func() error { return n.held.relayPump(lower) })
	duplex, simplex := newDuplexLanes(n)
	for _, lane := range duplex {
		g.Go(lane.run)
	}
	if len(duplex) == 0 {
		for number := range len(n.more) + 1 {
			g.Go(func() error { return n.receiveLane(n.laneSocket(number)) })
		}
	}
	for _, at := range simplex {
		g.Go(func() error { return n.sendLane(at) })
	}
	g.Go(func() error {
		<-n.done // the control loop has said goodbye on the socket
		errs := []error{n.socket.Close()}
		for _, s := range n.more {
			errs = append(errs, s.Close())
		}
		if n.streams != nil {
			errs = append(errs, n.streams.Close())
		}
		for _, a := range n.attachments {
			errs = append(errs, a.close())
		}
		return errors.Join(errs...)
	})
	err := g.Wait()
	return errors.Join(err, n.options.State.Close())
}

// command has the control loop call f and reports whether it will: not after the loop has ended.
// It must not be called by the loop itself.
func (n *Node) command(f func(now time.Time, l *loop)) bool {
	select {
	case n.commands <- f:
		return true
	case <-n.done:
		return false
	}
}

// call has the control loop call f and waits until it has.
func (n *Node) call(ctx context.Context, f func(now time.Time, l *loop)) error {
	ran := make(chan struct{})
	wrapped := func(now time.Time, l *loop) {
		f(now, l)
		close(ran)
	}
	select {
	case n.commands <- wrapped:
	case <-n.done:
		return net.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-ran:
		return nil
	case <-n.done:
		return net.ErrClosed
	}
}

// hint tells the control loop that lanes have marked peers as used. It never blocks.
func (n *Node) hint() {
	select {
	case n.hints <- struct{}{}:
	default:
	}
}

// wait hands a packet that has no channel yet to the control loop, which makes one.
func (n *Node) wait(d forward.Decision, packet []byte) {
	select {
	case n.waiting <- waitingPacket{d, append([]byte(nil), packet...)}:
	default:
		n.waited.Add(1)
	}
}

// roamed tells the control loop that a router's data came from another address.
func (n *Node) roamed(router tables.RouterID, from netip.AddrPort) {
	select {
	case n.commands <- func(now time.Time, l *loop) { l.do(now, l.links.Roamed(now, router, from)) }:
	default: // the next packet says so again once the mark is cleared
	}
}

// Secret derives a secret for one purpose, the same after every start.
func (n *Node) Secret(purpose string) []byte {
	mac := hmac.New(sha256.New, n.self.identity.Seed())
	mac.Write([]byte("vine " + purpose))
	return mac.Sum(nil)
}

// Router returns the VR's router ID and name.
func (n *Node) Router() (tables.RouterID, string) { return n.self.Router, n.self.Name }

// Identity returns the VR's identity: its certificate is of this key.
func (n *Node) Identity() tables.PublicKey { return tables.PublicOf(n.self.identity) }

// load reads the keys and the documents, and counts the boot.
func (n *Node) load(now time.Time) (*tables.Store, error) {
	dir := n.options.State
	identity, ok, err := dir.Key("identity")
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, ErrNotEnrolled
	}
	n.self.identity = ed25519.NewKeyFromSeed(identity[:])
	link, ok, err := dir.Key("link")
	if err != nil || !ok {
		return nil, errors.Join(err, ErrNotEnrolled)
	}
	n.self.static = secure.NewStaticKey(link)
	if authority, ok, err := dir.Key("authority"); err != nil {
		return nil, err
	} else if ok {
		n.self.authority = ed25519.NewKeyFromSeed(authority[:])
	}
	store, err := LoadStore(dir, now, n.log)
	if err != nil {
		return nil, err
	}
	enrolment, ok := store.EnrolmentByIdentity(tables.PublicOf(n.self.identity))
	if !ok {
		return nil, ErrNotEnrolled
	}
	n.self.Router, n.self.Name, n.self.Federation = enrolment.Router, enrolment.Name, store.FederationID()
	if n.self.boot, err = dir.Boot(); err != nil {
		return nil, err
	}
	return store, nil
}

// LoadStore returns the store of the documents in a state directory.
func LoadStore(dir *state.Dir, now time.Time, log *slog.Logger) (*tables.Store, error) {
	documents, damaged, err := dir.Load()
	if err != nil {
		return nil, err
	}
	for _, name := range damaged {
		log.Warn("damaged bundle set aside; its documents will come back from other VRs", "file", name)
	}
	if len(damaged) > 0 {
		// Until they have come back an authority that runs here must not sign: see authority.act.
		if err := dir.SetNote(incompleteNote, strings.Join(damaged, "\n")); err != nil {
			return nil, err
		}
	}
	store := tables.NewStore(tables.Hash{})
	if err := loadMarks(dir, store, log); err != nil {
		return nil, err
	}
	var list []*tables.Document
	for _, b := range documents {
		d, err := tables.ParseDocument(b)
		if err != nil {
			log.Warn("document on disk is not readable", "err", err)
			continue
		}
		list = append(list, d)
	}
	for _, err := range store.Load(now, list, tables.FromDisk) {
		log.Debug("document on disk is not current", "err", err)
	}
	store.TakeChanges()
	if store.FederationID().IsZero() {
		return nil, fmt.Errorf("%s: %w", dir.Path(), ErrNotEnrolled)
	}
	// What was founded, or stored before there were marks, gets them now.
	if err := dir.SetMarks(tables.AppendMarks(nil, store.HighWater())); err != nil {
		return nil, err
	}
	return store, nil
}

// loadMarks gives the store the high-water marks in a state directory, before any document: so it
// takes no older version where the newest is damaged.
func loadMarks(dir *state.Dir, store *tables.Store, log *slog.Logger) error {
	records, err := dir.Marks()
	if err != nil {
		return err
	}
	for _, r := range records {
		marks, err := tables.ParseMarks(r)
		if err != nil {
			log.Warn("high-water marks on disk are not readable", "err", err)
			continue
		}
		store.SetHighWater(marks)
	}
	return nil
}

// incompleteNote is the name of a note in the state directory that names damaged bundles whose
// documents may be missing; empty or absent: none.
const incompleteNote = "incomplete"
