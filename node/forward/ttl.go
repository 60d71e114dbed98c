package forward

import "encoding/binary"

// DecrementTTL takes one from the TTL or hop limit of the packet at the start of b, in place,
// and mends the IPv4 header checksum (RFC 1624). The packet must have passed Decide or Parse;
// one whose TTL is zero is left as it is.
func DecrementTTL(b []byte) {
	if b[0]>>4 == 6 {
		if b[7] > 0 {
			b[7]--
		}
		return
	}
	if b[8] == 0 {
		return
	}
	old := binary.BigEndian.Uint16(b[8:]) // TTL and protocol share the 16-bit field
	b[8]--
	check := adjust(binary.BigEndian.Uint16(b[10:]), old, binary.BigEndian.Uint16(b[8:]))
	binary.BigEndian.PutUint16(b[10:], check)
}
