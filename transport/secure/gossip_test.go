package secure

import (
	"bytes"
	"testing"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

func boxes(t testing.TB) (a, b *GossipBox) {
	t.Helper()
	ka, kb := router(1, true).Static, router(2, true).Static
	box := func(k StaticKey, self, peer tables.RouterID, key tables.LinkKey) *GossipBox {
		counter, err := NewGossipCounter(5)
		if err != nil {
			t.Fatal(err)
		}
		box, err := NewGossipBox(k, tables.Hash{1}, self, peer, key, counter)
		if err != nil {
			t.Fatal(err)
		}
		return box
	}
	return box(ka, alice, bob, kb.Public()), box(kb, bob, alice, ka.Public())
}

func TestGossipRoundTrip(t *testing.T) {
	a, b := boxes(t)
	for _, n := range []int{1, frame.GossipPieceMax - 1, frame.GossipPieceMax, frame.GossipPieceMax + 1, 7905, frame.GossipPieceMax * frame.GossipPiecesMax} {
		payload := bytes.Repeat([]byte{0x5a}, n)
		datagrams, err := a.Seal(payload)
		if err != nil || len(datagrams) != (n+frame.GossipPieceMax-1)/frame.GossipPieceMax {
			t.Fatalf("%d bytes: %d datagrams, %v", n, len(datagrams), err)
		}
		var got []byte
		var first uint64
		for p, d := range datagrams {
			if len(d) > frame.MessageMax || bytes.Contains(d, []byte{0x5a, 0x5a, 0x5a, 0x5a}) {
				t.Errorf("piece of %d bytes, or in the clear", len(d))
			}
			h, out, err := b.Open(got, d)
			if err != nil {
				t.Fatal(err)
			}
			if p == 0 {
				first = h.Counter
			}
			if h.Sender != alice || int(h.Piece) != p || int(h.Pieces) != len(datagrams) || h.Counter != first+uint64(p) || h.Counter>>40 != 5 {
				t.Errorf("header %+v", h)
			}
			got = out
		}
		if !bytes.Equal(got, payload) {
			t.Errorf("%d bytes: payload differs", n)
		}
	}
	for _, n := range []int{0, frame.GossipPieceMax*frame.GossipPiecesMax + 1} {
		if _, err := a.Seal(make([]byte, n)); err != ErrPayload {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestGossipBitFlips(t *testing.T) {
	a, b := boxes(t)
	datagrams, err := a.Seal([]byte("alive"))
	if err != nil {
		t.Fatal(err)
	}
	d := datagrams[0]
	for bit := range len(d) * 8 {
		if _, _, err := b.Open(nil, flip(d, bit)); err == nil {
			t.Fatalf("bit %d turned, and it opens", bit)
		}
	}
	for n := range d {
		if _, _, err := b.Open(nil, d[:n]); err == nil {
			t.Fatalf("%d bytes of it open", n)
		}
	}
	if _, _, err := a.Open(nil, d); err == nil {
		t.Error("opens at its sender")
	}
	if _, _, err := b.Open(nil, d); err != nil {
		t.Fatalf("the genuine one: %v", err)
	}
	if _, _, err := b.Open(nil, d); err != ErrReplay {
		t.Fatalf("again: %v", err)
	}
	// A box that was dropped and made again takes the replay, unless it is told the high water.
	_, again := boxes(t)
	if _, _, err := again.Open(nil, d); err != nil {
		t.Errorf("new box: %v", err)
	}
	_, again = boxes(t)
	again.SetFloor(b.HighWater())
	if _, _, err := again.Open(nil, d); err != ErrReplay {
		t.Errorf("new box with floor: %v", err)
	}
}

// TestGossipKeysAreApart: another ID, key or federation on either side, and nothing opens.
func TestGossipKeysAreApart(t *testing.T) {
	ka, kb, kc := router(1, true).Static, router(2, true).Static, router(3, true).Static
	counter, _ := NewGossipCounter(1)
	seal := func(k StaticKey, fed tables.Hash, self, peer tables.RouterID, key tables.LinkKey) []byte {
		box, err := NewGossipBox(k, fed, self, peer, key, counter)
		if err != nil {
			t.Fatal(err)
		}
		d, err := box.Seal([]byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		return d[0]
	}
	b, err := NewGossipBox(kb, tables.Hash{1}, bob, alice, ka.Public(), counter)
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string][]byte{
		"federation": seal(ka, tables.Hash{2}, alice, bob, kb.Public()),
		"sender ID":  seal(ka, tables.Hash{1}, 13, bob, kb.Public()),
		"peer ID":    seal(ka, tables.Hash{1}, alice, 13, kb.Public()),
		"sender key": seal(kc, tables.Hash{1}, alice, bob, kb.Public()),
		"peer key":   seal(ka, tables.Hash{1}, alice, bob, kc.Public()),
	} {
		if _, _, err := b.Open(nil, d); err != ErrOpen {
			t.Errorf("other %s: %v", name, err)
		}
	}
	if _, _, err := b.Open(nil, seal(ka, tables.Hash{1}, alice, bob, kb.Public())); err != nil {
		t.Error(err)
	}
	if _, err := NewGossipBox(ka, tables.Hash{}, alice, bob, tables.LinkKey{}, counter); err == nil {
		t.Error("a peer key of low order is taken")
	}
}

func TestGossipCounterIsSpent(t *testing.T) {
	if _, err := NewGossipCounter(1 << 24); err != ErrSpent {
		t.Errorf("boot 2^24: %v", err)
	}
	a, b := boxes(t)
	a.counter.next.Store(1<<gossipCountBits - 2)
	d, err := a.Seal([]byte("last"))
	if err != nil {
		t.Fatal(err)
	}
	if h, _, err := b.Open(nil, d[0]); err != nil || h.Counter>>gossipCountBits != 5 {
		t.Errorf("last: %+v, %v", h, err)
	}
	for range 2 {
		if _, err := a.Seal([]byte("more")); err != ErrSpent {
			t.Errorf("beyond the last: %v", err)
		}
	}
}

func FuzzGossipOpen(f *testing.F) {
	a, b := boxes(f)
	d, err := a.Seal([]byte("seed"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(spoil(d[0], len(d[0])-8))
	f.Fuzz(func(t *testing.T, d []byte) {
		if _, _, err := b.Open(nil, d); err == nil {
			t.Errorf("%x opens", d)
		}
	})
}

// TestGossipThroughAThird: a whole piece goes through bob to carol, who opens it as if it had come directly;
// bob cannot, and what bob changes carol does not open.
func TestGossipThroughAThird(t *testing.T) {
	ka, kc := router(1, true).Static, router(3, true).Static
	ab, ba := boxes(t)
	counter, _ := NewGossipCounter(5)
	ac, err := NewGossipBox(ka, tables.Hash{1}, alice, carol, kc.Public(), counter)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := NewGossipBox(kc, tables.Hash{1}, carol, alice, ka.Public(), counter)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte{3}, frame.GossipPieceMax)
	inner, err := ac.Seal(want)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := ab.Seal(frame.AppendGossipRelay(nil, carol, inner[0]))
	if err != nil || len(outer) != 2 {
		t.Fatalf("%d pieces, %v", len(outer), err)
	}
	var payload []byte
	for _, d := range outer {
		if len(d) > frame.MessageMax {
			t.Errorf("piece of %d bytes", len(d))
		}
		if _, payload, err = ba.Open(payload, d); err != nil {
			t.Fatal(err)
		}
	}
	destination, datagram, err := frame.ParseGossipRelay(payload)
	if frame.GossipKind(payload) != frame.GossipRelay || err != nil || destination != carol {
		t.Fatalf("to %d, %v", destination, err)
	}
	if h, _, _ := frame.ParseGossip(datagram); h.Sender != alice {
		t.Errorf("inside: %+v", h)
	}
	if _, _, err := ba.Open(nil, datagram); err != ErrOpen {
		t.Errorf("the router between opens it: %v", err)
	}
	if _, _, err := ca.Open(nil, flip(datagram, 8*40)); err != ErrOpen {
		t.Errorf("changed on the way, it opens: %v", err)
	}
	if _, got, err := ca.Open(nil, datagram); err != nil || !bytes.Equal(got, want) {
		t.Errorf("at the destination: %v", err)
	}
}
