package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sort"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"

	"github.com/vine-mesh/vine/tables"
)

// A Gossip is one VR's part in the gossip of its federation.
//
// All methods may be called at any time and from many goroutines. Before Run has started
// serf and after it has ended, inputs are dropped and there are no members.
type Gossip struct {
	config Config
	// police is replaced in tests of this package only.
	police inspector
	// adjust is set in tests of this package only, to show an attack on serf's defaults.
	adjust func(*serf.Config)
	fabric *fabric // set before serf

	serf atomic.Pointer[serf.Serf] // nil unless running
	root atomic.Pointer[[RootLen]byte]
	meta atomic.Pointer[[]byte] // encoded tags

	ran     atomic.Bool
	newTags chan struct{} // capacity 1: tags changed
	joining chan struct{} // capacity 1: held by the one Join that runs. A mutex would stall virtual time
	events  chan serf.Event
	subs    subscribers
}

// New checks c and returns a Gossip that does nothing yet.
func New(c Config) (*Gossip, error) {
	switch {
	case c.Send == nil || c.Dial == nil || c.Directory == nil:
		return nil, errors.New("gossip: Send, Dial and Directory must be set")
	case c.Self.Router == 0:
		return nil, errors.New("gossip: router ID 0 is nobody's")
	case c.Self.Name == "" || len(c.Self.Name) > nameMax:
		return nil, fmt.Errorf("gossip: name %q is not a name", c.Self.Name)
	case c.Incarnation >= introMax:
		c.Incarnation = 0
	}
	meta, err := encodeTags(c.Tags)
	if err != nil {
		return nil, err
	}
	g := &Gossip{
		config:  c,
		police:  newPolice(c.Self, c.Directory, c.Incarnation),
		newTags: make(chan struct{}, 1),
		joining: make(chan struct{}, 1),
		events:  make(chan serf.Event, eventQueue),
	}
	g.meta.Store(&meta)
	g.root.Store(new([RootLen]byte))
	return g, nil
}

// ErrBusy reports that another Join is still running.
var ErrBusy = errors.New("gossip: a join is still running")

// errNotRunning reports that there is no serf to ask.
var errNotRunning = errors.New("gossip: not running")

// Run takes part in gossip until ctx ends. It then tells the members that it leaves, which
// takes 1.2 to about 6 seconds, and returns nil. It can be called once.
//
// memberlist and serf stop some of their goroutines only after Run has returned: they sleep
// or wait for probes that are under way, at most a minute. They send nothing any more.
func (g *Gossip) Run(ctx context.Context) error {
	if g.ran.Swap(true) {
		return errors.New("gossip: run twice")
	}
	f := newFabric(&g.config, g.police)
	sc := serfConfig(g.config, f, g.events, &gate{g.police})
	if g.adjust != nil {
		g.adjust(sc)
	}
	f.onFirstAdvertise = func() { g.hook(sc.MemberlistConfig) }

	// serf sends events while it holds its locks, so they are taken from the first moment
	// to long after Leave.
	pumped := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(pumped)
		g.pump(stop)
	}()

	s, err := serf.Create(sc)
	if err != nil {
		close(stop)
		<-pumped
		_ = f.Shutdown()
		return fmt.Errorf("start serf: %w", err)
	}
	g.fabric = f
	g.serf.Store(s)
	g.resume(f)

	retagged := make(chan struct{})
	go func() {
		defer close(retagged)
		g.retag(ctx, s)
	}()

	// Not waited for: it may sit in an exchange, whose stream ends within 10 seconds.
	go g.exchange(ctx, s)

	select {
	case <-ctx.Done():
		g.leave(s, f)
	case <-s.ShutdownCh():
		err = errors.New("gossip: serf stopped by itself")
	}
	g.serf.Store(nil)
	if e := s.Shutdown(); err == nil && e != nil {
		err = fmt.Errorf("stop serf: %w", e)
	}
	close(stop)
	<-pumped
	if ctx.Err() != nil {
		<-retagged
	}
	return err
}

// hook puts our delegates between memberlist and serf.
func (g *Gossip) hook(mc *memberlist.Config) {
	mc.Delegate = &delegate{Delegate: mc.Delegate, g: g}
	mc.Ping = &pinger{PingDelegate: mc.Ping, g: g}
}

// resume makes memberlist go on with the incarnation of the last run. There is no setting
// for it, but memberlist always answers an accusation with a higher incarnation.
func (g *Gossip) resume(f *fabric) {
	if g.config.Incarnation == 0 {
		return
	}
	name := []byte(g.config.Self.Name)
	f.deliver(time.Now(), g.config.Self.Router,
		appendAccusation(nil, typeSuspect, accusation{g.config.Incarnation, name, name}))
}

// retag tells the members of changed tags, until ctx ends.
func (g *Gossip) retag(ctx context.Context, s *serf.Serf) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.ShutdownCh():
			return
		case <-g.newTags:
			if err := s.Memberlist().UpdateNode(leaveTimeout); err != nil && g.config.Log != nil {
				g.config.Log.Info("gossip tags not confirmed", "err", err)
			}
		}
	}
}

// leave says good-bye. It takes at most 2 leaveTimeout and 1.1 seconds.
func (g *Gossip) leave(s *serf.Serf, f *fabric) {
	var others []tables.RouterID
	for _, m := range g.Members() {
		if m.Status == StatusAlive && m.Router != g.config.Self.Router {
			others = append(others, m.Router)
		}
	}
	fw := &farewell{name: g.config.Self.Name}
	f.farewell.Store(fw)
	if err := s.Leave(); err != nil && g.config.Log != nil {
		g.config.Log.Info("gossip leave", "err", err)
	}
	fw.say(others, g.config.Send)
}

// Deliver takes in a gossip packet that came from the authenticated VR from. It does not
// wait and does not keep packet. What the policing or a full queue drops is counted.
func (g *Gossip) Deliver(from tables.RouterID, packet []byte) {
	if g.serf.Load() == nil {
		return
	}
	now := time.Now()
	clean, rumours := g.police.packet(now, from, packet)
	if len(clean) > 0 {
		g.fabric.deliver(now, from, clean)
	}
	if f := g.config.Events.Rumour; f != nil {
		for _, r := range rumours {
			f(from, r)
		}
	}
}

// Accept takes over a gossip stream that the authenticated VR from opened, and closes it in
// the end; or it reports false, and the stream is the caller's to end. It does not wait and, when it
// refuses, calls nothing of conn's: the caller may be the goroutine that Close would wait for. conn must
// support deadlines.
func (g *Gossip) Accept(from tables.RouterID, conn net.Conn) bool {
	return g.serf.Load() != nil && g.fabric.accept(time.Now(), from, conn)
}

// SetRoot sets the root hash that our acks carry from now on.
func (g *Gossip) SetRoot(root [RootLen]byte) { g.root.Store(&root) }

// SetTags sets our tags and has the members told. It does not wait. It returns an error if
// they are too long.
//
// Queries that filter by tag still compare with the tags that Config named.
func (g *Gossip) SetTags(tags map[string]string) error {
	meta, err := encodeTags(tags)
	if err != nil {
		return err
	}
	g.meta.Store(&meta)
	select {
	case g.newTags <- struct{}{}:
	default: // a change is waiting to be told, and will tell this one
	}
	return nil
}

// Incarnation returns how often memberlist has raised our incarnation. Store it now and then
// and give it to the next run's Config.
func (g *Gossip) Incarnation() uint32 { return g.police.incarnation() }

// Join exchanges states with the named members, one after the other, until ctx ends. It
// returns with how many it succeeded, and an error if with none, ErrBusy if a Join is still
// running. Each exchange takes at most 10 seconds.
func (g *Gossip) Join(ctx context.Context, names ...string) (int, error) {
	select {
	case g.joining <- struct{}{}:
		defer func() { <-g.joining }()
	default:
		return 0, ErrBusy
	}
	s := g.serf.Load()
	if s == nil {
		return 0, errNotRunning
	}
	joined := 0
	var last error
	for _, name := range names {
		if ctx.Err() != nil {
			last = ctx.Err()
			break
		}
		id, ok := g.config.Directory.ByName(name)
		if !ok {
			last = fmt.Errorf("join %q: not enrolled", name)
			continue
		}
		if id == g.config.Self.Router {
			continue
		}
		n, err := s.Join([]string{name + "/" + netip.AddrPortFrom(Addr(id), Port).String()}, true)
		joined += n
		if err != nil {
			last = fmt.Errorf("join %q: %w", name, err)
		}
	}
	if joined > 0 {
		return joined, nil
	}
	if last == nil {
		last = errors.New("join: nobody to join")
	}
	return 0, last
}

// A Status is what gossip believes of a member.
type Status string

// The states, in serf's words.
const (
	StatusAlive   Status = "alive"
	StatusLeaving Status = "leaving"
	StatusLeft    Status = "left"
	StatusFailed  Status = "failed"
)

// A Member is what gossip believes of one VR. It is a hint.
type Member struct {
	Router tables.RouterID
	Name   string
	Status Status
	Tags   map[string]string // not to be changed
	RTT    time.Duration     // estimated from coordinates; 0 if unknown
}

// Members returns the members, ourselves among them, by router ID.
func (g *Gossip) Members() []Member {
	s := g.serf.Load()
	if s == nil {
		return nil
	}
	here, err := s.GetCoordinate()
	var all []Member
	for _, m := range s.Members() {
		id, ok := g.config.Directory.ByName(m.Name)
		if !ok {
			continue // revoked since
		}
		member := Member{Router: id, Name: m.Name, Status: Status(m.Status.String()), Tags: m.Tags}
		if there, ok := s.GetCachedCoordinate(m.Name); ok && err == nil && id != g.config.Self.Router {
			if here.IsCompatibleWith(there) {
				member.RTT = here.DistanceTo(there)
			}
		}
		all = append(all, member)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Router < all[j].Router })
	return all
}

// Drops returns how many messages were dropped, by reason. "hearsay" counts what honest
// members send in vain: intents that serf passes on for others.
func (g *Gossip) Drops() map[string]uint64 {
	out := make(map[string]uint64)
	if p, ok := g.police.(*police); ok {
		p.mu.Lock()
		for d, n := range p.drops {
			if n > 0 {
				out[Drop(d).String()] = n
			}
		}
		p.mu.Unlock()
	}
	if g.serf.Load() != nil {
		f := g.fabric
		for d, n := range map[Drop]uint64{
			DropQueue: f.fullPackets.Load() + f.fullStreams.Load(), DropUnroutable: f.unroutable.Load(),
		} {
			if n > 0 {
				out[d.String()] = n
			}
		}
	}
	return out
}

// Drain sleeps until memberlist's and serf's last goroutines have ended after Run. It is for
// tests in a synctest bubble, where a minute costs nothing and a goroutine that is left
// fails the test.
func Drain() { time.Sleep(drainTime) }

// drainTime outlasts everything that memberlist and serf sleep or wait for.
const drainTime = 75 * time.Second
