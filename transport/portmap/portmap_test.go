package portmap

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	lane   = Port{UDP, 4789}
	stream = Port{TCP, 4443}
)

// A site is a Portmap that runs in a bubble behind a fake gateway.
type site struct {
	*Portmap
	gateway *fakeGateway
	cancel  context.CancelFunc
	ended   chan error
}

// start runs a Portmap. Its randomness is the same each time.
func start(t *testing.T, g *fakeGateway, lax laxity, ports ...Port) *site {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &site{gateway: g, cancel: cancel, ended: make(chan error, 1)}
	s.Portmap = New(Config{
		Internal: ports, Log: testLog(t), Rand: rand.NewChaCha8([32]byte{1}),
		Gateway: func() (netip.Addr, netip.Addr, error) { return gateway, us, nil },
	})
	s.outside = g.outside()
	s.outside.lax = lax
	go func() { s.ended <- s.Run(ctx) }()
	return s
}

// after lets time pass and returns the newest mappings, false if they have not changed.
func (s *site) after(d time.Duration) ([]Mapping, bool) {
	time.Sleep(d)
	synctest.Wait()
	select {
	case list := <-s.Mappings():
		return list, true
	default:
		return nil, false
	}
}

// end ends Run and returns how long it took.
func (s *site) end(t *testing.T) time.Duration {
	t.Helper()
	begin := time.Now()
	s.cancel()
	if err := <-s.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	return time.Since(begin)
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, name string, f func(*testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// offering returns a gateway that offers protocols.
func offering(protocols ...string) *fakeGateway {
	g := newFakeGateway()
	g.pcp, g.natpmp, g.upnp = slices.Contains(protocols, ByPCP), slices.Contains(protocols, ByNATPMP), slices.Contains(protocols, ByUPnP)
	return g
}

// TestOrder has gateways offer each set of protocols: the best is taken, soon; held for a day; and removed at the end.
func TestOrder(t *testing.T) {
	for _, c := range []struct {
		offers []string
		by     string
		within time.Duration
	}{
		{[]string{ByPCP, ByNATPMP, ByUPnP}, ByPCP, 0},
		{[]string{ByPCP}, ByPCP, 0},
		{[]string{ByNATPMP, ByUPnP}, ByNATPMP, 0}, // it says at once that it does not speak PCP
		{[]string{ByUPnP}, ByUPnP, 1750 * time.Millisecond},
	} {
		bubble(t, c.by+" of "+c.offers[len(c.offers)-1], func(t *testing.T) {
			g := offering(c.offers...)
			s := start(t, g, laxity{}, lane, stream)
			list, _ := s.after(c.within)
			if len(list) != 2 {
				t.Fatalf("after %v: %+v", c.within, list)
			}
			for i, p := range []Port{lane, stream} {
				m := list[i]
				if m.By != c.by || m.Protocol != p.Protocol || m.Internal != p.Port || m.External != netip.AddrPortFrom(wan, p.Port) || !m.Public || time.Until(m.Until) < time.Hour-time.Minute {
					t.Errorf("%+v", m)
				}
			}
			for range 24 * 60 {
				if list, changed := s.after(time.Minute); changed && len(list) != 2 {
					t.Fatalf("mapping lost: %+v", list)
				}
				if !g.mapped(lane) || !g.mapped(stream) {
					t.Fatal("the gateway has forgotten the mapping")
				}
			}
			if took := s.end(t); took > leaveMax {
				t.Errorf("took %v to end", took)
			}
			if g.mapped(lane) || g.mapped(stream) {
				t.Error("the mapping is still there")
			}
			if list := <-s.Mappings(); len(list) != 0 {
				t.Errorf("mappings after the end: %+v", list)
			}
		})
	}
}

// TestRestart has gateways lose everything: the next check finds it, or an announcement.
func TestRestart(t *testing.T) {
	for _, by := range []string{ByPCP, ByNATPMP, ByUPnP} {
		bubble(t, by, func(t *testing.T) {
			g := offering(by)
			s := start(t, g, laxity{}, lane, stream)
			s.after(10 * time.Minute)
			g.restart()
			s.after(checkInterval + 5*time.Second)
			if !g.mapped(lane) || !g.mapped(stream) {
				t.Error("not mapped again")
			}
			s.end(t)
		})
		if by == ByUPnP {
			continue // announces by SSDP, which we do not listen to
		}
		bubble(t, by+" announced", func(t *testing.T) {
			g := offering(by)
			s := start(t, g, laxity{}, lane, stream)
			s.after(10*time.Minute + time.Second)
			g.restart()
			g.mu.Lock()
			b := pcpAnswer{op: pcpAnnounce}.append(nil)
			if by == ByNATPMP {
				b = natpmpAnswer{address: wan}.append(nil)
			}
			g.say(true, netip.AddrPortFrom(gateway, serverPort), b)
			g.mu.Unlock()
			s.after(100 * time.Millisecond)
			if !g.mapped(lane) || !g.mapped(stream) {
				t.Error("not mapped again")
			}
			s.end(t)
		})
	}
}

// TestBackoff asks a gateway that offers nothing again after 1, 2, 4, ... 30 minutes, and not more than four times each.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := offering()
		s := start(t, g, laxity{}, lane)
		s.after(6 * time.Hour)
		var rounds []time.Time
		for i, at := range g.asked {
			if i == 0 || at.Sub(g.asked[i-1]) > 10*time.Second {
				rounds = append(rounds, at)
			}
		}
		if len(g.asked) > 4*len(rounds) {
			t.Errorf("%d requests in %d rounds", len(g.asked), len(rounds))
		}
		for i, want := range []int{1, 2, 4, 8, 16, 30, 30, 30} {
			pause := rounds[i+1].Sub(rounds[i])
			if pause < time.Duration(want)*time.Minute || pause > time.Duration(want)*time.Minute+5*time.Second {
				t.Errorf("pause %d: %v", i, pause)
			}
		}
		if took := s.end(t); took != 0 {
			t.Errorf("took %v to end with nothing to remove", took)
		}
	})
}

// TestNewGateway moves a VR to another network and back.
func TestNewGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := offering(ByPCP)
		var there atomic.Bool
		there.Store(true)
		s := &site{gateway: g, ended: make(chan error, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		s.cancel = cancel
		s.Portmap = New(Config{Internal: []Port{lane}, Gateway: func() (netip.Addr, netip.Addr, error) {
			if !there.Load() {
				return netip.Addr{}, netip.Addr{}, errors.New("no network")
			}
			return gateway, us, nil
		}})
		s.outside = g.outside()
		go func() { s.ended <- s.Run(ctx) }()
		if list, _ := s.after(time.Second); len(list) != 1 {
			t.Fatalf("%+v", list)
		}
		there.Store(false)
		if list, changed := s.after(2 * lookupInterval); !changed || len(list) != 0 {
			t.Fatalf("without a network: %+v", list)
		}
		there.Store(true)
		// The gateway still has the mapping, and changes it only for its nonce.
		if list, _ := s.after(2 * lookupInterval); len(list) != 1 {
			t.Fatalf("back again: %+v", list)
		}
		s.end(t)
	})
}

// TestNotPublic has the gateway itself behind another NAT.
func TestNotPublic(t *testing.T) {
	for _, by := range []string{ByPCP, ByNATPMP, ByUPnP} {
		for _, external := range []string{"192.168.1.2", "100.64.3.4", "0.0.0.0"} {
			bubble(t, by+" "+external, func(t *testing.T) {
				g := offering(by)
				g.external = netip.MustParseAddr(external)
				s := start(t, g, laxity{}, lane)
				list, _ := s.after(5 * time.Second)
				if len(list) != 1 || list[0].Public || list[0].External.Addr() != g.external {
					t.Errorf("%+v", list)
				}
				s.end(t)
			})
		}
	}
}

// TestUPnPRefusals has a device whose port is taken, and that has no leases with an end.
func TestUPnPRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := offering(ByUPnP)
		g.busy, g.permanent = map[uint16]bool{lane.Port: true}, true
		s := start(t, g, laxity{}, lane)
		list, _ := s.after(5 * time.Second)
		if len(list) != 1 || list[0].External.Port() == lane.Port || !g.mapped(lane) {
			t.Fatalf("%+v", list)
		}
		s.end(t)
		if g.mapped(lane) {
			t.Error("a mapping without an end was left behind")
		}
	})
}

// TestMuteAtEnd has a gateway that answers nothing any more: Run ends within a second.
func TestMuteAtEnd(t *testing.T) {
	for _, by := range []string{ByPCP, ByNATPMP, ByUPnP} {
		bubble(t, by, func(t *testing.T) {
			g := offering(by)
			s := start(t, g, laxity{}, lane)
			s.after(5 * time.Second)
			g.mu.Lock()
			g.pcp, g.natpmp = false, false
			g.serve = silence
			g.mu.Unlock()
			if took := s.end(t); took != leaveMax {
				t.Errorf("took %v to end", took)
			}
		})
	}
}

// TestSilent has a gateway that goes away behind our back and comes again: a UPnP device is missed by the next check,
// a server of the others when the mapping lapses. When it is back it is found.
func TestSilent(t *testing.T) {
	for by, missed := range map[string]time.Duration{
		ByPCP: lifetime + time.Second, ByNATPMP: lifetime + time.Second, ByUPnP: checkInterval + 5*time.Second,
	} {
		bubble(t, by, func(t *testing.T) {
			g := offering(by)
			s := start(t, g, laxity{}, lane)
			s.after(10 * time.Minute)
			g.mu.Lock()
			port := g.httpPort
			g.pcp, g.natpmp, g.upnp, g.httpPort = false, false, false, 1
			g.mu.Unlock()
			if list, _ := s.after(missed); len(list) != 0 {
				t.Errorf("%v after it fell silent: %+v", missed, list)
			}
			g.mu.Lock()
			g.pcp, g.natpmp, g.upnp, g.httpPort = by == ByPCP, by == ByNATPMP, by == ByUPnP, port
			g.mu.Unlock()
			if list, _ := s.after(20 * time.Minute); len(list) != 1 { // of the pauses 1, 2, 4, 8, 16 minutes most are over
				t.Errorf("it is back: %+v", list)
			}
			s.end(t)
		})
	}
}

// TestSecret starts a VR again that was killed: with a secret it gets its mapping back from the gateway at once.
func TestSecret(t *testing.T) {
	for _, secret := range []string{"", "of the VR"} {
		bubble(t, "secret "+secret, func(t *testing.T) {
			g := offering(ByPCP)
			for i := range 2 {
				s := &site{gateway: g, ended: make(chan error, 1)}
				s.Portmap = New(Config{
					Internal: []Port{lane}, Secret: []byte(secret),
					Gateway: func() (netip.Addr, netip.Addr, error) { return gateway, us, nil },
				})
				s.outside = g.outside()
				ctx, cancel := context.WithCancel(t.Context())
				s.cancel = cancel
				go func() { s.ended <- s.Run(ctx) }()
				list, _ := s.after(time.Second)
				if want := i == 0 || secret != ""; len(list) == 1 != want {
					t.Errorf("start %d: %+v", i, list)
				}
				g.mu.Lock()
				g.sockets, g.pcp = nil, false // killed: it removes nothing
				g.mu.Unlock()
				s.end(t)
				g.pcp = true
			}
		})
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{
		{},
		{Internal: []Port{{UDP, 0}}},
		{Internal: []Port{{1, 80}}},
		{Internal: []Port{lane, lane}},
		{Internal: slices.Repeat([]Port{lane}, portsMax+1)},
	} {
		if err := New(c).Run(t.Context()); err == nil {
			t.Errorf("%+v is taken", c.Internal)
		}
	}
}
