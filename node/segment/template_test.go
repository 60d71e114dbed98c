package segment

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// A piece is one datagram's worth of a template run.
type piece struct {
	b     []byte
	at    Position
	index int
}

func chop(p Packet, room int) (list []piece) {
	var c Chopper
	if c.Start(p, room) == 0 {
		return nil
	}
	for b, at, index, ok := c.Next(); ok; b, at, index, ok = c.Next() {
		list = append(list, piece{bytes.Clone(b), at, index})
	}
	return list
}

// A joiner does with pieces what a receive lane does with opened datagrams.
type joiner struct {
	run       Run
	next      int // index that goes on with the run
	templates Templates
	out       []Packet
	lost      int
}

func (j *joiner) end() {
	if j.run.Open() {
		p := j.run.Close()
		p.Bytes = bytes.Clone(p.Bytes)
		j.out = append(j.out, p)
	}
}

func (j *joiner) add(id RunID, size uint16, p piece) {
	if j.run.Unfinished() && p.index == j.next {
		if room, ok := j.run.Room(len(p.b), p.at == Mid); ok {
			if !j.run.Keep(append(room, p.b...), p.at) {
				panic("does not follow")
			}
			j.next++
			return
		}
	}
	j.end()
	buf := make([]byte, 0, LengthMax)
	b := append(buf, p.b...)
	switch p.at {
	case First:
		j.templates.First(id, b, size)
	case Mid:
		head := j.templates.Head(id)
		if head == 0 {
			j.lost += j.templates.Hold(id, p.b, p.index)
			return
		}
		b = append(buf[:head], p.b...)
		if size, _ = j.templates.Complete(id, b, p.index); size == 0 {
			panic("not complete")
		}
	case Last:
		size = j.templates.Last(id, b, p.index)
	}
	if !j.run.StartTemplate(b, size) {
		panic("not started")
	}
	j.next = p.index + 1
	if p.at == Last || j.templates.Holds(id) {
		j.end()
	}
	for p, ok := j.templates.Release(id, nil); ok; p, ok = j.templates.Release(id, nil) {
		j.out = append(j.out, p)
	}
}

// segmentsOf cuts packets as a wire would see them.
func segmentsOf(t *testing.T, list []Packet) (segments [][]byte) {
	t.Helper()
	for _, p := range list {
		var f Finisher
		if !f.Start(p) {
			t.Fatalf("a packet that cannot be finished: %d bytes, segments of %d", len(p.Bytes), p.GSOSize)
		}
		for b, ok := f.Next(); ok; b, ok = f.Next() {
			segments = append(segments, bytes.Clone(b))
		}
	}
	return segments
}

// randomRun returns a super-packet that can travel as a template run.
func randomRun(r *rand.Rand) (p Packet, room int) {
	for {
		s := randomShape(r)
		s.udp, s.size = false, 500+r.IntN(1500)
		s.payload = min(s.size*(3+r.IntN(60)), 64000)
		p = Packet{Bytes: s.build(r), GSOSize: uint16(s.size), Partial: true}
		if p.Bytes[0]>>4 == 4 {
			p.Bytes[6] |= dontFragment
		}
		l, ok := parse(p.Bytes)
		if !ok {
			continue
		}
		l.setLength(p.Bytes)
		l.seed(p.Bytes)
		room = l.head + s.size + r.IntN(100)
		var c Chopper
		if c.Start(Packet{Bytes: bytes.Clone(p.Bytes), GSOSize: p.GSOSize, Partial: true}, room) > 0 {
			return p, room
		}
	}
}

// TestTemplateRun: the pieces are as many as needed and as long as allowed, and joined they are the super-packet.
func TestTemplateRun(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	fewer := 0
	for range 500 {
		p, room := randomRun(r)
		l, _ := parse(p.Bytes)
		want := segmentsOf(t, []Packet{{Bytes: bytes.Clone(p.Bytes), GSOSize: p.GSOSize, Partial: true}})
		payload := len(p.Bytes) - l.head
		pieces := chop(Packet{Bytes: bytes.Clone(p.Bytes), GSOSize: p.GSOSize, Partial: true}, room)
		if least := (payload + 2*l.head + room - 1) / room; len(pieces) != least {
			t.Fatalf("%d pieces, want %d", len(pieces), least)
		}
		if len(pieces) < len(want) {
			fewer++
		}
		for i, x := range pieces {
			if len(x.b) > room || i < len(pieces)-1 && len(x.b) != len(pieces[0].b) || len(x.b) > len(pieces[0].b) || x.index != i {
				t.Fatalf("piece %d of %d has %d bytes, the first %d, room %d", i, len(pieces), len(x.b), len(pieces[0].b), room)
			}
		}
		var j joiner
		for _, x := range pieces {
			j.add(RunID{1, 1000}, p.GSOSize, x)
		}
		j.end()
		if len(j.out) != 1 || !slices.EqualFunc(segmentsOf(t, j.out), want, bytes.Equal) {
			t.Fatalf("joined to %d packets, which are not what was cut", len(j.out))
		}
	}
	if fewer < 300 {
		t.Errorf("%d runs have fewer pieces than segments: the test shows little", fewer)
	}
}

// TestTemplateRunDamaged: whatever is lost, and in whatever order the rest comes, each byte that arrives is delivered at its
// place, unless all headers of its run are lost. One lost datagram costs its own bytes and no others.
func TestTemplateRunDamaged(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	headless := 0
	for round := range 2000 {
		p, room := randomRun(r)
		l, _ := parse(p.Bytes)
		stream := bytes.Clone(p.Bytes[l.head:])
		seq := binary.BigEndian.Uint32(p.Bytes[l.upper+4:])
		pieces := chop(Packet{Bytes: bytes.Clone(p.Bytes), GSOSize: p.GSOSize, Partial: true}, room)
		n := len(pieces)
		lost := make([]bool, n)
		switch round % 4 {
		case 0:
			lost[r.IntN(n)] = true
		case 1:
			lost[0], lost[r.IntN(n)] = true, true
		case 2:
			for i := range lost {
				lost[i] = r.IntN(5) == 0
			}
		}
		var order []piece
		for i, x := range pieces {
			if !lost[i] {
				order = append(order, x)
			}
		}
		if round%3 == 0 {
			for range 1 + r.IntN(5) { // some overtake
				if from := r.IntN(len(order)); len(order) > 1 {
					x := order[from]
					order = slices.Delete(order, from, from+1)
					order = slices.Insert(order, r.IntN(len(order)+1), x)
				}
			}
		}
		var j joiner
		for _, x := range order {
			j.add(RunID{1, 1000}, p.GSOSize, x)
		}
		j.end()

		want := make([]bool, len(stream)) // bytes that must come
		offset, known := 0, !lost[0] || !lost[n-1]
		for i, x := range pieces {
			length := len(x.b)
			if x.at != Mid {
				length -= l.head
			}
			for k := range length {
				want[offset+k] = !lost[i] && known
			}
			offset += length
		}
		if !known {
			headless++
			if len(j.out) != 0 {
				t.Fatal("pieces without headers were delivered")
			}
		}
		got := make([]bool, len(stream))
		for _, b := range segmentsOf(t, j.out) {
			at := int(binary.BigEndian.Uint32(b[l.upper+4:]) - seq)
			data := b[l.head:]
			if at < 0 || at+len(data) > len(stream) || !bytes.Equal(data, stream[at:at+len(data)]) {
				t.Fatalf("%d bytes delivered at %d are not those of the stream", len(data), at)
			}
			if len(b) > l.head+int(p.GSOSize) && len(b) > sizeSafe {
				t.Fatalf("a segment of %d bytes: the LAN carries %d", len(b), l.head+int(p.GSOSize))
			}
			if at+len(data) < len(stream) && b[l.upper+13]&(tcpFIN|tcpPSH) != 0 || at > 0 && b[l.upper+13]&tcpCWR != 0 {
				t.Fatal("flags of another segment")
			}
			for k := range data {
				got[at+k] = true
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("round %d: not all that came was delivered, or more: lost %v of %d", round, lost, n)
		}
	}
	if headless < 20 {
		t.Errorf("all headers were lost %d times: the test shows little", headless)
	}
}

// TestTemplateRefuses: what cannot travel as a template run is left as it is.
func TestTemplateRefuses(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	good := func(s shape) Packet {
		p := Packet{Bytes: s.build(r), GSOSize: uint16(s.size), Partial: true}
		if !s.v6 {
			p.Bytes[6] |= dontFragment
			l, _ := parse(p.Bytes)
			l.setLength(p.Bytes)
		}
		return p
	}
	base := shape{payload: 14000, size: 1400}
	for _, c := range []struct {
		name string
		p    Packet
		room int
		want int
	}{
		{"good", good(base), 1440, 10},
		{"udp", good(shape{udp: true, payload: 14000, size: 1400}), 1440, 0},
		{"single", Packet{Bytes: good(base).Bytes, Partial: true}, 1440, 0},
		{"whole checksum", Packet{Bytes: good(base).Bytes, GSOSize: 1400}, 1440, 0},
		{"more pieces than segments", good(base), 1400, 0},
		{"two pieces", good(shape{payload: 2000, size: 1000}), 1440, 0},
		{"too many pieces", good(shape{payload: 60000, size: 400}), 440, 0},
		{"tiny segments", good(shape{payload: 14000, size: templateSizeMin - 1}), 1440, 0},
	} {
		var ch Chopper
		if n := ch.Start(c.p, c.room); n != c.want {
			t.Errorf("%s: %d pieces, want %d", c.name, n, c.want)
		}
	}
	for _, size := range []uint16{0, 1, templateSizeMin - 1, templateSizeMin} {
		var run Run
		if ok := run.StartTemplate(good(base).Bytes, size); ok != (size == templateSizeMin) {
			t.Errorf("a run of segments of %d bytes begins: %v", size, ok)
		}
	}
	p := good(base)
	p.Bytes[6] &^= dontFragment
	var ch Chopper
	if n := ch.Start(p, 1440); n != 0 {
		t.Error("a packet that may be fragmented travels without identifications")
	}
}

// TestTemplatesAreBounded: of runs whose headers do not come one is held, and of it as much as a super-packet has.
func TestTemplatesAreBounded(t *testing.T) {
	var x Templates
	lost := 0
	for i := range 1000 {
		lost += x.Hold(RunID{1, 7}, make([]byte, 1400), i)
	}
	if kept := 1000 - lost; kept*1400 > LengthMax || kept > PiecesMax {
		t.Errorf("%d pieces are held", kept)
	}
	kept := 1000 - lost
	if lost = x.Hold(RunID{1, 8}, make([]byte, 10), 1); lost != kept {
		t.Errorf("another run costs %d of %d held pieces", lost, kept)
	}
	if x.Holds(RunID{1, 7}) || !x.Holds(RunID{1, 8}) {
		t.Error("the wrong run is held")
	}
}

func BenchmarkChop(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	p := Packet{Bytes: shape{payload: 65000, size: 1348, options: 12}.build(r), GSOSize: 1348, Partial: true}
	p.Bytes[6] |= dontFragment
	var c Chopper
	var header [52]byte
	copy(header[:], p.Bytes)
	b.ReportAllocs()
	b.SetBytes(65000)
	for b.Loop() {
		copy(p.Bytes, header[:])
		if c.Start(p, 1440) == 0 {
			b.Fatal("refused")
		}
		for _, _, _, ok := c.Next(); ok; _, _, _, ok = c.Next() {
		}
	}
}
