package mesh

import (
	"encoding/binary"

	"github.com/vine-mesh/vine/tables"
)

// DocumentBytesMax bounds one document on an exchange stream: the largest that package tables
// accepts of any kind.
const DocumentBytesMax = 256 << 10

// frameHeaderLen is the length of what precedes a frame's payload: type 1, payload length 3.
const frameHeaderLen = 4

// A FrameType says what a frame of an exchange stream carries.
type FrameType uint8

// The types of frame.
const (
	FrameRecon  FrameType = 1 // a Message; empty: "I have no reply"
	FrameWant   FrameType = 2 // keys: 1 to 64 of kind 1, ID length, ID
	FrameDoc    FrameType = 3 // an envelope: the answer to the oldest wanted key not yet answered
	FrameAbsent FrameType = 4 // nothing: the same, but the sender does not have it
	FrameDone   FrameType = 5 // nothing: "I shall want no more"
)

// payloadMax returns the most bytes that the payload of a frame may have, -1 for an unknown type.
func (t FrameType) payloadMax() int {
	switch t {
	case FrameRecon:
		return MessageBytesMax
	case FrameWant:
		return wantWindow * (1 + 2 + idBytesMax)
	case FrameDoc:
		return DocumentBytesMax
	case FrameAbsent, FrameDone:
		return 0
	}
	return -1
}

// A Frame is one unit of an exchange stream. On the stream it is: type 1, payload length 3
// (big-endian), payload.
type Frame struct {
	Type    FrameType
	Payload []byte
}

// AppendFrame appends the stream form of f to b.
func AppendFrame(b []byte, f Frame) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(f.Type)<<24|uint32(len(f.Payload)))
	return append(b, f.Payload...)
}

// A FrameReader cuts the bytes of a stream into frames. It holds at most one unfinished frame and
// what the last Feed brought. The zero value is ready.
type FrameReader struct {
	buf []byte
}

// Feed takes the next bytes of the stream. They are copied.
func (r *FrameReader) Feed(p []byte) { r.buf = append(r.buf, p...) }

// Next returns the next whole frame, and false if more bytes are needed. It fails as soon as a
// header announces an unknown type or more than the type allows; after that the stream is of no
// use. The caller takes all frames before it feeds more. The payload is the caller's.
func (r *FrameReader) Next() (Frame, bool, error) {
	if len(r.buf) < frameHeaderLen {
		return Frame{}, false, nil
	}
	header := binary.BigEndian.Uint32(r.buf)
	f, n := Frame{Type: FrameType(header >> 24)}, int(header&0xffffff)
	if n > f.Type.payloadMax() {
		return Frame{}, false, errMalformed
	}
	if len(r.buf) < frameHeaderLen+n {
		return Frame{}, false, nil
	}
	f.Payload = r.buf[frameHeaderLen : frameHeaderLen+n : frameHeaderLen+n]
	r.buf = r.buf[frameHeaderLen+n:]
	if len(r.buf) == 0 {
		r.buf = nil
	}
	return f, true, nil
}

// AppendKeys appends the payload of FrameWant.
func AppendKeys(b []byte, keys []tables.DocKey) []byte {
	for _, k := range keys {
		b = appendKey(b, k)
	}
	return b
}

// ParseKeys reads the payload of FrameWant.
func ParseKeys(b []byte) ([]tables.DocKey, error) {
	r := reader{b: b}
	var keys []tables.DocKey
	for len(r.b) > 0 && !r.failed && len(keys) <= wantWindow {
		keys = append(keys, r.key())
	}
	if r.failed || len(keys) == 0 || len(keys) > wantWindow {
		return nil, errMalformed
	}
	return keys, nil
}
