package node

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/forward"
)

// A sight is what there is to see in a packet.
type sight struct {
	v6           bool
	src, dst     netip.Addr
	length       int // of the packet
	header       int // of the IPv4 header
	ttl, proto   byte
	df, more     bool
	offset       int  // of an IP fragment, in bytes
	upper        int  // where the transport header is; zero: none is to be seen
	undetermined bool // of IPv6: what the transport is, is not to be seen
}

// see reads a packet, and returns all reasons for which it is none to carry.
func see(b []byte) (s sight, faults []forward.Drop) {
	fault := func(d forward.Drop) { faults = append(faults, d) }
	switch {
	case len(b) == 0:
		fault(forward.DropShort)
		return
	case b[0]>>4 == 4:
		if !s.see4(b, fault) {
			return
		}
	case b[0]>>4 == 6:
		if !s.see6(b, fault) {
			return
		}
	default:
		fault(forward.DropVersion)
		return
	}
	if s.src.Is4In6() || s.dst.Is4In6() {
		fault(forward.DropMapped)
	}
	nobody := func(a netip.Addr) bool {
		return a.IsMulticast() || a.IsLoopback() || a.IsUnspecified() || a == netip.MustParseAddr("255.255.255.255")
	}
	if nobody(s.src) {
		fault(forward.DropBadSource)
	}
	if nobody(s.dst) {
		fault(forward.DropBadDest)
	}
	return
}

// see4 reads an IPv4 header (RFC 791, Section 3.1). It reports false where there is nothing more to be read.
func (s *sight) see4(b []byte, fault func(forward.Drop)) bool {
	if len(b) < 20 {
		fault(forward.DropShort)
		return false
	}
	s.header, s.length = 4*int(b[0]%16), word(b, 2)
	if s.header < 20 || s.length < s.header {
		fault(forward.DropHeader)
		return false
	}
	if s.length > len(b) {
		fault(forward.DropShort)
		return false
	}
	if sum16(b[:s.header]) != 0xffff {
		fault(forward.DropChecksum)
	}
	s.df, s.more, s.offset = b[6]&0x40 != 0, b[6]&0x20 != 0, word(b, 6)%0x2000*8
	if data := s.length - s.header; s.more || s.offset > 0 {
		if data == 0 || s.more && data%8 != 0 || s.offset+s.length > 65535 {
			fault(forward.DropHeader)
		}
	}
options:
	for at := 20; at < s.header; {
		kind := b[at]
		switch {
		case kind == 0:
			break options
		case kind == 1:
			at++
			continue
		case kind == 131 || kind == 137: // loose and strict source route
			fault(forward.DropOption)
			break options
		case at+1 == s.header || b[at+1] < 2 || at+int(b[at+1]) > s.header:
			fault(forward.DropHeader)
			break options
		}
		at += int(b[at+1])
	}
	s.ttl, s.proto = b[8], b[9]
	s.src, s.dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	if s.offset == 0 {
		s.upper = s.header
	}
	return true
}

// see6 reads an IPv6 header and at most eight behind it (RFC 8200, Section 4).
func (s *sight) see6(b []byte, fault func(forward.Drop)) bool {
	s.v6, s.df = true, true
	if len(b) < 40 {
		fault(forward.DropShort)
		return false
	}
	s.length = 40 + word(b, 4)
	if s.length > len(b) {
		fault(forward.DropShort)
		return false
	}
	b = b[:s.length]
	s.ttl = b[7]
	s.src, s.dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	s.proto = b[6]
	if s.length == 40 && s.proto == 0 { // RFC 2675: a jumbogram
		fault(forward.DropHeader)
	}
	piece := false
	at := 40
	for range 8 {
		size := 0
		switch s.proto {
		case 0, 43, 60, 135, 139, 140: // options, routing, mobility, host identity, shim
			size = 8
			if at+8 <= len(b) {
				size = 8 + 8*int(b[at+1])
				if s.proto == 0 && at > 40 {
					fault(forward.DropHeader)
					return true
				}
				if s.proto == 43 && b[at+2] == 0 && b[at+3] > 0 { // RFC 5095
					fault(forward.DropOption)
					return true
				}
			}
		case 51: // authentication
			size = 8
			if at+8 <= len(b) {
				size = 8 + 4*int(b[at+1])
			}
		case 44: // fragment
			if at+8 > len(b) || piece {
				fault(forward.DropHeader)
				return true
			}
			piece = true
			s.offset, s.more = word(b, at+2)&^7, b[at+3]&1 != 0
			if data := len(b) - at - 8; s.offset > 0 || s.more {
				if data == 0 || s.more && data%8 != 0 || s.offset+data > 65535 {
					fault(forward.DropHeader)
					return true
				}
			}
			if s.offset > 0 {
				s.proto, s.undetermined = b[at], true
				return true
			}
			size = 8
		case 59: // no next header
			return true
		default:
			s.upper = at
			return true
		}
		if at+size > len(b) {
			s.undetermined = true
			if s.offset == 0 && !s.more { // RFC 7112: all headers are in the first fragment, but only the destination can tell
				fault(forward.DropHeader)
			}
			return true
		}
		s.proto = b[at]
		at += size
	}
	s.undetermined = ownHeader(s.proto)
	return true
}

// ownHeader reports whether a number is that of an extension header.
func ownHeader(proto byte) bool {
	return slices.Contains([]byte{0, 43, 44, 51, 60, 135, 139, 140}, proto)
}

// onWire returns the packets that a network card makes of p: segments as docs/wire.md has them, and whole checksums.
func onWire(p capture.Packet) (list [][]byte) {
	b := bytes.Clone(p.Bytes)
	if !p.Partial {
		return [][]byte{b}
	}
	upper := 4 * int(b[0]%16)
	proto := b[9]
	if b[0]>>4 == 6 {
		upper, proto = 40, b[6]
		if proto == 0 {
			upper, proto = 48+8*int(b[41]), b[40]
		}
	}
	head, sumAt := upper+8, upper+6
	if proto == 6 {
		head, sumAt = upper+4*int(b[upper+12]>>4), upper+16
	}
	size := int(p.GSOSize)
	if size == 0 {
		size = len(b)
	}
	for at := head; at == head || at < len(b); at += size {
		end := min(at+size, len(b))
		s := append(bytes.Clone(b[:head]), b[at:end]...)
		if b[0]>>4 == 6 {
			put(s, 4, len(s)-40)
		} else {
			put(s, 2, len(s))
			put(s, 4, word(b, 4)+(at-head)/size)
			summed(s)
		}
		if proto == 6 {
			binary.BigEndian.PutUint32(s[upper+4:], binary.BigEndian.Uint32(b[upper+4:])+uint32(at-head))
			if end < len(b) {
				s[upper+13] &^= 0x01 | 0x08 // FIN, PSH
			}
			if at > head {
				s[upper+13] &^= 0x80 // CWR
			}
		} else {
			put(s, upper+4, len(s)-upper)
		}
		put(s, sumAt, 0)
		sum := 0xffff - sum16(pseudo(s, proto, len(s)-upper), s[upper:])
		if sum == 0 && proto == 17 {
			sum = 0xffff // RFC 768: zero would say that there is none
		}
		put(s, sumAt, sum)
		list = append(list, s)
	}
	return list
}

// pseudo returns the pseudo-header of what is in an IP packet (RFC 9293, Section 3.1; RFC 8200, Section 8.1).
func pseudo(b []byte, proto byte, length int) []byte {
	addrs := b[12:20]
	if b[0]>>4 == 6 {
		addrs = b[8:40]
	}
	return append(bytes.Clone(addrs), 0, byte(length>>16), byte(length>>8), byte(length), 0, proto)
}

// sum16 is the ones' complement sum of parts, each of which is padded to whole words (RFC 1071).
func sum16(parts ...[]byte) int {
	sum := 0
	for _, b := range parts {
		for i, x := range b {
			if i%2 == 0 {
				sum += int(x) * 256
			} else {
				sum += int(x)
			}
		}
	}
	if sum > 0 {
		sum = (sum-1)%0xffff + 1
	}
	return sum
}

func word(b []byte, at int) int { return int(b[at])*256 + int(b[at+1]) }

func put(b []byte, at, value int) { b[at], b[at+1] = byte(value>>8), byte(value) }
