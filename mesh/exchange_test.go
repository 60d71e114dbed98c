package mesh

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vine-mesh/vine/tables"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// A holder is a router of a test: an Index and, as bodies, texts that name the digest.
type holder struct{ index *Index }

func body(d tables.Digest) []byte {
	return fmt.Appendf(nil, "%d %s %d", d.Key.Kind, d.Key.ID, d.Version)
}

func (h holder) lookup(k tables.DocKey) []byte {
	d, ok := h.index.Get(k)
	if !ok {
		return nil
	}
	return body(d)
}

// store takes a body as lookup makes it.
func (h holder) store(t rapid.TB, w Wanted) {
	var kind tables.Kind
	var n int
	var version uint64
	if _, err := fmt.Sscanf(string(w.Envelope), "%d %d %d", &kind, &n, &version); err != nil {
		t.Fatalf("body %q: %v", w.Envelope, err)
	}
	d := record(n, version)
	if d.Key != w.Key {
		t.Fatalf("asked for %v, got %v", w.Key, d.Key)
	}
	if own, ok := h.index.Get(d.Key); !ok || own.Version < version {
		h.index.Put(d)
	}
}

// run joins two exchanges by byte streams that deliver in pieces of the given size, until both are
// done or nothing moves any more.
func run(t rapid.TB, x [2]*Exchange, h [2]holder, piece int) {
	t.Helper()
	var readers [2]FrameReader
	var flight [2][]byte // towards i
	for steps := 0; ; steps++ {
		moved := false
		for i := range x {
			// One frame at a time: a slow stream must not change the outcome.
			if f, ok := x[i].Out(noon); ok {
				flight[1-i] = AppendFrame(flight[1-i], f)
				moved = true
			}
			n := min(piece, len(flight[i]))
			readers[i].Feed(flight[i][:n])
			flight[i] = flight[i][n:]
			moved = moved || n > 0
			for {
				f, ok, err := readers[i].Next()
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				docs, err := x[i].Handle(noon, f)
				if err != nil {
					t.Fatalf("side %d: %v", i, err)
				}
				for _, w := range docs {
					h[i].store(t, w)
				}
				if n := len(x[i].need); n > needHigh+900 || len(x[i].out) > 4 || len(x[i].serve) > wantWindow {
					t.Fatalf("%d needed, %d frames and %d documents queued", n, len(x[i].out), len(x[i].serve))
				}
			}
		}
		if !moved {
			break
		}
	}
	if !x[0].Done() || !x[1].Done() {
		t.Fatalf("nothing moves and done is %v, %v", x[0].Done(), x[1].Done())
	}
}

func exchanges(h [2]holder) [2]*Exchange {
	return [2]*Exchange{
		NewExchange(noon, h[0].index, true, h[0].lookup, ExchangeLimits{}),
		NewExchange(noon, h[1].index, false, h[1].lookup, ExchangeLimits{}),
	}
}

func TestExchangeUnion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{0, 1, 50, 2500}).Draw(t, "size")
		seed := rapid.Uint64().Draw(t, "seed")
		only := rapid.IntRange(0, 3).Draw(t, "empty side")
		h := [2]holder{{&Index{}}, {&Index{}}}
		want := &Index{}
		for n := range size {
			r := Position(tables.DocKey{Kind: 1, ID: fmt.Sprint(seed, n)})
			v := [2]uint64{r % 3, r >> 8 % 3}
			if only < 2 {
				v[only] = 0
			}
			for i := range h {
				if v[i] > 0 {
					h[i].index.Put(record(n, v[i]))
				}
			}
			if top := max(v[0], v[1]); top > 0 {
				want.Put(record(n, top))
			}
		}
		run(t, exchanges(h), h, rapid.SampledFrom([]int{7, 1000, 1 << 20}).Draw(t, "piece"))
		if h[0].index.Root() != want.Root() || h[1].index.Root() != want.Root() {
			t.Fatalf("%d and %d digests, want %d", h[0].index.Len(), h[1].index.Len(), want.Len())
		}
	})
}

func TestExchangeOfEqualsIsShort(t *testing.T) {
	h := [2]holder{{records(10_000)}, {records(10_000)}}
	x := exchanges(h)
	run(t, x, h, 1<<20)
	in, out, _, _ := x[0].Counts()
	t.Logf("%d bytes one way, %d back", out, in)
	if in+out > 64 {
		t.Errorf("%d bytes for nothing", in+out)
	}
}

func TestPull(t *testing.T) {
	h := [2]holder{{&Index{}}, {records(300)}}
	var keys []tables.DocKey
	for i := range 200 {
		keys = append(keys, record(i, 0).Key)
	}
	keys = append(keys, record(4711, 0).Key) // which nobody has
	x := [2]*Exchange{NewPull(noon, keys, ExchangeLimits{}), exchanges(h)[1]}
	run(t, x, h, 1000)
	if _, _, docs, _ := x[0].Counts(); docs != 200 || h[0].index.Len() != 200 {
		t.Errorf("%d documents, %d stored", docs, h[0].index.Len())
	}
}

// TestExchangeRefuses: what no honest peer sends ends the exchange.
func TestExchangeRefuses(t *testing.T) {
	print := func(count uint64) Frame {
		return Frame{FrameRecon, AppendMessage(nil, Message{Items: []Item{{Kind: ItemPrint, Hi: math.MaxUint64, Count: count}}})}
	}
	key := AppendKeys(nil, []tables.DocKey{record(1, 0).Key})
	many := Frame{FrameWant, bytes.Repeat(key, wantWindow)}
	for _, c := range []struct {
		name   string
		frames []Frame
		want   error
	}{
		{"document nobody asked for", []Frame{{FrameDoc, []byte("x")}}, ErrPeerProtocol},
		{"absence nobody asked for", []Frame{{FrameAbsent, nil}}, ErrPeerProtocol},
		{"two messages without waiting", []Frame{print(99), print(98)}, ErrPeerProtocol},
		{"more wants than the window", []Frame{many, {FrameWant, key}}, ErrPeerProtocol},
		{"no keys", []Frame{{FrameWant, nil}}, ErrPeerProtocol},
		{"want after done", []Frame{{FrameDone, nil}, {FrameWant, key}}, ErrPeerProtocol},
		{"two ends", []Frame{{FrameDone, nil}, {FrameDone, nil}}, ErrPeerProtocol},
		{"unknown frame", []Frame{{9, nil}}, ErrPeerProtocol},
		{"garbage", []Frame{{FrameRecon, []byte{1, 2, 3}}}, ErrPeerProtocol},
	} {
		h := holder{records(100)}
		x := NewExchange(noon, h.index, false, h.lookup, ExchangeLimits{})
		var err error
		for _, f := range c.frames {
			_, err = x.Handle(noon, f)
		}
		if !errors.Is(err, c.want) || !errors.Is(x.Err(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, ok := x.Out(noon); ok || x.Done() || !x.Next().IsZero() {
			t.Errorf("%s: goes on after the failure", c.name)
		}
	}
}

// TestEndlessPeer lists new keys for ever and answers every want. Without a limit of bytes it would
// only end with the rounds.
func TestEndlessPeer(t *testing.T) {
	steps := func(limits ExchangeLimits) (int, error) {
		x := NewExchange(noon, &Index{}, true, func(tables.DocKey) []byte { return nil }, limits)
		n, wanted, fresh := 0, 0, 0
		for {
			f, ok := x.Out(noon)
			var err error
			switch {
			case wanted > 0:
				wanted--
				_, err = x.Handle(noon, Frame{FrameDoc, make([]byte, DocumentBytesMax)})
			case !ok:
				return n, nil
			case f.Type == FrameRecon:
				var m Message
				// The print behind the list keeps the reconciliation going.
				m.Items = []Item{{Kind: ItemList, Hi: math.MaxUint64 - 1}, {Kind: ItemPrint, Lo: math.MaxUint64, Hi: math.MaxUint64, Count: 9}}
				for range wantWindow {
					m.Items[0].Entries = append(m.Items[0].Entries, entryOf(record(fresh, 1)))
					fresh++
				}
				_, err = x.Handle(noon, Frame{FrameRecon, AppendMessage(nil, m)})
			}
			if f.Type == FrameWant && ok {
				keys, _ := ParseKeys(f.Payload)
				wanted += len(keys)
			}
			if n++; err != nil || n > 400 {
				return n, err
			}
		}
	}
	if n, err := steps(ExchangeLimits{BytesMax: 4 << 20}); !errors.Is(err, ErrPeerEndless) || n > 40 {
		t.Errorf("with the limit: %v after %d frames", err, n)
	}
	if n, err := steps(ExchangeLimits{}); err != nil || n < 60 {
		t.Errorf("the peer of this test is harmless without the limit: %v after %d frames", err, n)
	}
}

func TestSlowPeer(t *testing.T) {
	h := holder{records(100)}
	x := NewExchange(noon, h.index, true, h.lookup, ExchangeLimits{})
	x.Out(noon)
	if at := x.Next(); !at.Equal(noon.Add(30*time.Second)) || x.Advance(at.Add(-1)) != nil {
		t.Fatalf("deadline at %v: %v", at, x.Err())
	}
	if err := x.Advance(x.Next()); !errors.Is(err, ErrPeerSlow) {
		t.Errorf("after 30 s of silence: %v", err)
	}
	// One that sends a little now and then meets the end of the whole.
	x = NewExchange(noon, h.index, false, h.lookup, ExchangeLimits{})
	now := noon
	for x.Err() == nil && now.Before(noon.Add(time.Hour)) {
		now = now.Add(20 * time.Second)
		if x.Advance(now) == nil {
			x.Handle(now, Frame{FrameWant, AppendKeys(nil, []tables.DocKey{record(1, 0).Key})})
			x.Out(now)
		}
	}
	if !errors.Is(x.Err(), ErrPeerSlow) || now.After(noon.Add(10*time.Minute)) {
		t.Errorf("trickle: %v at %v", x.Err(), now.Sub(noon))
	}
}

// FuzzExchange feeds a stream of hostile bytes to a responder and reads what it answers.
func FuzzExchange(f *testing.F) {
	var stream []byte
	for _, m := range someMessages() {
		stream = AppendFrame(stream, Frame{FrameRecon, AppendMessage(nil, m)})
		f.Add(stream)
	}
	key := AppendKeys(nil, []tables.DocKey{record(1, 0).Key, record(2, 0).Key})
	f.Add(AppendFrame(AppendFrame(nil, Frame{FrameWant, key}), Frame{FrameDone, nil}))
	f.Add(AppendFrame(nil, Frame{FrameDoc, []byte("x")}))
	h := holder{records(3000)}
	f.Fuzz(func(t *testing.T, b []byte) {
		x := NewExchange(noon, h.index, false, h.lookup, ExchangeLimits{})
		var r FrameReader
		r.Feed(b)
		for {
			fr, ok, err := r.Next()
			if err != nil || !ok {
				break
			}
			if len(fr.Payload) > DocumentBytesMax {
				t.Fatal("oversized frame")
			}
			if _, err := x.Handle(noon, fr); err != nil {
				break
			}
			for range 3 {
				x.Out(noon)
			}
		}
		if len(x.out) > 4 || len(x.serve) > wantWindow || len(x.need) > needHigh+900 {
			t.Fatal("unbounded")
		}
	})
}

func FuzzKeys(f *testing.F) {
	f.Add(AppendKeys(nil, []tables.DocKey{record(1, 0).Key, {Kind: 7, ID: "7/3+4"}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if keys, err := ParseKeys(b); err == nil && !bytes.Equal(AppendKeys(nil, keys), b) {
			t.Fatalf("%x encodes again differently", b)
		}
	})
}

func TestFrameReader(t *testing.T) {
	frames := []Frame{{FrameRecon, []byte{}}, {FrameDoc, bytes.Repeat([]byte("d"), DocumentBytesMax)}, {FrameDone, []byte{}}}
	var stream []byte
	for _, f := range frames {
		stream = AppendFrame(stream, f)
	}
	for _, piece := range []int{1, 3, 4097, len(stream)} {
		var r FrameReader
		n := 0
		for rest := stream; len(rest) > 0; {
			k := min(piece, len(rest))
			r.Feed(rest[:k])
			rest = rest[k:]
			for {
				f, ok, err := r.Next()
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				if f.Type != frames[n].Type || !bytes.Equal(f.Payload, frames[n].Payload) {
					t.Fatalf("frame %d differs", n)
				}
				n++
			}
		}
		if n != len(frames) {
			t.Errorf("pieces of %d: %d frames", piece, n)
		}
	}
	for _, header := range [][]byte{{0, 0, 0, 0}, {6, 0, 0, 0}, {1, 0, 0x40, 1}, {3, 4, 0, 1}, {4, 0, 0, 1}, {5, 0, 0, 1}} {
		var r FrameReader
		r.Feed(header)
		if _, _, err := r.Next(); err == nil {
			t.Errorf("header % x was taken", header)
		}
	}
}
