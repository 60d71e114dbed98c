package node

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/forward"
	"github.com/vine-mesh/vine/tables"
)

// The obvious VR does with packets what the documents say (docs/architecture.md, "Life of a packet"; docs/wire.md, "Data"), one
// packet of the wire after the other: it knows no run, chunk, bundle, piece or cache, copies whatever it changes and sums
// every checksum anew. It shares with the lanes the types of their input and the names of the reasons, and no code.

// A world is the tables of a VR that sends, and what is behind all others.
type world struct {
	space     []netip.Prefix
	own       [2]netip.Addr // of the sending VR: ICMP errors of IPv4 and IPv6 come from here
	mtu       int           // of the path between the two VRs
	congested bool          // on that path, every datagram is marked so
	nets      []obviousNet
	answers   int // ICMP errors that may be sent
}

// An obviousNet is a VN: who delivers what, and its members behind the two VRs whose LNDT we have.
type obviousNet struct {
	id       tables.VNID
	prefixes map[tables.RouterID][]netip.Prefix
	local    []netip.Addr // members behind the sending VR
	far      []netip.Addr // members behind the receiving one
}

// An outcome is what becomes of a batch.
type outcome struct {
	lan      []plain // written to the LAN of the sending VR: answers, and what stays there
	waits    []plain // for a channel
	far      []plain // written to the LAN of the receiving VR
	drops    [forward.DropCount]int
	farDrops [forward.DropCount]int
}

// A plain is a packet of the wire, with whole checksums.
type plain struct {
	b     []byte
	anyID bool // its identification means nothing, and may be another (RFC 6864, Section 4.1)
}

// carry returns what becomes of packets that hosts send.
func (w *world) carry(batch []capture.Packet) (o outcome) {
	for _, p := range batch {
		whole := p.Bytes // an ICMP error is about what the host's kernel handed over
		if p.GSOSize == 0 {
			w.packet(&o, onWire(p)[0], whole)
			continue
		}
		// What would be said of each segment alike is said once, of all of them.
		if drop, answer := w.judge(whole); drop != forward.DropNone {
			o.drops[drop] += len(onWire(p))
			if answer {
				o.lan = w.appendAnswer(o.lan, whole, 0)
			}
			continue
		}
		for _, s := range onWire(w.narrow(p)) {
			w.packet(&o, s, s)
		}
	}
	return o
}

// judge says why a packet goes nowhere, whatever its length is, and whether its sender is told.
func (w *world) judge(b []byte) (drop forward.Drop, answer bool) {
	s, faults := see(b)
	if len(faults) > 0 {
		return faults[0], false
	}
	n := w.netOf(s.src)
	switch {
	case n == nil:
		return forward.DropSource, false
	case !within(w.space, s.dst):
		return forward.DropSpace, false
	case n.router(s.dst) == 0:
		return forward.DropNoRoute, false
	case s.ttl < 2:
		return forward.DropTTL, true
	case n.router(s.dst) == laneA && !slices.Contains(n.local, s.dst):
		return forward.DropNotMember, false
	}
	return forward.DropNone, false
}

// packet carries one packet of the wire. handed is what the host's kernel handed over.
func (w *world) packet(o *outcome, b, handed []byte) {
	if drop, answer := w.judge(handed); drop != forward.DropNone {
		o.drops[drop]++
		if answer {
			o.lan = w.appendAnswer(o.lan, handed, 0)
		}
		return
	}
	s, _ := see(b)
	b = b[:s.length]
	n := w.netOf(s.src)
	to, mtu := n.router(s.dst), 1280
	switch to {
	case laneA:
		o.lan = append(o.lan, plain{b: older(b)})
		return
	case laneB:
		mtu = w.mtu
	}
	if len(b) > mtu && len(b) > 1280 && s.df {
		o.drops[forward.DropTooBig]++
		told := mtu
		if s.v6 {
			told = max(mtu, 1280)
		}
		o.lan = w.appendAnswer(o.lan, handed, told)
		return
	}
	b = clamped(older(b), s, mtu)
	if to != laneB {
		o.waits = append(o.waits, plain{b: b})
		return
	}
	pieces := [][]byte{b}
	if len(b) > mtu && len(b) > 1280 {
		pieces = fragmented(b, mtu)
	}
	for _, piece := range pieces {
		if !slices.Contains(n.far, s.dst) {
			o.farDrops[forward.DropNotMember]++
			continue
		}
		if piece = w.marked(piece); piece == nil {
			o.farDrops[forward.DropCongestion]++
			continue
		}
		o.far = append(o.far, plain{b: piece, anyID: !s.v6 && s.df && s.proto == 17})
	}
}

// marked returns a packet as it leaves a congested path (RFC 6040, Section 4.2): none, if its ends cannot be told.
func (w *world) marked(b []byte) []byte {
	at, shift := 1, 0
	if b[0]>>4 == 6 {
		shift = 4
	}
	switch {
	case !w.congested:
		return b
	case b[at]>>shift&3 == 0:
		return nil
	}
	b = bytes.Clone(b)
	if b[at] |= 3 << shift; shift == 0 {
		return summed(b)
	}
	return b
}

// narrow returns a super-packet whose segments, if their length was a guess, the path carries.
func (w *world) narrow(p capture.Packet) capture.Packet {
	s, faults := see(p.Bytes)
	if n := w.netOf(s.src); !p.Guessed || len(faults) > 0 || n == nil || n.router(s.dst) == laneA {
		return p
	}
	mtu := 1280
	if w.netOf(s.src).router(s.dst) == laneB {
		mtu = w.mtu
	}
	head := s.upper + 4*int(p.Bytes[s.upper+12]>>4)
	p.GSOSize = min(p.GSOSize, uint16(mtu-head))
	return p
}

func (w *world) netOf(src netip.Addr) *obviousNet {
	for i := range w.nets {
		if slices.Contains(w.nets[i].local, src) {
			return &w.nets[i]
		}
	}
	return nil
}

// router returns who delivers to an address; zero: nobody.
func (n *obviousNet) router(dst netip.Addr) tables.RouterID {
	for id, prefixes := range n.prefixes {
		if within(prefixes, dst) {
			return id
		}
	}
	return 0
}

func within(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// older returns the packet after one more hop.
func older(b []byte) []byte {
	b = bytes.Clone(b)
	if b[0]>>4 == 6 {
		b[7]--
		return b
	}
	b[8]--
	return summed(b)
}

// summed makes the checksum of an IPv4 header right, in place.
func summed(b []byte) []byte {
	header := b[:4*int(b[0]%16)]
	put(b, 10, 0)
	put(b, 10, 0xffff-sum16(header))
	return b
}

// clamped returns a TCP SYN with an MSS that the path carries (RFC 6691, Section 2).
func clamped(b []byte, s sight, mtu int) []byte {
	if s.proto != 6 || s.upper == 0 || len(b)-s.upper < 20 {
		return b
	}
	tcp := bytes.Clone(b)[s.upper:]
	end := 4 * int(tcp[12]>>4)
	most := mtu - 40
	if s.v6 {
		most = max(mtu, 1280) - 60
	}
	if tcp[13]&2 == 0 || tcp[13]&4 != 0 || end < 20 || end > len(tcp) {
		return b
	}
	for at := 20; at < end && tcp[at] != 0; {
		if tcp[at] == 1 {
			at++
			continue
		}
		if at+1 == end || tcp[at+1] < 2 || at+int(tcp[at+1]) > end {
			break
		}
		if tcp[at] == 2 && tcp[at+1] == 4 {
			if word(tcp, at+2) <= most {
				break
			}
			// What was wrong with the checksum, if anything, must stay: it is changed by as much as the sum (RFC 1624).
			before := sum16(tcp)
			put(tcp, at+2, most)
			sum := 0xffff - word(tcp, 16) + sum16(tcp) + 0xffff - before
			put(tcp, 16, 0xffff-((sum-1)%0xffff+1))
			return append(bytes.Clone(b[:s.upper]), tcp...)
		}
		at += int(tcp[at+1])
	}
	return b
}

// fragmented returns the IP fragments of an IPv4 packet (RFC 791, Section 3.2, "An Example Fragmentation Procedure").
func fragmented(b []byte, mtu int) (list [][]byte) {
	header, data := b[:4*int(b[0]%16)], b[4*int(b[0]%16):]
	more, offset := b[6]&0x20, word(b, 6)%0x2000
	for len(data) > 0 {
		n := len(data)
		if len(header)+n > mtu {
			n = (mtu - len(header)) / 8 * 8
		}
		f := append(bytes.Clone(header), data[:n]...)
		put(f, 2, len(f))
		put(f, 6, offset) // the reserved flag "must be zero"
		f[6] |= more
		if n < len(data) {
			f[6] |= 0x20
		}
		list = append(list, summed(f))
		data, offset = data[n:], offset+n/8
		header = laterHeader(b)
	}
	return list
}

// laterHeader returns the header of an IP fragment that is not the first: the options that are marked to be copied, and no others.
func laterHeader(b []byte) []byte {
	h := bytes.Clone(b[:20])
	for at := 20; at < 4*int(b[0]%16) && b[at] != 0; {
		n := 1
		if b[at] != 1 {
			n = int(b[at+1])
		}
		if b[at] >= 0x80 {
			h = append(h, b[at:at+n]...)
		}
		at += n
	}
	for len(h)%4 > 0 {
		h = append(h, 0)
	}
	h[0] = 0x40 + byte(len(h)/4)
	return h
}

// appendAnswer adds the ICMP error about a packet, if one may be sent: too big for an MTU, or, with zero, too old.
func (w *world) appendAnswer(lan []plain, b []byte, mtu int) []plain {
	s, _ := see(b)
	b = b[:s.length]
	if w.answers == 0 || s.offset > 0 || s.undetermined && s.v6 {
		return lan
	}
	// "An ICMP error message MUST NOT be sent as the result of receiving an ICMP error message" (RFC 1812, Section 4.3.2.7).
	if !s.v6 && s.proto == 1 && (len(b) == s.upper || !slices.Contains([]byte{0, 8, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43}, b[s.upper])) ||
		s.v6 && s.proto == 58 && (s.upper == 0 || len(b) == s.upper || b[s.upper] < 128 || b[s.upper] == 137) {
		return lan
	}
	w.answers--
	if s.v6 {
		b = b[:min(len(b), 1280-48)] // RFC 4443, Sections 3.2 and 3.3
		icmp := append([]byte{3, 0, 0, 0, 0, 0, 0, 0}, b...)
		if mtu > 0 {
			icmp[0] = 2
			binary.BigEndian.PutUint32(icmp[4:], uint32(mtu))
		}
		a := []byte{0x60, 0, 0, 0, 0, 0, 58, 64}
		put(a, 4, len(icmp))
		a = append(append(a, w.own[1].AsSlice()...), s.src.AsSlice()...)
		put(icmp, 2, 0xffff-sum16(pseudo(a, 58, len(icmp)), icmp))
		return append(lan, plain{b: append(a, icmp...)})
	}
	b = b[:min(len(b), 576-28)] // RFC 1812, Section 4.3.2.3
	icmp := append([]byte{11, 0, 0, 0, 0, 0, 0, 0}, b...)
	if mtu > 0 {
		icmp[0], icmp[1] = 3, 4
		put(icmp, 6, mtu)
	}
	put(icmp, 2, 0xffff-sum16(icmp))
	a := []byte{0x45, 0xc0, 0, 0, 0, 0, 0x40, 0, 64, 1, 0, 0} // RFC 1812, Section 4.3.2.5: precedence 6
	put(a, 2, 20+len(icmp))
	a = append(append(a, w.own[0].AsSlice()...), s.src.AsSlice()...)
	return append(lan, plain{b: append(summed(a), icmp...)})
}
