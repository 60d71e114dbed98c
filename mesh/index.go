package mesh

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"math"
	"math/bits"
	"slices"
	"sort"
	"strings"

	"github.com/vine-mesh/vine/tables"
)

// idBytesMax bounds DocKey.ID, so that any single digest fits many times into a reconciliation
// message of MessageBytesMax. The longest IDs are delivery sets, which name every router in them.
const idBytesMax = 1024

// chunkEntriesMax is the length at which a chunk is cut in two. Insertion moves half a chunk on
// average and a range fingerprint reads at most two chunks entry by entry, so both stay near a
// microsecond; the chunk headers of 100,000 digests still fit in the processor's cache.
const chunkEntriesMax = 128

// A Fingerprint identifies a set of digests: the first 16 bytes of SHA-256 over the count
// (8 bytes, big-endian) and the sum modulo 2^128 of one term per digest. A term is the first
// 16 bytes of SHA-256 over (kind 1, ID length 2, ID, version 8, hash 32).
//
// Equal sets have equal fingerprints whatever order they were built in. A member who can choose
// the content of several documents of its own can make two versions of those documents have one
// sum; that hides only its own documents from repair, never those of others.
type Fingerprint [16]byte

// An Index is the set of digests that a router holds, at most one for each key, ordered by
// Position. The zero value is an empty Index. An empty Index costs under 100 bytes, one of n
// digests about 120*n plus the IDs.
type Index struct {
	// chunks hold the entries in ascending order. Invariant: no chunk is empty or longer than
	// chunkEntriesMax.
	chunks []*chunk
	all    total
}

// A chunk is a run of neighbouring entries. Invariant: sum is the total of entries.
type chunk struct {
	entries []entry
	sum     total
}

type entry struct {
	pos    uint64
	digest tables.Digest
	term   uint128
}

// A total is what a fingerprint is taken of.
type total struct {
	count uint64
	sum   uint128
}

func (t *total) add(e uint128)    { t.count++; t.sum = t.sum.plus(e) }
func (t *total) remove(e uint128) { t.count--; t.sum = t.sum.minus(e) }
func (t *total) merge(o total)    { t.count += o.count; t.sum = t.sum.plus(o.sum) }

func (t total) fingerprint() Fingerprint {
	var b [24]byte
	binary.BigEndian.PutUint64(b[0:], t.count)
	binary.BigEndian.PutUint64(b[8:], t.sum.hi)
	binary.BigEndian.PutUint64(b[16:], t.sum.lo)
	h := sha256.Sum256(b[:])
	return Fingerprint(h[:16])
}

// A uint128 is a number modulo 2^128.
type uint128 struct{ hi, lo uint64 }

func (a uint128) plus(b uint128) uint128 {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	hi, _ := bits.Add64(a.hi, b.hi, carry)
	return uint128{hi, lo}
}

func (a uint128) minus(b uint128) uint128 {
	lo, borrow := bits.Sub64(a.lo, b.lo, 0)
	hi, _ := bits.Sub64(a.hi, b.hi, borrow)
	return uint128{hi, lo}
}

// Position returns the place of key in the order of an Index: the first 8 bytes, big-endian, of
// SHA-256 over the kind (1 byte) and the ID. Hashing spreads the keys evenly, so that halving a
// range of positions halves the digests in it.
func Position(key tables.DocKey) uint64 {
	var buf [160]byte
	b := append(append(buf[:0], byte(key.Kind)), key.ID...)
	h := sha256.Sum256(b)
	return binary.BigEndian.Uint64(h[:])
}

func term(d tables.Digest) uint128 {
	var buf [256]byte
	b := append(buf[:0], byte(d.Key.Kind))
	b = binary.BigEndian.AppendUint16(b, uint16(len(d.Key.ID)))
	b = append(b, d.Key.ID...)
	b = binary.BigEndian.AppendUint64(b, d.Version)
	b = append(b, d.Hash[:]...)
	h := sha256.Sum256(b)
	return uint128{binary.BigEndian.Uint64(h[0:]), binary.BigEndian.Uint64(h[8:])}
}

// Put makes d the digest of its key, whether the version in place was lower or higher: the store
// decides which version to keep. It reports whether anything changed. A key whose ID is empty or
// longer than 1,024 bytes cannot be told to a peer and is left out.
func (x *Index) Put(d tables.Digest) bool {
	if len(d.Key.ID) == 0 || len(d.Key.ID) > idBytesMax {
		return false
	}
	e := entry{pos: Position(d.Key), digest: d, term: term(d)}
	if len(x.chunks) == 0 {
		x.chunks = []*chunk{{}}
	}
	c := x.chunks[x.chunkOf(e.pos, d.Key)]
	i, found := c.find(e.pos, d.Key)
	if found {
		old := &c.entries[i]
		if old.digest == d {
			return false
		}
		c.sum.remove(old.term)
		x.all.remove(old.term)
		*old = e
	} else {
		c.entries = slices.Insert(c.entries, i, e)
	}
	c.sum.add(e.term)
	x.all.add(e.term)
	if len(c.entries) > chunkEntriesMax {
		x.split(c)
	}
	return true
}

// Remove takes the digest of key out and reports whether there was one.
func (x *Index) Remove(key tables.DocKey) bool {
	if len(x.chunks) == 0 {
		return false
	}
	pos := Position(key)
	at := x.chunkOf(pos, key)
	c := x.chunks[at]
	i, found := c.find(pos, key)
	if !found {
		return false
	}
	c.sum.remove(c.entries[i].term)
	x.all.remove(c.entries[i].term)
	c.entries = slices.Delete(c.entries, i, i+1)
	if len(c.entries) == 0 {
		x.chunks = slices.Delete(x.chunks, at, at+1)
	} else if at+1 < len(x.chunks) && len(c.entries)+len(x.chunks[at+1].entries) <= chunkEntriesMax/2 {
		c.entries = append(c.entries, x.chunks[at+1].entries...)
		c.sum.merge(x.chunks[at+1].sum)
		x.chunks = slices.Delete(x.chunks, at+1, at+2)
	}
	return true
}

// Get returns the digest of key.
func (x *Index) Get(key tables.DocKey) (tables.Digest, bool) {
	if len(x.chunks) == 0 {
		return tables.Digest{}, false
	}
	pos := Position(key)
	c := x.chunks[x.chunkOf(pos, key)]
	i, found := c.find(pos, key)
	if !found {
		return tables.Digest{}, false
	}
	return c.entries[i].digest, true
}

// Len returns the number of digests.
func (x *Index) Len() int { return int(x.all.count) }

// Root returns the fingerprint of the whole set. Two routers with the same Root hold the same
// versions of the same documents.
func (x *Index) Root() [16]byte { return x.all.fingerprint() }

// All yields every digest in the order of positions. The Index must not change meanwhile.
func (x *Index) All() iter.Seq[tables.Digest] {
	return func(yield func(tables.Digest) bool) {
		for e := range x.within(0, math.MaxUint64) {
			if !yield(e.digest) {
				return
			}
		}
	}
}

// within yields the entries with lo <= pos <= hi in order.
func (x *Index) within(lo, hi uint64) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for _, c := range x.chunks[x.firstChunk(lo):] {
			for i := c.lower(lo); i < len(c.entries); i++ {
				if c.entries[i].pos > hi || !yield(&c.entries[i]) {
					return
				}
			}
		}
	}
}

// sum returns the total of the entries with lo <= pos <= hi. Chunks that lie wholly inside are
// not read, only added.
func (x *Index) sum(lo, hi uint64) total {
	if lo == 0 && hi == math.MaxUint64 {
		return x.all
	}
	var t total
	for _, c := range x.chunks[x.firstChunk(lo):] {
		if c.entries[0].pos > hi {
			break
		}
		if c.entries[0].pos >= lo && c.entries[len(c.entries)-1].pos <= hi {
			t.merge(c.sum)
			continue
		}
		for i := c.lower(lo); i < len(c.entries) && c.entries[i].pos <= hi; i++ {
			t.add(c.entries[i].term)
		}
	}
	return t
}

// firstChunk returns the index of the first chunk that reaches up to lo, or len(x.chunks).
func (x *Index) firstChunk(lo uint64) int {
	return sort.Search(len(x.chunks), func(i int) bool {
		c := x.chunks[i]
		return c.entries[len(c.entries)-1].pos >= lo
	})
}

// chunkOf returns the index of the chunk that holds or would hold key. There must be a chunk.
func (x *Index) chunkOf(pos uint64, key tables.DocKey) int {
	after := sort.Search(len(x.chunks), func(i int) bool {
		c := x.chunks[i]
		return len(c.entries) > 0 && compare(&c.entries[0], pos, key) > 0
	})
	return max(after-1, 0)
}

func (x *Index) split(c *chunk) {
	half := len(c.entries) / 2
	upper := &chunk{entries: slices.Clone(c.entries[half:])}
	clear(c.entries[half:])
	c.entries = c.entries[:half]
	for i := range upper.entries {
		upper.sum.add(upper.entries[i].term)
		c.sum.remove(upper.entries[i].term)
	}
	x.chunks = slices.Insert(x.chunks, slices.Index(x.chunks, c)+1, upper)
}

// find returns where the entry of key is, or where it would go.
func (c *chunk) find(pos uint64, key tables.DocKey) (int, bool) {
	i := sort.Search(len(c.entries), func(i int) bool { return compare(&c.entries[i], pos, key) >= 0 })
	return i, i < len(c.entries) && c.entries[i].digest.Key == key
}

// lower returns the index of the first entry with a position of at least lo.
func (c *chunk) lower(lo uint64) int {
	return sort.Search(len(c.entries), func(i int) bool { return c.entries[i].pos >= lo })
}

// compare orders by position, then kind, then ID, so that keys whose positions collide still
// have one order everywhere.
func compare(e *entry, pos uint64, key tables.DocKey) int {
	switch {
	case e.pos != pos:
		if e.pos < pos {
			return -1
		}
		return 1
	case e.digest.Key.Kind != key.Kind:
		return int(e.digest.Key.Kind) - int(key.Kind)
	default:
		return strings.Compare(e.digest.Key.ID, key.ID)
	}
}
