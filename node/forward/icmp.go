package forward

import (
	"encoding/binary"
	"net/netip"
)

// Bounds of an ICMP error, in bytes of IP packet.
const (
	// icmp4BytesMax: "The ICMP datagram SHOULD contain as much of the original datagram as
	// possible without the length of the ICMP datagram exceeding 576 bytes" (RFC 1812, Section 4.3.2.3).
	icmp4BytesMax = 576

	// icmp6BytesMax: "as much of invoking packet as possible without the ICMPv6 packet exceeding
	// the minimum IPv6 MTU" (RFC 4443, Section 3.2).
	icmp6BytesMax = MinMTU

	icmpHeaderLen = 8

	// ICMPBytesMax bounds what AppendICMP appends.
	ICMPBytesMax = icmp6BytesMax
)

// icmpTTL is the TTL of what a VR sends itself (RFC 1700, "IP option numbers").
const icmpTTL = 64

// AppendICMP appends to dst the ICMP error that a Decision of the packet at the start of b
// asks for, as an IP packet from the VR's own address to the packet's source. It reports false,
// and appends nothing, where none may be sent: the packet is itself an ICMP error, or an IP
// fragment other than the first, or the VR has no address of its family.
// With enough room in dst it does not allocate.
func AppendICMP(dst []byte, s *Snapshot, d Decision, b []byte) ([]byte, bool) {
	p := d.Packet
	if d.ICMP == ICMPNone || !p.Src.IsValid() || p.Length > len(b) || !mayAnswer(b[:p.Length], p) {
		return dst, false
	}
	if p.Is4() {
		if !s.own4.IsValid() {
			return dst, false
		}
		return appendICMP4(dst, s.own4, d, b[:p.Length]), true
	}
	if !s.own6.IsValid() {
		return dst, false
	}
	return appendICMP6(dst, s.own6, d, b[:p.Length]), true
}

// mayAnswer reports whether an ICMP error may be sent about the packet b (RFC 1812, Section
// 4.3.2.7; RFC 4443, Section 2.4 (e)). Parse has refused multicast and broadcast already.
func mayAnswer(b []byte, p Packet) bool {
	if p.Offset != 0 {
		return false
	}
	upper := b[len(b):]
	if p.Upper != 0 {
		upper = b[p.Upper:]
	}
	switch p.Proto {
	case protoICMPv4:
		if !p.Is4() {
			return true
		}
		if len(upper) == 0 {
			return false // may be an error
		}
		switch upper[0] {
		case 0, 8, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43: // the queries and their answers
			return true
		}
		return false
	case protoICMPv6:
		// Error messages have types below 128, and a redirect (137) counts as one.
		return p.Is4() || len(upper) > 0 && upper[0] >= 128 && upper[0] != 137
	case protoHopByHop, protoRouting, protoDestOpts, protoAH, protoMobility, protoHIP, protoShim6, protoIPFrag:
		// The walk stopped before the upper layer, which may be an ICMP error.
		return p.Is4()
	}
	return true
}

func appendICMP4(dst []byte, own netip.Addr, d Decision, b []byte) []byte {
	b = b[:min(len(b), icmp4BytesMax-ipv4HeaderLen-icmpHeaderLen)]
	at := len(dst)
	src, to := own.As4(), d.Packet.Src.As4()
	length := ipv4HeaderLen + icmpHeaderLen + len(b)
	dst = append(dst, 0x45, 0xc0) // precedence 6, internetwork control (RFC 1812, Section 4.3.2.5)
	dst = binary.BigEndian.AppendUint16(dst, uint16(length))
	dst = append(dst, 0, 0, 0x40, 0, icmpTTL, protoICMPv4, 0, 0) // DF, so ID may be zero (RFC 6864)
	dst = append(dst, src[:]...)
	dst = append(dst, to[:]...)
	header := dst[at:]
	binary.BigEndian.PutUint16(header[10:], checksum(header, 0))

	if d.ICMP == ICMPTooBig {
		dst = append(dst, 3, 4, 0, 0, 0, 0) // destination unreachable, fragmentation needed
		dst = binary.BigEndian.AppendUint16(dst, uint16(min(d.TooBig, 0xffff)))
	} else {
		dst = append(dst, 11, 0, 0, 0, 0, 0, 0, 0) // time exceeded in transit
	}
	dst = append(dst, b...)
	icmp := dst[at+ipv4HeaderLen:]
	binary.BigEndian.PutUint16(icmp[2:], checksum(icmp, 0))
	return dst
}

func appendICMP6(dst []byte, own netip.Addr, d Decision, b []byte) []byte {
	b = b[:min(len(b), icmp6BytesMax-ipv6HeaderLen-icmpHeaderLen)]
	at := len(dst)
	src, to := own.As16(), d.Packet.Src.As16()
	dst = append(dst, 0x60, 0, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(icmpHeaderLen+len(b)))
	dst = append(dst, protoICMPv6, icmpTTL)
	dst = append(dst, src[:]...)
	dst = append(dst, to[:]...)

	if d.ICMP == ICMPTooBig {
		dst = append(dst, 2, 0, 0, 0) // packet too big
		dst = binary.BigEndian.AppendUint32(dst, uint32(max(d.TooBig, MinMTU)))
	} else {
		dst = append(dst, 3, 0, 0, 0, 0, 0, 0, 0) // hop limit exceeded in transit
	}
	dst = append(dst, b...)
	icmp := dst[at+ipv6HeaderLen:]
	sum := pseudoSum(dst[at+8:at+40], protoICMPv6, len(icmp))
	binary.BigEndian.PutUint16(icmp[2:], checksum(icmp, sum))
	return dst
}
