package forward

import "encoding/binary"

// Codepoints of explicit congestion notification (RFC 3168, Section 5).
const (
	ecnNot  = 0 // the ends cannot tell each other
	ecnECT1 = 1
	ecnECT0 = 2
	ecnCE   = 3 // a router on the way is congested
)

// ECN returns the codepoint of the packet b, which the datagram around it is to carry: "normal mode" of RFC 6040, Section 4.1.
func ECN(b []byte) uint8 {
	switch {
	case len(b) >= ipv4HeaderLen && b[0]>>4 == 4:
		return b[1] & 3
	case len(b) >= ipv6HeaderLen && b[0]>>4 == 6:
		return b[1] >> 4 & 3
	}
	return ecnNot
}

// afterOuter is what becomes of a packet's codepoint by that of the datagram around it (RFC 6040, Section 4.2, Figure 4):
//
//	+---------+------------------------------------------------+
//	|Arriving |            Arriving Outer Header               |
//	|   Inner +---------+------------+------------+------------+
//	|  Header | Not-ECT | ECT(0)     | ECT(1)     |     CE     |
//	+---------+---------+------------+------------+------------+
//	| Not-ECT | Not-ECT |Not-ECT(!!!)|Not-ECT(!!!)| <drop>(!!!)|
//	|  ECT(0) |  ECT(0) | ECT(0)     | ECT(1)     |     CE     |
//	|  ECT(1) |  ECT(1) | ECT(1) (!) | ECT(1)     |     CE     |
//	|    CE   |      CE |     CE     |     CE(!!!)|     CE     |
//	+---------+---------+------------+------------+------------+
func afterOuter(inner, outer uint8) (ecn uint8, ok bool) {
	switch {
	case inner == ecnNot:
		return ecnNot, outer != ecnCE
	case inner == ecnECT0 && outer == ecnECT1, outer == ecnCE:
		return outer, true
	}
	return inner, true
}

// Decapsulate gives the packet b the codepoint that it has by that of the datagram around it. It fails for a packet that has to
// be dropped: it cannot say that the way is congested.
func Decapsulate(b []byte, outer uint8) bool {
	inner := ECN(b)
	ecn, ok := afterOuter(inner, outer)
	if ecn == inner || !ok {
		return ok
	}
	if b[0]>>4 == 6 {
		b[1] = b[1]&^0x30 | ecn<<4
		return true
	}
	// RFC 1624, Equation 3: HC' = ~(~HC + ~m + m')
	before := binary.BigEndian.Uint16(b)
	b[1] = b[1]&^3 | ecn
	sum := uint32(^binary.BigEndian.Uint16(b[10:])) + uint32(^before) + uint32(binary.BigEndian.Uint16(b))
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum+sum>>16))
	return true
}

// WorseECN returns what datagrams with two codepoints say together, of one packet that they were parts of: CE if one does
// (RFC 3168, Section 5.3).
func WorseECN(a, b uint8) uint8 {
	switch {
	case a == ecnCE || b == ecnCE:
		return ecnCE
	case a == ecnECT1 || b == ecnECT1:
		return ecnECT1
	}
	return max(a, b)
}
