package forward

import (
	"bytes"
	"encoding/binary"
	"math/big"
	"net/netip"
	"testing"
)

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// ip returns a good packet of either family with TTL 64 and DF clear.
func ip(src, dst string, proto uint8, payload []byte) []byte {
	from, to := addr(src), addr(dst)
	if from.Is4() {
		b := make([]byte, ipv4HeaderLen, ipv4HeaderLen+len(payload))
		b[0], b[8], b[9] = 0x45, 64, proto
		binary.BigEndian.PutUint16(b[2:], uint16(ipv4HeaderLen+len(payload)))
		binary.BigEndian.PutUint16(b[4:], 0x1234)
		f, t := from.As4(), to.As4()
		copy(b[12:], f[:])
		copy(b[16:], t[:])
		return mend(append(b, payload...))
	}
	b := make([]byte, ipv6HeaderLen, ipv6HeaderLen+len(payload))
	b[0], b[6], b[7] = 0x60, proto, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	f, t := from.As16(), to.As16()
	copy(b[8:], f[:])
	copy(b[24:], t[:])
	return append(b, payload...)
}

// udp returns a packet of length bytes.
func udp(src, dst string, length int) []byte {
	header := ipv4HeaderLen
	if addr(src).Is6() {
		header = ipv6HeaderLen
	}
	return ip(src, dst, 17, bytes.Repeat([]byte{0xa5}, length-header))
}

// edit changes one byte of an IPv4 or IPv6 packet and mends the IPv4 header checksum.
func edit(b []byte, at int, value byte) []byte {
	b = bytes.Clone(b)
	b[at] = value
	return mend(b)
}

// mend makes the IPv4 header checksum right, if there is one.
func mend(b []byte) []byte {
	if len(b) == 0 {
		return b
	}
	headerLen := int(b[0]&15) * 4
	if b[0]>>4 == 4 && headerLen >= ipv4HeaderLen && headerLen <= len(b) {
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:], slowChecksum(b[:headerLen]))
	}
	return b
}

// slowChecksum is the Internet checksum by its definition: the complement of the sum of the
// 16-bit words modulo 65,535, where only all zeroes sum to zero.
func slowChecksum(parts ...[]byte) uint16 {
	all := bytes.Join(parts, nil)
	if len(all)%2 == 1 {
		all = append(all, 0)
	}
	n := new(big.Int).SetBytes(all) // 65,536 is 1 modulo 65,535
	sum := new(big.Int).Mod(n, big.NewInt(0xffff)).Uint64()
	if sum == 0 && n.Sign() != 0 {
		sum = 0xffff
	}
	return ^uint16(sum)
}

// upperGood reports whether the checksum of the TCP or ICMP message in b is right.
func upperGood(b []byte, p Packet) bool {
	upper := b[p.Upper:p.Length]
	pseudo := make([]byte, 4, 40)
	binary.BigEndian.PutUint16(pseudo, uint16(len(upper)))
	pseudo[3] = p.Proto
	switch {
	case p.Is4() && p.Proto == protoICMPv4:
		pseudo = nil
	default:
		pseudo = append(append(pseudo, p.Src.AsSlice()...), p.Dst.AsSlice()...)
	}
	return slowChecksum(pseudo, upper) == 0
}

// ext returns an IPv6 extension header of 8 bytes and what follows it.
func ext(next, value byte, rest ...byte) []byte {
	return append([]byte{next, 0, value, 0, 0, 0, 0, 0}, rest...)
}

func withOptions(b []byte, options ...byte) []byte {
	out := append(bytes.Clone(b[:20]), options...)
	out[0] = 0x40 | byte(len(out)/4)
	out = append(out, b[20:]...)
	binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
	return mend(out)
}

func TestParse(t *testing.T) {
	four := udp("10.192.0.1", "10.192.1.1", 40)
	six := udp("fd00::1", "fd00::2", 60)
	fragment6 := func(next byte, offset uint16, data int) []byte {
		b := append([]byte{next, 0}, binary.BigEndian.AppendUint16(nil, offset)...)
		return ip("fd00::1", "fd00::2", protoIPFrag, append(append(b, 1, 2, 3, 4), make([]byte, data)...))
	}
	rh0 := ip("fd00::1", "fd00::2", protoRouting, ext(17, 0, make([]byte, 8)...))
	var chain []byte
	for range extHeadersMax + 1 {
		chain = append(chain, ext(protoDestOpts, 0)...)
	}
	tests := []struct {
		name string
		b    []byte
		want Drop
		good Packet // only Upper, Proto, IPFrag, More, Offset, DF, Length where want is DropNone
	}{
		{"empty", nil, DropShort, Packet{}},
		{"version 0", make([]byte, 40), DropVersion, Packet{}},
		{"version 5", edit(four, 0, 0x55), DropVersion, Packet{}},
		{"IPv4", four, DropNone, Packet{Length: 40, Upper: 20, Proto: 17}},
		{"IPv4 with bytes behind", append(bytes.Clone(four), 1, 2, 3), DropNone, Packet{Length: 40, Upper: 20, Proto: 17}},
		{"IPv4 header cut", four[:19], DropShort, Packet{}},
		{"IPv4 payload cut", four[:39], DropShort, Packet{}},
		{"IPv4 header length 4 words", edit(four, 0, 0x44), DropHeader, Packet{}},
		{"IPv4 header longer than packet", edit(four, 0, 0x4f), DropHeader, Packet{}},
		{"IPv4 total length within header", edit(four, 3, 19), DropHeader, Packet{}},
		{"IPv4 checksum", append(append(bytes.Clone(four[:10]), four[10]^1), four[11:]...), DropChecksum, Packet{}},
		{"IPv4 DF", edit(four, 6, 0x40), DropNone, Packet{Length: 40, Upper: 20, Proto: 17, DF: true}},
		{"IPv4 first fragment", withFlags(udp("10.192.0.1", "10.192.1.1", 44), 0x2000), DropNone, Packet{Length: 44, Upper: 20, Proto: 17, IPFrag: true, More: true}},
		{"IPv4 last fragment", withFlags(four, 3), DropNone, Packet{Length: 40, Proto: 17, IPFrag: true, Offset: 24}},
		{"IPv4 middle fragment of odd size", withFlags(four, 0x2003), DropHeader, Packet{}},
		{"IPv4 fragment past the end", withFlags(four, 0x1fff), DropHeader, Packet{}},
		{"IPv4 fragment of nothing", withFlags(udp("10.192.0.1", "10.192.1.1", 20), 3), DropHeader, Packet{}},
		{"IPv4 no-operations", withOptions(four, 1, 1, 1, 0), DropNone, Packet{Length: 44, Upper: 24, Proto: 17}},
		{"IPv4 record route", withOptions(four, 7, 7, 4, 0, 0, 0, 0, 0), DropNone, Packet{Length: 48, Upper: 28, Proto: 17}},
		{"IPv4 loose source route", withOptions(four, 1, 131, 7, 4, 10, 0, 0, 1), DropOption, Packet{}},
		{"IPv4 strict source route", withOptions(four, 137, 7, 4, 10, 0, 0, 1, 0), DropOption, Packet{}},
		{"IPv4 option too long", withOptions(four, 7, 5, 4, 0), DropHeader, Packet{}},
		{"IPv4 option of length 1", withOptions(four, 7, 1, 0, 0), DropHeader, Packet{}},
		{"IPv4 option without length", withOptions(four, 1, 1, 1, 7), DropHeader, Packet{}},
		{"IPv6", six, DropNone, Packet{Length: 60, Upper: 40, Proto: 17, DF: true}},
		{"IPv6 with bytes behind", append(bytes.Clone(six), 9), DropNone, Packet{Length: 60, Upper: 40, Proto: 17, DF: true}},
		{"IPv6 header cut", six[:39], DropShort, Packet{}},
		{"IPv6 payload cut", six[:59], DropShort, Packet{}},
		{"IPv6 jumbogram", ip("fd00::1", "fd00::2", protoHopByHop, nil), DropHeader, Packet{}},
		{"IPv6 no next header", ip("fd00::1", "fd00::2", protoNone, nil), DropNone, Packet{Length: 40, Proto: protoNone, DF: true}},
		{"IPv6 options then TCP", ip("fd00::1", "fd00::2", protoHopByHop, ext(protoDestOpts, 0, ext(6, 0, 1, 2, 3)...)), DropNone, Packet{Length: 59, Upper: 56, Proto: 6, DF: true}},
		{"IPv6 AH then TCP", ip("fd00::1", "fd00::2", protoAH, append([]byte{6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 1, 2)), DropNone, Packet{Length: 54, Upper: 52, Proto: 6, DF: true}},
		{"IPv6 AH cut", ip("fd00::1", "fd00::2", protoAH, make([]byte, 7)), DropHeader, Packet{}},
		{"IPv6 options cut", ip("fd00::1", "fd00::2", protoDestOpts, make([]byte, 7)), DropHeader, Packet{}},
		{"IPv6 options longer than packet", ip("fd00::1", "fd00::2", protoDestOpts, []byte{6, 9, 0, 0, 0, 0, 0, 0}), DropHeader, Packet{}},
		{"IPv6 hop-by-hop not first", ip("fd00::1", "fd00::2", protoDestOpts, ext(protoHopByHop, 0, ext(6, 0)...)), DropHeader, Packet{}},
		{"IPv6 routing type 0, done", rh0, DropNone, Packet{Length: 56, Upper: 48, Proto: 17, DF: true}},
		{"IPv6 routing type 0, to go", edit(rh0, 43, 1), DropOption, Packet{}},
		{"IPv6 endless options", ip("fd00::1", "fd00::2", protoDestOpts, chain), DropNone, Packet{Length: 40 + len(chain), Proto: protoDestOpts, DF: true}},
		{"IPv6 first fragment", fragment6(17, 1, 8), DropNone, Packet{Length: 56, Upper: 48, Proto: 17, DF: true, IPFrag: true, More: true}},
		{"IPv6 first fragment ends in options", fragment6(protoDestOpts, 1, 0), DropHeader, Packet{}},
		{"IPv6 first fragment cuts options", ip("fd00::1", "fd00::2", protoIPFrag, append([]byte{protoDestOpts, 0, 0, 1, 0, 0, 0, 0}, 6, 9, 0, 0, 0, 0, 0, 0)), DropNone, Packet{Length: 56, Proto: protoDestOpts, DF: true, IPFrag: true, More: true}},
		{"IPv6 last fragment", fragment6(17, 8, 3), DropNone, Packet{Length: 51, Proto: 17, DF: true, IPFrag: true, Offset: 8}},
		{"IPv6 atomic fragment", fragment6(17, 0, 3), DropNone, Packet{Length: 51, Upper: 48, Proto: 17, DF: true}},
		{"IPv6 middle fragment of odd size", fragment6(17, 9, 3), DropHeader, Packet{}},
		{"IPv6 fragment past the end", fragment6(17, 0xfff8, 16), DropHeader, Packet{}},
		{"IPv6 fragment header cut", ip("fd00::1", "fd00::2", protoIPFrag, make([]byte, 7)), DropHeader, Packet{}},
		{"IPv6 two fragment headers", ip("fd00::1", "fd00::2", protoIPFrag, append([]byte{protoIPFrag, 0, 0, 1, 0, 0, 0, 0}, ext(17, 0, 1, 2, 3, 4, 5, 6, 7, 8)...)), DropHeader, Packet{}},
		{"mapped source", ip("::ffff:10.192.0.1", "fd00::2", 17, nil), DropMapped, Packet{}},
		{"mapped destination", ip("fd00::2", "::ffff:10.192.0.1", 17, nil), DropMapped, Packet{}},
		{"unspecified source", ip("0.0.0.0", "10.192.0.1", 17, nil), DropBadSource, Packet{}},
		{"unspecified source, IPv6", ip("::", "fd00::1", 17, nil), DropBadSource, Packet{}},
		{"loopback source", ip("127.0.0.1", "10.192.0.1", 17, nil), DropBadSource, Packet{}},
		{"loopback source, IPv6", ip("::1", "fd00::1", 17, nil), DropBadSource, Packet{}},
		{"multicast source", ip("224.0.0.1", "10.192.0.1", 17, nil), DropBadSource, Packet{}},
		{"multicast source, IPv6", ip("ff02::1", "fd00::1", 17, nil), DropBadSource, Packet{}},
		{"broadcast source", ip("255.255.255.255", "10.192.0.1", 17, nil), DropBadSource, Packet{}},
		{"unspecified destination", ip("10.192.0.1", "0.0.0.0", 17, nil), DropBadDest, Packet{}},
		{"loopback destination", ip("10.192.0.1", "127.9.9.9", 17, nil), DropBadDest, Packet{}},
		{"multicast destination", ip("10.192.0.1", "239.1.1.1", 17, nil), DropBadDest, Packet{}},
		{"multicast destination, IPv6", ip("fd00::1", "ff02::2", 17, nil), DropBadDest, Packet{}},
		{"broadcast destination", ip("10.192.0.1", "255.255.255.255", 17, nil), DropBadDest, Packet{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, drop := Parse(test.b)
			if drop != test.want {
				t.Fatalf("drop %v, want %v", drop, test.want)
			}
			if drop != DropNone {
				if p != (Packet{}) {
					t.Fatalf("a refused packet gave %+v", p)
				}
				return
			}
			want := test.good
			want.TTL, want.Src, want.Dst = 64, p.Src, p.Dst
			if p != want {
				t.Fatalf("got  %+v\nwant %+v", p, want)
			}
		})
	}
}

func withFlags(b []byte, flags uint16) []byte {
	b = bytes.Clone(b)
	binary.BigEndian.PutUint16(b[6:], flags)
	return mend(b)
}

// Each truncation of a packet is refused: its own length says so.
func TestParseTruncated(t *testing.T) {
	for _, b := range [][]byte{
		udp("10.192.0.1", "10.192.1.1", 60),
		withOptions(udp("10.192.0.1", "10.192.1.1", 60), 7, 7, 4, 0, 0, 0, 0, 0),
		ip("fd00::1", "fd00::2", protoHopByHop, ext(6, 0, 1, 2, 3)),
	} {
		for n := range len(b) {
			if _, drop := Parse(b[:n]); drop != DropShort {
				t.Errorf("%d of %d bytes: %v", n, len(b), drop)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(udp("10.192.0.1", "10.192.1.1", 60))
	f.Add(withOptions(udp("10.192.0.1", "10.192.1.1", 60), 7, 7, 4, 0, 0, 0, 0, 0))
	f.Add(withFlags(udp("10.192.0.1", "10.192.1.1", 44), 0x2003))
	f.Add(udp("fd00::1", "fd00::2", 1400))
	f.Add(ip("fd00::1", "fd00::2", protoHopByHop, ext(protoIPFrag, 0, ext(6, 0, 1, 2, 3)...)))
	f.Add(tcpSYN("10.192.0.1", "10.192.1.1", 0x02, 2, 4, 5, 180))
	f.Add(tcpSYN("fd00::1", "fd00::2", 0x12, 1, 2, 4, 5, 180, 0, 0, 0))
	f.Add(ip("10.192.0.1", "10.192.1.1", protoICMPv4, []byte{3, 4, 0, 0, 0, 0, 0, 0}))
	f.Fuzz(func(t *testing.T, b []byte) { checkPacket(t, b) })
}
