package segment

import (
	"encoding/binary"
	"math/bits"
)

const (
	protoHopByHop = 0
	protoTCP      = 6
	protoUDP      = 17

	dontFragment = 0x40 // in the byte of an IPv4 header that has the flags

	tcpFIN = 0x01
	tcpPSH = 0x08
	tcpCWR = 0x80

	// headMax bounds the headers in front of the payload: 120 bytes are the most that IPv4 and TCP can have, 100 those
	// of IPv6 and TCP, which leaves room for a usual hop-by-hop header.
	headMax = 160

	// LengthMax is the length of the longest super-packet: an IPv4 total length.
	LengthMax = 0xffff
)

// A Packet is an IP packet, and what a device says about it beside its bytes.
type Packet struct {
	Bytes   []byte
	GSOSize uint16 // payload bytes of each segment but the last, of a super-packet; zero for a single packet
	Partial bool   // the transport checksum covers the pseudo-header only. Always so with GSOSize
	Guessed bool   // GSOSize was not said: segments may as well be shorter. TCP only
}

// Segments returns how many packets on the wire p stands for.
func (p Packet) Segments() int {
	l, ok := parse(p.Bytes)
	if !ok || p.GSOSize == 0 {
		return 1
	}
	return max(1, (len(p.Bytes)-l.head+int(p.GSOSize)-1)/int(p.GSOSize))
}

// SegmentLength returns the length of the longest packet on the wire that p stands for.
func (p Packet) SegmentLength() int {
	l, ok := parse(p.Bytes)
	if !ok || p.GSOSize == 0 {
		return len(p.Bytes)
	}
	return min(len(p.Bytes), l.head+int(p.GSOSize))
}

// A layout says where the headers of a TCP or UDP packet are.
type layout struct {
	upper int // offset of the transport header
	head  int // bytes before the payload
	proto byte
	v6    bool
}

// sumAt returns the offset of the checksum within the transport header.
func (l layout) sumAt() int {
	if l.proto == protoTCP {
		return 16
	}
	return 6
}

// parse reads the headers of a packet that fills b. It fails for what is no whole TCP or UDP packet, and where the
// pseudo-header is not that of the IP header: behind a routing header or destination options.
func parse(b []byte) (l layout, ok bool) {
	if len(b) < 20 {
		return l, false
	}
	switch b[0] >> 4 {
	case 4:
		l.upper = int(b[0]&0x0f) * 4
		l.proto = b[9]
		if l.upper < 20 || int(binary.BigEndian.Uint16(b[2:])) != len(b) || binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
			return l, false
		}
	case 6:
		if len(b) < 40 || 40+int(binary.BigEndian.Uint16(b[4:])) != len(b) {
			return l, false
		}
		l.v6, l.upper, l.proto = true, 40, b[6]
		if l.proto == protoHopByHop {
			if len(b) < 48 {
				return l, false
			}
			l.proto = b[40]
			l.upper += 8 + int(b[41])*8
		}
	default:
		return l, false
	}
	switch l.proto {
	case protoTCP:
		if len(b) < l.upper+20 {
			return l, false
		}
		size := int(b[l.upper+12]>>4) * 4
		l.head = l.upper + size
		if size < 20 {
			return l, false
		}
	case protoUDP:
		l.head = l.upper + 8
	default:
		return l, false
	}
	return l, l.head <= len(b) && l.head <= headMax
}

// sameFlow reports whether two headers of one layout have the same addresses and ports.
func (l layout) sameFlow(a, b []byte) bool {
	from, to := 12, 20
	if l.v6 {
		from, to = 8, 40
	}
	return string(a[from:to]) == string(b[from:to]) && string(a[l.upper:l.upper+4]) == string(b[l.upper:l.upper+4])
}

// setLength writes the length fields of a packet that fills b, and the checksum of an IPv4 header.
func (l layout) setLength(b []byte) {
	if l.v6 {
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	} else {
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:], ^fold(add(b[:l.upper], 0)))
	}
	if l.proto == protoUDP {
		binary.BigEndian.PutUint16(b[l.upper+4:], uint16(len(b)-l.upper))
	}
}

// seed writes the sum of the pseudo-header (RFC 9293, Section 3.1; RFC 8200, Section 8.1) into the checksum field.
func (l layout) seed(b []byte) {
	addrs := b[12:20]
	if l.v6 {
		addrs = b[8:40]
	}
	binary.BigEndian.PutUint16(b[l.upper+l.sumAt():], fold(add(addrs, uint64(l.proto)+uint64(len(b)-l.upper))))
}

// finish writes the whole checksum.
func (l layout) finish(b []byte) {
	l.seed(b)
	sum := ^fold(add(b[l.upper:], 0))
	if sum == 0 && l.proto == protoUDP {
		sum = 0xffff // zero would say that there is none (RFC 768)
	}
	binary.BigEndian.PutUint16(b[l.upper+l.sumAt():], sum)
}

// Seed makes the partial checksum of a packet that came from a peer right. It fails for a packet that cannot have one.
func Seed(b []byte) bool {
	l, ok := parse(b)
	if ok {
		l.seed(b)
	}
	return ok
}

// Finish makes the partial checksum of a single packet a whole one. It fails for a packet that cannot have one.
func Finish(b []byte) bool {
	l, ok := parse(b)
	if ok {
		l.finish(b)
	}
	return ok
}

// add adds the 16-bit words of b to sum in ones' complement arithmetic, four at a time (RFC 1071, Section 2).
func add(b []byte, sum uint64) uint64 {
	var carry uint64
	for ; len(b) >= 64; b = b[64:] { // eight additions for one test of the length: three times as fast
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[8:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[16:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[24:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[32:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[40:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[48:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[56:]), carry)
	}
	for ; len(b) >= 8; b = b[8:] {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), carry)
	}
	var tail [8]byte
	copy(tail[:], b)
	sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(tail[:]), carry)
	sum, carry = bits.Add64(sum, 0, carry)
	return sum + carry
}

// fold makes a sum of 16 bits of it.
func fold(sum uint64) uint16 {
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
