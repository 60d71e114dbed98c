package segment

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// TestGather: whatever is gathered, joined as the receiver joins it and cut again as a kernel cuts it, is what it was: but for
// identifications where they mean nothing. Packets are changed in one thing at a time, and nothing that must keep them apart
// may let them be gathered.
func TestGather(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	gathered := 0
	for range 3000 {
		s := randomShape(r)
		s.udp, s.size = true, 1+r.IntN(1400)
		s.payload = s.size * (2 + r.IntN(20))
		big := Packet{Bytes: s.build(r), GSOSize: uint16(s.size), Partial: true}
		l, _ := parse(big.Bytes)
		l.seed(big.Bytes)
		var f Finisher
		f.Start(big)
		var list []Packet
		for b, ok := f.Next(); ok; b, ok = f.Next() {
			list = append(list, Packet{Bytes: bytes.Clone(b)})
		}
		whole := len(list)
		at := r.IntN(len(list)) // the one that is different
		p := &list[at]
		most := at // how many can be gathered if it cannot be one of them
		switch r.IntN(10) {
		case 0:
			most = whole
		case 1: // a payload byte, and the checksum is wrong
			p.Bytes[len(p.Bytes)-1] ^= 4
		case 2: // no checksum
			clear(p.Bytes[l.upper+6 : l.upper+8])
		case 3: // a port
			p.Bytes[l.upper+1+2*r.IntN(2)] ^= 1
			Finish(p.Bytes)
		case 4: // an address
			p.Bytes[map[bool]int{false: 19, true: 39}[l.v6]-4*r.IntN(2)] ^= 1
			fix(p.Bytes, l)
		case 5: // the life time
			p.Bytes[map[bool]int{false: 8, true: 7}[l.v6]]--
			fix(p.Bytes, l)
		case 6: // the class of traffic
			p.Bytes[1] ^= 0x20
			fix(p.Bytes, l)
		case 7: // longer
			p.Bytes = append(p.Bytes, 1)
			l.setLength(p.Bytes)
			l.finish(p.Bytes)
			if at == 0 {
				most = 2 // the second is then a shorter last
			}
		case 8: // it is a fragment, or the flow label is another
			p.Bytes[map[bool]int{false: 7, true: 3}[l.v6]] ^= 1
			fix(p.Bytes, l)
		case 9: // partial is as good as right
			p.Partial, most = true, whole
			l.seed(p.Bytes)
		}
		if most == 0 { // then all but the first are alike; the first is what they are not alike to
			most = 1
		}
		n, size := Gather(list)
		if n > max(min(most, udpSegmentsMax), 1) {
			t.Fatalf("%d of %d gathered though number %d is different", n, whole, at)
		}
		if n == 1 {
			continue
		}
		gathered += n
		var run Run
		buf := make([]byte, 0, LengthMax)
		run.Start(append(buf, list[0].Bytes...), size, First)
		for i, p := range list[1:n] {
			pos := Mid
			if i == n-2 {
				pos = Last
			}
			room, ok := run.Room(len(p.Bytes), false)
			if !ok || !run.Keep(append(room, p.Bytes...), pos) {
				t.Fatalf("segment %d of %d is not joined", i+1, n)
			}
		}
		f.Start(run.Close())
		for i, p := range list[:n] {
			b, _ := f.Next()
			want := bytes.Clone(p.Bytes)
			if p.Partial {
				l.finish(want)
			}
			if !bytes.Equal(b, want) {
				t.Fatalf("packet %d of %d is\n%x, was\n%x", i, n, b, want)
			}
		}
	}
	if gathered < 1000 {
		t.Errorf("%d gathered: the test shows nothing", gathered)
	}
}

// fix makes the checksums right again.
func fix(b []byte, l layout) {
	if !l.v6 {
		clear(b[10:12])
		binary.BigEndian.PutUint16(b[10:], ^fold(add(b[:l.upper], 0)))
	}
	l.finish(b)
}

// TestGatherIdentification: with the don't fragment bit identifications mean nothing; without it they must rise by one.
func TestGatherIdentification(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for _, dontFragment := range []bool{true, false} {
		for step := range 3 {
			var list []Packet
			for i := range 5 {
				b := shape{udp: true, payload: 100, size: 100}.build(r)
				copy(b[12:20], []byte{10, 0, 0, 1, 10, 0, 0, 2})
				copy(b[20:24], []byte{1, 2, 3, 4})
				b[6] = map[bool]byte{true: 0x40}[dontFragment]
				binary.BigEndian.PutUint16(b[4:], uint16(65534+i*step))
				l, _ := parse(b)
				fix(b, l)
				list = append(list, Packet{Bytes: b})
			}
			want := map[bool]int{false: 1, true: 5}[dontFragment || step == 1]
			if n, _ := Gather(list); n != want {
				t.Errorf("identifications that rise by %d, don't fragment %v: %d gathered, want %d", step, dontFragment, n, want)
			}
		}
	}
}

// BenchmarkGather is what looking at a batch costs, per packet.
func BenchmarkGather(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 5))
	for _, bc := range []struct {
		name string
		s    shape
	}{{"udp 64", shape{udp: true, payload: 64}}, {"udp 1400", shape{udp: true, payload: 1400}}, {"tcp", shape{payload: 1400}}} {
		b.Run(bc.name, func(b *testing.B) {
			bc.s.size = bc.s.payload
			p := bc.s.build(r)
			Finish(p)
			list := make([]Packet, 32)
			for i := range list {
				list[i] = Packet{Bytes: p}
			}
			b.ReportAllocs()
			for i := 0; i < b.N; {
				n, _ := Gather(list)
				i += n
			}
		})
	}
}
