package secure

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// metas are the two ways to seal.
var metas = map[string][3]byte{"encrypted": {}, "auth only": {frame.MetaAuthOnly}}

func forAll(t *testing.T, test func(t *testing.T, suite Suite, meta [3]byte)) {
	for _, suite := range suites {
		for name, meta := range metas {
			t.Run(fmt.Sprint(suite, "/", name), func(t *testing.T) { test(t, suite, meta) })
		}
	}
}

func TestLaneRoundTrip(t *testing.T) {
	forAll(t, func(t *testing.T, suite Suite, meta [3]byte) {
		a, b := link(t, suite)
		for _, lane := range []uint8{0, 3, frame.LanesMax - 1} {
			for _, n := range []int{0, 1, 64, 1400, 65535} {
				inner := bytes.Repeat([]byte{0x5a}, n)
				for from, to := range map[*Session]*Session{a: b, b: a} {
					s, _ := from.Lane(lane)
					_, r := to.Lane(lane)
					d, ok := s.Seal([]byte("before"), 0x100, meta, vn, inner)
					if !ok || string(d[:6]) != "before" {
						t.Fatal("seal")
					}
					d = d[6:]
					if len(d) != 32+n {
						t.Fatalf("%d bytes for %d", len(d), n)
					}
					h, _, err := frame.ParseDataHeader(d)
					if err != nil || h.Index != 0x100|uint32(lane) || h.Meta != meta {
						t.Fatalf("header %+v, %v", h, err)
					}
					if n > 8 && bytes.Contains(d, inner) != (meta[0] != 0) {
						t.Error("the payload is in the clear, or is not, against meta")
					}
					keep := bytes.Clone(d)
					got, err := r.Open([]byte("x"), d, vn)
					if err != nil || string(got) != "x"+string(inner) {
						t.Fatalf("open: %v", err)
					}
					if !bytes.Equal(d, keep) {
						t.Error("Open not in place changed the datagram")
					}
				}
			}
		}
	})
}

func TestInPlace(t *testing.T) {
	forAll(t, func(t *testing.T, suite Suite, meta [3]byte) {
		a, b := link(t, suite)
		s, _ := a.Lane(0)
		_, r := b.Lane(0)
		want := bytes.Repeat([]byte("packet "), 30)
		buf := buffer(len(want))
		inner := buf[frame.DataHeaderLen : frame.DataHeaderLen+len(want)]
		copy(inner, want)
		d, ok := s.Seal(buf, 0, meta, vn, inner)
		if !ok || &d[0] != &buf[:1][0] {
			t.Fatal("not sealed in place")
		}
		got, err := r.Open(d[frame.DataHeaderLen:frame.DataHeaderLen], d, vn)
		if err != nil || !bytes.Equal(got, want) || &got[0] != &d[frame.DataHeaderLen] {
			t.Fatalf("not opened in place: %v", err)
		}
	})
}

// TestBitFlips turns every bit of a datagram: none opens, none moves the window, the genuine one
// opens after all of them, once.
func TestBitFlips(t *testing.T) {
	forAll(t, func(t *testing.T, suite Suite, meta [3]byte) {
		a, b := link(t, suite)
		s, _ := a.Lane(0)
		_, r := b.Lane(0)
		d, _ := s.Seal(nil, 0x40, meta, vn, []byte("an inner packet of some length"))
		for bit := range len(d) * 8 {
			if out, err := r.Open(nil, flip(d, bit), vn); err == nil || out != nil {
				t.Fatalf("bit %d turned, and it opens", bit)
			}
		}
		for n := range d {
			if _, err := r.Open(nil, d[:n], vn); err == nil {
				t.Fatalf("%d bytes of it open", n)
			}
		}
		if got := r.Report(); got != (frame.Report{}) {
			t.Errorf("report %+v before anything opened", got)
		}
		if _, err := r.Open(nil, d, vn); err != nil {
			t.Fatalf("the genuine one: %v", err)
		}
		if _, err := r.Open(nil, d, vn); err != ErrReplay {
			t.Fatalf("the genuine one again: %v", err)
		}
		if got := r.Report(); got != (frame.Report{Highest: 1, Packets: 1}) {
			t.Errorf("report %+v", got)
		}
		// With the window out of the way the replay succeeds: it is the window that stops it.
		r.seen = newWindow(sessionBlocks)
		if _, err := r.Open(nil, d, vn); err != nil {
			t.Errorf("without the window the replay fails: %v", err)
		}
	})
}

// TestForgedCounterDoesNotCloseWindow: a forged datagram with a high counter must not make the
// genuine ones look old.
func TestForgedCounterDoesNotCloseWindow(t *testing.T) {
	a, b := link(t, SuiteAES128GCM)
	s, _ := a.Lane(0)
	_, r := b.Lane(0)
	d, _ := s.Seal(nil, 0, [3]byte{}, vn, []byte("genuine"))
	forged := bytes.Clone(d)
	forged[12] = 0x10 // counter 2^28
	if _, err := r.Open(nil, forged, vn); err != ErrOpen {
		t.Fatalf("forged: %v", err)
	}
	if _, err := r.Open(nil, d, vn); err != nil {
		t.Fatalf("genuine: %v", err)
	}
	// Were the window moved first, the next one would be lost.
	next, _ := s.Seal(nil, 0, [3]byte{}, vn, []byte("next"))
	r.seen.accept(1 << 28)
	if _, err := r.Open(nil, next, vn); err != ErrReplay {
		t.Errorf("after a moved window: %v", err)
	}
}

// "The VN ID and both router IDs are authenticated with every packet, so that none can be
// relabelled into another VN."
func TestRelabel(t *testing.T) {
	forAll(t, func(t *testing.T, suite Suite, meta [3]byte) {
		ends := func(self, peer, otherSelf, otherPeer tables.RouterID) (*Sender, *Receiver) {
			a, b, err := handshake(router(1, suite == SuiteAES128GCM), router(2, true), nil)
			if err != nil {
				t.Fatal(err)
			}
			a.Bind(self, peer)
			b.Bind(otherSelf, otherPeer)
			s, _ := a.Lane(0)
			_, r := b.Lane(0)
			return s, r
		}
		s, r := ends(alice, bob, bob, alice)
		d, _ := s.Seal(nil, 0, meta, vn, []byte("for vn7"))
		for bit := range 32 {
			if _, err := r.Open(nil, d, vn^1<<bit); err != ErrOpen {
				t.Fatalf("opens in another VN: %v", err)
			}
		}
		index := bytes.Clone(d)
		index[4] ^= 1 // the index of another channel
		if _, err := r.Open(nil, index, vn); err != ErrOpen {
			t.Fatalf("opens under another index: %v", err)
		}
		if _, err := r.Open(nil, d, vn); err != nil {
			t.Fatal(err)
		}
		for _, ids := range [][4]tables.RouterID{
			{alice, bob, bob, 13}, {alice, bob, 13, alice}, {13, bob, bob, alice}, {alice, bob, alice, bob},
		} {
			s, r := ends(ids[0], ids[1], ids[2], ids[3])
			d, _ := s.Seal(nil, 0, meta, vn, []byte("for vn7"))
			if _, err := r.Open(nil, d, vn); err != ErrOpen {
				t.Errorf("opens between other routers %v: %v", ids, err)
			}
		}
	})
}

// TestKeysAreApart: what one lane, direction or the control lane sealed opens nowhere else.
func TestKeysAreApart(t *testing.T) {
	a, b := link(t, SuiteAES128GCM)
	s, r := a.Lane(0)
	d, _ := s.Seal(nil, 0, [3]byte{}, vn, []byte("x"))
	if _, err := r.Open(nil, d, vn); err != ErrOpen {
		t.Errorf("opens at its sender: %v", err)
	}
	for lane := uint8(1); lane < frame.LanesMax; lane++ {
		_, r := b.Lane(lane)
		relabelled := bytes.Clone(d)
		relabelled[7] |= lane
		if _, err := r.Open(nil, d, vn); err != ErrOpen {
			t.Errorf("opens on lane %d: %v", lane, err)
		}
		if _, err := r.Open(nil, relabelled, vn); err != ErrOpen {
			t.Errorf("opens on lane %d with its index: %v", lane, err)
		}
	}
	keys := map[[nonceLen]byte]string{}
	for direction := range byte(2) {
		for lane := range byte(frame.LanesMax) {
			for _, label := range []string{labelLane, labelControl, labelRelay} {
				_, iv := a.derive(label, lane, direction)
				name := fmt.Sprint(label, lane, direction)
				if other, ok := keys[iv]; ok {
					t.Errorf("%s and %s have one key", name, other)
				}
				keys[iv] = name
			}
		}
	}
	if s2, _ := a.Lane(0); s2 != s {
		t.Error("a lane was given out twice: its nonces would be used twice")
	}
}

func TestSplit(t *testing.T) {
	a, b := link(t, SuiteAES128GCM)
	s, _ := a.Lane(2)
	_, r := b.Lane(2)
	inner := bytes.Repeat([]byte("0123456789"), 128)
	one, two, ok := s.SealSplit(nil, nil, 0x20, [3]byte{}, vn, inner, 700)
	if !ok {
		t.Fatal("not sealed")
	}
	h1, _, _ := frame.ParseDataHeader(one)
	h2, _, _ := frame.ParseDataHeader(two)
	if h1.Meta[0] != frame.MetaSplit || h2.Meta[0] != frame.MetaSplit|frame.MetaSplitLast || h2.Counter != h1.Counter+1 {
		t.Errorf("headers %+v, %+v", h1, h2)
	}
	p1, err1 := r.Open(nil, one, vn)
	got, err2 := r.Open(p1, two, vn)
	if err1 != nil || err2 != nil || !bytes.Equal(got, inner) {
		t.Errorf("pieces: %v, %v", err1, err2)
	}
}

func TestSpentCounterSealsNothing(t *testing.T) {
	for _, suite := range suites {
		a, b := link(t, suite)
		s, _ := a.Lane(0)
		_, r := b.Lane(0)
		s.next.Store(s.limit - 2)
		last, ok := s.Seal(nil, 0, [3]byte{}, vn, []byte("x"))
		if !ok {
			t.Fatal("the last but one is refused")
		}
		if _, err := r.Open(nil, last, vn); err != nil {
			t.Fatal(err)
		}
		if _, _, ok := s.SealSplit(nil, nil, 0, [3]byte{}, vn, []byte("xy"), 1); ok {
			t.Error("two sealed where one counter was left")
		}
		for range 3 {
			if d, ok := s.Seal(nil, 0, [3]byte{}, vn, []byte("x")); ok || d != nil {
				t.Fatal("sealed with a spent counter")
			}
		}
		// A peer that goes on beyond the limit is not listened to.
		s.limit, a.send.limit = 1<<62, 1<<62
		s.next.Store(r.limit)
		a.send.next.Store(b.receive.limit)
		d, _ := s.Seal(nil, 0, [3]byte{}, vn, []byte("x"))
		c, _ := a.SealControl(nil, nil)
		if _, err := r.Open(nil, d, vn); err != ErrOpen {
			t.Errorf("a counter beyond the limit: %v", err)
		}
		if _, err := b.OpenControl(nil, c); err != ErrOpen {
			t.Errorf("a control counter beyond the limit: %v", err)
		}
		a.send.limit = suite.counterMax()
		if _, ok := a.SealControl(nil, nil); ok {
			t.Error("control sealed with a spent counter")
		}
		if !a.RekeyDue(start) {
			t.Error("spent, and no rekey due")
		}
	}
}

func TestDeadlines(t *testing.T) {
	a, b := link(t, SuiteAES128GCM)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	tests := []struct {
		second              int
		dueA, dueB, expired bool
	}{
		{0, false, false, false}, {119, false, false, false}, {120, true, false, false},
		{134, true, false, false}, {135, true, true, false}, {179, true, true, false}, {180, true, true, true},
	}
	for _, test := range tests {
		now := at(test.second)
		if a.RekeyDue(now) != test.dueA || b.RekeyDue(now) != test.dueB || a.Expired(now) != test.expired || b.Expired(now) != test.expired {
			t.Errorf("after %d s: %v %v %v", test.second, a.RekeyDue(now), b.RekeyDue(now), a.Expired(now))
		}
	}
	s, _ := b.Lane(1)
	s.next.Store(rekeyCounter)
	if !b.RekeyDue(start) || b.Sent() != rekeyCounter {
		t.Error("2^28 packets, and no rekey due")
	}
}

func TestControl(t *testing.T) {
	for _, suite := range suites {
		a, b := link(t, suite)
		frames := frame.ChannelsAck{Version: 4}.Append(nil)
		d, ok := a.SealControl([]byte("xx"), frames)
		if !ok {
			t.Fatal("not sealed")
		}
		d = d[2:]
		for bit := range len(d) * 8 {
			if _, err := b.OpenControl(nil, flip(d, bit)); err == nil {
				t.Fatalf("bit %d turned, and it opens", bit)
			}
		}
		if _, err := a.OpenControl(nil, d); err == nil {
			t.Error("opens at its sender")
		}
		got, err := b.OpenControl([]byte("y"), d)
		if err != nil || string(got) != "y"+string(frames) {
			t.Fatalf("open: %v", err)
		}
		if _, err := b.OpenControl(nil, d); err != ErrReplay {
			t.Errorf("again: %v", err)
		}
	}
}

// TestConcurrentSeal: several goroutines share a Sender, and no counter is used twice.
func TestConcurrentSeal(t *testing.T) {
	a, b := link(t, SuiteAES128GCM)
	s, _ := a.Lane(0)
	_, r := b.Lane(0)
	const goroutines, each = 4, 200
	sent := make([][][]byte, goroutines)
	var wait sync.WaitGroup
	for g := range goroutines {
		wait.Go(func() {
			for range each {
				d, _ := s.Seal(buffer(5), 0, [3]byte{}, vn, []byte("hello"))
				sent[g] = append(sent[g], d)
			}
		})
	}
	wait.Wait()
	for _, datagrams := range sent {
		for _, d := range datagrams {
			if _, err := r.Open(nil, d, vn); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := frame.Report{Highest: goroutines * each, Packets: goroutines * each}
	if got := b.Report(); got != want {
		t.Errorf("report %+v, want %+v", got, want)
	}
}

// TestDelivered: bytes of inner packets, each once, over all lanes; nothing for what does not open.
func TestDelivered(t *testing.T) {
	forAll(t, func(t *testing.T, suite Suite, meta [3]byte) {
		a, b := link(t, suite)
		var bytes, packets uint64
		for lane := range uint8(3) {
			s, _ := a.Lane(lane)
			_, r := b.Lane(lane)
			_, _ = s.Seal(nil, 0, meta, vn, make([]byte, 1000)) // lost on the way
			for n := range 40 {
				d, _ := s.Seal(nil, 0, meta, vn, make([]byte, n*n))
				if _, err := r.Open([]byte("before"), flip(d, len(d)*8-1), vn); err == nil {
					t.Fatal("opens")
				}
				for range 2 { // the second is a replay
					_, _ = r.Open([]byte("before"), d, vn)
				}
				bytes, packets = bytes+uint64(n*n), packets+1
			}
		}
		gotBytes, gotPackets, highest := b.Delivered()
		if gotBytes != bytes || gotPackets != packets || highest != packets+3 {
			t.Errorf("delivered %d, %d, %d, want %d, %d, %d", gotBytes, gotPackets, highest, bytes, packets, packets+3)
		}
		if r := b.Report(); r != (frame.Report{Highest: highest, Packets: gotPackets}) {
			t.Errorf("report %+v says otherwise", r)
		}
		if x, y, z := a.Delivered(); x|y|z != 0 {
			t.Error("the sender has something delivered")
		}
	})
}

func TestPacketPathDoesNotAllocate(t *testing.T) {
	forAll(t, func(t *testing.T, suite Suite, meta [3]byte) {
		if pureGo && suite == SuiteChaCha20Poly1305 {
			t.Skip("not without assembly")
		}
		a, b := link(t, suite)
		s, _ := a.Lane(0)
		_, r := b.Lane(0)
		buf, out, inner := buffer(1400), make([]byte, 0, 1400), make([]byte, 1400)
		if n := testing.AllocsPerRun(200, func() {
			d, ok := s.Seal(buf, 0, meta, vn, inner)
			if !ok {
				t.Fatal("seal")
			}
			if _, err := r.Open(out, d, vn); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Open(out, d, vn); !errors.Is(err, ErrReplay) {
				t.Fatal(err)
			}
			d[20] ^= 1
			if _, err := r.Open(out, d, vn); !errors.Is(err, ErrOpen) {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// FuzzOpen: nothing opens that was not sealed.
func FuzzOpen(f *testing.F) {
	a, b := link(f, SuiteAES128GCM)
	s, _ := a.Lane(0)
	_, r := b.Lane(0)
	for _, meta := range metas {
		d, _ := s.Seal(nil, 0, meta, vn, []byte("seed"))
		f.Add(spoil(d, len(d)-8))
		f.Add(spoil(d, 16-8))
	}
	c, _ := a.SealControl(nil, []byte{0, 0, 0})
	f.Add(spoil(c, len(c)-8))
	f.Fuzz(func(t *testing.T, d []byte) {
		if _, err := r.Open(nil, d, vn); err == nil {
			t.Errorf("%x opens", d)
		}
		if _, err := b.OpenControl(nil, d); err == nil {
			t.Errorf("%x opens as control", d)
		}
	})
}

func benchSizes(b *testing.B, run func(b *testing.B, suite Suite, n int)) {
	for _, suite := range suites {
		for _, n := range []int{64, 1400} {
			b.Run(fmt.Sprintf("%v/%d", suite, n), func(b *testing.B) {
				b.SetBytes(int64(n))
				b.ReportAllocs()
				run(b, suite, n)
			})
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	benchSizes(b, func(b *testing.B, suite Suite, n int) {
		x, _ := link(b, suite)
		s, _ := x.Lane(0)
		buf, inner := buffer(n), make([]byte, n)
		for b.Loop() {
			if _, ok := s.Seal(buf, 0, [3]byte{}, vn, inner); !ok {
				b.Fatal("spent")
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	benchSizes(b, func(b *testing.B, suite Suite, n int) {
		x, y := link(b, suite)
		s, _ := x.Lane(0)
		_, r := y.Lane(0)
		d, _ := s.Seal(nil, 0, [3]byte{}, vn, make([]byte, n))
		out := make([]byte, 0, n)
		for b.Loop() {
			r.seen.top, r.seen.ring[0] = 0, 0 // the same datagram again
			if _, err := r.Open(out, d, vn); err != nil {
				b.Fatal(err)
			}
		}
	})
}
