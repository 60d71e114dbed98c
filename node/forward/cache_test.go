package forward

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/vine-mesh/vine/tables"
	"pgregory.net/rapid"
)

// TestCacheDecidesTheSame: whatever packets come, and whenever the tables change meanwhile, a Cache decides as Decide does.
// The Cache is used for VRs in turn, with the same addresses in all of them, which no lane does: so what it forgets to
// forget shows.
func TestCacheDecidesTheSame(t *testing.T) {
	remembered := 0
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2))
		fed := randomFederation(rng)
		var vrs []*Snapshot
		for r := tables.RouterID(1); r <= 4; r++ {
			if s, err := NewSnapshot(fed[r]); err == nil {
				strict := *s
				strict.policy = func(vn tables.VNID, p Packet) bool { return p.Length < 1000 }
				vrs = append(vrs, s, s.WithLinks(map[tables.RouterID]int{1: 700, 2: 1281, 3: 1400, 4: 9000}, nil), &strict)
			}
		}
		if len(vrs) == 0 {
			return
		}
		var c Cache
		s := vrs[0]
		for range 300 {
			if rng.IntN(20) == 0 {
				s = pick(rng, vrs)
			}
			p := randomPacket(rng, fed)
			b, attachment := p.bytes(), rng.IntN(s.Attachments()+1)
			longest := pick(rng, []int{0, 60, 1400})
			want := DecideSuper(s, attachment, b, longest)
			// What counts is the second time, when it may be remembered.
			for range 2 {
				if got := c.DecideSuper(s, attachment, b, longest); got != want {
					t.Fatalf("%+v: %+v, want %+v", p, got, want)
				}
			}
			if s.policy != nil {
				continue
			}
			if known, _ := c.find(attachment, &want.Packet); known != nil {
				remembered++
			}
		}
		// One host to all: many are at one place.
		s = vrs[0]
		src := pick(rng, universe[:64])
		for range 2 {
			for _, dst := range universe {
				if dst.Is4() != src.Is4() {
					continue
				}
				for attachment := range s.Attachments() {
					b := plainPacket{src: src, dst: dst, ttl: 64, length: 100}.bytes()
					if got, want := c.DecideSuper(s, attachment, b, 0), Decide(s, attachment, b); got != want {
						t.Fatalf("%v to %v: %+v, want %+v", src, dst, got, want)
					}
				}
			}
		}
	})
	if remembered < 300 {
		t.Errorf("only %d packets were remembered", remembered)
	}
}

// TestCacheSpreads: the pairs of a network do not crowd into a few places.
func TestCacheSpreads(t *testing.T) {
	for name, at := range map[string]func(i int) (src, dst netip.Addr){
		"one host to many": func(i int) (netip.Addr, netip.Addr) {
			return addr("10.192.0.10"), netip.AddrFrom4([4]byte{10, 192, byte(i), 10})
		},
		"many to one": func(i int) (netip.Addr, netip.Addr) {
			return netip.AddrFrom4([4]byte{10, 192, 0, byte(i)}), addr("10.200.1.10")
		},
		"IPv6": func(i int) (netip.Addr, netip.Addr) {
			return addr("fd00::10"), netip.AddrFrom16([16]byte{0: 0xfd, 7: byte(i), 15: 10})
		},
	} {
		used := map[uint64]bool{}
		for i := range 128 {
			used[place(at(i))] = true
		}
		// 128 thrown at random into 128 places fill about 81 of them.
		if len(used) < 65 {
			t.Errorf("%s: 128 pairs are in %d places", name, len(used))
		}
	}
}

// BenchmarkDecideAmongMillion is a VN of a million prefixes: with the pairs of 64 flows by turns, with and without a Cache, and
// with destinations at random.
func BenchmarkDecideAmongMillion(b *testing.B) {
	const prefixes, flows = 1_000_000, 64
	in := Input{Self: 1, Space: []netip.Prefix{prefix("0.0.0.0/1")}, PathMTU: map[tables.RouterID]int{2: 1400}}
	vn := VNInput{ID: 1, Seal: tables.SealEncrypt}
	own := addr("10.0.0.10")
	vn.Sets = []Set{{Routers: []tables.RouterID{1}, Prefixes: []netip.Prefix{prefix("10.0.0.0/24")}}, {Routers: []tables.RouterID{2}}}
	vn.Local = []LocalHost{{Addr: own}}
	far := func(i int) netip.Prefix { // a /24 or a /26, none inside another
		x := uint32(0x10_00_00_00) + uint32(i)<<8
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(x >> 24), byte(x >> 16), byte(x >> 8), 0}), 24+i%2*2)
	}
	for i := range prefixes {
		vn.Sets[1].Prefixes = append(vn.Sets[1].Prefixes, far(i))
	}
	in.VNs = []VNInput{vn}
	s := mustSnapshot(b, in)
	rng := rand.New(rand.NewPCG(1, 1))
	packets := make([][]byte, 1<<16)
	for i := range packets {
		packets[i] = udp(own.String(), far(rng.IntN(prefixes)).Addr().Next().String(), 64)
	}
	// at returns no more of an IPv4 packet than its addresses.
	at := func(b []byte) Packet {
		return Packet{Src: netip.AddrFrom4([4]byte(b[12:16])), Dst: netip.AddrFrom4([4]byte(b[16:20]))}
	}
	var c, full Cache
	for range 2 {
		for _, p := range packets[:flows] {
			full.DecideSuper(s, 0, p, 0)
		}
	}
	var kept [][]byte // but those of which three are at one place
	for _, b := range packets[:flows] {
		p := at(b)
		if known, _ := full.find(0, &p); known != nil {
			kept = append(kept, b)
		}
	}
	for _, bench := range []struct {
		name    string
		packets [][]byte
		decide  func(p []byte) Decision
	}{
		{"flows/cache", packets[:flows], func(p []byte) Decision { return c.DecideSuper(s, 0, p, 0) }},
		{"flows/no cache", packets[:flows], func(p []byte) Decision { return Decide(s, 0, p) }},
		{"random/cache", packets, func(p []byte) Decision { return c.DecideSuper(s, 0, p, 0) }},
		{"random/no cache", packets, func(p []byte) Decision { return Decide(s, 0, p) }},
		{"lookup alone, flows/cache", kept, func(b []byte) (d Decision) {
			p := at(b)
			if known, _ := full.find(0, &p); known == nil {
				d.Drop = DropNoRoute
			}
			return d
		}},
		{"lookup alone, flows/no cache", packets[:flows], func(b []byte) (d Decision) {
			p := at(b)
			_, d.Drop = s.find(0, &p)
			return d
		}},
		{"parse alone", packets[:flows], func(p []byte) (d Decision) { d.Packet, d.Drop = Parse(p); return d }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if d := bench.decide(bench.packets[i]); d.Drop != DropNone {
					b.Fatal(d.Drop)
				}
				if i++; i == len(bench.packets) {
					i = 0
				}
			}
		})
	}
}
