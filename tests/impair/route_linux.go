package impair

import (
	"encoding/binary"
	"net/netip"
)

const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd
)

// destination returns the number of the site that has the packet's destination, -1 if none has.
func (s *Switch) destination(packet []byte) int {
	if len(packet) < etherHeader {
		return -1
	}
	ip := packet[etherHeader:]
	var to netip.Addr
	switch kind := binary.BigEndian.Uint16(packet[12:]); {
	case kind == etherIPv4 && len(ip) >= 20:
		to = netip.AddrFrom4([4]byte(ip[16:20]))
	case kind == etherIPv6 && len(ip) >= 40:
		to = netip.AddrFrom16([16]byte(ip[24:40]))
	default:
		return -1
	}
	for i, t := range s.sites {
		for _, p := range t.prefixes {
			if p.Contains(to) {
				return i
			}
		}
	}
	return -1
}

// answer answers a question for an Ethernet address, whatever the address asked for: a site asks its
// gateway's only. It reports whether the packet was one of those that sites send to find their neighbours.
func (t *site) answer(packet []byte) bool {
	if len(packet) < etherHeader {
		return false
	}
	switch kind := binary.BigEndian.Uint16(packet[12:]); {
	case kind == etherARP:
		return t.answerARP(packet)
	case kind == etherIPv6 && len(packet) >= etherHeader+48 && packet[etherHeader+6] == protocolICMPv6:
		t.answerSolicitation(packet)
		// Multicast listener reports and router solicitations are for nobody.
		return packet[etherHeader+24] == 0xff || packet[etherHeader+40] == neighbourSolicitation
	}
	return false
}

// answerARP turns a request into its reply (RFC 826).
func (t *site) answerARP(packet []byte) bool {
	if len(packet) < etherHeader+28 {
		return false
	}
	arp := packet[etherHeader : etherHeader+28]
	if binary.BigEndian.Uint16(arp[6:]) != 1 {
		return true
	}
	var target [4]byte
	copy(target[:], arp[24:28])
	binary.BigEndian.PutUint16(arp[6:], 2)
	copy(arp[18:28], arp[8:18]) // who asked
	copy(arp[8:14], t.ours[:])
	copy(arp[14:18], target[:])
	t.reply(packet[:etherHeader+28])
	return true
}

const (
	protocolICMPv6         = 58
	neighbourSolicitation  = 135
	neighbourAdvertisement = 136
)

// answerSolicitation turns a neighbour solicitation into the advertisement (RFC 4861 section 4.4).
func (t *site) answerSolicitation(packet []byte) {
	const size = etherHeader + 40 + 32
	ip := packet[etherHeader:]
	if ip[40] != neighbourSolicitation || len(packet) < etherHeader+40+24 || cap(packet) < size {
		return
	}
	target := [16]byte(ip[48:64])
	if asker := netip.AddrFrom16([16]byte(ip[8:24])); asker.IsUnspecified() || t.has(netip.AddrFrom16(target)) {
		return // a site that looks for itself
	}
	packet = packet[:size]
	ip = packet[etherHeader:]
	binary.BigEndian.PutUint16(ip[4:], 32)
	ip[7] = 255
	copy(ip[24:40], ip[8:24])
	copy(ip[8:24], target[:])
	icmp := ip[40:72]
	clear(icmp)
	icmp[0], icmp[4] = neighbourAdvertisement, 0xe0 // router, solicited, override
	copy(icmp[8:], target[:])
	icmp[24], icmp[25] = 2, 1 // the target's link-layer address
	copy(icmp[26:], t.ours[:])
	binary.BigEndian.PutUint16(icmp[2:], checksumICMPv6(ip))
	t.reply(packet)
}

func (t *site) has(a netip.Addr) bool {
	for _, p := range t.prefixes {
		if p.Contains(a) && p.IsSingleIP() {
			return true
		}
	}
	return false
}

// reply sends a packet back to the site at once.
func (t *site) reply(packet []byte) {
	copy(packet, t.theirs[:])
	copy(packet[6:], t.ours[:])
	if t.batch.send(t.fd, [][]byte{packet}) == 0 {
		t.undeliverable++
	}
}

// checksumICMPv6 returns the checksum of an ICMPv6 message without options in front of it, its own field
// being zero (RFC 4443 section 2.3).
func checksumICMPv6(ip []byte) uint16 {
	sum := uint32(protocolICMPv6) + uint32(binary.BigEndian.Uint16(ip[4:]))
	for i := 8; i+1 < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
