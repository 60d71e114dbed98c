package forward

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// tcpSYN returns a TCP packet with the given flags and options and a right checksum.
func tcpSYN(src, dst string, flags byte, options ...byte) []byte {
	tcp := make([]byte, tcpHeaderLen, 60)
	binary.BigEndian.PutUint16(tcp, 40000)
	binary.BigEndian.PutUint16(tcp[2:], 80)
	for len(options)%4 != 0 {
		options = append(options, 0)
	}
	tcp = append(tcp, options...)
	tcp[12], tcp[13] = byte(len(tcp)/4)<<4, flags
	b := ip(src, dst, protoTCP, tcp)
	p, _ := Parse(b)
	pseudo := append(append(p.Src.AsSlice(), p.Dst.AsSlice()...), 0, protoTCP, 0, byte(len(tcp)))
	binary.BigEndian.PutUint16(b[p.Upper+16:], slowChecksum(pseudo, tcp))
	return b
}

// checkPacket holds every function that reads or edits a packet against what must be true of
// any bytes at all. The fuzz target and the captures share it.
func checkPacket(t *testing.T, b []byte) {
	t.Helper()
	before := bytes.Clone(b)
	p, drop := Parse(b)
	if drop != DropNone {
		if p != (Packet{}) || int(drop) >= DropCount {
			t.Fatalf("refused for %v with %+v", drop, p)
		}
		return
	}
	if p.Length > len(b) || p.Length < ipv4HeaderLen || p.Upper > p.Length || p.Offset%8 != 0 ||
		p.IPFrag != (p.More || p.Offset != 0) || p.Offset != 0 && p.Upper != 0 || p.Is4() != (b[0]>>4 == 4) {
		t.Fatalf("impossible %+v of %d bytes", p, len(b))
	}
	b = b[:p.Length]
	if q, drop := Parse(b); drop != DropNone || q != p {
		t.Fatalf("without what follows: %v, %+v; with it %+v", drop, q, p)
	}
	if _, drop := Parse(b[:p.Length-1]); drop != DropShort {
		t.Fatalf("truncated: %v", drop)
	}
	checkTTL(t, b, p)
	checkClamp(t, b, p)
	checkICMP(t, b, p)
	checkIPFrags(t, b, p)
	checkSplit(t, b)
	if !bytes.Equal(b, before[:len(b)]) {
		t.Fatal("the packet was changed")
	}
}

func checkTTL(t *testing.T, b []byte, p Packet) {
	t.Helper()
	c := bytes.Clone(b)
	DecrementTTL(c)
	want := p
	want.TTL -= min(p.TTL, 1)
	if q, drop := Parse(c); drop != DropNone || q != want {
		t.Fatalf("after DecrementTTL: %v, %+v; want %+v", drop, q, want)
	}
}

func checkClamp(t *testing.T, b []byte, p Packet) {
	t.Helper()
	for _, mtu := range []int{640, 1280, 1400} {
		c := bytes.Clone(b)
		if !ClampMSS(c, p, mtu) {
			if !bytes.Equal(b, c) {
				t.Fatal("ClampMSS says that it changed nothing")
			}
			continue
		}
		if q, drop := Parse(c); drop != DropNone || q != p {
			t.Fatalf("after ClampMSS: %v, %+v; want %+v", drop, q, p)
		}
		if upperGood(b, p) != upperGood(c, p) {
			t.Fatalf("ClampMSS to %d turned checksum %v", mtu, upperGood(b, p))
		}
		if ClampMSS(c, p, mtu) {
			t.Fatal("ClampMSS twice")
		}
	}
}

func checkICMP(t *testing.T, b []byte, p Packet) {
	t.Helper()
	s := &Snapshot{own4: addr("10.192.9.9"), own6: addr("fd00::9")}
	for _, d := range []Decision{
		{ICMP: ICMPTimeExceeded, Packet: p},
		{ICMP: ICMPTooBig, TooBig: 640, Packet: p},
	} {
		out, ok := AppendICMP([]byte("before"), s, d, b)
		if !ok {
			if string(out) != "before" {
				t.Fatal("AppendICMP says that it appended nothing")
			}
			continue
		}
		if p.Offset != 0 {
			t.Fatal("an ICMP error about a later fragment")
		}
		out = out[len("before"):]
		q, drop := Parse(out)
		if drop != DropNone || q.Length != len(out) || q.Dst != p.Src || q.Src != s.own4 && q.Src != s.own6 {
			t.Fatalf("ICMP error %v: %v, %+v", d.ICMP, drop, q)
		}
		if !upperGood(out, q) {
			t.Fatal("ICMP checksum is wrong")
		}
		if len(out) > ICMPBytesMax || q.Is4() && len(out) > icmp4BytesMax {
			t.Fatalf("ICMP error of %d bytes", len(out))
		}
		quoted := out[q.Upper+icmpHeaderLen:]
		if !bytes.HasPrefix(b, quoted) || len(quoted) < min(len(b), 500) {
			t.Fatalf("ICMP error quotes %d bytes of %d", len(quoted), len(b))
		}
		if again, ok := AppendICMP(nil, s, Decision{ICMP: ICMPTimeExceeded, Packet: q}, out); ok {
			t.Fatalf("an ICMP error about an ICMP error: %x", again)
		}
	}
}

func checkIPFrags(t *testing.T, b []byte, p Packet) {
	t.Helper()
	for _, mtu := range []int{68, 640, 1281} {
		bufs := make([][]byte, 10000)
		n, ok := AppendIPFrags(bufs, b, p, mtu)
		headerLen := int(b[0]&15) * 4
		if want := p.Is4() && !p.DF && p.Length > headerLen; ok != want {
			t.Fatalf("AppendIPFrags to %d: %v of %+v", mtu, ok, p)
		}
		var payload []byte
		for i := range n {
			frag := bufs[i]
			q, drop := Parse(frag)
			if drop != DropNone || q.Length != len(frag) || len(frag) > mtu {
				t.Fatalf("fragment %d of %d to %d: %v, %d bytes", i, n, mtu, drop, len(frag))
			}
			if q.Src != p.Src || q.Dst != p.Dst || q.Proto != p.Proto || q.TTL != p.TTL || q.DF ||
				!bytes.Equal(frag[4:6], b[4:6]) || frag[1] != b[1] {
				t.Fatalf("fragment %d: %+v of %+v", i, q, p)
			}
			if q.Offset != p.Offset+len(payload) || q.More != (p.More || i < n-1) {
				t.Fatalf("fragment %d at %d, more %v; want %d", i, q.Offset, q.More, p.Offset+len(payload))
			}
			if i == 0 && !bytes.Equal(frag[20:headerLen], b[20:headerLen]) {
				t.Fatal("the first fragment lost options")
			}
			payload = append(payload, frag[int(frag[0]&15)*4:]...)
		}
		if ok && !bytes.Equal(payload, b[headerLen:]) {
			t.Fatalf("fragments of %d bytes carry another payload", mtu)
		}
	}
}

func checkSplit(t *testing.T, b []byte) {
	t.Helper()
	if len(b) > MinMTU {
		return
	}
	for _, order := range [][2]bool{{false, true}, {true, false}} {
		first, second := Split(b)
		if len(first) > pathMTUMin || len(second) > pathMTUMin {
			t.Fatalf("pieces of %d and %d bytes", len(first), len(second))
		}
		j := NewJoiner(1)
		var out []byte
		var ok bool
		for i, isSecond := range order {
			piece := Piece{Peer: 1, Counter: 7, Bytes: first}
			if isSecond {
				piece = Piece{Peer: 1, Counter: 8, Bytes: second, Second: true}
			}
			if out, ok = j.Add(nil, piece); ok != (i == 1) {
				t.Fatalf("piece %d: %v", i, ok)
			}
		}
		if !bytes.Equal(out, b) {
			t.Fatal("joined another packet")
		}
	}
}

func TestEdits(t *testing.T) {
	for _, b := range [][]byte{
		udp("10.192.0.1", "10.192.1.1", 20),
		udp("10.192.0.1", "10.192.1.1", 1280),
		udp("10.192.0.1", "10.192.1.1", 65535),
		withFlags(udp("10.192.0.1", "10.192.1.1", 2020), 0x2010),
		withOptions(udp("10.192.0.1", "10.192.1.1", 3000), 7, 7, 4, 0, 0, 0, 0, 1, 0x94, 4, 0, 0),
		withFlags(udp("10.192.0.1", "10.192.1.1", 3000), 0x4000),
		edit(udp("10.192.0.1", "10.192.1.1", 100), 8, 0),
		udp("fd00::1", "fd00::2", 40),
		udp("fd00::1", "fd00::2", 1281),
		ip("fd00::1", "fd00::2", protoIPFrag, []byte{6, 0, 0, 16, 0, 0, 0, 0, 1, 2, 3}),
		tcpSYN("10.192.0.1", "10.192.1.1", 0x02, 2, 4, 5, 180),
		tcpSYN("fd00::1", "fd00::2", 0x12, 1, 2, 4, 5, 180, 0, 0, 0),
	} {
		checkPacket(t, b)
	}
}

// Every TTL with every checksum that an IPv4 header can have, where RFC 1624 went wrong before.
func TestDecrementTTLChecksum(t *testing.T) {
	b := udp("10.192.0.1", "10.192.1.1", 20)
	for id := range 1 << 16 {
		binary.BigEndian.PutUint16(b[4:], uint16(id))
		b[8] = byte(id%255 + 1)
		c := bytes.Clone(mend(b))
		DecrementTTL(c)
		got := binary.BigEndian.Uint16(c[10:])
		if want := binary.BigEndian.Uint16(mend(c)[10:]); got != want || c[8] != b[8]-1 {
			t.Fatalf("id %#x ttl %d: checksum %#04x, want %#04x", id, b[8], got, want)
		}
	}
}

func TestClampMSS(t *testing.T) {
	const four, four2, six, six2 = "10.192.0.1", "10.192.1.1", "fd00::1", "fd00::2"
	tests := []struct {
		name string
		b    []byte
		mtu  int
		at   int // of the MSS within the packet; 0: unchanged
		want uint16
	}{
		{"SYN", tcpSYN(four, four2, 0x02, 2, 4, 5, 180), 1400, 42, 1360},
		{"SYN-ACK", tcpSYN(four, four2, 0x12, 2, 4, 5, 180), 1400, 42, 1360},
		{"SYN, IPv6", tcpSYN(six, six2, 0x02, 2, 4, 5, 180), 1400, 62, 1340},
		{"SYN, IPv6, narrow path", tcpSYN(six, six2, 0x02, 2, 4, 5, 180), 700, 62, 1220},
		{"SYN, IPv4, narrow path", tcpSYN(four, four2, 0x02, 2, 4, 5, 180), 700, 42, 660},
		{"odd place", tcpSYN(four, four2, 0x02, 1, 2, 4, 5, 180), 1400, 43, 1360},
		{"behind timestamps", tcpSYN(four, four2, 0x02, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 2, 4, 5, 180), 1400, 52, 1360},
		{"behind IPv4 options", withOptions(tcpSYN(four, four2, 0x02, 2, 4, 5, 180), 1, 1, 1, 0), 1400, 46, 1360},
		{"equal", tcpSYN(four, four2, 0x02, 2, 4, 5, 80), 1400, 0, 0},
		{"smaller", tcpSYN(four, four2, 0x02, 2, 4, 2, 24), 1400, 0, 0},
		{"no option", tcpSYN(four, four2, 0x02), 1400, 0, 0},
		{"behind the end", tcpSYN(four, four2, 0x02, 0, 0, 0, 0, 2, 4, 5, 180), 1400, 0, 0},
		{"ACK", tcpSYN(four, four2, 0x10, 2, 4, 5, 180), 1400, 0, 0},
		{"SYN and RST", tcpSYN(four, four2, 0x06, 2, 4, 5, 180), 1400, 0, 0},
		{"option too long", tcpSYN(four, four2, 0x02, 2, 5, 5, 180), 1400, 0, 0},
		{"option of length zero", tcpSYN(four, four2, 0x02, 8, 0, 2, 4, 5, 180), 1400, 0, 0},
		{"header longer than packet", edit(tcpSYN(four, four2, 0x02, 2, 4, 5, 180), 32, 0xf0), 1400, 0, 0},
		{"later fragment", withFlags(tcpSYN(four, four2, 0x02, 2, 4, 5, 180), 3), 1400, 0, 0},
		{"not TCP", edit(tcpSYN(four, four2, 0x02, 2, 4, 5, 180), 9, 17), 1400, 0, 0},
		{"absurd MTU", tcpSYN(four, four2, 0x02, 2, 4, 5, 180), 40, 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, drop := Parse(test.b)
			if drop != DropNone {
				t.Fatal(drop)
			}
			b := bytes.Clone(test.b)
			if changed := ClampMSS(b, p, test.mtu); changed != (test.at != 0) {
				t.Fatalf("changed %v", changed)
			}
			if test.at == 0 {
				if !bytes.Equal(b, test.b) {
					t.Fatal("packet changed")
				}
				return
			}
			if got := binary.BigEndian.Uint16(b[test.at:]); got != test.want {
				t.Fatalf("MSS %d, want %d", got, test.want)
			}
			if !upperGood(b, p) {
				t.Fatal("checksum is wrong")
			}
		})
	}
}

func TestAppendIPFragsRefuses(t *testing.T) {
	b := udp("10.192.0.1", "10.192.1.1", 1500)
	p, _ := Parse(b)
	if _, ok := AppendIPFrags(make([][]byte, 2), b, p, 640); ok {
		t.Error("three fragments in two buffers")
	}
	if n, ok := AppendIPFrags(make([][]byte, 3), b, p, 640); !ok || n != 3 {
		t.Errorf("three fragments in three buffers: %d, %v", n, ok)
	}
	if _, ok := AppendIPFrags(make([][]byte, 9999), b, p, 27); ok {
		t.Error("7 bytes of payload are no fragment")
	}
}

// Options without the copied flag stay in the first fragment.
func TestAppendIPFragsOptions(t *testing.T) {
	b := withOptions(udp("10.192.0.1", "10.192.1.1", 1000), 7, 7, 4, 0, 0, 0, 0, 1, 0x94, 4, 0, 0)
	p, drop := Parse(b)
	bufs := make([][]byte, 2)
	if n, ok := AppendIPFrags(bufs, b, p, 640); !ok || n != 2 || drop != DropNone {
		t.Fatal(n, ok, drop)
	}
	if bufs[0][0] != 0x48 || bufs[1][0] != 0x46 || !bytes.Equal(bufs[1][20:24], []byte{0x94, 4, 0, 0}) {
		t.Fatalf("headers %x, %x", bufs[0][:32], bufs[1][:24])
	}
}

func TestJoiner(t *testing.T) {
	piece := func(peer, lane, session, vn, counter int, second bool) Piece {
		return Piece{tables.RouterID(peer), uint32(lane), uint32(session), tables.VNID(vn), uint64(counter), second, []byte{byte(counter)}}
	}
	tests := []struct {
		name   string
		pieces []Piece
		want   string // one digit per piece: 1 where it completes a packet
	}{
		{"in order", []Piece{piece(1, 0, 0, 1, 4, false), piece(1, 0, 0, 1, 5, true)}, "01"},
		{"out of order", []Piece{piece(1, 0, 0, 1, 5, true), piece(1, 0, 0, 1, 4, false)}, "01"},
		{"two firsts", []Piece{piece(1, 0, 0, 1, 4, false), piece(1, 0, 0, 1, 5, false)}, "00"},
		{"not consecutive", []Piece{piece(1, 0, 0, 1, 4, false), piece(1, 0, 0, 1, 6, true)}, "00"},
		{"second before counter one", []Piece{piece(1, 0, 0, 1, 0, true)}, "0"},
		{"other peer", []Piece{piece(1, 0, 0, 1, 4, false), piece(2, 0, 0, 1, 5, true)}, "00"},
		{"other lane", []Piece{piece(1, 0, 0, 1, 4, false), piece(1, 1, 0, 1, 5, true)}, "00"},
		{"other session", []Piece{piece(1, 0, 0, 1, 4, false), piece(1, 0, 1, 1, 5, true)}, "00"},
		{"other VN", []Piece{piece(1, 0, 0, 1, 4, false), piece(1, 0, 0, 2, 5, true)}, "00"},
		{"interleaved peers", []Piece{piece(1, 0, 0, 1, 4, false), piece(2, 0, 0, 1, 8, false), piece(1, 0, 0, 1, 5, true), piece(2, 0, 0, 1, 9, true)}, "0011"},
		{"newest wins", []Piece{piece(1, 0, 0, 1, 4, false), piece(1, 0, 0, 1, 6, false), piece(1, 0, 0, 1, 5, true), piece(1, 0, 0, 1, 7, true)}, "0001"},
		{"once", []Piece{piece(1, 0, 0, 1, 4, false), piece(1, 0, 0, 1, 5, true), piece(1, 0, 0, 1, 5, true)}, "010"},
		{"after a rekey", []Piece{piece(1, 0, 0, 1, 90, false), piece(1, 0, 1, 1, 0, false), piece(1, 0, 1, 1, 1, true)}, "001"},
		{"too many lanes", []Piece{piece(1, 0, 0, 1, 4, false), piece(2, 0, 0, 1, 4, false), piece(3, 0, 0, 1, 4, false), piece(1, 0, 0, 1, 5, true), piece(3, 0, 0, 1, 5, true)}, "00001"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := NewJoiner(2)
			var got []byte
			for _, piece := range test.pieces {
				out, ok := j.Add(nil, piece)
				if ok != (len(out) == 2) || ok && out[0]+1 != out[1] {
					t.Fatalf("Add(%+v) = %v, %v", piece, out, ok)
				}
				got = append(got, map[bool]byte{false: '0', true: '1'}[ok])
			}
			if string(got) != test.want {
				t.Fatalf("completed %s, want %s", got, test.want)
			}
			if len(j.slots) > 2 || len(j.index) > 2 {
				t.Fatal("more places than allowed")
			}
		})
	}
}

// Two pieces that would make more than Split ever cuts are no packet.
func TestJoinerLength(t *testing.T) {
	j := NewJoiner(1)
	j.Add(nil, Piece{Peer: 1, Counter: 1, Bytes: make([]byte, 700)})
	if _, ok := j.Add(nil, Piece{Peer: 1, Counter: 2, Second: true, Bytes: make([]byte, 700)}); ok {
		t.Fatal("joined 1,400 bytes")
	}
	if _, ok := j.Add(nil, Piece{Peer: 1, Counter: 3, Bytes: make([]byte, MinMTU+1)}); ok || j.slots[0].pending {
		t.Fatal("kept a piece too long")
	}
}

func TestTokenBucket(t *testing.T) {
	now := time.Unix(1e9, 0)
	b := NewTokenBucket(10, 3)
	take := func(want bool) {
		t.Helper()
		if b.Take(now) != want {
			t.Fatalf("Take at %v: %v", now, !want)
		}
	}
	for range 3 {
		take(true)
	}
	take(false)
	now = now.Add(100 * time.Millisecond)
	take(true)
	take(false)
	now = now.Add(-time.Second)
	take(false)
	now = now.Add(time.Hour)
	for range 3 {
		take(true)
	}
	take(false)
}
