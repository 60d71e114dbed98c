package segment

import "encoding/binary"

// udpSegmentsMax is UDP_MAX_SEGMENTS of Linux before 6.9; later kernels take twice as many.
const udpSegmentsMax = 64

// A Run is segments of one super-packet on their way to be it again. The first lies at the begin of some room, and the
// payload of each other is opened right behind what is there: its headers then lie for a moment over the end of the payload
// before, which is saved and put back.
//
// A run of UDP has no more segments than a kernel takes from us; what comes then opens another run.
type Run struct {
	buf   []byte // begins with the first segment's headers
	n     int    // bytes of it that are the packet; zero: no run is open
	size  int
	count int // segments
	ended bool
	whole bool // a template run: where segments end is not where pieces do
	bare  bool // the room that was given is for payload alone
	flags byte // of TCP, that only the last segment has
	l     layout

	header [headMax]byte // of the first segment
	saved  [headMax]byte
}

// Start opens a run with the segment b, or chunk of segments; further ones go into b's capacity. It fails if no segment of
// size can be like that.
func (r *Run) Start(b []byte, size uint16, at Position) bool {
	r.n = 0
	l, ok := parse(b)
	if !ok || !l.fits(len(b)-l.head, int(size), at) {
		return false
	}
	r.start(b, l, size)
	r.count = segments(len(b)-l.head, int(size))
	r.ended = at == Last
	return true
}

// StartWhole opens a run with all of its segments in b.
func (r *Run) StartWhole(b []byte, size uint16) bool {
	if r.StartTemplate(b, size) { // TCP, in segments that are not tiny
		r.ended = true
		return true
	}
	return r.Start(b, size, Last)
}

// StartTemplate opens a template run with a piece that begins with headers, or got them from Templates.Complete. size is that
// of the segments that become of it.
func (r *Run) StartTemplate(b []byte, size uint16) bool {
	r.n = 0
	l, ok := parse(b)
	if !ok || l.proto != protoTCP || size < templateSizeMin || len(b) == l.head {
		return false
	}
	r.start(b, l, size)
	r.whole = true
	return true
}

func (r *Run) start(b []byte, l layout, size uint16) {
	r.buf, r.n, r.size, r.count, r.ended, r.whole, r.flags, r.l = b[:cap(b)], len(b), int(size), 1, false, false, 0, l
	copy(r.header[:], b[:l.head])
}

// fits reports whether what stands at a place may have a payload of n bytes: a whole segment, shorter only at the end; of UDP
// several as well. A chunk of TCP could make thousands of segments of a byte each: that way is for template runs.
func (l layout) fits(n, size int, at Position) bool {
	switch {
	case n <= 0 || size <= 0 || at != Last && n%size != 0:
		return false
	case l.proto == protoUDP:
		return segments(n, size) <= udpSegmentsMax
	}
	return n <= size
}

// segments returns how many segments n bytes are.
func segments(n, size int) int { return (n + size - 1) / size }

// Open reports whether there is a run.
func (r *Run) Open() bool { return r.n > 0 }

// Unfinished reports whether there is a run whose last segment has not come.
func (r *Run) Unfinished() bool { return r.n > 0 && !r.ended }

// Len returns the bytes of the open run; zero if there is none.
func (r *Run) Len() int { return r.n }

// Room returns an empty slice at the place where a next segment of length bytes, headers included, is to be opened; or, if
// it is bare, a next piece of a template run that has none. It fails if the run has ended or the segment has no room. After
// it comes Keep or Undo.
func (r *Run) Room(length int, bare bool) ([]byte, bool) {
	head := r.l.head
	if bare {
		head = 0
	}
	at := r.n - head
	if r.n == 0 || r.ended || bare && !r.whole || length <= head ||
		r.l.proto == protoUDP && r.count+segments(length-head, r.size) > udpSegmentsMax || at+length > min(len(r.buf), LengthMax) {
		return nil, false
	}
	r.bare = bare
	if !bare {
		copy(r.saved[:], r.buf[at:r.n])
	}
	return r.buf[at:at:len(r.buf)], true
}

// Undo makes the run what it was before Room.
func (r *Run) Undo() {
	if !r.bare {
		copy(r.buf[r.n-r.l.head:r.n], r.saved[:])
	}
}

// Keep takes the segment that was opened in the room. It fails, like Undo, if it is not the one that follows.
func (r *Run) Keep(segment []byte, at Position) bool {
	if r.bare {
		r.n += len(segment)
		r.count++
		return true
	}
	l, ok := parse(segment)
	payload := len(segment) - l.head
	ok = ok && l == r.l && (r.whole && payload > 0 || r.l.fits(payload, r.size, at)) && r.follows(segment)
	if ok && l.proto == protoTCP && at == Last {
		r.flags = segment[l.upper+13] & (tcpFIN | tcpPSH)
	}
	r.Undo()
	if !ok {
		return false
	}
	r.n += payload
	r.count += segments(payload, r.size)
	r.ended = at == Last
	return true
}

// follows reports whether a segment goes on where the run ends.
func (r *Run) follows(segment []byte) bool {
	if !r.l.sameFlow(segment, r.header[:]) {
		return false
	}
	at := r.l.upper + 4
	return r.l.proto != protoTCP ||
		binary.BigEndian.Uint32(segment[at:]) == binary.BigEndian.Uint32(r.header[at:])+uint32(r.n-r.l.head)
}

// Close ends the run and returns what it became: with its headers right, and a partial checksum.
func (r *Run) Close() Packet {
	p := Packet{Bytes: r.buf[:r.n:r.n], Partial: true}
	if r.n-r.l.head > r.size {
		p.GSOSize = uint16(r.size)
	}
	if r.l.proto == protoTCP {
		p.Bytes[r.l.upper+13] |= r.flags
	}
	r.l.setLength(p.Bytes)
	r.l.seed(p.Bytes)
	r.buf, r.n = nil, 0
	return p
}
