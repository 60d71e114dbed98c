package forward

import "github.com/vine-mesh/vine/tables"

// Split cuts a packet of at most MinMTU bytes, whose Decision is FitSplit, into two pieces of
// almost equal length, to be sealed with consecutive counters. The pieces are parts of packet.
func Split(packet []byte) (first, second []byte) {
	half := (len(packet) + 1) / 2
	return packet[:half:half], packet[half:]
}

// A Piece is one half of a split packet, as a lane opened it.
type Piece struct {
	Peer    tables.RouterID
	Lane    uint32      // of the peer's sender, so that counters of one (Peer, Lane, Session) never repeat
	Session uint32      // tells apart the keys of one lane; any number that changes with the key
	VN      tables.VNID // both pieces must be of one VN, or a packet could cross into another
	Counter uint64      // the piece's own counter
	Second  bool
	Bytes   []byte // valid during the call
}

// A laneKey names one direction of one lane.
type laneKey struct {
	peer tables.RouterID
	lane uint32
}

// A Joiner puts split packets together again. It keeps at most one piece for each (peer, lane)
// and at most a fixed number altogether, so a peer that sends halves only spends its own place.
// It belongs to one goroutine.
type Joiner struct {
	slots []joinSlot
	index map[laneKey]int
	next  int // slot to fill or to clear next, in turn
}

// A joinSlot holds the one pending piece of a (peer, lane).
type joinSlot struct {
	key     laneKey
	used    bool // key is in the index
	pending bool // the rest holds a piece
	session uint32
	vn      tables.VNID
	base    uint64 // counter of the first piece, also where the second came first
	second  bool   // which piece is here
	bytes   []byte
}

// NewJoiner returns a Joiner for at most lanes (peer, lane) pairs at a time. When there are
// more, the one that has had its place for longest loses it, with what is pending.
func NewJoiner(lanes int) *Joiner {
	if lanes < 1 {
		panic("forward: internal error: a joiner without room")
	}
	return &Joiner{slots: make([]joinSlot, 0, lanes), index: make(map[laneKey]int)}
}

// Add takes a piece and, if the other one of its packet is here, appends the whole packet to
// dst and reports true. Otherwise the piece is kept, in the place of an older one of its lane;
// a piece older than the one kept is dropped. The order of the two does not matter. What
// Add returns is still to be checked by Arrived.
func (j *Joiner) Add(dst []byte, piece Piece) ([]byte, bool) {
	if len(piece.Bytes) == 0 || len(piece.Bytes) > MinMTU || piece.Second && piece.Counter == 0 {
		return dst, false
	}
	base := piece.Counter
	if piece.Second {
		base--
	}
	slot := j.slot(laneKey{piece.Peer, piece.Lane})
	if slot.pending && slot.session == piece.Session {
		if slot.base == base && slot.second != piece.Second {
			slot.pending = false
			return slot.join(dst, piece)
		}
		if slot.base >= base {
			return dst, false
		}
	}
	slot.pending = true
	slot.session, slot.vn, slot.base, slot.second = piece.Session, piece.VN, base, piece.Second
	slot.bytes = append(slot.bytes[:0], piece.Bytes...)
	return dst, false
}

// join appends the packet of the piece kept and the one that completes it.
func (slot *joinSlot) join(dst []byte, piece Piece) ([]byte, bool) {
	if slot.vn != piece.VN || len(slot.bytes)+len(piece.Bytes) > MinMTU {
		return dst, false
	}
	if slot.second {
		dst = append(dst, piece.Bytes...)
		return append(dst, slot.bytes...), true
	}
	dst = append(dst, slot.bytes...)
	return append(dst, piece.Bytes...), true
}

// slot returns the place of key, making one if need be.
func (j *Joiner) slot(key laneKey) *joinSlot {
	if i, ok := j.index[key]; ok {
		return &j.slots[i]
	}
	i := j.next
	if len(j.slots) < cap(j.slots) {
		j.slots = append(j.slots, joinSlot{bytes: make([]byte, 0, MinMTU)})
	}
	j.next = (i + 1) % cap(j.slots)
	slot := &j.slots[i]
	if slot.used {
		delete(j.index, slot.key)
	}
	*slot = joinSlot{key: key, used: true, bytes: slot.bytes[:0]}
	j.index[key] = i
	return slot
}
