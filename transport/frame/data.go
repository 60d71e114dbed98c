package frame

import "encoding/binary"

// DataHeaderLen is the length of a data header. With TagLen it is the whole overhead of a direct
// packet: 32 bytes.
const DataHeaderLen = 16

// Lanes of a session. A lane is one sending thread with a key and a counter of its own.
const (
	// LaneBits is how many low bits of a channel index name the sender's lane. A receiver grants
	// indices with these bits zero; a sender puts its lane number there.
	LaneBits = 4

	// LanesMax is the number of lanes of a session: 16 threads outrun any machine that would
	// run a VR, and a session with all of them open costs 16 KiB of replay windows.
	LanesMax = 1 << LaneBits
)

// Bits of Meta[0].
const (
	MetaRunMask         = 0x03 // position in a run of segments: one of the next; zero: a single packet
	MetaRunFirst        = 0x01
	MetaRunMid          = 0x02
	MetaRunLast         = 0x03
	MetaPartialChecksum = 0x04 // the inner transport checksum covers the pseudo-header only
	MetaSplit           = 0x08 // one of two pieces of a packet too big for the path
	MetaSplitLast       = 0x10 // with MetaSplit: the second piece; its counter is the first's plus one
	MetaAuthOnly        = 0x20 // the payload is authenticated and not encrypted
	MetaBundle          = 0x40 // several packets, one behind the other
	MetaTemplate        = 0x80 // a piece of a template run; with a position in it
)

// A DataHeader starts every data datagram. All 16 bytes are additional data of the AEAD, followed
// by the VN ID and the two router IDs, which are known from the index and not sent.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+---------------+-------------------------------+
//	|   type = 1    |  meta flags   |         segment size          |
//	+---------------+---------------+-------------------------------+
//	|                    channel index            |      | lane     |
//	+---------------------------------------------------------------+
//	|                                                               |
//	+                            counter                            +
//	|                                                               |
//	+---------------------------------------------------------------+
//	|                   sealed packet, then tag 16                  |
//
// The index was issued by the receiver (see Channels) and stands for (peer, VN, lane).
type DataHeader struct {
	Meta    [3]byte // flags, then the segment size, or the index of a piece, big-endian
	Index   uint32
	Counter uint64
}

// SegmentSize returns the payload bytes of each segment but the last of a run. Of a template run, only the first piece has it.
func (h DataHeader) SegmentSize() uint16 { return binary.BigEndian.Uint16(h.Meta[1:]) }

// PieceIndex returns which piece of a template run it is: zero for the first.
func (h DataHeader) PieceIndex() int {
	if h.Meta[0]&MetaRunMask == MetaRunFirst {
		return 0
	}
	return int(h.SegmentSize())
}

// RunMeta returns the flags of a segment of a run.
func RunMeta(at byte, size uint16) (meta [3]byte) {
	meta[0] = at&MetaRunMask | MetaPartialChecksum
	binary.BigEndian.PutUint16(meta[1:], size)
	return meta
}

// PieceMeta returns the flags of a piece of a template run: size is that of the segments for the first piece, the index for
// the others.
func PieceMeta(at byte, size uint16) (meta [3]byte) {
	meta = RunMeta(at, size)
	meta[0] |= MetaTemplate
	return meta
}

// pieceIndexMax is the highest index of a piece.
const pieceIndexMax = 127

// possible reports whether the flags go together. A run has a size and a partial checksum. A single packet with a size is a
// super-packet in whole, and partial; without one it may be partial, split or a bundle, but not two of these.
func (h DataHeader) possible() bool {
	flags, size := h.Meta[0], h.SegmentSize()
	run, partial := flags&MetaRunMask != 0, flags&MetaPartialChecksum != 0
	split, bundle := flags&MetaSplit != 0, flags&MetaBundle != 0
	switch {
	case flags&MetaSplitLast != 0 && !split:
		return false
	case run && (size == 0 || !partial), size != 0 && !partial:
		return false
	case partial && (split || bundle), split && bundle:
		return false
	case flags&MetaTemplate != 0:
		return run && h.PieceIndex() <= pieceIndexMax && uint64(h.PieceIndex()) <= h.Counter
	}
	return true
}

// Lane returns the sender's lane, which the low LaneBits of the index name.
func (h DataHeader) Lane() uint8 { return uint8(h.Index & (LanesMax - 1)) }

// Append appends the header to b.
func (h DataHeader) Append(b []byte) []byte {
	b = append(b, byte(TypeData), h.Meta[0], h.Meta[1], h.Meta[2])
	b = binary.BigEndian.AppendUint32(b, h.Index)
	return binary.BigEndian.AppendUint64(b, h.Counter)
}

// ParseDataHeader parses the header of a data datagram; rest is the sealed packet with its tag.
// It fails with ErrShort, ErrType or ErrReserved. A datagram without room for a tag is too short.
func ParseDataHeader(b []byte) (h DataHeader, rest []byte, err error) {
	if len(b) < DataHeaderLen+TagLen {
		return DataHeader{}, nil, ErrShort
	}
	if Type(b[0]) != TypeData {
		return DataHeader{}, nil, ErrType
	}
	h.Meta = [3]byte(b[1:4])
	h.Index = binary.BigEndian.Uint32(b[4:])
	h.Counter = binary.BigEndian.Uint64(b[8:])
	if !h.possible() {
		return DataHeader{}, nil, ErrReserved
	}
	return h, b[DataHeaderLen:], nil
}
