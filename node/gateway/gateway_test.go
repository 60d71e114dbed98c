package gateway

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/node/lease"
	"github.com/vine-mesh/vine/tables"
)

var (
	gateway4 = netip.MustParseAddr("192.168.1.254")
	gateway6 = netip.MustParseAddr("fd00::fe")
	shared   = []netip.Addr{gateway4, gateway6}
	group    = lease.GroupOf(tables.Hash{1}, shared)
	stranger = lease.MAC{2, 0, 0, 0, 0, 99}
)

// A lan is Gateways on one LAN, which is channels here.
type lan struct {
	t    *testing.T
	mu   sync.Mutex // guards frames
	seen []sighting
	vrs  []*station
}

type sighting struct {
	from  *station
	at    time.Time
	frame []byte
}

type station struct {
	*Gateway
	lan  *lan
	mac  lease.MAC
	in   chan []byte // what the LAN has for it
	gone chan struct{}
	mute atomic.Bool
	owns atomic.Bool
	stop context.CancelFunc
	done chan error
}

func newLAN(t *testing.T, n int) *lan {
	l := &lan{t: t}
	keys := map[tables.RouterID]ed25519.PrivateKey{}
	for i := range n {
		keys[tables.RouterID(i+1)] = ed25519.NewKeyFromSeed(append(make([]byte, 31), byte(i+1)))
	}
	for i := range n {
		id := tables.RouterID(i + 1)
		s := &station{lan: l, mac: lease.MAC{2, 0, 0, 0, 0, byte(id)}, in: make(chan []byte, 4096), gone: make(chan struct{}), done: make(chan error, 1)}
		s.Gateway = New(Config{
			Interface: "lan", Addrs: shared, Group: group, Self: id, Epoch: 1 << 32, Log: slog.New(slog.DiscardHandler),
			Sign: func(m []byte) []byte { return ed25519.Sign(keys[id], m) },
			Key: func(other tables.RouterID) (tables.PublicKey, bool) {
				k, ok := keys[other]
				if !ok || other == id {
					return tables.PublicKey{}, false
				}
				return tables.PublicOf(k), true
			},
			Fit: func() bool { return true },
			Own: func(on bool) error { s.owns.Store(on); return nil },
		})
		opened := false
		s.open = func(string, []netip.Addr) (wire, error) {
			if opened {
				return nil, errors.New("gone")
			}
			opened = true
			return s, nil
		}
		l.vrs = append(l.vrs, s)
	}
	for _, s := range l.vrs {
		var ctx context.Context
		ctx, s.stop = context.WithCancel(context.Background())
		go func() { s.done <- s.Run(ctx) }()
	}
	return l
}

func (l *lan) close() {
	for _, s := range l.vrs {
		s.stop()
		if err := <-s.done; err != nil {
			l.t.Errorf("%v: %v", s.Self, err)
		}
	}
}

func (s *station) address() lease.MAC { return s.mac }

func (s *station) read(out chan<- lease.Frame) error {
	for {
		select {
		case b := <-s.in:
			if f := lease.ParseFrame(b); f != nil {
				select {
				case out <- f:
				default:
				}
			}
		case <-s.gone:
			return errors.New("closed")
		}
	}
}

func (s *station) Close() { close(s.gone) }

// write gives what a station says to all others.
func (s *station) write(frame []byte) {
	if s.mute.Load() {
		return
	}
	f := append([]byte(nil), frame...)
	s.lan.mu.Lock()
	s.lan.seen = append(s.lan.seen, sighting{s, time.Now(), f})
	s.lan.mu.Unlock()
	s.lan.say(f, s)
}

// say puts a frame on the LAN, for all but one.
func (l *lan) say(frame []byte, but *station) {
	for _, s := range l.vrs {
		if s != but && !s.mute.Load() {
			s.in <- frame
		}
	}
}

// claims counts the frames of a station since a time that say that it has the gateway.
func (l *lan) claims(s *station, since time.Time) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.seen {
		if c, ok := lease.ParseFrame(f.frame).(lease.Claim); ok && f.from == s && !f.at.Before(since) && c.Addr == gateway4 {
			n++
		}
	}
	return n
}

func (l *lan) await(what string, ok func() bool) time.Duration {
	l.t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > 5*time.Second {
			l.t.Fatalf("not within 5 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(start)
}

// TestGateways: two VRs and a stranger on a LAN. One holds the lease, and alone answers for the address. It is cut off, while the
// stranger plays all again that it has said: the other one takes over within a second. The stranger claims the address, asks, and forges, in masses.
func TestGateways(t *testing.T) { synctest.Test(t, testGateways) }

func testGateways(t *testing.T) {
	l := newLAN(t, 2)
	defer l.close()
	a, b := l.vrs[0], l.vrs[1]
	l.await("one holds it, and both are heard", func() bool {
		return a.State().Holds && len(a.State().Hears) == 1 && len(b.State().Hears) == 1
	})
	if b.State().Holds || !a.owns.Load() || b.owns.Load() {
		t.Fatal("the other one holds it too")
	}
	time.Sleep(1200 * time.Millisecond) // until the announcements are over
	start := time.Now()
	ask := lease.AppendAsk(nil, stranger, netip.MustParseAddr("192.168.1.11"), gateway4)
	l.say(ask, nil)
	l.await("the question is answered", func() bool { return l.claims(a, start) > 0 })
	time.Sleep(50 * time.Millisecond)
	if l.claims(a, start) != 1 || l.claims(b, start) != 0 {
		t.Errorf("%d answers of who holds it, %d of who does not", l.claims(a, start), l.claims(b, start))
	}

	l.mu.Lock()
	said := append([]sighting(nil), l.seen...)
	l.mu.Unlock()
	a.mute.Store(true)
	start = time.Now()
	replaying := make(chan struct{})
	go func() {
		defer close(replaying)
		for _, f := range said {
			if f.from == a {
				b.in <- f.frame
				time.Sleep(10 * time.Millisecond)
			}
		}
	}()
	took := l.await("the other one holds it", func() bool { return b.State().Holds && b.owns.Load() })
	t.Logf("taken over after %v", took)
	if took > time.Second || l.claims(b, start) == 0 {
		t.Errorf("taken over after %v, with %d announcements", took, l.claims(b, start))
	}
	<-replaying

	time.Sleep(3200 * time.Millisecond) // until the announcements are over
	start = time.Now()
	forged := lease.Message{Group: group, Router: 1, Epoch: 9 << 32, Count: 1, Holds: true, Fit: true, Hears: []lease.Peer{{Router: 2, Epoch: 1 << 32}}}.
		Append(nil, func([]byte) []byte { return make([]byte, ed25519.SignatureSize) })
	claim, beat := lease.AppendAnnouncement(nil, stranger, gateway4), lease.AppendBeat(nil, stranger, forged)
	for range 1000 {
		l.say(claim, a)
		l.say(beat, a)
		time.Sleep(200 * time.Microsecond)
	}
	l.await("the claim is answered", func() bool { return l.claims(b, start) > 0 })
	if n, most := l.claims(b, start), int(time.Since(start)/defendEvery)+3; n > most || !b.State().Holds {
		t.Errorf("%d announcements, more than %d; holds it: %v", n, most, b.State().Holds)
	}
	start = time.Now()
	for range 3000 {
		l.say(ask, a)
	}
	time.Sleep(100 * time.Millisecond)
	if n := l.claims(b, start); n == 0 || n > answerBurst+int(time.Since(start).Seconds()*answerRate)+2 {
		t.Errorf("%d of 3,000 questions in %v are answered", n, time.Since(start))
	}

	a.mute.Store(false)
	l.await("one of them holds it", func() bool { return a.State().Holds && !b.State().Holds })
	a.stop()
	l.await("who stays has it", func() bool { return b.State().Holds })
	a.done <- <-a.done
	if a.owns.Load() {
		t.Error("who has left keeps the address")
	}
}
