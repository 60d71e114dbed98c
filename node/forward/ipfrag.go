package forward

import "encoding/binary"

// optionCopied marks an IPv4 option that every IP fragment must carry (RFC 791, Section 3.1).
const optionCopied = 0x80

// AppendIPFrags fragments the IPv4 packet at the start of b into IP fragments of at most mtu
// bytes each (RFC 791, Section 3.2), for a packet whose Decision is FitIPFrag; p is what Parse
// said of it. Fragment i is appended to bufs[i], which the caller leaves empty with room for mtu
// bytes; with room enough nothing is allocated. It returns how many there are. It reports false,
// with bufs in no particular state, when bufs are too few, when the packet has DF set or is
// IPv6, or when mtu leaves no room for a header and 8 bytes of payload.
//
// The identification stays the packet's own: a sender that leaves DF clear gives each packet
// another one (RFC 6864, Section 4.2).
func AppendIPFrags(bufs [][]byte, b []byte, p Packet, mtu int) (int, bool) {
	if !p.Is4() || p.DF || p.Length > len(b) {
		return 0, false
	}
	headerLen := int(b[0]&0x0f) * 4
	first, payload := b[:headerLen], b[headerLen:p.Length]
	header, offset := first, p.Offset
	var scratch [60]byte // the longest IPv4 header
	n := 0
	for len(payload) > 0 {
		room := (mtu - len(header)) &^ 7
		if len(payload) <= mtu-len(header) {
			room = len(payload)
		}
		if room <= 0 || n == len(bufs) {
			return 0, false
		}
		more := p.More || room < len(payload)
		bufs[n] = appendIPFrag(bufs[n], header, payload[:room], offset, more)
		n++
		offset += room
		payload = payload[room:]
		if n == 1 {
			header = copiedHeader(scratch[:0], first)
		}
	}
	return n, n > 0
}

// appendIPFrag appends one IP fragment with the given header, which it completes.
func appendIPFrag(dst, header, payload []byte, offset int, more bool) []byte {
	at := len(dst)
	dst = append(dst, header...)
	dst = append(dst, payload...)
	h := dst[at : at+len(header)]
	binary.BigEndian.PutUint16(h[2:], uint16(len(header)+len(payload)))
	field := uint16(offset / 8)
	if more {
		field |= 0x2000
	}
	binary.BigEndian.PutUint16(h[6:], field)
	h[10], h[11] = 0, 0
	binary.BigEndian.PutUint16(h[10:], checksum(h, 0))
	return dst
}

// copiedHeader appends to dst the header of every IP fragment but the first: header with those
// options only that must be copied, padded to a multiple of 4 bytes.
func copiedHeader(dst, header []byte) []byte {
	dst = append(dst, header[:ipv4HeaderLen]...)
	for options := header[ipv4HeaderLen:]; len(options) > 0 && options[0] != 0; {
		size := 1 // of a no-operation
		if options[0] != 1 {
			size = int(options[1]) // Parse has checked it
		}
		if options[0]&optionCopied != 0 {
			dst = append(dst, options[:size]...)
		}
		options = options[size:]
	}
	for len(dst)%4 != 0 {
		dst = append(dst, 0) // end of options
	}
	dst[0] = 0x40 | byte(len(dst)/4)
	return dst
}
