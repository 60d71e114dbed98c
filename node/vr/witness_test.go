package vr

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// seenBy returns a VR with addresses of its own, which linked routers see at these endpoints.
func seenBy(own []netip.AddrPort, sites map[tables.RouterID]string, seen map[tables.RouterID]netip.AddrPort) *Self {
	s := New(Config{Router: 100, Random: seeded(1)})
	s.Handle(epoch, Local{own})
	for id := range tables.RouterID(32) {
		if at, ok := seen[id]; ok {
			s.Handle(epoch, Linked{id, sites[id], netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(id)}), 8463)})
			s.Handle(epoch, Observed{id, at})
		}
	}
	return s
}

// TestEndpoints: what a VR announces of itself, by what linked peers say of it. A translated address
// needs the word of two sites where there are links with two: one liar once had the VR announce
// any endpoint that he liked, as the first.
func TestEndpoints(t *testing.T) {
	sites := map[tables.RouterID]string{1: "one", 2: "one", 3: "two", 4: "three"}
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
		name string
		seen seen
		want []netip.AddrPort
		kind Kind // before any dial-back
	}{
		{"nobody says anything", nil, own, Regular},
		{"seen at an own address", seen{1: own2}, []netip.AddrPort{own2, own1}, Regular},
		{"one site says translated, and there is no other", seen{1: nat}, []netip.AddrPort{nat, own1, own2}, Limited},
		{"two sites agree on a translated one", seen{1: nat, 3: nat}, []netip.AddrPort{nat, own1, own2}, Limited},
		{"a liar against one who sees an own address", seen{1: lie, 3: own1}, own, Regular},
		{"a liar against one who sees a translated one", seen{1: lie, 3: nat, 4: nat}, []netip.AddrPort{nat, own1, own2}, Limited},
		{"two liars of one site", seen{1: lie, 2: lie, 3: own1}, own, Regular},
		{"two liars of one site, a translated address", seen{1: lie, 2: lie, 3: nat, 4: nat}, []netip.AddrPort{nat, own1, own2}, Limited},
		{"liars that differ", seen{1: lie, 2: liarTo, 3: nat, 4: nat}, []netip.AddrPort{nat, own1, own2}, Limited},
		{"every site sees another port", seen{1: nat, 3: third}, own, Limited},
		{"both families", seen{1: nat, 2: nat6, 3: nat, 4: nat6}, []netip.AddrPort{nat, nat6, own1, own2}, Limited},
		{"the word of more sites goes first", seen{1: nat6, 2: nat, 3: nat6, 4: nat6}, []netip.AddrPort{nat6, nat, own1, own2}, Limited},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := seenBy(own, sites, c.seen).Verdict()
			if !slices.Equal(v.Endpoints, c.want) || v.Kind != c.kind || v.Confirmed {
				t.Errorf("got %v; want %v at %v", v, c.kind, c.want)
			}
		})
	}
}

// TestFewTranslatedEndpoints: however many endpoints sites agree on, few are announced; a link record
// has room for eight, and the own addresses must be among them.
func TestFewTranslatedEndpoints(t *testing.T) {
	sites, seen := map[tables.RouterID]string{}, map[tables.RouterID]netip.AddrPort{}
	for i := range tables.RouterID(12) {
		sites[1+i] = fmt.Sprint("site", i%2)
		seen[1+i] = netip.AddrPortFrom(netip.MustParseAddr("203.0.113.7"), uint16(40000+i/2))
	}
	own := netip.MustParseAddrPort("192.168.1.5:8463")
	got := seenBy([]netip.AddrPort{own}, sites, seen).Verdict().Endpoints
	if len(got) != translatedMax+1 || got[len(got)-1] != own {
		t.Errorf("announced: %v", got)
	}
}

// TestObservedOfStrangers: what a stranger says of where we are counts for nothing and takes no room;
// what a peer says is one word, which ends with the link.
func TestObservedOfStrangers(t *testing.T) {
	s := New(Config{Router: 1, Random: seeded(1)})
	s.Handle(epoch, Local{[]netip.AddrPort{netip.MustParseAddrPort("192.168.1.5:8463")}})
	lies := func(by tables.RouterID) {
		for i := range 1000 {
			s.Handle(epoch, Observed{by, netip.AddrPortFrom(netip.AddrFrom4([4]byte{1, 2, byte(i >> 8), byte(i)}), 53)})
		}
	}
	lies(0)
	lies(2)
	if v := s.Verdict(); len(v.Endpoints) != 1 || len(s.witnesses) != 0 {
		t.Errorf("strangers' words: %v", v)
	}
	s.Handle(epoch, Linked{Router: 2, Site: "east", At: netip.MustParseAddrPort("198.51.100.2:8463")})
	lies(2)
	if v := s.Verdict(); len(v.Endpoints) != 2 || len(s.witnesses) != 1 {
		t.Errorf("a peer's words: %v", v)
	}
	s.Handle(epoch, Unlinked{2})
	if v := s.Verdict(); len(v.Endpoints) != 1 || len(s.witnesses) != 0 {
		t.Errorf("without the link: %v", v)
	}
}

// TestNoEndpoint: what no VR can be at is not believed, whoever says it.
func TestNoEndpoint(t *testing.T) {
	for _, at := range []string{"0.0.0.0:1", "203.0.113.7:0", "224.0.0.1:5", "255.255.255.255:5", "[::]:1", "[ff02::1]:7", "[100::5]:2"} {
		s := seenBy(nil, nil, map[tables.RouterID]netip.AddrPort{2: netip.MustParseAddrPort(at)})
		if v := s.Verdict(); len(v.Endpoints) > 0 || v.Translated {
			t.Errorf("%s: %v", at, v)
		}
	}
}

// TestMapping: what the views of several peers say of a translator (RFC 4787, Section 4.1).
func TestMapping(t *testing.T) {
	at := netip.MustParseAddrPort
	a, b, c := at("203.0.113.7:40000"), at("203.0.113.7:40001"), at("203.0.113.7:40002")
	type view struct {
		site, from string
		seen       netip.AddrPort
	}
	for _, tt := range []struct {
		name  string
		views []view
		want  Finding
	}{
		{"one peer", []view{{"one", "198.51.100.1:1", a}}, Finding{}},
		{"one site, two addresses", []view{{"one", "198.51.100.1:1", a}, {"one", "198.51.100.2:1", a}}, Finding{EndpointIndependent, false}},
		{"two sites agree", []view{{"one", "198.51.100.1:1", a}, {"two", "198.51.100.2:1", a}}, Finding{EndpointIndependent, true}},
		{"two agree, one lies", []view{{"one", "198.51.100.1:1", a}, {"two", "198.51.100.2:1", a}, {"three", "198.51.100.3:1", c}}, Finding{EndpointIndependent, true}},
		{"two differ", []view{{"one", "198.51.100.1:1", a}, {"two", "198.51.100.2:1", b}}, Finding{AddressAndPortDependent, false}},
		{"three differ", []view{{"one", "198.51.100.1:1", a}, {"two", "198.51.100.2:1", b}, {"three", "198.51.100.3:1", c}}, Finding{AddressAndPortDependent, true}},
		{"by the address only", []view{{"one", "198.51.100.1:1", a}, {"one", "198.51.100.1:2", a}, {"two", "198.51.100.2:1", b}, {"three", "198.51.100.3:1", c}}, Finding{AddressDependent, true}},
		{"by the port too", []view{{"one", "198.51.100.1:1", a}, {"one", "198.51.100.1:2", b}}, Finding{AddressAndPortDependent, false}},
	} {
		s := New(Config{Router: 100, Random: seeded(1)})
		for i, v := range tt.views {
			s.Handle(epoch, Linked{tables.RouterID(1 + i), v.site, at(v.from)})
			s.Handle(epoch, Observed{tables.RouterID(1 + i), v.seen})
		}
		if got := s.Verdict().Mapping; got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestContacts: an arrival proves nothing by a filter that we may have opened, for as long as we may have.
func TestContacts(t *testing.T) {
	at := netip.MustParseAddrPort
	var c contacts
	now := epoch
	c.add(now, at("198.51.100.1:1"))
	for _, tt := range []struct {
		after time.Duration
		from  string
		want  reach
	}{
		{0, "198.51.100.1:1", reachPort},
		{0, "198.51.100.1:2", reachAddress},
		{0, "198.51.100.2:1", reachNone},
		{contactLife + ContactEvery - 1, "198.51.100.1:1", reachPort},
		{contactLife + ContactEvery, "198.51.100.1:1", reachNone},
	} {
		if got := c.of(now.Add(tt.after), at(tt.from)); got != tt.want {
			t.Errorf("%s after %v: %v, want %v", tt.from, tt.after, got, tt.want)
		}
	}
	// Of more ports than have room, all count.
	for i := range uint16(contactPortsMax + 1) {
		c.add(now, netip.AddrPortFrom(netip.MustParseAddr("198.51.100.3"), 1000+i))
	}
	if got := c.of(now, at("198.51.100.3:9")); got != reachPort {
		t.Errorf("a port of many: %v", got)
	}
	// Of more addresses than have room, all count, until the one that had to go has had its time.
	for i := range contactsMax {
		c.add(now.Add(time.Second), netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1))
	}
	if len(c.at) > contactsMax {
		t.Errorf("%d addresses are remembered", len(c.at))
	}
	if got := c.of(now.Add(2*time.Second), at("192.0.2.1:1")); got != reachAddress {
		t.Errorf("an address of which nothing is known: %v", got)
	}
	if got := c.of(now.Add(contactLife+ContactEvery), at("192.0.2.1:1")); got != reachNone {
		t.Errorf("when the forgotten would have ended: %v", got)
	}
}
