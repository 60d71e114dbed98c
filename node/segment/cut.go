package segment

import "encoding/binary"

// A Position says where a packet stands in its run of segments. The values are those of the wire.
type Position uint8

// The positions in a run.
const (
	Single Position = iota // no run
	First
	Mid
	Last
)

// A Cutter cuts a super-packet into its segments, in the buffer where it lies: the headers of a segment are written over
// the end of the one before, so a segment is good only until the next is cut, and then the packet is no more.
type Cutter struct {
	b      []byte
	l      layout
	size   int // bytes of payload to take at a time: of one segment, or of several
	step   int // segments that these are
	at     int // where the next payload begins
	count  int // segments cut
	header [headMax]byte
}

// Start takes the super-packet p. It fails if p is none; then Next gives nothing.
func (c *Cutter) Start(p Packet) bool {
	l, ok := parse(p.Bytes)
	c.b, c.l, c.size, c.step, c.at, c.count = nil, l, int(p.GSOSize), 1, 0, 0
	if !ok || p.GSOSize == 0 || !p.Partial || len(p.Bytes) == l.head {
		return false
	}
	c.b, c.at = p.Bytes, l.head
	copy(c.header[:], p.Bytes[:l.head])
	return true
}

// StartChunks is Start, but of UDP each Next gives a chunk of as many segments as room bytes hold.
func (c *Cutter) StartChunks(p Packet, room int) bool {
	if !c.Start(p) {
		return false
	}
	if c.l.proto == protoUDP {
		c.step = min(max(1, (room-c.l.head)/c.size), udpSegmentsMax)
		c.size *= c.step
	}
	return true
}

// Next returns the next segment. Its transport checksum is not right, not even as a partial one: Seed or Finish makes it so.
func (c *Cutter) Next() (segment []byte, at Position, ok bool) {
	if c.at >= len(c.b) {
		return nil, Single, false
	}
	l := c.l
	end := min(c.at+c.size, len(c.b))
	segment = c.b[c.at-l.head : end : end]
	first, last := c.count == 0, end == len(c.b)
	copy(segment, c.header[:l.head])
	if !l.v6 {
		binary.BigEndian.PutUint16(segment[4:], binary.BigEndian.Uint16(c.header[4:])+uint16(c.count))
	}
	l.setLength(segment)
	if l.proto == protoTCP {
		tcp := segment[l.upper:]
		binary.BigEndian.PutUint32(tcp[4:], binary.BigEndian.Uint32(tcp[4:])+uint32(c.at-l.head))
		if !first {
			tcp[13] &^= tcpCWR
		}
		if !last {
			tcp[13] &^= tcpFIN | tcpPSH
		}
	}
	c.at = end
	c.count += c.step
	switch {
	case first && last:
		return segment, Single, true
	case first:
		return segment, First, true
	case last:
		return segment, Last, true
	}
	return segment, Mid, true
}

// A Finisher makes of any Packet the packets of a wire, with whole checksums, for devices that take nothing else. It leaves
// the Packet as it is. Its buffer is made at the first super-packet.
type Finisher struct {
	cutter Cutter
	copied []byte
	single []byte
	runs   bool
}

// Start takes p. Next gives nothing if p is malformed, and Start then says false.
func (f *Finisher) Start(p Packet) bool {
	f.single, f.runs = nil, false
	if !p.Partial {
		if p.GSOSize == 0 {
			f.single = p.Bytes
		}
		return p.GSOSize == 0 && len(p.Bytes) > 0
	}
	if len(p.Bytes) > LengthMax {
		return false
	}
	if f.copied == nil {
		f.copied = make([]byte, LengthMax)
	}
	p.Bytes = f.copied[:copy(f.copied, p.Bytes)]
	if p.GSOSize != 0 {
		f.runs = f.cutter.Start(p)
		return f.runs
	}
	if !Finish(p.Bytes) {
		return false
	}
	f.single = p.Bytes
	return true
}

// Next returns the next packet, good until the next call.
func (f *Finisher) Next() ([]byte, bool) {
	if f.runs {
		segment, _, ok := f.cutter.Next()
		if ok {
			f.cutter.l.finish(segment)
		}
		return segment, ok
	}
	b := f.single
	f.single = nil
	return b, b != nil
}
