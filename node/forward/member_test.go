package forward

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"testing"

	"github.com/vine-mesh/vine/tables"
)

// setOf returns a VR that sends from 10.192.0.5 to 10.193.0.0/16, which so many routers deliver, from 101 on.
func setOf(t testing.TB, routers int) *Snapshot {
	t.Helper()
	set := Set{Prefixes: []netip.Prefix{prefix("10.193.0.0/16")}}
	for i := range routers {
		set.Routers = append(set.Routers, tables.RouterID(101+i))
	}
	return mustSnapshot(t, Input{
		Self: 1, Space: []netip.Prefix{prefix("10.192.0.0/10")},
		VNs: []VNInput{{
			ID: 7, Seal: tables.SealEncrypt, Local: []LocalHost{{Addr: addr("10.192.0.5")}},
			Sets: []Set{{Routers: []tables.RouterID{1}, Prefixes: []netip.Prefix{prefix("10.192.0.0/24")}}, set},
		}},
	})
}

// flowPacket returns a packet of flow n: one host to another, between two ports.
func flowPacket(n int) []byte {
	b := udp("10.192.0.5", "10.193.0.9", 100)
	binary.BigEndian.PutUint16(b[20:], uint16(1024+n))
	binary.BigEndian.PutUint16(b[22:], uint16(5000+n>>14))
	return b
}

// without returns s with routers avoided.
func without(s *Snapshot, routers ...tables.RouterID) *Snapshot {
	avoid := map[Member]struct{}{}
	for _, id := range routers {
		avoid[Member{7, id}] = struct{}{}
	}
	return s.WithLinks(nil, avoid)
}

// Flows go to all routers of a set alike, and one that goes takes only its own flows with it, to all others alike.
func TestMembersShareFlows(t *testing.T) {
	const count = 20_000
	for _, routers := range []int{1, 2, 3, 16} {
		t.Run(fmt.Sprint(routers), func(t *testing.T) {
			s := setOf(t, routers)
			gone := without(s, 101)
			before, after := map[tables.RouterID]int{}, map[tables.RouterID]int{}
			for n := range count {
				a, b := Decide(s, 0, flowPacket(n)), Decide(gone, 0, flowPacket(n))
				if a.Drop != DropNone || b.Drop != DropNone {
					t.Fatal(a.Drop, b.Drop)
				}
				if a.To != b.To && a.To != 101 {
					t.Fatalf("flow %d was at %v and is at %v, since 101 went", n, a.To, b.To)
				}
				before[a.To]++
				after[b.To]++
			}
			even(t, before, count, routers)
			if routers > 1 {
				even(t, after, count, routers-1)
				if after[101] > 0 {
					t.Errorf("%d flows go to the one that is avoided", after[101])
				}
			}
			// Nobody else is there: better one that may be dead than none.
			var all []tables.RouterID
			for id := range before {
				all = append(all, id)
			}
			if d := Decide(without(s, all...), 0, flowPacket(1)); d.To != Decide(s, 0, flowPacket(1)).To {
				t.Errorf("with all avoided it goes to %v", d.To)
			}
		})
	}
}

// even fails if shares of count among n are further apart than chance has them: six standard deviations.
func even(t *testing.T, got map[tables.RouterID]int, count, n int) {
	t.Helper()
	want := float64(count) / float64(n)
	for id, c := range got {
		if math.Abs(float64(c)-want) > 6*math.Sqrt(want) {
			t.Errorf("%d of %d flows at %v, of %d", c, count, id, n)
		}
	}
	if len(got) != n {
		t.Errorf("flows at %d routers, not %d", len(got), n)
	}
}

// A flow stays where it is until its router is avoided, and who comes back gets new flows only.
func TestFlowsStay(t *testing.T) {
	const old = 1000
	s := setOf(t, 3)
	var c Cache
	at := func(s *Snapshot, n int) tables.RouterID { return c.DecideSuper(s, 0, flowPacket(n), 0).To }
	first := make([]tables.RouterID, 2*old)
	for n := range old {
		first[n] = at(s, n)
		if first[n] != Decide(s, 0, flowPacket(n)).To {
			t.Fatal("the first packet of a flow does not go where the draw says")
		}
	}
	moved := make([]tables.RouterID, old)
	for n := range old {
		moved[n] = at(without(s, 102), n)
		if moved[n] == 102 || first[n] != 102 && moved[n] != first[n] {
			t.Fatalf("flow %d: %v, then %v", n, first[n], moved[n])
		}
	}
	back := s.WithLinks(map[tables.RouterID]int{101: 1400}, nil) // another Snapshot
	taken := 0
	for n := range old {
		if at(back, n) != moved[n] {
			taken++
		}
	}
	if taken > old/200 { // there is not room for every thousand flows
		t.Errorf("102 came back and took %d of %d flows", taken, old)
	}
	newcomers := 0
	for n := old; n < 2*old; n++ {
		if at(back, n) == 102 {
			newcomers++
		}
	}
	if newcomers < old/4 {
		t.Errorf("%d of %d new flows go to the one that came back", newcomers, old)
	}
}

// A set that lost the router of a flow for good leaves nothing of it.
func TestFlowsFollowTheSet(t *testing.T) {
	var c Cache
	for n := range 200 {
		c.DecideSuper(setOf(t, 16), 0, flowPacket(n), 0)
	}
	small := setOf(t, 2)
	for n := range 200 {
		if to := c.DecideSuper(small, 0, flowPacket(n), 0).To; to != 101 && to != 102 {
			t.Fatalf("flow %d goes to %v, which is not in the set", n, to)
		}
	}
}

// What belongs to one flow goes one way: all of its sizes, and all IP fragments of a packet.
func TestFlowOfPackets(t *testing.T) {
	flowOfBytes := func(vn tables.VNID, b []byte) uint64 {
		p, drop := Parse(b)
		if drop != DropNone {
			t.Fatal(drop)
		}
		return flowOf(vn, &p, b)
	}
	a := flowOfBytes(1, udp("10.192.0.5", "10.193.0.9", 100))
	if a != flowOfBytes(1, udp("10.192.0.5", "10.193.0.9", 1400)) {
		t.Error("a longer packet is another flow")
	}
	for what, b := range map[string]uint64{
		"VN":          flowOfBytes(2, udp("10.192.0.5", "10.193.0.9", 100)),
		"source":      flowOfBytes(1, udp("10.192.0.6", "10.193.0.9", 100)),
		"destination": flowOfBytes(1, udp("10.192.0.5", "10.193.0.10", 100)),
		"back":        flowOfBytes(1, udp("10.193.0.9", "10.192.0.5", 100)),
	} {
		if a == b {
			t.Errorf("another %s is the same flow", what)
		}
	}
	big := udp("10.192.0.5", "10.193.0.9", 1400)
	p, _ := Parse(big)
	room := make([][]byte, 8)
	for i := range room {
		room[i] = make([]byte, 0, 1500)
	}
	count, ok := AppendIPFrags(room, big, p, 640)
	if !ok || count < 2 {
		t.Fatalf("%d fragments, %v", count, ok)
	}
	for _, f := range room[:count] {
		if flowOfBytes(1, f) != flowOfBytes(1, room[0]) {
			t.Error("fragments of one packet are two flows")
		}
	}
}

func TestMemberDoesNotAllocate(t *testing.T) {
	s := without(setOf(t, 16), 103)
	var c Cache
	b := flowPacket(1)
	c.DecideSuper(s, 0, b, 0)
	if n := testing.AllocsPerRun(1000, func() { c.DecideSuper(s, 0, b, 0) }); n != 0 {
		t.Errorf("%v allocations for each packet", n)
	}
}

func BenchmarkMember(b *testing.B) {
	for _, routers := range []int{1, 2, 16} {
		b.Run(fmt.Sprint(routers), func(b *testing.B) {
			s := without(setOf(b, routers), 200)
			var c Cache
			p := flowPacket(1)
			for b.Loop() {
				c.DecideSuper(s, 0, p, 0)
			}
		})
	}
}
