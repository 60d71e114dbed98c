package node

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport"
)

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
		s.l.handle(func(now time.Time) {
			at := netip.MustParseAddrPort("198.51.100.9:8463")
			s.l.do(now, []transport.Action{transport.Up{Router: r.id, Conn: 99, Endpoint: at}})
		})
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

// TestTagsAreBounded: whatever the names are, gossip takes the tags. serf would panic.
func TestTagsAreBounded(t *testing.T) {
	withStill(t, func(t *testing.T, s *still) {
		long := func(c string, n int) string { return strings.Repeat(c, n) }
		usual := map[string]string{
			"id": "vr4294967295", "site": long("s", 63), "kind": "limited", "version": long("v", 32), "draining": "yes", "serves": "1000",
			"endpoint": "[2001:db8:1111:2222:3333:4444:5555:6666]:65535", "nat": "address-and-port-dependent/address-and-port-dependent",
			"queues": long("q", 63) + "," + long("r", 63),
		}
		if got := boundTags(maps.Clone(usual)); !maps.Equal(got, usual) {
			t.Errorf("what real names make is cut: %v", got)
		}
		random := rand.New(rand.NewPCG(1, 2))
		for range 2000 {
			tags := map[string]string{"id": "vr7", "kind": "limited"}
			for _, name := range []string{"site", "version", "endpoint", "nat", "queues", "serves", "draining"} {
				tags[name] = long("x,", random.IntN(400))
			}
			if tags["serves"] = "3"; random.IntN(4) == 0 {
				tags["kind"] = long("k", 600)
			}
			tags["draining"] = "yes"
			tags = boundTags(tags)
			if err := s.l.n.gossip.SetTags(tags); err != nil || tags["id"] != "vr7" {
				t.Fatalf("%v: %v", tags, err)
			}
		}
	})
}
