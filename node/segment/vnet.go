package segment

import "encoding/binary"

// VnetLen is the length of the header that Linux puts before the packets of a TUN device with IFF_VNET_HDR: struct
// virtio_net_hdr, in the byte order of the machine.
//
//	flags 1, gso_type 1, hdr_len 2, gso_size 2, csum_start 2, csum_offset 2
const VnetLen = 10

const (
	vnetNeedsCsum = 1

	vnetGSONone  = 0
	vnetGSOTCPv4 = 1
	vnetGSOTCPv6 = 4
	vnetGSOUDP   = 5 // VIRTIO_NET_HDR_GSO_UDP_L4
	vnetGSOECN   = 0x80

	gsoByFrags = 0xffff // a size that means something else to the kernel
)

// gsoType returns what the kernel calls a super-packet of this kind.
func (l layout) gsoType() byte {
	switch {
	case l.proto == protoUDP:
		return vnetGSOUDP
	case l.v6:
		return vnetGSOTCPv6
	}
	return vnetGSOTCPv4
}

// FromVnet makes a Packet of what the kernel gave: the header h, and the packet in b. A checksum that is partial in a way
// that Packet cannot say is finished here. It fails if header and packet do not agree. hdr_len is not looked at: of packets
// that are forwarded it is wrong.
func FromVnet(h *[VnetLen]byte, b []byte) (Packet, bool) {
	p := Packet{Bytes: b}
	kind, size := h[1]&^vnetGSOECN, binary.NativeEndian.Uint16(h[4:])
	start, offset := int(binary.NativeEndian.Uint16(h[6:])), int(binary.NativeEndian.Uint16(h[8:]))
	if h[0]&vnetNeedsCsum == 0 {
		return p, kind == vnetGSONone
	}
	l, ok := parse(b)
	ok = ok && start == l.upper && offset == l.sumAt()
	if kind == vnetGSONone {
		p.Partial = ok
		return p, ok || finishAt(b, start, offset)
	}
	if !ok || kind != l.gsoType() || size == 0 || size == gsoByFrags {
		return p, false
	}
	p.Partial = true
	if len(b)-l.head > int(size) {
		p.GSOSize = size
	}
	return p, true
}

// finishAt does what the kernel asks of a device: the sum of all from start on goes to start + offset.
func finishAt(b []byte, start, offset int) bool {
	if start > len(b) || start+offset+2 > len(b) {
		return false
	}
	sum := ^fold(add(b[start:], 0))
	if sum == 0 {
		sum = 0xffff // as good as zero for all, and UDP needs it
	}
	binary.BigEndian.PutUint16(b[start+offset:], sum)
	return true
}

// ToVnet writes the header with which the kernel takes p. All of it but GSOSize and Partial is read from the packet itself.
func ToVnet(h *[VnetLen]byte, p Packet) bool {
	*h = [VnetLen]byte{}
	if !p.Partial {
		return p.GSOSize == 0
	}
	l, ok := parse(p.Bytes)
	if !ok || p.GSOSize == gsoByFrags {
		return false
	}
	h[0] = vnetNeedsCsum
	binary.NativeEndian.PutUint16(h[6:], uint16(l.upper))
	binary.NativeEndian.PutUint16(h[8:], uint16(l.sumAt()))
	if p.GSOSize == 0 {
		return true
	}
	h[1] = l.gsoType()
	if l.proto == protoTCP && p.Bytes[l.upper+13]&tcpCWR != 0 {
		h[1] |= vnetGSOECN
	}
	binary.NativeEndian.PutUint16(h[2:], uint16(l.head))
	binary.NativeEndian.PutUint16(h[4:], p.GSOSize)
	return true
}

// ShiftVnet moves the header's offsets by so many bytes: those of a link header that the packet has in front of it on the
// other side. Offsets that point in front of the packet afterwards agree with none, and FromVnet refuses them.
func ShiftVnet(h *[VnetLen]byte, by int) {
	if h[0]&vnetNeedsCsum != 0 {
		binary.NativeEndian.PutUint16(h[6:], binary.NativeEndian.Uint16(h[6:])+uint16(by))
	}
	if length := binary.NativeEndian.Uint16(h[2:]); length != 0 {
		binary.NativeEndian.PutUint16(h[2:], length+uint16(by))
	}
}

// GuessSuper makes a Packet of what the kernel gave as a super-packet of TCP without saying of what segments: they are as
// long as fit into mtu bytes, for TCP does not care. It fails for what is no TCP packet with a partial checksum.
func GuessSuper(b []byte, mtu int) (Packet, bool) {
	l, ok := parse(b)
	if !ok || l.proto != protoTCP || mtu <= l.head {
		return Packet{}, false
	}
	p := Packet{Bytes: b, Partial: true}
	if size := mtu - l.head; len(b)-l.head > size {
		p.GSOSize, p.Guessed = uint16(size), true
	}
	return p, true
}

// Narrow makes the segments of a super-packet fit into mtu bytes, if their length was guessed and is more.
func Narrow(p Packet, mtu int) (Packet, bool) {
	if !p.Guessed || p.SegmentLength() <= mtu {
		return p, false
	}
	return GuessSuper(p.Bytes, mtu)
}
