package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/vine-mesh/vine/node/forward"
	"github.com/vine-mesh/vine/node/lease"
	"github.com/vine-mesh/vine/tables"
)

// A Config says what a Gateway is for. Its functions may be called from any goroutine and must not wait long.
type Config struct {
	Interface string       // of the LAN; an Ethernet
	Addrs     []netip.Addr // the shared addresses, one of each family or several
	Group     lease.Group
	Self      tables.RouterID
	Epoch     uint64 // greater than in every earlier run of this VR
	// Sign signs with the identity of this VR.
	Sign func(message []byte) []byte
	// Key returns the identity of another VR that shares the blocks of this one, and false for all others.
	Key func(tables.RouterID) (tables.PublicKey, bool)
	// Fit reports whether packets get out of the site by way of this VR.
	Fit func() bool
	// Own puts the addresses on this machine, and takes them off. It is called again and again while the lease is held, since a
	// capture device may be another one than before.
	Own func(on bool) error
	Log *slog.Logger
}

// A Gateway is one VR's part in sharing gateway addresses on one LAN. New starts nothing; Run does everything.
type Gateway struct {
	Config
	open  func(iface string, addrs []netip.Addr) (wire, error)
	state atomic.Pointer[State]
}

// A State says how a Gateway stands.
type State struct {
	Holds bool
	Hears []tables.RouterID // other VRs of the set, sorted
}

// New returns a Gateway.
func New(c Config) *Gateway {
	g := &Gateway{Config: c, open: openPort}
	g.state.Store(&State{})
	return g
}

// A wire is the LAN as a Gateway sees it: a port, but in tests.
type wire interface {
	address() lease.MAC
	// read gives frames to out until the wire is closed or gone. What out has no room for is lost.
	read(out chan<- lease.Frame) error
	// write sends a frame. One that is lost is not missed: all are said again.
	write(frame []byte)
	Close() // ends read
}

// State returns how it stands. It may be called from any goroutine.
func (g *Gateway) State() State { return *g.state.Load() }

const (
	// reopenEvery is how soon an interface that went away is looked for again.
	reopenEvery = time.Second
	// lookEvery is how often Fit is asked, and Own while the lease is held.
	lookEvery = 500 * time.Millisecond
	// framesMax bounds the frames that wait; more are lost, as on a wire that is full.
	framesMax = 256
	// A machine on the LAN can send what it likes: so many messages are verified in a second, 100 us each, and so many questions
	// answered.
	verifyRate, verifyBurst = 200, 64
	answerRate, answerBurst = 500, 128
	// defendEvery is how often at most another machine's claim is answered with an announcement, and warnEvery told.
	defendEvery = time.Second
	warnEvery   = time.Minute
)

// Run shares the addresses until ctx ends; then another VR takes over at once. An interface that goes away, or is not there yet, is
// waited for. It returns an error only where there is no hope.
func (g *Gateway) Run(ctx context.Context) error {
	failure := ""
	for run := uint64(0); ; run++ {
		p, err := g.open(g.Interface, g.Addrs)
		if err == nil {
			failure = ""
			s := &session{
				Gateway: g, wire: p, lease: lease.New(time.Now(), g.Group, g.Self, g.Epoch+run), macs: map[tables.RouterID]lease.MAC{},
				verify: forward.NewTokenBucket(verifyRate, verifyBurst), answer: forward.NewTokenBucket(answerRate, answerBurst),
			}
			err = s.run(ctx)
			p.Close()
			g.state.Store(&State{})
		}
		if ctx.Err() != nil {
			return nil
		}
		if text := err.Error(); text != failure {
			g.Log.Error("gateway address not shared; will try again", "interface", g.Interface, "every", reopenEvery, "err", err)
			failure = text
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(reopenEvery):
		}
	}
}

// A session is the time in which the interface is there.
type session struct {
	*Gateway
	wire           wire
	lease          *lease.Lease
	macs           map[tables.RouterID]lease.MAC // where the other VRs are
	verify, answer *forward.TokenBucket
	out            []byte
	defended       time.Time
	warned         time.Time
	failure        string // of Own
}

func (s *session) run(ctx context.Context) error {
	frames, failed := make(chan lease.Frame, framesMax), make(chan error, 1)
	go func() { failed <- s.wire.read(frames) }() // ends when the port is closed
	timer, look := time.NewTimer(0), time.NewTicker(lookEvery)
	defer timer.Stop()
	defer look.Stop()
	var err error
	for err == nil {
		select {
		case <-ctx.Done():
			s.do(s.lease.Leave(time.Now()))
			return ctx.Err()
		case err = <-failed:
			err = fmt.Errorf("read: %w", err)
		case f := <-frames:
			s.take(time.Now(), f)
		case <-look.C:
			s.look(time.Now())
		case <-timer.C:
			s.do(s.lease.Advance(time.Now()))
		}
		timer.Reset(time.Until(s.lease.Next()))
		s.state.Store(&State{Holds: s.lease.Holds(), Hears: s.lease.Hears(time.Now())})
	}
	s.do(s.lease.Leave(time.Now()))
	return err
}

// take handles a frame.
func (s *session) take(now time.Time, f lease.Frame) {
	switch f := f.(type) {
	case lease.Ask:
		if s.lease.Holds() && slices.Contains(s.Addrs, f.Addr) && f.MAC != s.wire.address() && s.answer.Take(now) {
			s.out = lease.AppendAnswer(s.out[:0], s.wire.address(), f)
			s.wire.write(s.out)
		}
	case lease.Claim:
		if s.lease.Holds() && slices.Contains(s.Addrs, f.Addr) && f.MAC != s.wire.address() {
			s.claimed(now, f)
		}
	case lease.Beat:
		if !s.verify.Take(now) {
			return
		}
		m, err := lease.Parse(f.Message, s.Group, s.Key)
		if err != nil {
			return
		}
		s.macs[m.Router] = f.MAC
		s.do(s.lease.Heard(now, m))
	}
}

// claimed answers a machine that says that it has an address that we hold.
func (s *session) claimed(now time.Time, f lease.Claim) {
	for _, mac := range s.macs {
		if mac == f.MAC {
			return // another VR of the set: between it and us the lease decides
		}
	}
	if now.Sub(s.warned) >= warnEvery {
		s.warned = now
		s.Log.Warn("another machine on the LAN claims the gateway address", "interface", s.Interface, "address", f.Addr, "mac", fmt.Sprintf("%x", f.MAC))
	}
	if now.Sub(s.defended) >= defendEvery {
		s.defended = now
		s.do([]lease.Action{lease.Announce{}})
	}
}

// look asks what nobody tells.
func (s *session) look(now time.Time) {
	s.do(s.lease.SetFit(now, s.Fit()))
	if s.lease.Holds() {
		s.own(true)
	}
}

func (s *session) own(on bool) {
	text := ""
	if err := s.Own(on); err != nil {
		text = err.Error()
	}
	if text != s.failure && text != "" {
		s.Log.Warn("gateway address is not on this machine: hosts cannot ping it, nor see the page for hosts there", "err", text)
	}
	s.failure = text
}

func (s *session) do(actions []lease.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case lease.Say:
			s.out = lease.AppendBeat(s.out[:0], s.wire.address(), a.Message.Append(nil, s.Sign))
			s.wire.write(s.out)
		case lease.Hold:
			s.Log.Info("gateway address", "interface", s.Interface, "addresses", s.Addrs, "held", a.On, "reason", a.Reason)
			s.own(a.On)
		case lease.Announce:
			for _, addr := range s.Addrs {
				s.out = lease.AppendAnnouncement(s.out[:0], s.wire.address(), addr)
				s.wire.write(s.out)
			}
		}
	}
}
