package forward

import "encoding/binary"

// tcpHeaderLen is the TCP header without options (RFC 9293, Section 3.1), in bytes.
const tcpHeaderLen = 20

// ClampMSS lowers the MSS option of a TCP SYN or SYN-ACK, in place, so that the segments it
// asks for fit in inner packets of mtu bytes, and mends the TCP checksum. It reports whether
// it changed the packet. It never raises an MSS, and never adds one: a host that sends none
// gets 536 or 1,220 bytes (RFC 9293, Section 3.7.1), which always fit. p is what Parse said
// of b. The checksum in b must be complete, not one that hardware is to finish.
func ClampMSS(b []byte, p Packet, mtu int) bool {
	const (
		flagSYN = 0x02
		flagRST = 0x04

		optionEnd = 0
		optionNop = 1
		optionMSS = 2
	)
	if p.Proto != protoTCP || p.Upper == 0 || p.Length > len(b) || p.Length-p.Upper < tcpHeaderLen {
		return false
	}
	tcp := b[p.Upper:p.Length]
	headerLen := int(tcp[12]>>4) * 4
	if tcp[13]&flagSYN == 0 || tcp[13]&flagRST != 0 || headerLen < tcpHeaderLen || headerLen > len(tcp) {
		return false
	}
	// "The MTU value SHOULD be decreased by only the size of the fixed IP and TCP headers and
	// SHOULD NOT be decreased to account for any possible IP or TCP options" (RFC 6691, Section 2).
	limit := mtu - tcpHeaderLen - ipv4HeaderLen
	if !p.Is4() {
		limit = max(mtu, MinMTU) - tcpHeaderLen - ipv6HeaderLen
	}
	if limit < 1 || limit > 0xffff {
		return false
	}
	for at := tcpHeaderLen; at < headerLen; {
		switch tcp[at] {
		case optionEnd:
			return false
		case optionNop:
			at++
			continue
		}
		if headerLen-at < 2 || tcp[at+1] < 2 || int(tcp[at+1]) > headerLen-at {
			return false
		}
		if tcp[at] == optionMSS && tcp[at+1] == 4 {
			return lowerMSS(tcp, at+2, uint16(limit))
		}
		at += int(tcp[at+1])
	}
	return false
}

// lowerMSS writes limit over the MSS at tcp[at:] if that is more.
func lowerMSS(tcp []byte, at int, limit uint16) bool {
	mss := binary.BigEndian.Uint16(tcp[at:])
	if mss <= limit {
		return false
	}
	binary.BigEndian.PutUint16(tcp[at:], limit)
	if at%2 != 0 { // the value lies across two checksummed words: so do both with swapped bytes
		mss, limit = mss<<8|mss>>8, limit<<8|limit>>8
	}
	check := adjust(binary.BigEndian.Uint16(tcp[16:]), mss, limit)
	binary.BigEndian.PutUint16(tcp[16:], check)
	return true
}
