package node

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
	"github.com/vine-mesh/vine/transport"
)

// TestFoundEndpoints: what a VR announces of itself, by what linked peers say of it. A translated
// address needs the word of two sites where there are links with two: one liar once had the VR
// announce any endpoint that he liked, as the first.
func TestFoundEndpoints(t *testing.T) {
	// Routers 1 and 2 are of site one, 3 of site two, 4 of site three.
	f := tablestest.New(1, 0)
	for _, site := range []string{"one", "one", "two", "three"} {
		f.AddRouter(site)
	}
	at := netip.MustParseAddrPort
	var (
		own1, own2  = at("192.168.1.5:8463"), at("10.0.0.5:8463")
		nat, nat6   = at("203.0.113.7:40000"), at("[2001:db8::7]:40000")
		third       = at("203.0.113.7:40001")
		lie, liarTo = at("198.51.100.66:53"), at("198.51.100.67:53")
		own         = []netip.AddrPort{own1, own2}
	)
	type seen = map[tables.RouterID]netip.AddrPort
	for _, c := range []struct {
		name    string
		seen    seen
		want    []netip.AddrPort
		regular bool
	}{
		{"nobody says anything", nil, own, true},
		{"seen at an own address", seen{1: own2}, []netip.AddrPort{own2, own1}, true},
		{"one site says translated, and there is no other", seen{1: nat}, []netip.AddrPort{nat, own1, own2}, false},
		{"two sites agree on a translated one", seen{1: nat, 3: nat}, []netip.AddrPort{nat, own1, own2}, false},
		{"a liar against one who sees an own address", seen{1: lie, 3: own1}, own, true},
		{"a liar against one who sees a translated one", seen{1: lie, 3: nat, 4: nat}, []netip.AddrPort{nat, own1, own2}, false},
		{"two liars of one site", seen{1: lie, 2: lie, 3: own1}, own, true},
		{"two liars of one site, a translated address", seen{1: lie, 2: lie, 3: nat, 4: nat}, []netip.AddrPort{nat, own1, own2}, false},
		{"liars that differ", seen{1: lie, 2: liarTo, 3: nat, 4: nat}, []netip.AddrPort{nat, own1, own2}, false},
		{"every site sees another port", seen{1: nat, 3: third}, own, false},
		{"both families", seen{1: nat, 2: nat6, 3: nat, 4: nat6}, []netip.AddrPort{nat, nat6, own1, own2}, false},
		{"the word of more sites goes first", seen{1: nat6, 2: nat, 3: nat6, 4: nat6}, []netip.AddrPort{nat6, own1, own2}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &loop{store: f.Store(), observed: c.seen}
			got, regular := l.foundEndpoints(own)
			if !slices.Equal(got, c.want) || regular != c.regular {
				t.Errorf("got %v, regular %v; want %v, %v", got, regular, c.want, c.regular)
			}
		})
	}
}

// TestFewTranslatedEndpoints: however many endpoints sites agree on, few are announced; a link record
// has room for eight, and the own addresses must be among them.
func TestFewTranslatedEndpoints(t *testing.T) {
	f := tablestest.New(1, 0)
	observed := map[tables.RouterID]netip.AddrPort{}
	for i := range 12 {
		site := []string{"one", "two"}[i%2]
		observed[f.AddRouter(site).ID] = netip.AddrPortFrom(netip.MustParseAddr("203.0.113.7"), uint16(40000+i/2))
	}
	l := &loop{store: f.Store(), observed: observed}
	own := netip.MustParseAddrPort("192.168.1.5:8463")
	got, _ := l.foundEndpoints([]netip.AddrPort{own})
	if len(got) != translatedMax+1 || got[len(got)-1] != own {
		t.Errorf("announced: %v", got)
	}
}

// TestObservedOfStrangers: what a stranger says of where we are counts for nothing and takes no room;
// what a peer says is one word, which ends with the link. Once every word of anybody, in a join
// conversation too, was kept for ten minutes each and announced.
func TestObservedOfStrangers(t *testing.T) {
	withStill(t, func(t *testing.T, s *still) {
		observed := func(id tables.RouterID, i int) {
			at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{1, 2, byte(i >> 8), byte(i)}), 53)
			s.l.handle(func(now time.Time) {
				s.l.do(now, []transport.Action{transport.Observed{Router: id, Endpoint: at}})
			})
		}
		for i := range 1000 {
			observed(0, i)
		}
		s.wait(recordEvery)
		if n := len(s.l.observed); n > 0 {
			t.Errorf("%d words of strangers are kept", n)
		}
		r := s.enrol("beta", "beta")
		for i := range 1000 {
			observed(r.id, i)
		}
		if n := len(s.l.observed); n != 1 {
			t.Errorf("%d words of one peer are kept", n)
		}
		s.wait(recordEvery)
		held, _ := s.l.store.LinkRecord(s.l.n.self.Router)
		if len(held.Endpoints) != 2 {
			t.Errorf("announced: %v", held.Endpoints)
		}
		s.l.handle(func(now time.Time) { s.l.do(now, []transport.Action{transport.Down{Router: r.id}}) })
		s.wait(recordEvery)
		if n := len(s.l.observed); n > 0 {
			t.Error("the link has ended and its word counts")
		}
		if held, _ := s.l.store.LinkRecord(s.l.n.self.Router); len(held.Endpoints) != 1 {
			t.Errorf("announced without any link: %v", held.Endpoints)
		}
	})
}
