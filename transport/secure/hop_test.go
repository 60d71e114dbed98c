package secure

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"sync"
	"testing"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

const carol tables.RouterID = 13

// room returns room for a header, then payload, with the capacity that Wrap needs.
func room(payload []byte) []byte {
	b := make([]byte, frame.RelayHeaderLen, frame.RelayOverhead+len(payload)+HopScratch)
	return append(b, payload...)
}

// hops returns the two ends of one hop, in the direction from a to b.
func hops(t testing.TB, suite Suite) (*HopSender, *HopReceiver) {
	t.Helper()
	a, b := link(t, suite)
	s, _ := a.Hop()
	_, r := b.Hop()
	return s, r
}

// trusting is an AEAD that believes everything: the hop without its tag.
type trusting struct{ cipher.AEAD }

func (trusting) Open(dst, _, _, _ []byte) ([]byte, error) { return dst, nil }

func TestHopRoundTrip(t *testing.T) {
	for _, suite := range suites {
		a, b := link(t, suite)
		for _, n := range []int{0, 24, 1400, 65535 - frame.RelayOverhead} {
			for from, to := range map[*Session]*Session{a: b, b: a} {
				s, _ := from.Hop()
				_, r := to.Hop()
				want := bytes.Repeat([]byte{0x5a}, n)
				counter := s.Counter()
				buf := room(want)
				behind := buf[:cap(buf)][len(buf)+frame.TagLen:]
				copy(behind, "the next one")
				d, ok := s.Wrap(buf, frame.RelayQueue, vn, alice, carol)
				if !ok || len(d) != n+frame.RelayOverhead || &d[0] != &buf[0] {
					t.Fatalf("%v: %d bytes not wrapped in place", suite, n)
				}
				if string(behind) != "the next one" {
					t.Fatalf("%v: what lies behind %d bytes became %q", suite, n, behind)
				}
				keep := bytes.Clone(d)
				h, payload, err := r.Open(d)
				if err != nil || !bytes.Equal(payload, want) {
					t.Fatalf("%v: open: %v", suite, err)
				}
				if n > 0 && &payload[0] != &d[frame.RelayHeaderLen] {
					t.Error("the payload is not a slice of the datagram")
				}
				if header := (frame.Relay{Role: frame.RelayQueue, Index: to.Local, Counter: counter, VN: vn, Source: alice, Destination: carol}); h != header {
					t.Errorf("header %+v, want %+v", h, header)
				}
				if !bytes.Equal(d, keep) {
					t.Error("Open changed the datagram")
				}
			}
		}
		if s, r := a.Hop(); func() bool { s2, r2 := a.Hop(); return s != s2 || r != r2 }() {
			t.Error("a hop was given out twice: its nonces would be used twice")
		}
	}
}

// TestHopWithoutCapacity: a buffer without room behind it costs an allocation and nothing else.
func TestHopWithoutCapacity(t *testing.T) {
	s, r := hops(t, SuiteAES128GCM)
	buf := append(make([]byte, frame.RelayHeaderLen), "payload"...)
	d, ok := s.Wrap(buf[:len(buf):len(buf)], frame.RelayForward, 0, alice, bob)
	if _, payload, err := r.Open(d); !ok || err != nil || string(payload) != "payload" {
		t.Errorf("%v, %q, %v", ok, payload, err)
	}
}

// TestHopBitFlips turns every bit of a relay datagram: none opens, none moves the window, the genuine one
// opens after all of them, once.
func TestHopBitFlips(t *testing.T) {
	for _, suite := range suites {
		s, r := hops(t, suite)
		d, _ := s.Wrap(room([]byte("a sealed packet of some length")), frame.RelayQueue, vn, alice, carol)
		for bit := range len(d) * 8 {
			if _, payload, err := r.Open(flip(d, bit)); err == nil || payload != nil {
				t.Fatalf("%v: bit %d turned, and it opens", suite, bit)
			}
		}
		for n := range d {
			if _, _, err := r.Open(d[:n]); err == nil {
				t.Fatalf("%v: %d bytes of it open", suite, n)
			}
		}
		if r.seen.top != 0 {
			t.Errorf("%v: the window moved to %d before anything opened", suite, r.seen.top)
		}
		if _, _, err := r.Open(d); err != nil {
			t.Fatalf("%v: the genuine one: %v", suite, err)
		}
		if _, payload, err := r.Open(d); err != ErrReplay || payload != nil {
			t.Fatalf("%v: the genuine one again: %v", suite, err)
		}
		// With the window out of the way the replay succeeds: it is the window that stops it.
		r.seen = newWindow(sessionBlocks)
		if _, _, err := r.Open(d); err != nil {
			t.Errorf("%v: without the window the replay fails: %v", suite, err)
		}
	}
}

// TestHopRelabel: nobody on the way changes what a relay datagram says of itself. "mixes VNs"
func TestHopRelabel(t *testing.T) {
	for _, suite := range suites {
		s, r := hops(t, suite)
		d, _ := s.Wrap(room([]byte("a sealed packet")), frame.RelayQueue, vn, alice, carol)
		fields := map[string]struct{ at, n int }{
			"role": {1, 1}, "index": {4, 4}, "counter": {8, 8}, "VN": {20, 4}, "source": {24, 4}, "destination": {28, 4},
			"payload": {32, 15}, "tag": {47, 16},
		}
		relabelled := func(at, n int) []byte {
			forged := bytes.Clone(d)
			forged[at+n-1] ^= 1
			return forged
		}
		for name, f := range fields {
			if _, _, err := r.Open(relabelled(f.at, f.n)); err != ErrOpen {
				t.Errorf("%v: another %s: %v", suite, name, err)
			}
		}
		// Without the tag all of them open, but for the index: it is the tag that stops them.
		for name, f := range fields {
			_, blind := hops(t, suite)
			blind.aead = trusting{blind.aead}
			if _, _, err := blind.Open(relabelled(f.at, f.n)); (err == nil) == (name == "index") {
				t.Errorf("%v: another %s without the tag: %v", suite, name, err)
			}
		}
		if _, _, err := r.Open(d); err != nil {
			t.Error(err)
		}
	}
}

// TestHopKeysAreApart: a relay datagram opens on its own hop and direction only, and nothing else sealed in
// the session passes for one.
func TestHopKeysAreApart(t *testing.T) {
	for _, suite := range suites {
		a, b := link(t, suite)
		s, own := a.Hop()
		_, r := b.Hop()
		d, _ := s.Wrap(room([]byte("x")), frame.RelayQueue, vn, alice, carol)
		to := func(index uint32) []byte {
			c := bytes.Clone(d)
			binary.BigEndian.PutUint32(c[4:], index)
			return c
		}
		if _, _, err := own.Open(d); err != ErrOpen {
			t.Errorf("opens at its sender: %v", err)
		}
		if _, _, err := own.Open(to(a.Local)); err != ErrOpen {
			t.Errorf("opens at its sender with its index: %v", err)
		}
		x, y, err := handshake(router(3, suite == SuiteAES128GCM), router(4, true), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, other := y.Hop()
		if _, _, err := other.Open(d); err != ErrOpen {
			t.Errorf("opens on another hop: %v", err)
		}
		if _, _, err := other.Open(to(y.Local)); err != ErrOpen {
			t.Errorf("opens on another hop with its index: %v", err)
		}
		// Control's and lane 0's keys, in a sender that writes relay datagrams.
		a.Bind(alice, bob)
		lane, _ := a.Lane(0)
		for name, key := range map[string]sealer{"control": a.send, "lane 0": lane.sealer} {
			forger := HopSender{sealer: key, index: b.Local}
			d, _ := forger.Wrap(room([]byte("x")), frame.RelayQueue, vn, alice, carol)
			if _, _, err := r.Open(d); err != ErrOpen {
				t.Errorf("sealed with the key of %s, and it opens: %v", name, err)
			}
		}
		if x.Peer == a.Peer {
			t.Error("the other hop is the same hop")
		}
		if _, _, err := r.Open(d); err != nil {
			t.Error(err)
		}
	}
}

// TestHopReordering: within the window the order does not matter, each counts once; behind it nothing does.
func TestHopReordering(t *testing.T) {
	s, r := hops(t, SuiteAES128GCM)
	var all [][]byte
	for range windowLen + 2 {
		d, _ := s.Wrap(room([]byte("x")), frame.RelayQueue, vn, alice, carol)
		all = append(all, d)
	}
	last := len(all) - 1
	if _, _, err := r.Open(all[last]); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Open(all[0]); err != ErrReplay {
		t.Errorf("behind the window: %v", err)
	}
	for i := last - 1; i > 0; i-- {
		if _, _, err := r.Open(all[i]); err != nil {
			t.Fatalf("%d after %d: %v", i, last, err)
		}
	}
	for i, d := range all {
		if _, _, err := r.Open(d); err != ErrReplay {
			t.Fatalf("%d again: %v", i, err)
		}
	}
}

// TestHopForgedCounterDoesNotCloseWindow: as TestForgedCounterDoesNotCloseWindow.
func TestHopForgedCounterDoesNotCloseWindow(t *testing.T) {
	s, r := hops(t, SuiteAES128GCM)
	d, _ := s.Wrap(room([]byte("x")), frame.RelayQueue, vn, alice, carol)
	forged := bytes.Clone(d)
	forged[12] = 0x10 // counter 2^28
	if _, _, err := r.Open(forged); err != ErrOpen {
		t.Fatalf("forged: %v", err)
	}
	if _, _, err := r.Open(d); err != nil {
		t.Fatalf("genuine: %v", err)
	}
	// Without the tag the forged one moves the window, and the next genuine one is lost.
	next, _ := s.Wrap(room([]byte("x")), frame.RelayQueue, vn, alice, carol)
	aead := r.aead
	r.aead = trusting{aead}
	_, _, _ = r.Open(forged)
	r.aead = aead
	if _, _, err := r.Open(next); err != ErrReplay {
		t.Errorf("after a moved window: %v", err)
	}
}

func TestHopRefuses(t *testing.T) {
	for _, suite := range suites {
		a, b := link(t, suite)
		s, _ := a.Hop()
		_, r := b.Hop()
		if d, ok := s.Wrap(make([]byte, 65536-frame.TagLen), frame.RelayQueue, vn, alice, carol); ok || len(d) != 65536-frame.TagLen || s.Counter() != 0 {
			t.Error("a datagram of 65,536 bytes is wrapped")
		}
		if a.RekeyDue(start) {
			t.Error("rekey due at the start")
		}
		s.next.Store(rekeyCounter)
		if !a.RekeyDue(start) {
			t.Error("2^28 relay datagrams, and no rekey due")
		}
		s.next.Store(s.limit - 1)
		last, ok := s.Wrap(room([]byte("x")), frame.RelayQueue, vn, alice, carol)
		if !ok {
			t.Fatal("the last counter is refused")
		}
		if _, _, err := r.Open(last); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			in := room([]byte("x"))
			if d, ok := s.Wrap(in, frame.RelayQueue, vn, alice, carol); ok || !bytes.Equal(d, room([]byte("x"))) {
				t.Fatal("wrapped with a spent counter")
			}
		}
		// A peer that goes on beyond the limit is not listened to.
		s.limit = 1 << 62
		s.next.Store(r.limit)
		d, _ := s.Wrap(room([]byte("x")), frame.RelayQueue, vn, alice, carol)
		if _, _, err := r.Open(d); err != ErrOpen {
			t.Errorf("a counter beyond the limit: %v", err)
		}
	}
}

// TestConcurrentWrap: several goroutines share a HopSender, and no counter is used twice.
func TestConcurrentWrap(t *testing.T) {
	s, r := hops(t, SuiteAES128GCM)
	const goroutines, each = 4, 200
	sent := make([][][]byte, goroutines)
	var wait sync.WaitGroup
	for g := range goroutines {
		wait.Go(func() {
			for range each {
				d, _ := s.Wrap(room([]byte("hello")), frame.RelayQueue, vn, alice, carol)
				sent[g] = append(sent[g], d)
			}
		})
	}
	wait.Wait()
	for _, datagrams := range sent {
		for _, d := range datagrams {
			if _, _, err := r.Open(d); err != nil {
				t.Fatal(err)
			}
		}
	}
	if r.seen.top != goroutines*each || s.Counter() != goroutines*each {
		t.Errorf("top %d, counter %d", r.seen.top, s.Counter())
	}
}

func TestHopDoesNotAllocate(t *testing.T) {
	for _, suite := range suites {
		if pureGo && suite == SuiteChaCha20Poly1305 {
			continue // not without assembly
		}
		s, r := hops(t, suite)
		buf := room(make([]byte, 1400))
		if n := testing.AllocsPerRun(200, func() {
			d, ok := s.Wrap(buf, frame.RelayQueue, vn, alice, carol)
			if !ok {
				t.Fatal("wrap")
			}
			if _, _, err := r.Open(d); err != nil {
				t.Fatal(err)
			}
			if _, _, err := r.Open(d); !errors.Is(err, ErrReplay) {
				t.Fatal(err)
			}
			d[40] ^= 1
			if _, _, err := r.Open(d); !errors.Is(err, ErrOpen) {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v: %v allocations", suite, n)
		}
	}
}

// FuzzHopOpen: nothing opens that was not wrapped.
func FuzzHopOpen(f *testing.F) {
	s, r := hops(f, SuiteAES128GCM)
	d, _ := s.Wrap(room([]byte("seed")), frame.RelayQueue, vn, alice, carol)
	f.Add(spoil(d, len(d)-8))
	f.Add(spoil(d, 20))
	f.Fuzz(func(t *testing.T, d []byte) {
		if _, _, err := r.Open(d); err == nil {
			t.Errorf("%x opens", d)
		}
	})
}

func BenchmarkHopWrap(b *testing.B) {
	benchSizes(b, func(b *testing.B, suite Suite, n int) {
		s, _ := hops(b, suite)
		buf := room(make([]byte, n))
		for b.Loop() {
			if _, ok := s.Wrap(buf, frame.RelayQueue, vn, alice, carol); !ok {
				b.Fatal("spent")
			}
		}
	})
}

func BenchmarkHopOpen(b *testing.B) {
	benchSizes(b, func(b *testing.B, suite Suite, n int) {
		s, r := hops(b, suite)
		d, _ := s.Wrap(room(make([]byte, n)), frame.RelayQueue, vn, alice, carol)
		for b.Loop() {
			r.seen.top, r.seen.ring[0] = 0, 0 // the same datagram again
			if _, _, err := r.Open(d); err != nil {
				b.Fatal(err)
			}
		}
	})
}
