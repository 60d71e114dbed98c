package segment

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// shape is what a random super-packet is made of.
type shape struct {
	v6, udp, hop  bool
	options, ipop int // bytes of TCP and of IPv4 options
	payload, size int
	flags         byte
}

func randomShape(r *rand.Rand) shape {
	s := shape{v6: r.IntN(2) == 0, udp: r.IntN(3) == 0, hop: r.IntN(8) == 0, options: 4 * r.IntN(11), flags: byte(r.Uint32())}
	if r.IntN(8) == 0 {
		s.ipop = 4 * r.IntN(11)
	}
	s.size = 1 + r.IntN(1500)
	if r.IntN(4) == 0 {
		s.size = 1 + r.IntN(80) // shorter than the headers
	}
	s.payload = min(s.size*(1+r.IntN(150))+r.IntN(s.size), 65000)
	s.payload = max(s.payload, 1)
	return s
}

// build makes the packet of a shape, byte by byte and independent of the package.
func (s shape) build(r *rand.Rand) []byte {
	transport := make([]byte, 20+s.options)
	proto := byte(6)
	if s.udp {
		transport, proto = make([]byte, 8), 17
	}
	for i := range transport {
		transport[i] = byte(r.Uint32())
	}
	if s.udp {
		binary.BigEndian.PutUint16(transport[4:], uint16(8+s.payload))
	} else {
		transport[12] = byte(len(transport)/4) << 4
		transport[13] = s.flags
	}
	var b []byte
	if s.v6 {
		b = make([]byte, 40)
		b[0], b[6], b[7] = 0x60, proto, 64
		for i := 8; i < 40; i++ {
			b[i] = byte(r.Uint32())
		}
		if s.hop {
			b[6] = 0
			b = append(b, proto, 0, 1, 4, 0, 0, 0, 0)
		}
	} else {
		b = make([]byte, 20+s.ipop)
		b[0], b[6], b[8], b[9] = 0x40|byte(len(b)/4), 0x40, 64, proto
		for i := 12; i < len(b); i++ {
			b[i] = byte(r.Uint32())
		}
		if s.ipop > 0 {
			clear(b[20:])
		}
		b[4], b[5] = byte(r.Uint32()), byte(r.Uint32())
	}
	b = append(b, transport...)
	for range s.payload {
		b = append(b, byte(r.Uint32()))
	}
	if s.v6 {
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	} else {
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		slowChecksum(b[:20+s.ipop], 10, 0)
	}
	return b
}

// slowChecksum is the checksum as RFC 1071 tells it, of b with the field at a place taken as zero.
func slowChecksum(b []byte, at int, pseudo uint32) {
	b[at], b[at+1] = 0, 0
	sum := pseudo
	for i, x := range b {
		if i%2 == 0 {
			sum += uint32(x) << 8
		} else {
			sum += uint32(x)
		}
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(b[at:], ^uint16(sum))
}

// slow cuts a packet the obvious way: each segment is made anew, with a whole checksum.
func slow(b []byte, size int) (list [][]byte) {
	upper, v6, proto := 40, b[0]>>4 == 6, b[6]
	if !v6 {
		upper, proto = int(b[0]&15)*4, b[9]
	} else if proto == 0 {
		upper, proto = 48, b[40]
	}
	head := upper + 8
	if proto == 6 {
		head = upper + int(b[upper+12]>>4)*4
	}
	payload := b[head:]
	for i, at := 0, 0; at < len(payload); i, at = i+1, at+size {
		end := min(at+size, len(payload))
		p := append(bytes.Clone(b[:head]), payload[at:end]...)
		var addrs []byte
		if v6 {
			addrs = p[8:40]
			binary.BigEndian.PutUint16(p[4:], uint16(len(p)-40))
		} else {
			addrs = p[12:20]
			binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
			binary.BigEndian.PutUint16(p[4:], binary.BigEndian.Uint16(b[4:])+uint16(i))
			slowChecksum(p[:upper], 10, 0)
		}
		pseudo := uint32(proto) + uint32(len(p)-upper)
		for j := 0; j < len(addrs); j += 2 {
			pseudo += uint32(binary.BigEndian.Uint16(addrs[j:]))
		}
		if proto == 6 {
			binary.BigEndian.PutUint32(p[upper+4:], binary.BigEndian.Uint32(b[upper+4:])+uint32(at))
			if at > 0 {
				p[upper+13] &= 0x7f
			}
			if end < len(payload) {
				p[upper+13] &= 0xf6
			}
			slowChecksum(p[upper:], 16, pseudo)
		} else {
			binary.BigEndian.PutUint16(p[upper+4:], uint16(len(p)-upper))
			slowChecksum(p[upper:], 6, pseudo)
			if p[upper+6] == 0 && p[upper+7] == 0 {
				p[upper+6], p[upper+7] = 0xff, 0xff
			}
		}
		list = append(list, p)
	}
	return list
}

// check cuts the packet by both ways, and joins the segments again with some of them lost.
func check(t *testing.T, r *rand.Rand, b []byte, size int) {
	t.Helper()
	want := slow(b, size)
	p := Packet{Bytes: b, GSOSize: uint16(size), Partial: true}
	if got := p.Segments(); got != len(want) {
		t.Fatalf("%d segments counted of %d", got, len(want))
	}
	var f Finisher
	before := bytes.Clone(b)
	if !f.Start(p) {
		t.Fatal("the finisher refuses")
	}
	for i, w := range want {
		got, ok := f.Next()
		if !ok || !bytes.Equal(got, w) {
			t.Fatalf("segment %d of %d is\n%x, want\n%x", i, len(want), got, w)
		}
	}
	if _, ok := f.Next(); ok || !bytes.Equal(b, before) {
		t.Fatal("one segment too many, or the packet was changed")
	}
	var c Cutter
	if !c.Start(p) {
		t.Fatal("the cutter refuses")
	}
	var cut [][]byte
	var at []Position
	for {
		s, pos, ok := c.Next()
		if !ok {
			break
		}
		cut, at = append(cut, bytes.Clone(s)), append(at, pos)
	}
	join(t, b, size, before, cut, at, nil)
	if len(cut) > 1 {
		join(t, b, size, before, cut, at, map[int]bool{r.IntN(len(cut)): true, r.IntN(len(cut)): true})
	}
}

// join puts segments together as the lane does, and cuts what comes out by the slow way: it has to be the segments again.
func join(t *testing.T, b []byte, size int, whole []byte, cut [][]byte, at []Position, lost map[int]bool) {
	t.Helper()
	arena := make([]byte, 0, 1<<17)
	var run Run
	var out []Packet
	var want [][]byte
	next := 0
	for i, s := range cut {
		if lost[i] {
			continue
		}
		want = append(want, slow(s, len(s))...)
		if run.Open() && i == next && !(run.l.proto == protoUDP && run.count == udpSegmentsMax) {
			room, ok := run.Room(len(s), false)
			if !ok {
				t.Fatalf("no room for segment %d", i)
			}
			if i%3 == 0 { // a datagram that does not open leaves the run as it was
				copy(room[:len(s)], bytes.Repeat([]byte{0xee}, len(s)))
				run.Undo()
				room, _ = run.Room(len(s), false)
			}
			if !run.Keep(append(room, s...), at[i]) {
				t.Fatalf("segment %d refused", i)
			}
			next++
			continue
		}
		if run.Open() {
			out = append(out, clonePacket(run.Close()))
		}
		if at[i] == Single {
			Seed(s)
			out = append(out, Packet{Bytes: s, Partial: true})
			continue
		}
		if !run.Start(append(arena, s...), uint16(size), at[i]) {
			t.Fatalf("segment %d opens no run", i)
		}
		next = i + 1
	}
	if run.Open() {
		out = append(out, clonePacket(run.Close()))
	}
	var got [][]byte
	for _, p := range out {
		if p.GSOSize == 0 {
			got = append(got, slow(p.Bytes, len(p.Bytes))...)
		} else {
			got = append(got, slow(p.Bytes, int(p.GSOSize))...)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d segments after joining, want %d", len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("segment %d after joining is\n%x, want\n%x", i, got[i], want[i])
		}
	}
	runs := 1
	if l, _ := parse(whole); l.proto == protoUDP {
		runs = (len(cut) + udpSegmentsMax - 1) / udpSegmentsMax
	}
	if lost == nil && len(out) != runs {
		t.Fatalf("without loss %d packets come out, want %d", len(out), runs)
	}
	if lost == nil && runs == 1 {
		w := bytes.Clone(whole)
		l, _ := parse(w)
		l.setLength(w) // captured ones may be wrong
		l.seed(w)
		if !bytes.Equal(out[0].Bytes, w) {
			t.Fatalf("joined\n%x, want\n%x", out[0].Bytes, w)
		}
	}
}

func clonePacket(p Packet) Packet {
	p.Bytes = bytes.Clone(p.Bytes)
	return p
}

func TestCutAndJoinAgainstSlow(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		s := randomShape(r)
		check(t, r, s.build(r), s.size)
	}
}

// Captured packets are taken as super-packets of small segments.
func TestCutCaptured(t *testing.T) {
	files, err := filepath.Glob("../../../shared/corpora/pcap/*.pcap") // no part of the project
	if err != nil || len(files) == 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("no captures")
		}
		t.Skip("no captures")
	}
	r := rand.New(rand.NewPCG(3, 4))
	checked := 0
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range packets(b) {
			if l, ok := parse(p); ok && len(p) > l.head {
				check(t, r, bytes.Clone(p), 1+r.IntN(len(p)-l.head))
				checked++
			}
		}
	}
	t.Logf("%d packets of %d captures", checked, len(files))
	if checked < 100 {
		t.Error("too few packets: the captures are not there")
	}
}

// packets returns the IP packets of the Ethernet frames of a capture file in the byte order of a PC.
func packets(b []byte) (list [][]byte) {
	if len(b) < 24 || binary.LittleEndian.Uint32(b) != 0xa1b2c3d4 || binary.LittleEndian.Uint32(b[20:]) != 1 {
		return nil
	}
	for b = b[24:]; len(b) >= 16; {
		n := int(binary.LittleEndian.Uint32(b[8:]))
		if n > len(b)-16 {
			return list
		}
		frame := b[16 : 16+n]
		b = b[16+n:]
		if len(frame) < 34 {
			continue
		}
		ip := frame[14:]
		switch kind := binary.BigEndian.Uint16(frame[12:]); {
		case kind == 0x0800 && int(binary.BigEndian.Uint16(ip[2:])) <= len(ip):
			list = append(list, ip[:binary.BigEndian.Uint16(ip[2:])]) // an Ethernet frame is padded
		case kind == 0x86dd && 40+int(binary.BigEndian.Uint16(ip[4:])) <= len(ip):
			list = append(list, ip[:40+int(binary.BigEndian.Uint16(ip[4:]))])
		}
	}
	return list
}

// What the header says is checked, and what we say of the same packet is the same.
func TestVnet(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		s := randomShape(r)
		b := s.build(r)
		p := Packet{Bytes: b, GSOSize: uint16(s.size), Partial: true}
		if s.payload <= s.size {
			p.GSOSize = 0
		}
		var h [VnetLen]byte
		if !ToVnet(&h, p) {
			t.Fatal("refused")
		}
		got, ok := FromVnet(&h, b)
		if !ok || got.GSOSize != p.GSOSize || !got.Partial {
			t.Fatalf("%x became %d, %v, %v; want %d", h, got.GSOSize, got.Partial, ok, p.GSOSize)
		}
		if p.GSOSize == 0 {
			continue
		}
		for _, spoil := range []func(h *[VnetLen]byte){
			func(h *[VnetLen]byte) { h[0] = 0 },
			func(h *[VnetLen]byte) { h[1] ^= 3 },
			func(h *[VnetLen]byte) { h[4], h[5] = 0, 0 },
			func(h *[VnetLen]byte) { h[4], h[5] = 0xff, 0xff },
			func(h *[VnetLen]byte) { h[6] ^= 1 },
			func(h *[VnetLen]byte) { h[8] ^= 2 },
		} {
			bad := h
			spoil(&bad)
			if _, ok := FromVnet(&bad, b); ok {
				t.Fatalf("%x is taken, as %x is", bad, h)
			}
		}
	}
	// A partial checksum of what is neither TCP nor UDP is finished where the kernel says.
	b := shape{payload: 9}.build(r)
	b[9] = 33 // DCCP
	slowChecksum(b[:20], 10, 0)
	var h [VnetLen]byte
	h[0] = vnetNeedsCsum
	binary.NativeEndian.PutUint16(h[6:], 20)
	binary.NativeEndian.PutUint16(h[8:], 6)
	b[26], b[27] = 0, 0
	want := bytes.Clone(b)
	slowChecksum(want[20:], 6, 0)
	if p, ok := FromVnet(&h, b); !ok || p.Partial || !bytes.Equal(b, want) {
		t.Errorf("%+v, %v, want %x", p, ok, want)
	}
	binary.NativeEndian.PutUint16(h[8:], uint16(len(b)))
	if _, ok := FromVnet(&h, b); ok {
		t.Error("an offset behind the packet is taken")
	}
}

// A segment of another flow, of another length or out of place is not joined, and leaves the run as it was.
func TestRunRefuses(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	b := shape{payload: 3000, size: 1000}.build(r)
	var c Cutter
	c.Start(Packet{Bytes: b, GSOSize: 1000, Partial: true})
	first, _, _ := c.Next()
	first = bytes.Clone(first)
	mid, _, _ := c.Next()
	mid = bytes.Clone(mid)
	for name, spoil := range map[string]func(s []byte) []byte{
		"source":   func(s []byte) []byte { s[15] ^= 1; return s },
		"port":     func(s []byte) []byte { s[21] ^= 1; return s },
		"sequence": func(s []byte) []byte { s[27] ^= 1; return s },
		"length":   func(s []byte) []byte { return s[:len(s)-1] },
		"short":    func(s []byte) []byte { s = s[:len(s)-1]; l, _ := parse(first); l.setLength(s); return s },
		"protocol": func(s []byte) []byte { s[9] = 17; return s },
		"header":   func(s []byte) []byte { s[32] += 0x10; return s },
		"longer header": func(s []byte) []byte {
			s = append(append(bytes.Clone(s[:40]), 1, 1, 1, 1), s[40:]...)
			s[32] += 0x10
			l, _ := parse(first)
			l.setLength(s)
			return s
		},
		"IP fragment":  func(s []byte) []byte { s[6] |= 0x20; return s },
		"other family": func(s []byte) []byte { s[0] = 0x65; return s },
		"control":      nil,
	} {
		arena := make([]byte, 0, 1<<16)
		var run Run
		if !run.Start(append(arena, first...), 1000, First) {
			t.Fatal("refused")
		}
		s := bytes.Clone(mid)
		if spoil != nil {
			s = spoil(s)
		}
		room, ok := run.Room(len(s), false)
		if !ok {
			t.Fatal("no room")
		}
		if got := run.Keep(append(room, s...), Mid); got != (spoil == nil) {
			t.Errorf("%s: joined %v", name, got)
		}
		if p := run.Close(); spoil != nil && !bytes.Equal(p.Bytes[40:], first[40:]) {
			t.Errorf("%s: the first segment was changed", name)
		}
	}
	var run Run
	if run.Start(first, 999, First) || run.Start(first, 1001, Mid) || run.Start(first[:40], 1000, Last) {
		t.Error("a run of wrong sizes is opened")
	}
	// 65,535 bytes are the end.
	big := shape{payload: 65400, size: 1000}.build(r)
	c.Start(Packet{Bytes: big, GSOSize: 1000, Partial: true})
	s, _, _ := c.Next()
	run.Start(append(make([]byte, 0, 1<<18), s...), 1000, First)
	for i := 1; ; i++ {
		room, ok := run.Room(len(s), false)
		if !ok {
			if i != 65 {
				t.Errorf("%d segments found room", i)
			}
			break
		}
		next := append(room, first[:40]...)
		next = append(next, make([]byte, 1000)...)
		copy(next, run.header[:40])
		binary.BigEndian.PutUint32(next[24:], binary.BigEndian.Uint32(run.header[24:])+uint32(1000*i))
		if !run.Keep(next, Mid) {
			t.Fatal("refused")
		}
	}
}

// Whatever a peer and a kernel say, nothing panics, and what is taken holds together.
func FuzzSegment(f *testing.F) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 10 {
		s := randomShape(r)
		s.payload, s.size = min(s.payload, 300), min(s.size, 100)
		f.Add(s.build(r), []byte{1, 1, 0, 0, 100, 0, 20, 0, 16, 0}, uint16(s.size), uint8(First))
	}
	f.Fuzz(func(t *testing.T, b, header []byte, size uint16, at uint8) {
		if len(b) > LengthMax {
			return
		}
		var h [VnetLen]byte
		copy(h[:], header)
		if p, ok := FromVnet(&h, bytes.Clone(b)); ok && p.Partial {
			if l, ok := parse(p.Bytes); !ok || p.GSOSize != 0 && len(p.Bytes)-l.head <= int(p.GSOSize) {
				t.Errorf("%x with %x is taken as %+v", b, h, p)
			}
			if !ToVnet(&h, p) {
				t.Error("what the kernel gave cannot go to a kernel")
			}
		}
		if l, ok := parse(b); ok && size > 0 && len(b) > l.head {
			check(t, rand.New(rand.NewPCG(uint64(size), 1)), bytes.Clone(b), int(size))
		}
		var run Run
		if run.Start(append(make([]byte, 0, 2*LengthMax), b...), size, Position(at%4)) {
			if room, ok := run.Room(len(b), false); ok {
				run.Keep(append(room, b...), Position(at/4%4))
			}
			if p := run.Close(); len(p.Bytes) > LengthMax {
				t.Errorf("%d bytes", len(p.Bytes))
			} else if _, ok := parse(p.Bytes); !ok {
				t.Errorf("closed to what is no packet: %x", p.Bytes)
			}
		}
	})
}

func BenchmarkCut(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	p := Packet{Bytes: shape{payload: 65000, size: 1400, options: 12}.build(r), GSOSize: 1400, Partial: true}
	var c Cutter
	var header [52]byte
	copy(header[:], p.Bytes)
	b.ReportAllocs()
	b.SetBytes(65000)
	for b.Loop() {
		copy(p.Bytes, header[:]) // the first segment's own length stands there
		if !c.Start(p) {
			b.Fatal("refused")
		}
		for _, _, ok := c.Next(); ok; _, _, ok = c.Next() {
		}
	}
}
