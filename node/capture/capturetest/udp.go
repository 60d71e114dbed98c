package capturetest

import (
	"encoding/binary"
	"net/netip"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/segment"
)

const (
	ipv4Len  = 20
	ipv6Len  = 40
	udpLen   = 8
	udpProto = 17
	hopLimit = 64
)

// AppendUDP appends one IP packet that holds one UDP datagram, with correct checksums (RFC 768,
// RFC 791, RFC 8200). Both addresses are IPv4 or both IPv6, or AppendUDP panics. The hop limit is 64.
func AppendUDP(b []byte, src, dst netip.AddrPort, payload []byte) []byte {
	if src.Addr().Is4() != dst.Addr().Is4() {
		panic("capturetest: addresses of two families in one packet")
	}
	start := len(b)
	length := udpLen + len(payload)
	if src.Addr().Is4() {
		b = append(b, 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(ipv4Len+length))
		b = append(b, 0, 0, 0x40, 0, hopLimit, udpProto, 0, 0) // don't fragment
		b = append(append(b, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
		binary.BigEndian.PutUint16(b[start+10:], ^sum(0, b[start:]))
	} else {
		b = append(b, 0x60, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(length))
		b = append(b, udpProto, hopLimit)
		b = append(append(b, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
	}
	datagram := len(b)
	b = binary.BigEndian.AppendUint16(b, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	b = append(b, 0, 0)
	b = append(b, payload...)
	check := ^sum(pseudo(src.Addr(), dst.Addr(), length), b[datagram:])
	if check == 0 {
		check = 0xffff // "If the computed checksum is zero, it is transmitted as all ones" (RFC 768)
	}
	binary.BigEndian.PutUint16(b[datagram+6:], check)
	return b
}

// ParseUDP takes apart a packet such as AppendUDP makes: one UDP datagram, not fragmented, without
// IPv6 extension headers, checksums correct. ok is false for any other packet. payload shares
// memory with pkt.
func ParseUDP(pkt []byte) (src, dst netip.AddrPort, payload []byte, ok bool) {
	var from, to netip.Addr
	var datagram []byte
	switch {
	case len(pkt) >= ipv4Len && pkt[0]>>4 == 4:
		header := int(pkt[0]&15) * 4
		total := int(binary.BigEndian.Uint16(pkt[2:]))
		more := binary.BigEndian.Uint16(pkt[6:]) & 0x3fff // more fragments, and the offset
		if header < ipv4Len || total < header || total != len(pkt) || more != 0 ||
			pkt[9] != udpProto || sum(0, pkt[:header]) != 0xffff {
			return
		}
		from, to = netip.AddrFrom4([4]byte(pkt[12:])), netip.AddrFrom4([4]byte(pkt[16:]))
		datagram = pkt[header:]
	case len(pkt) >= ipv6Len && pkt[0]>>4 == 6:
		if int(binary.BigEndian.Uint16(pkt[4:])) != len(pkt)-ipv6Len || pkt[6] != udpProto {
			return
		}
		from, to = netip.AddrFrom16([16]byte(pkt[8:])), netip.AddrFrom16([16]byte(pkt[24:]))
		datagram = pkt[ipv6Len:]
	default:
		return
	}
	if len(datagram) < udpLen || int(binary.BigEndian.Uint16(datagram[4:])) != len(datagram) {
		return
	}
	check := binary.BigEndian.Uint16(datagram[6:])
	if check == 0 && from.Is6() || check != 0 && sum(pseudo(from, to, len(datagram)), datagram) != 0xffff {
		return
	}
	src = netip.AddrPortFrom(from, binary.BigEndian.Uint16(datagram))
	dst = netip.AddrPortFrom(to, binary.BigEndian.Uint16(datagram[2:]))
	return src, dst, datagram[udpLen:], true
}

// ParsePacket is ParseUDP of a packet that a device gave, which may have a partial checksum: it is finished in place.
func ParsePacket(p capture.Packet) (src, dst netip.AddrPort, payload []byte, ok bool) {
	if p.GSOSize != 0 || p.Partial && !segment.Finish(p.Bytes) {
		return src, dst, nil, false
	}
	return ParseUDP(p.Bytes)
}

// pseudo returns the sum over the pseudo header of a UDP datagram.
func pseudo(src, dst netip.Addr, length int) uint32 {
	acc := uint32(length) + udpProto
	for _, a := range [][]byte{src.AsSlice(), dst.AsSlice()} {
		for i := 0; i < len(a); i += 2 {
			acc += uint32(binary.BigEndian.Uint16(a[i:]))
		}
	}
	return acc
}

// sum is the ones' complement sum of RFC 1071 over b, begun with acc.
func sum(acc uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		acc += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		acc += uint32(b[0]) << 8
	}
	for acc > 0xffff {
		acc = acc>>16 + acc&0xffff
	}
	return uint16(acc)
}
