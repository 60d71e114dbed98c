package lease

import (
	"encoding/binary"
	"net/netip"
)

// A MAC is an Ethernet address.
type MAC [6]byte

// EtherType is that of frames with a Message: "Local Experimental Ethertype 1" (IEEE Std 802, Section 9.2.4), so that no router
// passes them on and no firewall of the machine is asked.
const EtherType = 0x88b5

// GroupMAC is where frames with a Message go: a multicast address of local scope.
var GroupMAC = MAC{0x03, 0x56, 0x49, 0x4e, 0x45, 0x01}

var broadcastMAC = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

const (
	etherLen    = 14
	frameMin    = 60 // without the check sequence (IEEE Std 802.3, Section 4A.2.3.3)
	etherARP    = 0x0806
	etherIPv6   = 0x86dd
	arpLen      = 28
	ipv6Len     = 40
	icmpv6      = 58
	solicit     = 135 // RFC 4861, Section 4.3
	advertise   = 136
	ndLen       = 24 // either, without options
	optSource   = 1
	optTarget   = 2
	flagRouter  = 0x80
	flagAnswer  = 0x40
	flagReplace = 0x20
)

// A Frame is what was read off the LAN: an Ask, a Claim or a Beat; nil: none of these.
type Frame interface{ frame() }

// An Ask is a machine's question who has an address.
type Ask struct {
	Addr netip.Addr // asked for
	From netip.Addr // who asks; unspecified: it has no address yet
	MAC  MAC        // of who asks
}

// A Claim is a machine's word that it has an address.
type Claim struct {
	Addr netip.Addr
	MAC  MAC
}

// A Beat is a frame with a Message, which nobody has looked at yet.
type Beat struct {
	MAC     MAC // of who sent it
	Message []byte
}

func (Ask) frame()   {}
func (Claim) frame() {}
func (Beat) frame()  {}

// ParseFrame reads an Ethernet frame. It keeps no reference to b but Beat.Message.
func ParseFrame(b []byte) Frame {
	if len(b) < etherLen {
		return nil
	}
	from, rest := MAC(b[6:12]), b[etherLen:]
	switch binary.BigEndian.Uint16(b[12:]) {
	case EtherType:
		return Beat{from, rest}
	case etherARP:
		return parseARP(rest)
	case etherIPv6:
		return parseND(from, rest)
	}
	return nil
}

// parseARP reads a packet of RFC 826 for IPv4 over Ethernet.
func parseARP(b []byte) Frame {
	const ethernet, ipv4, request, reply = 1, 0x0800, 1, 2
	if len(b) < arpLen || binary.BigEndian.Uint16(b) != ethernet || binary.BigEndian.Uint16(b[2:]) != ipv4 || b[4] != 6 || b[5] != 4 {
		return nil
	}
	mac, sender, target := MAC(b[8:14]), netip.AddrFrom4([4]byte(b[14:18])), netip.AddrFrom4([4]byte(b[24:28]))
	switch op := binary.BigEndian.Uint16(b[6:]); {
	case op == request && sender != target:
		return Ask{target, sender, mac}
	case op == request || op == reply:
		return Claim{sender, mac}
	}
	return nil
}

// parseND reads a neighbour solicitation or advertisement (RFC 4861, Sections 4.3 and 4.4).
func parseND(from MAC, b []byte) Frame {
	if len(b) < ipv6Len+ndLen || b[0]>>4 != 6 || b[6] != icmpv6 || b[7] != 255 {
		return nil // "the IP Hop Limit field has a value of 255, i.e., the packet could not possibly have been forwarded"
	}
	length := int(binary.BigEndian.Uint16(b[4:]))
	if length < ndLen || len(b) < ipv6Len+length {
		return nil
	}
	src, nd := netip.AddrFrom16([16]byte(b[8:24])), b[ipv6Len:ipv6Len+length]
	if checksumND(b[8:40], nd) != 0 || nd[1] != 0 {
		return nil
	}
	target := netip.AddrFrom16([16]byte(nd[8:24]))
	option := from
	for opts := nd[ndLen:]; len(opts) >= 8; opts = opts[8*int(opts[1]):] {
		if opts[1] == 0 || len(opts) < 8*int(opts[1]) {
			return nil
		}
		if opts[0] == optSource || opts[0] == optTarget {
			option = MAC(opts[2:8])
		}
	}
	switch nd[0] {
	case solicit:
		return Ask{target, src, option}
	case advertise:
		return Claim{target, option}
	}
	return nil
}

// AppendBeat appends the frame with a Message.
func AppendBeat(b []byte, from MAC, message []byte) []byte {
	return pad(append(ether(b, GroupMAC, from, EtherType), message...), len(b))
}

// AppendAnnouncement appends the frame that tells the whole LAN that addr is at mac: a gratuitous ARP request (RFC 5227,
// Section 2.3: "broadcast both in its Sender and Target IP address") or an unsolicited neighbour advertisement (RFC 4861,
// Section 7.2.6).
func AppendAnnouncement(b []byte, mac MAC, addr netip.Addr) []byte {
	if addr.Is4() {
		return pad(appendARP(ether(b, broadcastMAC, mac, etherARP), 1, mac, addr, MAC{}, addr), len(b))
	}
	all := netip.AddrFrom16([16]byte{0xff, 0x02, 15: 1})
	return appendAdvertisement(ether(b, multicastMAC(all), mac, etherIPv6), flagRouter|flagReplace, mac, addr, all)
}

// AppendAsk appends an ARP request of a machine for an IPv4 address.
func AppendAsk(b []byte, mac MAC, from, addr netip.Addr) []byte {
	return pad(appendARP(ether(b, broadcastMAC, mac, etherARP), 1, mac, from, MAC{}, addr), len(b))
}

// AppendAnswer appends the frame that answers an Ask: the address is at mac.
func AppendAnswer(b []byte, mac MAC, a Ask) []byte {
	switch {
	case a.Addr.Is4():
		return pad(appendARP(ether(b, a.MAC, mac, etherARP), 2, mac, a.Addr, a.MAC, a.From), len(b))
	case a.From.IsUnspecified():
		// "If the source of the solicitation is the unspecified address, the node MUST set the Solicited flag to zero and
		// multicast the advertisement to the all-nodes address." (RFC 4861, Section 7.2.4)
		return AppendAnnouncement(b, mac, a.Addr)
	}
	return appendAdvertisement(ether(b, a.MAC, mac, etherIPv6), flagRouter|flagAnswer|flagReplace, mac, a.Addr, a.From)
}

func ether(b []byte, to, from MAC, kind uint16) []byte {
	b = append(append(b, to[:]...), from[:]...)
	return binary.BigEndian.AppendUint16(b, kind)
}

// pad makes the frame that begins at start as long as a frame has to be.
func pad(b []byte, start int) []byte {
	for len(b)-start < frameMin {
		b = append(b, 0)
	}
	return b
}

func appendARP(b []byte, op uint16, mac MAC, addr netip.Addr, toMAC MAC, to netip.Addr) []byte {
	b = append(b, 0, 1, 8, 0, 6, 4)
	b = binary.BigEndian.AppendUint16(b, op)
	b = append(append(b, mac[:]...), addr.AsSlice()...)
	return append(append(b, toMAC[:]...), to.AsSlice()...)
}

func appendAdvertisement(b []byte, flags byte, mac MAC, addr, to netip.Addr) []byte {
	const length = ndLen + 8
	src, dst := addr.As16(), to.As16()
	b = append(b, 0x60, 0, 0, 0, 0, length, icmpv6, 255)
	start := len(b)
	b = append(append(b, src[:]...), dst[:]...)
	b = append(b, advertise, 0, 0, 0, flags, 0, 0, 0)
	b = append(b, src[:]...)
	b = append(append(b, optTarget, 1), mac[:]...)
	nd := b[start+32:]
	binary.BigEndian.PutUint16(nd[2:], checksumND(b[start:start+32], nd))
	return b
}

// checksumND returns what makes the checksum of an ICMPv6 message right, zero where it is (RFC 4443, Section 2.3). addrs are the
// source and the destination.
func checksumND(addrs, nd []byte) uint16 {
	sum := uint32(len(nd)) + icmpv6
	for _, part := range [][]byte{addrs, nd} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
		if len(part)%2 == 1 {
			sum += uint32(part[len(part)-1]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// multicastMAC returns where packets to an IPv6 multicast address go (RFC 2464, Section 7).
func multicastMAC(a netip.Addr) MAC {
	b := a.As16()
	return MAC{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

// SolicitedNode returns the multicast address to which machines send their question who has an IPv6 address (RFC 4291,
// Section 2.7.1).
func SolicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}
