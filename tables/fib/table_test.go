package fib

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestInsertRefuses(t *testing.T) {
	tests := []struct {
		name   string
		prefix netip.Prefix
	}{
		{"invalid", netip.Prefix{}},
		{"host bits", netip.MustParsePrefix("10.0.0.1/24")},
		{"host bits, IPv6", netip.MustParsePrefix("fd00::1/64")},
		{"mapped", netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.0"), 120)},
		{"twice", netip.MustParsePrefix("10.1.0.0/16")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var b Builder[int]
			if err := b.Insert(netip.MustParsePrefix("10.1.0.0/16"), 1); err != nil {
				t.Fatal(err)
			}
			if err := b.Insert(test.prefix, 2); err == nil {
				t.Fatalf("Insert(%v) accepted", test.prefix)
			}
			table := b.Compile()
			if v, ok := table.Lookup(netip.MustParseAddr("10.1.2.3")); table.Len() != 1 || !ok || v != 1 {
				t.Fatalf("table changed: len %d, %d %v", table.Len(), v, ok)
			}
		})
	}
}

func TestLookupOddAddresses(t *testing.T) {
	var b Builder[int]
	for i, p := range []string{"0.0.0.0/0", "::/0"} {
		if err := b.Insert(netip.MustParsePrefix(p), i+1); err != nil {
			t.Fatal(err)
		}
	}
	table := b.Compile()
	for addr, want := range map[string]int{"192.0.2.1": 1, "2001:db8::1": 2, "::ffff:192.0.2.1": 0, "fe80::1%eth0": 0} {
		if v, ok := table.Lookup(netip.MustParseAddr(addr)); v != want || ok != (want != 0) {
			t.Errorf("Lookup(%s) = %d, %v; want %d", addr, v, ok, want)
		}
	}
	if _, ok := table.Lookup(netip.Addr{}); ok {
		t.Error("the invalid address was found")
	}
}

// An empty Table, however made, finds nothing.
func TestEmpty(t *testing.T) {
	for _, table := range []*Table[int]{nil, new(Builder[int]).Compile()} {
		if _, ok := table.Lookup(netip.MustParseAddr("10.0.0.1")); ok || table.Len() != 0 {
			t.Error("an empty table found something")
		}
		for range table.All() {
			t.Error("All yields")
		}
		for range table.Overlapping(netip.MustParsePrefix("0.0.0.0/0")) {
			t.Error("Overlapping yields")
		}
	}
}

// After Compile the Builder starts afresh, and the Table stays what it was.
func TestCompileEmptiesBuilder(t *testing.T) {
	var b Builder[int]
	p := netip.MustParsePrefix("10.0.0.0/8")
	if err := b.Insert(p, 1); err != nil {
		t.Fatal(err)
	}
	table := b.Compile()
	if err := b.Insert(p, 2); err != nil {
		t.Fatalf("the builder remembers: %v", err)
	}
	if v, _ := table.Lookup(p.Addr()); v != 1 {
		t.Fatalf("Lookup = %d after the builder went on", v)
	}
}

// A drawPrefix is one of few prefixes that are close together, so that nesting is common.
func drawPrefix(t *rapid.T, label string) netip.Prefix {
	addr := drawAddr(t, label)
	return netip.PrefixFrom(addr, rapid.IntRange(0, addr.BitLen()).Draw(t, label+" bits")).Masked()
}

func drawAddr(t *rapid.T, label string) netip.Addr {
	few := rapid.SampledFrom([]byte{0, 1, 2, 127, 128, 255})
	if rapid.Bool().Draw(t, label+" is IPv4") {
		return netip.AddrFrom4([4]byte{10, few.Draw(t, "b"), few.Draw(t, "c"), few.Draw(t, "d")})
	}
	a := [16]byte{0: 0xfd, 5: few.Draw(t, "b"), 8: few.Draw(t, "c"), 15: few.Draw(t, "d")}
	return netip.AddrFrom16(a)
}

func TestLookupAgainstList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := make(map[netip.Prefix]int)
		var b Builder[int]
		for i := range rapid.IntRange(0, 40).Draw(t, "prefixes") {
			p := drawPrefix(t, "prefix")
			_, twice := list[p]
			if err := b.Insert(p, i); (err != nil) != twice {
				t.Fatalf("Insert(%v) = %v, twice %v", p, err, twice)
			}
			if !twice {
				list[p] = i
			}
		}
		table := b.Compile()
		if table.Len() != len(list) || !maps.Equal(maps.Collect(table.All()), list) {
			t.Fatalf("All gives other entries than inserted")
		}
		for range 20 {
			addr := drawAddr(t, "addr")
			best, want := -1, 0
			for p, v := range list {
				if p.Contains(addr) && p.Bits() > best {
					best, want = p.Bits(), v
				}
			}
			if v, ok := table.Lookup(addr); ok != (best >= 0) || v != want {
				t.Fatalf("Lookup(%v) = %d, %v; want %d, %v", addr, v, ok, want, best >= 0)
			}
		}
		p := drawPrefix(t, "overlapping")
		want := make(map[netip.Prefix]int)
		for q, v := range list {
			if p.Overlaps(q) {
				want[q] = v
			}
		}
		got, n := make(map[netip.Prefix]int), 0
		for q, v := range table.Overlapping(p) {
			got[q] = v
			n++
		}
		if n != len(got) || !maps.Equal(got, want) {
			t.Fatalf("Overlapping(%v) = %v; want %v", p, got, want)
		}
	})
}

func TestLookupDoesNotAllocate(t *testing.T) {
	table, addrs := bigTable(t, 1000)
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		table.Lookup(addrs[i%len(addrs)])
		i++
	}); n != 0 {
		t.Fatalf("Lookup allocates %v times", n)
	}
}

// bigTable makes a table of n prefixes of both families, with lengths as tables of many
// sites would have them, and addresses of which almost all are in it.
func bigTable(tb testing.TB, n int) (*Table[*int], []netip.Addr) {
	rng := rand.New(rand.NewPCG(1, 2))
	var b Builder[*int]
	values := make([]int, 64)
	prefixes := make([]netip.Prefix, 0, n)
	for len(prefixes) < n {
		var p netip.Prefix
		if len(prefixes)%2 == 0 {
			var a [4]byte
			binary.BigEndian.PutUint32(a[:], rng.Uint32())
			p = netip.PrefixFrom(netip.AddrFrom4(a), 20+rng.IntN(13)).Masked()
		} else {
			a := [16]byte{0: 0xfd}
			binary.BigEndian.PutUint64(a[1:], rng.Uint64())
			p = netip.PrefixFrom(netip.AddrFrom16(a), 48+rng.IntN(17)).Masked()
		}
		if b.Insert(p, &values[rng.IntN(len(values))]) == nil {
			prefixes = append(prefixes, p)
		}
	}
	addrs := make([]netip.Addr, 1<<16)
	for i := range addrs {
		addrs[i] = prefixes[rng.IntN(n)].Addr()
	}
	if !slices.ContainsFunc(addrs, netip.Addr.Is6) {
		tb.Fatal("no IPv6 address drawn")
	}
	return b.Compile(), addrs
}

func BenchmarkLookup1M(b *testing.B) {
	table, addrs := bigTable(b, 1_000_000)
	for name, among := range map[string][]netip.Addr{"random": addrs, "64 by turns": addrs[:64]} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, ok := table.Lookup(among[i]); !ok {
					b.Fatal("not found")
				}
				if i++; i == len(among) {
					i = 0
				}
			}
		})
	}
}
