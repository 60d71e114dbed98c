package segment

import "encoding/binary"

// PiecesMax is how many pieces a template run has at most: the index of one fits seven bits.
const PiecesMax = 128

// templateSizeMin is the least size of the segments of a template run. A kernel cuts what becomes of a run into segments of
// that size, so a tiny one would have it make tens of thousands.
const templateSizeMin = 256

// A Chopper cuts a super-packet of TCP into the pieces of a template run, in the buffer where it lies. The first and the
// last piece begin with headers; those between are payload, and nothing else. What the headers of a segment in the middle
// would be follows from those of the first, or, if that is lost, of the last. So a piece in the middle has room for as much
// payload as headers and payload of an ordinary segment take; where the segments of the super-packet were does not
// matter to TCP.
//
// All pieces have one length but the last, which may be a little shorter.
type Chopper struct {
	b      []byte
	l      layout
	length int // of a piece
	at     int // where the next piece begins; for the last, where its payload does
	count  int // pieces given
	n      int
	header [headMax]byte
}

// Start takes the super-packet p, whose pieces are to have at most room bytes, and returns how many there will be. It
// returns zero, and does nothing, if p cannot travel like that or gains nothing by it.
func (c *Chopper) Start(p Packet, room int) int {
	l, ok := parse(p.Bytes)
	if !ok || p.GSOSize == 0 || !p.Partial || l.proto != protoTCP || !l.v6 && p.Bytes[6]&dontFragment == 0 {
		return 0 // without the don't fragment bit each segment needs an identification
	}
	payload := len(p.Bytes) - l.head
	total := payload + 2*l.head // of all pieces
	n := (total + room - 1) / room
	if p.GSOSize < templateSizeMin || n < 3 || n > PiecesMax || n > (payload+int(p.GSOSize)-1)/int(p.GSOSize) {
		return 0
	}
	length := (total + n - 1) / n
	if length-n < 2*headMax {
		return 0
	}
	*c = Chopper{b: p.Bytes, l: l, length: length, n: n}
	copy(c.header[:], p.Bytes[:l.head])
	return n
}

// Next returns the next piece, good until the next call, its position and its index from zero on.
func (c *Chopper) Next() (piece []byte, at Position, index int, ok bool) {
	if c.count >= c.n {
		return nil, Single, 0, false
	}
	index = c.count
	c.count++
	switch index {
	case 0:
		piece, at = c.b[:c.length:c.length], First
		c.l.setLength(piece)
		piece[c.l.upper+13] &^= tcpFIN | tcpPSH
		c.at = c.length
	case c.n - 1:
		piece, at = c.b[c.at-c.l.head:], Last
		copy(piece, c.header[:c.l.head])
		c.l.setLength(piece)
		c.l.advance(piece, uint32(c.at-c.l.head))
	default:
		piece, at = c.b[c.at:c.at+c.length:c.at+c.length], Mid
		c.at += c.length
	}
	return piece, at, index, true
}

// advance makes the headers of b those of what comes so many bytes of payload later.
func (l layout) advance(b []byte, by uint32) {
	tcp := b[l.upper:]
	binary.BigEndian.PutUint32(tcp[4:], binary.BigEndian.Uint32(tcp[4:])+by)
	tcp[13] &^= tcpCWR
}

// A RunID tells a template run from all others that are remembered at a time.
type RunID struct {
	Index   uint32 // channel index and lane
	Counter uint64 // of its first piece
}

// templatesMax is how many runs are remembered: a piece that was overtaken by more than that is held for nothing.
const templatesMax = 8

// sizeSafe is the length of a packet that every path carries: RFC 8200, Section 5.
const sizeSafe = 1280

// Templates has the headers of the last template runs, for pieces that do not follow the one before: because a datagram was
// lost or overtaken. A piece that comes before all headers of its run is held; of one run at a time.
type Templates struct {
	list [templatesMax]template
	next int

	held   RunID
	pieces []heldPiece
	bytes  []byte
}

type template struct {
	id     RunID
	size   uint16
	l      layout
	seq    uint32 // where the piece of number index begins
	index  int
	header [headMax]byte
}

type heldPiece struct{ index, at, length int }

// First remembers the headers of a run, which packet, its first piece, begins with. size is that of its segments.
func (t *Templates) First(id RunID, packet []byte, size uint16) {
	if l, ok := parse(packet); ok && l.proto == protoTCP {
		t.put(id, l, packet, size, binary.BigEndian.Uint32(packet[l.upper+4:])+uint32(len(packet)-l.head), 1)
	}
}

// Last is First for the last piece, of number index, if the headers are not known yet. It returns the size of the run's
// segments. That is in the first piece only; without it they become as long as every path carries.
func (t *Templates) Last(id RunID, packet []byte, index int) (size uint16) {
	if x := t.find(id); x != nil {
		return x.size
	}
	l, ok := parse(packet)
	if !ok || l.proto != protoTCP {
		return 0
	}
	size = uint16(sizeSafe - l.head)
	t.put(id, l, packet, size, binary.BigEndian.Uint32(packet[l.upper+4:]), index)
	return size
}

func (t *Templates) put(id RunID, l layout, packet []byte, size uint16, seq uint32, index int) {
	x := &t.list[t.next%templatesMax]
	t.next++
	x.id, x.size, x.l, x.seq, x.index = id, size, l, seq, index
	copy(x.header[:], packet[:l.head])
	x.header[l.upper+13] &^= tcpFIN | tcpPSH | tcpCWR
}

func (t *Templates) find(id RunID) *template {
	for i := range t.list {
		if x := &t.list[i]; x.id == id && x.l.head > 0 {
			return x
		}
	}
	return nil
}

// Head returns how many bytes of headers a piece of the run needs in front; zero: they are not known.
func (t *Templates) Head(id RunID) int {
	if x := t.find(id); x != nil {
		return x.l.head
	}
	return 0
}

// Complete writes the headers in front of a piece of number index: room begins with Head bytes for them, and the piece
// fills the rest. What becomes of it can begin a run of segments of the size that is returned.
func (t *Templates) Complete(id RunID, room []byte, index int) (size uint16, ok bool) {
	x := t.find(id)
	if x == nil || len(room) <= x.l.head || len(room) > LengthMax {
		return 0, false
	}
	x.complete(room, index, len(room)-x.l.head)
	return x.size, true
}

// complete writes the headers of what begins with a piece of number index and of length bytes.
func (x *template) complete(room []byte, index, length int) {
	copy(room, x.header[:x.l.head])
	x.l.setLength(room)
	binary.BigEndian.PutUint32(room[x.l.upper+4:], x.seq+uint32((index-x.index)*length))
}

// Hold keeps a copy of a piece whose run's headers are not known. It returns how many pieces are lost for good by that: those of the
// run that was held before.
func (t *Templates) Hold(id RunID, piece []byte, index int) (lost int) {
	if t.held != id {
		lost = t.drop()
		t.held = id
	}
	if t.bytes == nil {
		t.bytes = make([]byte, 0, LengthMax)
	}
	if len(piece) == 0 || len(t.bytes)+len(piece) > cap(t.bytes) || len(t.pieces) == PiecesMax {
		return lost + 1
	}
	t.pieces = append(t.pieces, heldPiece{index, len(t.bytes), len(piece)})
	t.bytes = append(t.bytes, piece...)
	return lost
}

func (t *Templates) drop() int {
	n := len(t.pieces)
	t.pieces, t.bytes = t.pieces[:0], t.bytes[:0]
	return n
}

// Holds reports whether pieces of the run are held.
func (t *Templates) Holds(id RunID) bool { return len(t.pieces) > 0 && t.held == id }

// Release gives the held pieces of a run whose headers are known by now: those that follow each other as one packet, in room,
// or in new memory where that is not enough. After the last one, ok is false.
func (t *Templates) Release(id RunID, room []byte) (p Packet, ok bool) {
	x := t.find(id)
	if x == nil || !t.Holds(id) {
		return p, false
	}
	first := t.pieces[0]
	n, end := 1, first.at+first.length
	for n < len(t.pieces) && t.pieces[n].index == first.index+n && t.pieces[n].length == first.length &&
		x.l.head+end-first.at+first.length <= LengthMax {
		end += first.length
		n++
	}
	b := append(append(room[:0], x.header[:x.l.head]...), t.bytes[first.at:end]...)
	x.complete(b, first.index, first.length)
	if t.pieces = append(t.pieces[:0], t.pieces[n:]...); len(t.pieces) == 0 {
		t.bytes = t.bytes[:0]
	}
	x.l.seed(b)
	p = Packet{Bytes: b, Partial: true}
	if len(b)-x.l.head > int(x.size) {
		p.GSOSize = x.size
	}
	return p, true
}
