package segment

import "encoding/binary"

// Gather returns how many packets at the beginning of a list can travel as one run, as if the kernel had given them as one
// super-packet, and the payload bytes of each but the last: UDP of one flow, all with the same headers but for
// identification, length and checksum, all with payloads of the same length, but for the last, which may be shorter. It is
// 1 if the first two cannot, and never more than a UDP super-packet may have segments.
//
// In a run checksums are made anew at the far side. So that no packet that was damaged on its way here becomes a good one, a
// checksum that is not partial must be right; and it must be there. Identifications are made anew too: they must rise by
// one, or not matter, which is so with the don't fragment bit (RFC 6864, section 4.1).
func Gather(list []Packet) (n int, size uint16) {
	list = list[:min(len(list), udpSegmentsMax)]
	l, ok := udp(list[0])
	if !ok || len(list) == 1 {
		return 1, 0
	}
	first := list[0]
	size = uint16(len(first.Bytes) - l.head)
	for n = 1; n < len(list); n++ {
		p := list[n]
		m, ok := udp(p)
		if !ok || m != l || len(p.Bytes) > len(first.Bytes) || !l.alike(first.Bytes, p.Bytes, n) ||
			n == 1 && !l.sound(first) || !l.sound(p) {
			break
		}
		if len(p.Bytes) < len(first.Bytes) {
			return n + 1, size
		}
	}
	return n, size
}

// AppendChunk appends to dst one chunk of gathered packets: the headers of the first, and all payloads.
func AppendChunk(dst []byte, list []Packet) []byte {
	at := len(dst)
	dst = append(dst, list[0].Bytes...)
	l, _ := udp(list[0])
	for _, p := range list[1:] {
		dst = append(dst, p.Bytes[l.head:]...)
	}
	if len(list) > 1 {
		l.setLength(dst[at:])
	}
	return dst
}

// ChunkMax returns how many packets like p, gathered, a chunk of room bytes holds; at least one.
func ChunkMax(p Packet, room int) int {
	l, ok := udp(p)
	if !ok {
		return 1
	}
	return min(max(1, (room-l.head)/(len(p.Bytes)-l.head)), udpSegmentsMax)
}

// udp reports whether a packet is UDP, whole, with something in it.
func udp(p Packet) (layout, bool) {
	if p.GSOSize != 0 || len(p.Bytes) < 20 || p.Bytes[9] != protoUDP && p.Bytes[6] != protoUDP {
		return layout{}, false
	}
	l, ok := parse(p.Bytes)
	return l, ok && l.proto == protoUDP && l.head < len(p.Bytes) && int(binary.BigEndian.Uint16(p.Bytes[l.upper+4:])) == len(p.Bytes)-l.upper
}

// sound reports whether the checksum of a packet may be made anew.
func (l layout) sound(p Packet) bool { return p.Partial || l.intact(p.Bytes) }

// intact reports whether a packet has a transport checksum, and the right one.
func (l layout) intact(b []byte) bool {
	if binary.BigEndian.Uint16(b[l.upper+l.sumAt():]) == 0 {
		return false
	}
	addrs := b[12:20]
	if l.v6 {
		addrs = b[8:40]
	}
	return fold(add(b[l.upper:], add(addrs, uint64(l.proto)+uint64(len(b)-l.upper)))) == 0xffff
}

// alike reports whether b, which comes n after first, differs in nothing that is the same in all segments of a run.
func (l layout) alike(first, b []byte, n int) bool {
	if string(first[l.upper:l.upper+4]) != string(b[l.upper:l.upper+4]) {
		return false
	}
	if l.v6 {
		return string(first[:4]) == string(b[:4]) && string(first[6:l.upper]) == string(b[6:l.upper])
	}
	return string(first[:2]) == string(b[:2]) && string(first[6:10]) == string(b[6:10]) && string(first[12:l.upper]) == string(b[12:l.upper]) &&
		(first[6]&dontFragment != 0 || binary.BigEndian.Uint16(b[4:]) == binary.BigEndian.Uint16(first[4:])+uint16(n))
}
