package vr

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// A scene is a VR at 203.0.113.1 that routers 2 to 5, of a site each, see there.
func scene(off defences) *stage {
	s := &stage{now: epoch, self: New(Config{Router: 1, Site: "home", Random: seeded(1)})}
	s.self.off = off
	s.do(s.self.Handle(s.now, Local{[]netip.AddrPort{netip.MustParseAddrPort("203.0.113.1:8463")}}))
	for id := range tables.RouterID(4) {
		s.do(s.self.Handle(s.now, Linked{2 + id, site(2 + id), at(2+id, 8463)}))
		s.do(s.self.Handle(s.now, Observed{2 + id, netip.MustParseAddrPort("203.0.113.1:8463")}))
	}
	return s
}

// at returns an endpoint of a router.
func at(id tables.RouterID, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(id)}), port)
}

// play answers every request for some time; answer may send a dial-back.
func (s *stage) play(d time.Duration, answer func(ask AskDialBack) (helper tables.RouterID, arrival *DialArrived)) {
	end := s.now.Add(d)
	for answered := 0; s.now.Before(end); {
		for ; answered < len(s.asks); answered++ {
			ask := s.asks[answered]
			helper, arrived := answer(ask)
			s.do(s.self.Handle(s.now, Dialled{ask.Via, ask.Token, helper}))
			if arrived != nil {
				s.do(s.self.Handle(s.now, *arrived))
			}
		}
		s.wait(end.Sub(s.now), true)
	}
}

// honest returns who dials when nobody lies: the named one, or a router that we have no link with.
func honest(ask AskDialBack) tables.RouterID {
	if ask.Helper != 0 {
		return ask.Helper
	}
	return 10 + ask.Via
}

// TestNotMadeRegular: a VR behind a firewall that keeps addresses and ports gets nothing but what liars can
// get to it, and does not take itself for regular.
func TestNotMadeRegular(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(AskDialBack) (tables.RouterID, *DialArrived)
	}{
		{"the helper sends from the socket of its link", func(ask AskDialBack) (tables.RouterID, *DialArrived) {
			helper := tables.RouterID(3)
			if ask.Via == 3 {
				helper = 4
			}
			return helper, &DialArrived{ask.Token, at(helper, 8463), helper}
		}},
		{"the via sends itself what the helper should", func(ask AskDialBack) (tables.RouterID, *DialArrived) {
			return honest(ask), &DialArrived{ask.Token, at(ask.Via, 8463), ask.Via}
		}},
		{"a friend behind the firewall sends it", func(ask AskDialBack) (tables.RouterID, *DialArrived) {
			return honest(ask), &DialArrived{ask.Token, netip.MustParseAddrPort("192.168.0.9:50001"), honest(ask)}
		}},
		{"another than the one named sends it", func(ask AskDialBack) (tables.RouterID, *DialArrived) {
			return honest(ask), &DialArrived{ask.Token, at(9, 50001), 9}
		}},
	} {
		for _, off := range []bool{false, true} {
			s := scene(defences{sources: off})
			s.play(time.Hour, c.answer)
			if v := s.self.Verdict(); (v.Kind == Regular) != off {
				t.Errorf("%s, defence off %v: %v", c.name, off, v)
			}
		}
	}
}

// TestGuessedToken: a dial-back with a token that we did not give out is nothing.
func TestGuessedToken(t *testing.T) {
	s := scene(defences{})
	s.play(time.Hour, func(ask AskDialBack) (tables.RouterID, *DialArrived) {
		wrong := ask.Token
		wrong[0]++
		return honest(ask), &DialArrived{wrong, at(honest(ask), 50001), honest(ask)}
	})
	if v := s.self.Verdict(); v.Kind != Limited || !v.Confirmed {
		t.Errorf("it is %v", v)
	}
}

// TestNotMadeLimited: one liar among four, whose dial-backs never come and who as a via names others that he
// does not tell, cannot make a regular VR limited, not for a moment.
func TestNotMadeLimited(t *testing.T) {
	const liar = 3
	for _, off := range []bool{false, true} {
		s := scene(defences{pairs: off})
		limited := 0
		first := true
		s.play(24*time.Hour, func(ask AskDialBack) (tables.RouterID, *DialArrived) {
			if s.self.Verdict().Kind == Limited {
				limited++
			}
			helper := honest(ask)
			if ask.Helper == 0 && ask.Via != liar && !first {
				helper = liar // he is chosen whenever he can be
			}
			if ask.Via == liar || helper == liar {
				first = false
				return helper, nil
			}
			first = false
			return helper, &DialArrived{ask.Token, at(helper, 50001), helper}
		})
		if (limited > 0) != off {
			t.Errorf("defence off %v: limited at %d of %d requests; now %v", off, limited, len(s.asks), s.self.Verdict())
		}
	}
}

// TestLiarMovesNobody: one site's word that we are elsewhere changes neither where we say we are nor what.
func TestLiarMovesNobody(t *testing.T) {
	lie := netip.MustParseAddrPort("192.0.2.66:53")
	for _, off := range []bool{false, true} {
		s := scene(defences{sites: off})
		open := func(ask AskDialBack) (tables.RouterID, *DialArrived) {
			return honest(ask), &DialArrived{ask.Token, at(honest(ask), 50001), honest(ask)}
		}
		s.play(time.Minute, open)
		s.do(s.self.Handle(s.now, Observed{3, lie}))
		s.play(time.Hour, open)
		if v := s.self.Verdict(); v.Kind != Regular || !v.Confirmed || slices.Contains(v.Endpoints, lie) != off {
			t.Errorf("defence off %v: %v", off, v)
		}
	}
}

// TestUsedPort: what an earlier process sent may have left a filter open, so that an arrival at a
// translator proves nothing for a while; at an address of our own it does.
func TestUsedPort(t *testing.T) {
	for _, used := range []time.Time{{}, epoch} {
		s := New(Config{Router: 1, Used: used, Random: seeded(1)})
		now := epoch.Add(time.Second)
		s.Handle(now, Linked{2, "east", at(2, 8463)})
		ask := s.Handle(now, Observed{2, netip.MustParseAddrPort("203.0.113.7:40000")})[0].(AskDialBack)
		s.Handle(now, Dialled{2, ask.Token, 9})
		s.Handle(now, DialArrived{ask.Token, at(9, 50001), 9})
		if v := s.Verdict(); (v.Kind == Regular) != used.IsZero() {
			t.Errorf("port used at %v: %v", used, v)
		}
	}
}
