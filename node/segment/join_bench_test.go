package segment

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// BenchmarkMerge joins the 46 segments of a super-packet again, each opened in its room: here copied, in a lane decrypted.
func BenchmarkMerge(b *testing.B) {
	const size = 1400
	p := Packet{Bytes: shape{payload: 46 * size, size: size, options: 12}.build(rand.New(rand.NewPCG(1, 2))), GSOSize: size, Partial: true}
	type piece struct {
		b  []byte
		at Position
	}
	var pieces []piece
	var c Cutter
	if !c.Start(p) {
		b.Fatal("refused")
	}
	for s, at, ok := c.Next(); ok; s, at, ok = c.Next() {
		pieces = append(pieces, piece{bytes.Clone(s), at})
	}
	room := make([]byte, 0, LengthMax)
	var r Run
	b.ReportAllocs()
	b.SetBytes(46 * size)
	for b.Loop() {
		if !r.Start(append(room, pieces[0].b...), size, pieces[0].at) {
			b.Fatal("refused")
		}
		for _, s := range pieces[1:] {
			place, ok := r.Room(len(s.b), false)
			if !ok || !r.Keep(append(place, s.b...), s.at) {
				b.Fatal("does not follow")
			}
		}
		if p := r.Close(); p.GSOSize != size {
			b.Fatal("not whole")
		}
	}
}
