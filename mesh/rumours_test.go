package mesh

import (
	"bytes"
	"testing"

	"github.com/vine-mesh/vine/tables"
)

// news parses what Take gave.
func news(t *testing.T, messages [][]byte) (rumours []Rumour) {
	t.Helper()
	for _, m := range messages {
		r, err := ParseRumour(m)
		if err != nil {
			t.Fatal(err)
		}
		rumours = append(rumours, r)
	}
	return rumours
}

func TestRumourInlineOrPulled(t *testing.T) {
	q := NewRumours(7)
	q.Add(record(1, 1), bytes.Repeat([]byte("x"), InlineBytesMax))
	q.Add(record(2, 1), make([]byte, InlineBytesMax+1))
	got := news(t, q.Take(100, 8000, 3))
	if len(got) != 2 || len(got[0].Body) != InlineBytesMax || got[1].Body != nil || got[1].Holder != 7 {
		t.Errorf("got %d rumours: %v", len(got), got)
	}
}

func TestRumourReplacesOlder(t *testing.T) {
	q := NewRumours(7)
	q.Add(record(1, 5), nil)
	q.Take(100, 8000, 0)
	if ok, _ := q.Add(record(1, 4), nil); ok {
		t.Error("an older version was queued")
	}
	if ok, _ := q.Add(record(1, 5), nil); ok {
		t.Error("the same version was queued twice")
	}
	if ok, _ := q.Add(record(1, 6), nil); !ok || q.Len() != 1 {
		t.Errorf("a newer version: queued %v, %d in the queue", ok, q.Len())
	}
	if got := news(t, q.Take(100, 8000, 0)); len(got) != 1 || got[0].Digest.Version != 6 {
		t.Errorf("got %v", got)
	}
}

func TestRumourSentSoOften(t *testing.T) {
	for _, c := range []struct{ members, times int }{
		{0, 4}, {1, 4}, {9, 4}, {10, 8}, {99, 8}, {100, 12}, {10_000, 20},
	} {
		q := NewRumours(7)
		q.Add(record(1, 1), nil)
		n := 0
		for len(q.Take(c.members, 1000, 0)) > 0 {
			n++
		}
		if n != c.times || q.Len() != 0 {
			t.Errorf("%d members: sent %d times, want %d", c.members, n, c.times)
		}
	}
}

// TestRumourFewestSentFirst: a new rumour goes before one that was sent, and a packet takes no
// rumour twice nor more than its limit.
func TestRumourFewestSentFirst(t *testing.T) {
	q := NewRumours(7)
	for i := range 10 {
		q.Add(record(i, 1), make([]byte, 100))
	}
	const overhead = 3
	one := len(AppendRumour(nil, Rumour{Digest: record(0, 1), Body: make([]byte, 100)})) + overhead
	seen := make(map[tables.DocKey]int)
	for range 5 {
		got := q.Take(100, 4*one+one/2, overhead)
		if len(got) != 4 {
			t.Fatalf("%d rumours in a packet for 4", len(got))
		}
		for _, r := range news(t, got) {
			seen[r.Digest.Key]++
		}
	}
	for k, n := range seen {
		if n != 2 {
			t.Errorf("%v sent %d times of 20 for 10", k, n)
		}
	}
	q.Add(record(99, 1), nil)
	if got := news(t, q.Take(100, one, overhead)); got[0].Digest.Key != record(99, 1).Key {
		t.Errorf("first is %v, not the new one", got[0].Digest.Key)
	}
}

func TestRumoursSayWhatTheyDrop(t *testing.T) {
	q := NewRumours(7)
	for i := range rumoursMax {
		if _, dropped := q.Add(record(i, 1), nil); dropped != (tables.DocKey{}) {
			t.Fatalf("dropped %v of %d", dropped, i)
		}
	}
	first := news(t, q.Take(100, 200, 0))[0].Digest.Key
	if ok, dropped := q.Add(record(rumoursMax, 1), nil); !ok || dropped != first || q.Dropped() != 1 {
		t.Errorf("dropped %v, want %v, the one sent most often", dropped, first)
	}
	if q.Len() != rumoursMax {
		t.Errorf("%d in the queue", q.Len())
	}
}

// TestLongRumourDoesNotStopShortOnes: one that does not fit is passed over.
func TestLongRumourDoesNotStopShortOnes(t *testing.T) {
	q := NewRumours(7)
	q.Add(record(1, 1), make([]byte, 1000))
	q.Add(record(2, 1), nil)
	if got := q.Take(10, 200, 0); len(got) != 1 {
		t.Errorf("%d rumours fit", len(got))
	}
}

func TestHeard(t *testing.T) {
	lie := record(1, 5)
	lie.Hash[3] ^= 1
	unknown := tables.Digest{Key: tables.DocKey{Kind: 200, ID: "x"}}
	for _, c := range []struct {
		name   string
		digest tables.Digest
		body   string
		want   Verdict
	}{
		{"same", record(1, 5), "b", VerdictNone},
		{"older", record(1, 4), "b", VerdictNone},
		{"newer", record(1, 6), "b", VerdictVerify},
		{"newer, long", record(1, 6), "", VerdictPull},
		{"new", record(2, 1), "b", VerdictVerify},
		{"new, long", record(2, 1), "", VerdictPull},
		{"two stories", lie, "b", VerdictVerify},
		{"two stories, long", lie, "", VerdictPull},
		{"unknown kind", unknown, "b", VerdictNone},
	} {
		if got := Heard(indexOf(record(1, 5)), Rumour{c.digest, 9, []byte(c.body)}); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func FuzzRumour(f *testing.F) {
	f.Add(AppendRumour(nil, Rumour{record(17, 3), 4, nil}))
	f.Add(AppendRumour(nil, Rumour{record(18, 1<<40), 1 << 31, []byte("body")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRumour(b)
		if err != nil {
			return
		}
		if again := AppendRumour(nil, r); !bytes.Equal(again, b) {
			t.Fatalf("%x encodes again as %x", b, again)
		}
		Heard(indexOf(record(17, 3)), r)
	})
}

func TestRumourTruncations(t *testing.T) {
	whole := AppendRumour(nil, Rumour{record(18, 1<<40), 5, []byte("body")})
	for n := range whole {
		if _, err := ParseRumour(whole[:n]); err == nil {
			t.Errorf("%d of %d bytes were taken", n, len(whole))
		}
	}
	if _, err := ParseRumour(append(whole, 0)); err == nil {
		t.Error("one byte too many was taken")
	}
	if _, err := ParseRumour(AppendRumour(nil, Rumour{record(1, 1), 0, nil})); err == nil {
		t.Error("a rumour without a holder was taken")
	}
}

func BenchmarkRumoursTake(b *testing.B) {
	q := NewRumours(7)
	for i := range 1000 {
		q.Add(record(i, 1), make([]byte, 300))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if len(q.Take(10_000, 8000, 3)) < 8 {
			for j := range 1000 {
				q.Add(record(j, uint64(2+i)), make([]byte, 300))
			}
		}
	}
}
