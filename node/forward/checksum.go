package forward

import "encoding/binary"

// checksum returns the Internet checksum (RFC 1071) of b and what was summed before in sum.
// Over bytes that contain their own right checksum it is zero.
func checksum(b []byte, sum uint32) uint16 {
	// 65,535 bytes of 0xffff sum to less than 2^31, so that one fold at the end is enough.
	for len(b) >= 2 {
		sum += uint32(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// pseudoSum returns the sum of the pseudo-header (RFC 9293, Section 3.1; RFC 8200, Section 8.1)
// of addresses, protocol and upper-layer length, for use with checksum.
func pseudoSum(addrs []byte, proto uint8, length int) uint32 {
	sum := uint32(proto) + uint32(length)>>16 + uint32(length)&0xffff
	for ; len(addrs) >= 2; addrs = addrs[2:] {
		sum += uint32(binary.BigEndian.Uint16(addrs))
	}
	return sum
}

// adjust returns the checksum check after one 16-bit field that it covers went from old to
// new: equation 3 of RFC 1624, Section 3, which is right where equation 4 gives minus zero.
func adjust(check, old, new uint16) uint16 {
	sum := uint32(^check) + uint32(^old) + uint32(new)
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
