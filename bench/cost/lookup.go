package cost

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/bench"
	"github.com/vine-mesh/vine/tables/fib"
)

// flows are how many destinations a router has at work at once in the second column: few, as packets of a flow come
// one after the other.
const flows = 64

func lookups(ctx context.Context, length time.Duration) (bench.Table, error) {
	t := bench.Table{Head: []string{"prefixes", "addresses at random", fmt.Sprintf("%d flows by turns", flows), "a map of as many addresses"}}
	for _, n := range []int{10, 1000, 100_000, 1_000_000} {
		table, addrs, err := randomTable(n)
		if err != nil {
			return t, err
		}
		byAddr := make(map[netip.Addr]*int, n)
		for _, a := range addrs {
			byAddr[a] = new(int)
		}
		row := []string{fmt.Sprint(n)}
		for _, f := range []func(netip.Addr) bool{
			func(a netip.Addr) bool { _, ok := table.Lookup(a); return ok },
			nil,
			func(a netip.Addr) bool { _, ok := byAddr[a]; return ok },
		} {
			among := addrs
			if f == nil {
				among = addrs[:min(flows, len(addrs))]
				f = func(a netip.Addr) bool { _, ok := table.Lookup(a); return ok }
			}
			ns, err := perLookup(ctx, length, among, f)
			if err != nil {
				return t, err
			}
			row = append(row, nanoseconds(ns))
		}
		t.Rows = append(t.Rows, row)
	}
	t.Notes = []string{"Longest prefixes of 16 to 28 bits. At random, a million prefixes are far more than a processor's cache holds, and a lookup is the time of" +
		" memory. The dissertation: \"a few nanoseconds\" in an array of a million, which fixed-length prefixes allow; 50 ns for the hash code of a String in Java."}
	return t, nil
}

// perLookup measures a lookup of addresses by turns.
func perLookup(ctx context.Context, length time.Duration, addrs []netip.Addr, find func(netip.Addr) bool) (float64, error) {
	const batch = 1000 // so that the call by perCall does not count
	i, missed := 0, 0
	ns, err := perCall(ctx, length, func() {
		for range batch {
			if !find(addrs[i]) {
				missed++
			}
			if i++; i == len(addrs) {
				i = 0
			}
		}
	})
	if missed > 0 {
		return 0, errors.New("an address of the table is not found")
	}
	return ns / batch, err
}

// randomTable returns a table of n different prefixes, and an address in each, in random order.
func randomTable(n int) (*fib.Table[*int], []netip.Addr, error) {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	var b fib.Builder[*int]
	var addrs []netip.Addr
	for len(addrs) < n {
		x := r.Uint32()
		addr := netip.AddrFrom4([4]byte{1 + byte(x>>24)%220, byte(x >> 16), byte(x >> 8), byte(x)})
		if b.Insert(netip.PrefixFrom(addr, 16+r.IntN(13)).Masked(), new(int)) == nil {
			addrs = append(addrs, addr)
		}
	}
	return b.Compile(), addrs, nil
}
