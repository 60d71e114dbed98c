package node

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"github.com/vine-mesh/vine/node/capture"
)

// A generator makes packets of hosts at random: most of them go somewhere, many are at a border.
type generator struct {
	rng   *rand.Rand
	mtu   int // of the path
	ports int // if not zero, each flow has a port of its own, from this on
}

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// batch returns at most laneBatch packets: of flows, with their own regularities, one after the other or mixed.
func (g *generator) batch() (list []capture.Packet) {
	n := 1 + g.rng.IntN(laneBatch)
	for len(list) < n {
		f := g.flow()
		switch g.rng.IntN(7) {
		case 0, 1:
			list = append(list, f.equal()...)
		case 2:
			list = append(list, f.superTCP())
		case 3:
			list = append(list, f.superUDP())
		case 4:
			list = append(list, capture.Packet{Bytes: f.packet(6, f.tcp(g.rng.IntN(1400)))})
		case 5:
			list = append(list, capture.Packet{Bytes: f.odd()})
		case 6:
			p := pick(g.rng, []capture.Packet{f.superTCP(), {Bytes: f.packet(6, f.tcp(100))}, {Bytes: f.odd()}, f.equal()[0]})
			if p.GSOSize == 0 && !p.Partial {
				p.Bytes = g.damage(p.Bytes)
			}
			list = append(list, p)
		}
	}
	if list = list[:min(len(list), laneBatch)]; g.rng.IntN(3) == 0 {
		g.rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	return list
}

// damage changes bytes of the headers; then, often, the IPv4 checksum is made right again, so that it does not hide the rest.
func (g *generator) damage(b []byte) []byte {
	for range 1 + g.rng.IntN(2) {
		b[g.rng.IntN(min(len(b), pick(g.rng, []int{1, 8, 64})))] = byte(g.rng.IntN(256))
	}
	if g.rng.IntN(4) == 0 {
		b = b[:g.rng.IntN(len(b)+1)]
	}
	if n := 4 * int(append(b, 0)[0]%16); g.rng.IntN(4) > 0 && len(b) > 0 && b[0]>>4 == 4 && n >= 20 && n <= len(b) {
		summed(b)
	}
	return b
}

// A flow is what packets between two hosts have in common.
type flow struct {
	*generator
	src, dst       netip.Addr
	sport, dport   int
	ttl, tos       byte
	df             bool
	id             int
	ipOptions      []byte // or, of IPv6, hop-by-hop options
	tcpOptions     []byte
	seq            uint32
	length, window int
}

func (g *generator) flow() *flow {
	ends := pick(g.rng, [][2]netip.Addr{
		{hostA4, hostB4}, {hostA4, hostB4}, {hostA4, hostB4}, {hostA6, hostB6}, {hostA6, hostB6}, {otherA4, otherB4}, {otherA6, otherB6},
		{hostA4, localA4}, {hostA6, local6}, {hostA4, hostC4}, {hostA6, hostC6},
		{hostA4, strayB4}, {hostA6, strayB6}, {hostA4, strayA}, {strayA, hostB4}, {hostA4, otherB4},
		{hostA4, netip.MustParseAddr("192.0.2.1")}, {hostA4, netip.MustParseAddr("224.0.0.1")}, {hostA4, netip.MustParseAddr("10.200.0.1")},
		{netip.MustParseAddr("127.0.0.1"), hostB4}, {hostA6, netip.MustParseAddr("::ffff:10.192.2.5")},
	}[:pick(g.rng, []int{7, 21})])
	f := &flow{
		generator: g, src: ends[0], dst: ends[1], sport: g.rng.IntN(3), dport: g.rng.IntN(3),
		ttl: pick(g.rng, []byte{64, 64, 64, 64, 64, 64, 255, 2, 1, 0}), tos: pick(g.rng, []byte{0, 0, 2, 3, 0xb8}),
		df: g.rng.IntN(3) > 0, id: pick(g.rng, []int{0, 1, 0xfff0, 0xffff, g.rng.IntN(0x10000)}),
		seq: pick(g.rng, []uint32{0, 0xffffff00, g.rng.Uint32()}), window: g.rng.IntN(0x10000),
		length: pick(g.rng, []int{0, 1, 18, 64, 172, 500, 1000, 1200, 1252, 1300, 1400, g.mtu - 28, g.mtu - 48, g.mtu - 20, 1 + g.rng.IntN(1472)}),
	}
	if g.ports > 0 {
		f.sport = g.ports
		g.ports++
	}
	switch {
	case g.rng.IntN(6) > 0:
	case f.src.Is4():
		f.ipOptions = pick(g.rng, [][]byte{{1, 1, 1, 0}, {148, 4, 0, 0}, {7, 7, 4, 1, 2, 3, 4, 0}, {7, 3, 4, 148, 4, 0, 0, 1}, {131, 3, 4, 0}})
	default:
		f.ipOptions = pick(g.rng, [][]byte{{1, 4, 0, 0, 0, 0}, {5, 2, 0, 0, 1, 0}})
	}
	f.tcpOptions = pick(g.rng, [][]byte{nil, {1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8}, {2, 4, 5, 180}, {1, 2, 4, 35, 40, 3, 3, 7}, {2, 4, 0, 9, 4, 2, 1, 0}})
	return f
}

// packet returns an IP packet with its headers right.
func (f *flow) packet(proto byte, payload []byte) []byte {
	var b []byte
	if f.src.Is4() {
		b = []byte{0x45 + byte(len(f.ipOptions)/4), f.tos, 0, 0, byte(f.id >> 8), byte(f.id), 0, 0, f.ttl, proto, 0, 0}
		if f.df {
			b[6] = 0x40
		}
		b = append(append(append(b, f.src.AsSlice()...), f.dst.AsSlice()...), f.ipOptions...)
		put(b, 2, len(b)+len(payload))
		b = summed(b)
	} else {
		b = []byte{0x60 + f.tos>>4, f.tos << 4, 1, 2, 0, 0, proto, f.ttl}
		b = append(append(b, f.src.AsSlice()...), f.dst.AsSlice()...)
		if len(f.ipOptions) > 0 {
			b[6] = 0
			b = append(append(b, proto, 0), f.ipOptions...)
		}
		put(b, 4, len(b)-40+len(payload))
	}
	f.id = (f.id + 1) % 0x10000
	if at := map[byte]int{6: 16, 17: 6, 58: 2}[proto]; at > 0 && len(payload) >= at+2 {
		sum := 0xffff - sum16(pseudo(b, proto, len(payload)), payload)
		if sum == 0 && proto == 17 {
			sum = 0xffff
		}
		put(payload, at, sum)
	}
	return append(b, payload...)
}

func (f *flow) udp(length int) []byte {
	b := make([]byte, 8+length)
	put(b, 0, f.sport)
	put(b, 2, f.dport)
	put(b, 4, len(b))
	f.fill(b[8:])
	return b
}

func (f *flow) tcp(length int) []byte {
	b := make([]byte, 20, 20+len(f.tcpOptions)+length)
	put(b, 0, f.sport)
	put(b, 2, f.dport)
	binary.BigEndian.PutUint32(b[4:], f.seq)
	b[12] = byte(5+len(f.tcpOptions)/4) << 4
	b[13] = byte(f.rng.IntN(256)) &^ 6 // neither SYN nor RST
	if f.rng.IntN(3) == 0 {
		b[13] |= pick(f.rng, []byte{2, 2, 4, 6})
	}
	put(b, 14, f.window)
	b = append(b, f.tcpOptions...)
	b = b[:len(b)+length]
	f.fill(b[len(b)-length:])
	f.seq += uint32(length)
	return b
}

func (f *flow) fill(b []byte) {
	for i := range b {
		b[i] = byte(f.rng.Uint32())
	}
}

// equal returns UDP packets of one length, as an application sends them, with something else among them now and then.
func (f *flow) equal() (list []capture.Packet) {
	for range 1 + f.rng.IntN(20) {
		length := f.length
		switch f.rng.IntN(20) {
		case 0:
			length = f.rng.IntN(length + 1)
		case 1:
			f.id = f.rng.IntN(0x10000)
		case 2:
			f.tos ^= 1
		case 3:
			f.ttl ^= 128
		}
		p := capture.Packet{Bytes: f.packet(17, f.udp(length))}
		at := len(p.Bytes) - length - 2
		switch f.rng.IntN(12) {
		case 0:
			if length > 1 && f.rng.IntN(2) == 0 { // the checksum comes out as zero, which UDP must not send
				put(p.Bytes, at+2, 0)
				put(p.Bytes, at, 0)
				upper := p.Bytes[at-6:]
				put(p.Bytes, at+2, 0xffff-sum16(pseudo(p.Bytes, 17, len(upper)), upper))
			}
			p = partial(p, 17, at-6, at)
		case 1:
			p.Bytes[at] ^= 1 // damaged on its way here
		case 2:
			put(p.Bytes, at, 0)
		}
		list = append(list, p)
	}
	return list
}

// partial gives a packet the checksum that a kernel gives one whose sum hardware is to finish.
func partial(p capture.Packet, proto byte, upper, sumAt int) capture.Packet {
	put(p.Bytes, sumAt, sum16(pseudo(p.Bytes, proto, len(p.Bytes)-upper)))
	p.Partial = true
	return p
}

func (f *flow) superTCP() capture.Packet {
	size := pick(f.rng, []int{1, 100, 255, 256, 536, 1000, 1220, f.mtu - 40 - len(f.tcpOptions), f.mtu - 60 - len(f.tcpOptions), 1400, 1448})
	length := min(pick(f.rng, []int{1, size, size + 1, 2 * size, 3*size - 1, 20 * size, 45 * size, f.rng.IntN(64_000)})+1, 64_000, 300*size)
	tcp := f.tcp(length)
	p := capture.Packet{Bytes: f.packet(6, tcp)}
	upper := len(p.Bytes) - len(tcp)
	p = partial(p, 6, upper, upper+16)
	if length > size {
		p.GSOSize, p.Guessed = uint16(size), f.rng.IntN(4) == 0
	}
	return p
}

func (f *flow) superUDP() capture.Packet {
	size := pick(f.rng, []int{1, 18, 172, 1000, 1200, f.mtu - 28, f.mtu - 48, 1400, 1472})
	length := min(pick(f.rng, []int{1, size, size + 1, 2 * size, 3*size - 1, 20 * size, 64 * size}), 64_000, 64*size)
	p := capture.Packet{Bytes: f.packet(17, f.udp(length))}
	upper := len(p.Bytes) - length - 8
	p = partial(p, 17, upper, upper+6)
	if length > size {
		p.GSOSize = uint16(size)
	}
	return p
}

// odd returns what is neither TCP nor UDP, or not all of it, or something behind it.
func (f *flow) odd() []byte {
	data := make([]byte, 8+f.length)
	f.fill(data)
	v6 := f.src.Is6()
	switch f.rng.IntN(6) {
	case 0: // ICMP: echo, errors, unknown
		data[0] = pick(f.rng, []byte{0, 3, 8, 11, 200})
		if v6 {
			data[0] = pick(f.rng, []byte{1, 2, 3, 128, 129, 137})
			return f.packet(58, data)
		}
		return f.packet(1, data)
	case 1: // an IP fragment
		data = data[:len(data)/8*8]
		more, offset := f.rng.IntN(2), f.rng.IntN(8000)
		if v6 {
			return f.packet(44, append([]byte{17, 0, byte(offset >> 5), byte(offset<<3) | byte(more), 1, 2, 3, 4}, data...))
		}
		b := f.packet(17, data)
		put(b, 6, word(b, 6)&0x4000|more<<13|offset)
		return summed(b)
	case 2:
		if v6 { // TCP behind destination options, routing or nothing
			next := pick(f.rng, []byte{60, 43, 51, 135, 59, 140})
			return f.packet(next, append([]byte{6, 0, 4, 0, 0, 0, 0, 0}, f.tcp(f.length)...))
		}
		return f.packet(47, data)
	case 3:
		return append(f.packet(17, f.udp(f.length)), 1, 2, 3) // padding of the link below
	case 4:
		return f.packet(byte(f.rng.IntN(256)), data)
	}
	tcp := f.tcp(f.length)
	return f.packet(6, tcp[:f.rng.IntN(min(len(tcp), 40))]) // headers that end too early
}
