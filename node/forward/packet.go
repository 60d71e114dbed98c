package forward

import (
	"encoding/binary"
	"net/netip"
)

// Lengths of fixed headers, in bytes.
const (
	ipv4HeaderLen = 20 // without options
	ipv6HeaderLen = 40
)

// IP protocol numbers that this package looks at.
const (
	protoHopByHop = 0
	protoICMPv4   = 1
	protoTCP      = 6
	protoRouting  = 43
	protoIPFrag   = 44
	protoAH       = 51
	protoICMPv6   = 58
	protoNone     = 59
	protoDestOpts = 60
	protoMobility = 135
	protoHIP      = 139
	protoShim6    = 140
)

// extHeadersMax bounds the walk over IPv6 extension headers. RFC 8200, Section 4.1 recommends
// at most seven before the upper layer; what lies behind more is not looked at.
const extHeadersMax = 8

// A Packet is what Parse found out about an inner packet. It holds no reference to the bytes.
type Packet struct {
	Src, Dst netip.Addr
	Length   int   // bytes from the first of the header on; what follows is no part of it
	Upper    int   // offset of the upper-layer header; 0 when it is not in this packet or was not found
	Proto    uint8 // protocol of the upper layer, or the last next-header value that was seen
	TTL      uint8 // or hop limit
	DF       bool  // must not be fragmented on the way; always so for IPv6
	More     bool  // an IP fragment with more to follow
	IPFrag   bool  // an IP fragment: offset not zero or more to follow
	Offset   int   // of an IP fragment, in bytes
}

// Is4 reports whether the packet is IPv4.
func (p Packet) Is4() bool { return p.Src.Is4() }

// LengthOf returns how long the packet is that b begins with, as its header says; zero if b begins with none.
func LengthOf(b []byte) int {
	switch {
	case len(b) >= ipv4HeaderLen && b[0]>>4 == 4:
		return int(binary.BigEndian.Uint16(b[2:]))
	case len(b) >= ipv6HeaderLen && b[0]>>4 == 6:
		return ipv6HeaderLen + int(binary.BigEndian.Uint16(b[4:]))
	}
	return 0
}

// Parse reads the headers of the inner packet at the start of b, as far as forwarding needs
// them. Bytes after the packet's own length are not part of it. The upper layer is not checked:
// Upper only says where it begins. A Drop other than DropNone says why it is no packet to carry.
// Parse does not allocate.
func Parse(b []byte) (Packet, Drop) {
	if len(b) < 1 {
		return Packet{}, DropShort
	}
	var p Packet
	var drop Drop
	switch b[0] >> 4 {
	case 4:
		p, drop = parse4(b)
	case 6:
		p, drop = parse6(b)
	default:
		return Packet{}, DropVersion
	}
	switch {
	case drop != DropNone:
	case p.Src.Is4In6() || p.Dst.Is4In6():
		drop = DropMapped
	case !unicast(p.Src):
		drop = DropBadSource
	case !unicast(p.Dst):
		drop = DropBadDest
	}
	if drop != DropNone {
		return Packet{}, drop
	}
	return p, DropNone
}

// parse4 reads an IPv4 header (RFC 791, Section 3.1).
func parse4(b []byte) (p Packet, drop Drop) {
	if len(b) < ipv4HeaderLen {
		return p, DropShort
	}
	headerLen := int(b[0]&0x0f) * 4
	p.Length = int(binary.BigEndian.Uint16(b[2:]))
	if headerLen < ipv4HeaderLen || p.Length < headerLen {
		return p, DropHeader
	}
	if len(b) < p.Length {
		return p, DropShort
	}
	if checksum(b[:headerLen], 0) != 0 {
		return p, DropChecksum
	}
	flags := binary.BigEndian.Uint16(b[6:])
	p.DF = flags&0x4000 != 0
	p.More = flags&0x2000 != 0
	p.Offset = int(flags&0x1fff) * 8
	p.IPFrag = p.More || p.Offset != 0
	payload := p.Length - headerLen
	// "The data of a fragment other than the last is a multiple of 8 octets" and all of it lies
	// within 65,535 octets (RFC 791, Section 3.2).
	if p.IPFrag && (p.Offset+p.Length > 0xffff || p.More && payload%8 != 0 || payload == 0) {
		return p, DropHeader
	}
	if drop = checkOptions4(b[ipv4HeaderLen:headerLen]); drop != DropNone {
		return p, drop
	}
	p.TTL = b[8]
	p.Proto = b[9]
	p.Src = netip.AddrFrom4([4]byte(b[12:16]))
	p.Dst = netip.AddrFrom4([4]byte(b[16:20]))
	if p.Offset == 0 {
		p.Upper = headerLen
	}
	return p, DropNone
}

// checkOptions4 walks the IPv4 options (RFC 791, Section 3.1) and refuses source routes, which
// would take the packet past the VN's own routing.
func checkOptions4(options []byte) Drop {
	const (
		optionEnd  = 0
		optionNop  = 1
		optionLSRR = 131
		optionSSRR = 137
	)
	for len(options) > 0 {
		switch options[0] {
		case optionEnd:
			return DropNone
		case optionNop:
			options = options[1:]
			continue
		case optionLSRR, optionSSRR:
			return DropOption
		}
		if len(options) < 2 || options[1] < 2 || int(options[1]) > len(options) {
			return DropHeader
		}
		options = options[options[1]:]
	}
	return DropNone
}

// parse6 reads an IPv6 header and walks its extension headers (RFC 8200, Section 4).
func parse6(b []byte) (p Packet, drop Drop) {
	if len(b) < ipv6HeaderLen {
		return p, DropShort
	}
	payload := int(binary.BigEndian.Uint16(b[4:]))
	p.Length = ipv6HeaderLen + payload
	if len(b) < p.Length {
		return p, DropShort
	}
	p.DF = true
	p.TTL = b[7]
	p.Src = netip.AddrFrom16([16]byte(b[8:24]))
	p.Dst = netip.AddrFrom16([16]byte(b[24:40]))
	// "Jumbograms" (RFC 2675) have payload length zero; a capture device never gives one whole.
	if payload == 0 && b[6] == protoHopByHop {
		return p, DropHeader
	}
	return walk6(p, b[:p.Length], b[6])
}

// walk6 follows the chain of extension headers from next, up to an upper layer, a header that
// it does not know, or the end of what may be looked at. A chain that it cannot follow is not
// malformed for a router, except where a header that is there contradicts the length.
func walk6(p Packet, b []byte, next uint8) (Packet, Drop) {
	at := ipv6HeaderLen
	ipFragSeen := false
	for range extHeadersMax {
		p.Proto = next
		size := 0
		switch next {
		case protoHopByHop, protoRouting, protoDestOpts, protoMobility, protoHIP, protoShim6:
			if len(b)-at < 8 {
				return p, truncated6(p)
			}
			size = 8 + int(b[at+1])*8
			if next == protoHopByHop && at != ipv6HeaderLen {
				return p, DropHeader // only "immediately following the IPv6 header"
			}
			if next == protoRouting && b[at+2] == 0 && b[at+3] != 0 {
				return p, DropOption // type 0 with segments left (RFC 5095, Section 3)
			}
		case protoAH:
			if len(b)-at < 8 {
				return p, truncated6(p)
			}
			size = 8 + int(b[at+1])*4
		case protoIPFrag:
			if len(b)-at < 8 || ipFragSeen {
				return p, DropHeader
			}
			ipFragSeen = true
			field := binary.BigEndian.Uint16(b[at+2:])
			p.Offset = int(field &^ 7)
			p.More = field&1 != 0
			// An offset of zero with nothing to follow is an "atomic fragment": whole (RFC 6946).
			p.IPFrag = p.Offset != 0 || p.More
			data := len(b) - at - 8
			if p.IPFrag && (p.Offset+data > 0xffff || p.More && data%8 != 0 || data == 0) {
				return p, DropHeader
			}
			if p.Offset != 0 {
				p.Proto = b[at] // what it is a piece of; the header itself is elsewhere
				return p, DropNone
			}
			size = 8
		default:
			if next != protoNone {
				p.Upper = at
			}
			return p, DropNone
		}
		if len(b)-at < size {
			return p, truncated6(p)
		}
		next = b[at]
		at += size
	}
	p.Proto = next
	return p, DropNone
}

// truncated6 judges a chain that ends within a header: a first fragment may (RFC 7112 says it
// should not, but only its destination can tell), a whole packet may not.
func truncated6(p Packet) Drop {
	if p.IPFrag {
		return DropNone
	}
	return DropHeader
}

// unicast reports whether addr can be one host on a network.
func unicast(addr netip.Addr) bool {
	return !addr.IsUnspecified() && !addr.IsLoopback() && !addr.IsMulticast() && addr != broadcast4
}

var broadcast4 = netip.AddrFrom4([4]byte{255, 255, 255, 255})
