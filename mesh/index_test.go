package mesh

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/vine-mesh/vine/tables"
)

// record returns the digest of the link record of router n in that version.
func record(n int, version uint64) tables.Digest {
	d := tables.Digest{Key: tables.LinkRecordKey(tables.RouterID(n)), Version: version}
	d.Hash = sha256.Sum256(fmt.Appendf(nil, "%d %d", n, version))
	return d
}

func indexOf(digests ...tables.Digest) *Index {
	x := &Index{}
	for _, d := range digests {
		x.Put(d)
	}
	return x
}

func records(n int) *Index {
	x := &Index{}
	for i := range n {
		x.Put(record(i, 1<<32))
	}
	return x
}

// check fails if an invariant of the Index is broken.
func (x *Index) check(t rapid.TB) {
	t.Helper()
	var all total
	var last *entry
	for _, c := range x.chunks {
		if len(c.entries) == 0 || len(c.entries) > chunkEntriesMax {
			t.Fatalf("chunk of %d entries", len(c.entries))
		}
		var sum total
		for i := range c.entries {
			e := &c.entries[i]
			if last != nil && compare(last, e.pos, e.digest.Key) >= 0 {
				t.Fatalf("%v not before %v", last.digest.Key, e.digest.Key)
			}
			sum.add(term(e.digest))
			last = e
		}
		if sum != c.sum {
			t.Fatal("sum of a chunk is wrong")
		}
		all.merge(sum)
	}
	if all != x.all {
		t.Fatal("sum of all is wrong")
	}
}

// TestIndexAgainstMap drives an Index and a map with the same operations.
func TestIndexAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, want := &Index{}, make(map[tables.DocKey]tables.Digest)
		space := rapid.SampledFrom([]int{5, 40, 3000}).Draw(t, "space")
		for i := range rapid.IntRange(0, 600).Draw(t, "operations") {
			n := rapid.IntRange(0, space).Draw(t, "n")
			if rapid.IntRange(0, 4).Draw(t, "op") == 0 {
				key := record(n, 0).Key
				_, had := want[key]
				delete(want, key)
				if x.Remove(key) != had {
					t.Fatal("Remove is wrong about what was there")
				}
				continue
			}
			d := record(n, uint64(i/7))
			old, had := want[d.Key]
			want[d.Key] = d
			if x.Put(d) != (!had || old != d) {
				t.Fatal("Put is wrong about the change")
			}
		}
		x.check(t)
		if x.Len() != len(want) {
			t.Fatalf("Len %d, want %d", x.Len(), len(want))
		}
		again := &Index{}
		for k, d := range want {
			if got, ok := x.Get(k); !ok || got != d {
				t.Fatalf("Get(%v) = %v, %v", k, got, ok)
			}
			again.Put(d)
		}
		if again.Root() != x.Root() {
			t.Fatal("the root depends on the order")
		}
		if n := len(slices.Collect(x.All())); n != len(want) {
			t.Fatalf("All yields %d", n)
		}
		lo, hi := rapid.Uint64().Draw(t, "lo"), rapid.Uint64().Draw(t, "hi")
		var sum total
		for _, d := range want {
			if p := Position(d.Key); lo <= p && p <= hi {
				sum.add(term(d))
			}
		}
		if got := x.sum(lo, hi); lo <= hi && got != sum {
			t.Fatalf("sum(%x, %x) = %v, want %v", lo, hi, got, sum)
		}
	})
}

// TestRootVector pins the bytes of docs/wire.md: routers of different builds must agree on them.
func TestRootVector(t *testing.T) {
	d := record(17, 3)
	b := append([]byte{11, 0, 2}, "17"...)
	b = append(binary.BigEndian.AppendUint64(b, 3), d.Hash[:]...)
	h := sha256.Sum256(b)
	want := sha256.Sum256(append([]byte{0, 0, 0, 0, 0, 0, 0, 1}, h[:16]...))
	if got := indexOf(d).Root(); got != [16]byte(want[:16]) {
		t.Errorf("root %x, want %x", got, want[:16])
	}
	pos := sha256.Sum256([]byte("\x0b17"))
	if Position(d.Key) != binary.BigEndian.Uint64(pos[:]) {
		t.Error("position is not the start of SHA-256 over kind and ID")
	}
}

func TestIndexLeavesOutUnfitIDs(t *testing.T) {
	x := &Index{}
	long := tables.Digest{Key: tables.DocKey{Kind: tables.KindFragment, ID: string(make([]byte, idBytesMax+1))}}
	if x.Put(long) || x.Put(tables.Digest{Key: tables.DocKey{Kind: tables.KindSite}}) || x.Len() != 0 {
		t.Error("an ID that no message can carry was taken")
	}
}

// TestIndexMemory holds a thousand small indexes, as a simulation does.
func TestIndexMemory(t *testing.T) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	tenDigests := slices.Collect(records(10).All())
	before := heap()
	empty := make([]*Index, 1000)
	for i := range empty {
		empty[i] = &Index{}
		empty[i].Root()
	}
	mid := heap()
	for _, x := range empty {
		for _, d := range tenDigests {
			x.Put(d)
		}
	}
	after := heap()
	t.Logf("empty index %d bytes, with 10 digests %d", (mid-before)/1000, (after-before)/1000)
	if (mid-before)/1000 > 256 || (after-before)/1000 > 4096 {
		t.Error("small indexes are not small")
	}
	runtime.KeepAlive(empty)
}

func BenchmarkIndexPut(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			x := records(n)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				x.Put(record(i%n, uint64(i)))
			}
		})
	}
}

func BenchmarkIndexRoot(b *testing.B) {
	x := records(100_000)
	b.ReportAllocs()
	for b.Loop() {
		x.Root()
	}
}

func BenchmarkIndexRange(b *testing.B) {
	x := records(100_000)
	for b.Loop() {
		x.sum(1<<60, math.MaxUint64-1<<60)
	}
}
