package mesh

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/vine-mesh/vine/tables"
)

// traffic is what a reconciliation in a test cost.
type traffic struct {
	messages, bytes, most, docs int
}

// meet reconciles a and b through the codec, fetching what each needs at once. stop ends it after
// that many messages; 0 never does.
func meet(t rapid.TB, a, b *Index, stop int) traffic {
	t.Helper()
	var c traffic
	sides := [2]*Reconcile{NewReconcile(a), NewReconcile(b)}
	index := [2]*Index{a, b}
	start := sides[0].Start()
	reply, turn, done := &start, 1, false
	for reply != nil {
		wire := AppendMessage(nil, *reply)
		c.messages++
		c.bytes += len(wire)
		c.most = max(c.most, len(wire))
		if c.messages > 2*roundsMax || c.messages == stop {
			break
		}
		m, err := ParseMessage(wire)
		if err != nil {
			t.Fatalf("message %d (%d bytes, %d items): %v", c.messages, len(wire), len(reply.Items), err)
		}
		var need []tables.DocKey
		reply, need, _, done = sides[turn].Handle(m)
		for _, k := range need {
			d, ok := index[1-turn].Get(k)
			if !ok {
				t.Fatalf("%v was listed by a side that does not have it", k)
			}
			c.docs++
			if own, have := index[turn].Get(k); !have || own.Version < d.Version {
				index[turn].Put(d)
			}
		}
		if reply == nil && !done {
			t.Fatal("no reply and not done")
		}
		turn = 1 - turn
	}
	return c
}

// TestUnion: after an exchange both hold the union by highest version.
func TestUnion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{1, 30, 400, 3000}).Draw(t, "size")
		skew := rapid.IntRange(0, 4).Draw(t, "skew")
		seed := rapid.Uint64().Draw(t, "seed")
		a, b, want := &Index{}, &Index{}, &Index{}
		for n := range size {
			// A number from the seed and n, so that thousands of digests take one draw.
			r := Position(tables.DocKey{Kind: 1, ID: fmt.Sprint(seed, n)})
			va, vb := r%4, r>>8%4
			if int(r>>16%4) < skew {
				vb = va
			}
			if va > 0 {
				a.Put(record(n, va))
			}
			if vb > 0 {
				b.Put(record(n, vb))
			}
			if v := max(va, vb); v > 0 {
				want.Put(record(n, v))
			}
		}
		c := meet(t, a, b, 0)
		if a.Root() != want.Root() || b.Root() != want.Root() {
			t.Fatalf("%d and %d digests after the exchange, want %d", a.Len(), b.Len(), want.Len())
		}
		if c.most > MessageBytesMax {
			t.Fatalf("a message of %d bytes", c.most)
		}
	})
}

func TestOneMissingOfTenThousand(t *testing.T) {
	for _, missing := range []int{0, 1} { // at the responder, at the initiator
		x := [2]*Index{records(10_000), records(10_000)}
		x[missing].Remove(record(4711, 0).Key)
		c := meet(t, x[1], x[0], 0)
		// One document of 1 KiB, its want, and the frame headers both ways.
		whole := c.bytes + c.messages*frameHeaderLen + 2*frameHeaderLen + 1<<10 + 16
		t.Logf("%d messages, %d bytes of control, %d with the document", c.messages, c.bytes, whole)
		if x[0].Root() != x[1].Root() || c.docs != 1 || whole >= 16<<10 {
			t.Errorf("%+v, %d bytes with the document", c, whole)
		}
	}
}

func TestEqualRoots(t *testing.T) {
	c := meet(t, records(10_000), records(10_000), 0)
	if c.messages != 1 || c.bytes > 64 {
		t.Errorf("%+v, want one message of at most 64 bytes", c)
	}
	t.Logf("equal roots: %d bytes", c.bytes)
}

// TestEmptyJoinerResumes breaks every exchange off after 12 messages. Each must bring more, and no
// document may be fetched twice.
func TestEmptyJoinerResumes(t *testing.T) {
	full, joiner := records(10_000), &Index{}
	var whole traffic
	for exchanges := 0; joiner.Root() != full.Root(); exchanges++ {
		before := joiner.Len()
		c := meet(t, joiner, full, 12)
		whole.bytes += c.bytes
		whole.docs += c.docs
		if joiner.Len() == before || exchanges > 100 {
			t.Fatalf("exchange %d brought nothing", exchanges)
		}
	}
	t.Logf("10,000 documents: %d bytes of control in pieces", whole.bytes)
	if whole.docs != 10_000 {
		t.Errorf("%d documents fetched", whole.docs)
	}
	c := meet(t, &Index{}, full, 0)
	t.Logf("in one: %+v", c)
	if c.bytes > 512<<10 {
		t.Errorf("listing 10,000 documents took %d bytes", c.bytes)
	}
}

// TestTwoStories: equal version, other hash. Each side must be told to fetch the other's document.
func TestTwoStories(t *testing.T) {
	for _, n := range []int{1, 1000} {
		a, b := records(n), records(n)
		lie := record(n/2, 1<<32)
		lie.Hash[0] ^= 1
		b.Put(lie)
		m := NewReconcile(a).Start()
		reply, turn := &m, 1
		needs := [2][]tables.DocKey{}
		sides := [2]*Reconcile{NewReconcile(a), NewReconcile(b)}
		for reply != nil {
			var need []tables.DocKey
			reply, need, _, _ = sides[turn].Handle(*reply)
			needs[turn] = append(needs[turn], need...)
			turn = 1 - turn
		}
		want := []tables.DocKey{lie.Key}
		if !slices.Equal(needs[0], want) || !slices.Equal(needs[1], want) {
			t.Errorf("of %d: initiator needs %v, responder %v, want both %v", n, needs[0], needs[1], want)
		}
	}
}

// TestNeverEnding: a peer whose fingerprint always differs is left after roundsMax messages.
func TestNeverEnding(t *testing.T) {
	r := NewReconcile(records(10))
	n := 0
	for done := false; !done; n++ {
		_, _, _, done = r.Handle(Message{Items: []Item{{Kind: ItemPrint, Hi: math.MaxUint64, Count: 3}}})
		if n > roundsMax {
			t.Fatal("goes on for ever")
		}
	}
}

// TestGive: an offer names what the peer lacks, and no more than fits into the message.
func TestGive(t *testing.T) {
	x := records(100)
	var list []Entry
	for d := range x.All() {
		list = append(list, entryOf(d))
	}
	newer := record(50, 2<<32)
	x.Put(newer)
	x.Put(record(1000, 1))
	handle := func(list []Entry) []tables.DocKey {
		_, need, give, done := NewReconcile(x).Handle(Message{Items: []Item{{Kind: ItemList, Hi: math.MaxUint64, Entries: list}}})
		if len(need) > 0 || done != (len(list) > 0) {
			t.Errorf("%d listed: needs %v, done %v", len(list), need, done)
		}
		return give
	}
	give := handle(list)
	slices.SortFunc(give, tables.DocKey.Compare)
	if want := []tables.DocKey{record(1000, 0).Key, newer.Key}; !slices.Equal(give, want) {
		t.Errorf("gives %v, want %v", give, want)
	}
	x = records(100_000)
	if n := len(handle(nil)); n < 500 || n > MessageBytesMax/20 {
		t.Errorf("offers %d of 100,000 at once", n)
	}
}

// BenchmarkHostile is the dearest kind of message: as many ranges as fit, all to be looked at.
func BenchmarkHostile(b *testing.B) {
	x := records(100_000)
	for _, kind := range []ItemKind{ItemPrint, ItemList} {
		b.Run(fmt.Sprint(kind), func(b *testing.B) {
			var m Message
			const n = 600
			for i := range uint64(n) {
				lo := i * (math.MaxUint64 / n)
				// The fingerprint is ours, so that the whole message is worked through.
				sum := x.sum(lo, lo+math.MaxUint64/n-1)
				it := Item{Kind: kind, Lo: lo, Hi: lo + math.MaxUint64/n - 1}
				if kind == ItemPrint {
					it.Count, it.Print = sum.count, sum.fingerprint()
				}
				m.Items = append(m.Items, it)
			}
			for b.Loop() {
				NewReconcile(x).Handle(m)
			}
		})
	}
}

func TestUnknownKindsAreNotNeeded(t *testing.T) {
	e := Entry{Key: tables.DocKey{Kind: 200, ID: "x"}, Version: 1}
	_, need, _, _ := NewReconcile(&Index{}).Handle(Message{Items: []Item{{Kind: ItemList, Hi: math.MaxUint64, Entries: []Entry{e}}}})
	if len(need) > 0 {
		t.Errorf("needs %v, which it could not read", need)
	}
}

func someMessages() []Message {
	x := records(1000)
	r := NewReconcile(x)
	cut, _, _, _ := r.Handle(Message{Items: []Item{{Kind: ItemPrint, Hi: math.MaxUint64, Count: 900}}})
	list, _, _, _ := r.Handle(Message{Items: []Item{{Kind: ItemPrint, Lo: 1 << 50, Hi: 1 << 58, Count: 99}}})
	offer, _, _, _ := r.Handle(Message{Items: []Item{{Kind: ItemList, Hi: 1 << 60}}})
	last, _, _, _ := r.Handle(Message{Items: []Item{{Kind: ItemPrint, Lo: math.MaxUint64, Hi: math.MaxUint64, Count: 1}}})
	return []Message{{}, r.Start(), *cut, *list, *offer, *last}
}

func FuzzMessage(f *testing.F) {
	for _, m := range someMessages() {
		f.Add(AppendMessage(nil, m))
	}
	index := records(3000)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMessage(b)
		if err != nil {
			return
		}
		if again := AppendMessage(nil, m); !bytes.Equal(again, b) {
			t.Fatalf("%x encodes again as %x", b, again)
		}
		reply, _, _, _ := NewReconcile(index).Handle(m)
		if reply == nil {
			return
		}
		wire := AppendMessage(nil, *reply)
		if _, err := ParseMessage(wire); err != nil {
			t.Fatalf("reply of %d bytes to %x: %v", len(wire), b, err)
		}
	})
}

func TestMessageTruncations(t *testing.T) {
	for _, m := range someMessages() {
		b := AppendMessage(nil, m)
		ends := map[int]bool{0: true} // between items a shorter message is whole
		for i := range m.Items {
			ends[len(AppendMessage(nil, Message{m.Items[:i+1]}))] = true
		}
		for n := range b {
			if _, err := ParseMessage(b[:n]); (err == nil) != ends[n] {
				t.Fatalf("%d of %d bytes: error %v", n, len(b), err)
			}
		}
	}
	if _, err := ParseMessage(make([]byte, MessageBytesMax+1)); err == nil {
		t.Error("a message over the limit was taken")
	}
}

func BenchmarkReconcile(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		for _, differ := range []int{0, 1, 100} {
			b.Run(fmt.Sprintf("%d/%d", n, differ), func(b *testing.B) {
				x, y := records(n), records(n)
				var c traffic
				for b.Loop() {
					for i := range differ {
						x.Remove(record(i*7, 0).Key)
					}
					c = meet(b, x, y, 0)
				}
				b.ReportMetric(float64(c.bytes), "wire-B")
				b.ReportMetric(float64(c.messages), "messages")
			})
		}
	}
}
