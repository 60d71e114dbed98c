package segment

import (
	"bytes"
	"testing"
)

// TestShiftVnet: what a device with a link header says is the same as without.
func TestShiftVnet(t *testing.T) {
	for _, p := range []Packet{
		{Bytes: tcp4(t, 3000), GSOSize: 1000, Partial: true},
		{Bytes: tcp4(t, 100), Partial: true},
		{Bytes: tcp4(t, 100)},
	} {
		Seed(p.Bytes)
		var plain, framed [VnetLen]byte
		if !ToVnet(&plain, p) {
			t.Fatal("no header")
		}
		framed = plain
		ShiftVnet(&framed, 14)
		if p.Partial && framed == plain {
			t.Error("nothing was moved")
		}
		ShiftVnet(&framed, -14)
		if framed != plain {
			t.Errorf("%x, want %x", framed, plain)
		}
	}
	// An offset into the link header.
	p := Packet{Bytes: tcp4(t, 3000), GSOSize: 1000, Partial: true}
	var h [VnetLen]byte
	ToVnet(&h, p)
	ShiftVnet(&h, -int(h[6])-1)
	if _, ok := FromVnet(&h, p.Bytes); ok {
		t.Error("a checksum that begins before the packet was taken")
	}
}

// TestGuessSuper: segments of a guessed length carry the same bytes, and fit, also when they have to be shorter.
func TestGuessSuper(t *testing.T) {
	b := tcp4(t, 20_000)
	Seed(b)
	l, _ := parse(b)
	payload := bytes.Clone(b[l.head:])
	for _, mtu := range []int{1400, 1280, 576} {
		p, ok := GuessSuper(bytes.Clone(b), 1400)
		if !ok || !p.Partial || p.SegmentLength() != 1400 {
			t.Fatalf("%v, segments of %d", ok, p.SegmentLength())
		}
		if narrow, ok := Narrow(p, mtu); ok != (mtu < 1400) || ok && narrow.SegmentLength() != mtu {
			t.Errorf("to %d: %v, segments of %d", mtu, ok, narrow.SegmentLength())
		} else {
			p = narrow
		}
		var got []byte
		var c Cutter
		for ok := c.Start(p); ok; {
			var s []byte
			if s, _, ok = c.Next(); ok {
				if len(s) > mtu {
					t.Errorf("a segment of %d bytes, at most %d fit", len(s), mtu)
				}
				got = append(got, s[l.head:]...)
			}
		}
		if !bytes.Equal(got, payload) {
			t.Errorf("MTU %d: %d bytes of %d, or others", mtu, len(got), len(payload))
		}
	}
	if p, ok := GuessSuper(tcp4(t, 100), 1400); !ok || p.GSOSize != 0 || !p.Partial {
		t.Errorf("a short one: %+v, %v", p, ok)
	}
	if p, ok := Narrow(Packet{Bytes: b, GSOSize: 1300, Partial: true}, 576); ok {
		t.Errorf("a length that was said was changed to %d", p.GSOSize)
	}
	for _, bad := range [][]byte{nil, b[:30], append([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17}, make([]byte, 18)...)} {
		if _, ok := GuessSuper(bad, 1400); ok {
			t.Errorf("guessed of %x", bad)
		}
	}
}

// tcp4 returns a TCP packet over IPv4 of so many bytes.
func tcp4(t *testing.T, size int) []byte {
	t.Helper()
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i)
	}
	copy(b, []byte{0x45, 0, byte(size >> 8), byte(size), 0, 1, 0, 0, 64, protoTCP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2})
	b[32], b[33] = 5<<4, 0x10
	if _, ok := parse(b); !ok {
		t.Fatal("no packet")
	}
	return b
}
