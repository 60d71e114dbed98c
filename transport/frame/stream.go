package frame

import "encoding/binary"

// Stream frames carry byte streams inside a session's control datagrams. A stream ID is the
// opener's choice: even from the initiator of the session, odd from the responder.

// StreamBytesMax is the most bytes one StreamBytes frame may hold in a datagram of MessageMax.
const StreamBytesMax = MessageMax - ControlHeaderLen - TagLen - frameHeaderLen - streamBytesFixed

// A StreamOpen starts a stream. Body: stream ID 4, kind 1.
type StreamOpen struct {
	ID   uint32
	Kind uint8 // what the stream is for; the two ends agree, this package does not care
}

// Append appends the control frame to b.
func (s StreamOpen) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(appendFrame(b, KindStreamOpen, 5), s.ID)
	return append(b, s.Kind)
}

// ParseStreamOpen parses the body of a stream open. It fails with ErrLength.
func ParseStreamOpen(body []byte) (StreamOpen, error) {
	if len(body) != 5 {
		return StreamOpen{}, ErrLength
	}
	return StreamOpen{ID: binary.BigEndian.Uint32(body), Kind: body[4]}, nil
}

// A StreamBytes carries bytes of a stream at an offset. Body: stream ID 4, flags 1 (bit 0: fin,
// the others zero), offset 8, bytes.
//
// Invariant: Offset plus the number of bytes does not pass 2^63-1.
type StreamBytes struct {
	ID     uint32
	Fin    bool // the stream ends with the last of these bytes
	Offset uint64
	Bytes  []byte
}

// Append appends the control frame to b.
func (s StreamBytes) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(appendFrame(b, KindStreamBytes, streamBytesFixed+len(s.Bytes)), s.ID)
	var flags byte
	if s.Fin {
		flags = 1
	}
	b = binary.BigEndian.AppendUint64(append(b, flags), s.Offset)
	return append(b, s.Bytes...)
}

// ParseStreamBytes parses the body of a stream data frame. It fails with ErrLength, ErrReserved
// or ErrValue. Bytes aliases body.
func ParseStreamBytes(body []byte) (StreamBytes, error) {
	if len(body) < streamBytesFixed {
		return StreamBytes{}, ErrLength
	}
	if body[4] > 1 {
		return StreamBytes{}, ErrReserved
	}
	s := StreamBytes{
		ID:     binary.BigEndian.Uint32(body),
		Fin:    body[4] == 1,
		Offset: binary.BigEndian.Uint64(body[5:]),
		Bytes:  body[streamBytesFixed:],
	}
	if s.Offset > 1<<63-1-uint64(len(s.Bytes)) {
		return StreamBytes{}, ErrValue
	}
	return s, nil
}

// A StreamAck says how far a stream arrived without a gap and how much more may be sent.
// Body: stream ID 4, offset 8, window 4.
type StreamAck struct {
	ID     uint32
	Offset uint64 // all bytes below it arrived; a fin counts as one more byte
	Window uint32 // bytes the receiver accepts from Offset on
}

// Append appends the control frame to b.
func (s StreamAck) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(appendFrame(b, KindStreamAck, 16), s.ID)
	b = binary.BigEndian.AppendUint64(b, s.Offset)
	return binary.BigEndian.AppendUint32(b, s.Window)
}

// ParseStreamAck parses the body of a stream ack. It fails with ErrLength.
func ParseStreamAck(body []byte) (StreamAck, error) {
	if len(body) != 16 {
		return StreamAck{}, ErrLength
	}
	return StreamAck{
		ID:     binary.BigEndian.Uint32(body),
		Offset: binary.BigEndian.Uint64(body[4:]),
		Window: binary.BigEndian.Uint32(body[12:]),
	}, nil
}

// A StreamReset ends a stream in both directions, at once. Body: stream ID 4, code 4.
type StreamReset struct {
	ID   uint32
	Code uint32 // the two ends agree on its meaning; 0: none given
}

// Append appends the control frame to b.
func (s StreamReset) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(appendFrame(b, KindStreamReset, 8), s.ID)
	return binary.BigEndian.AppendUint32(b, s.Code)
}

// ParseStreamReset parses the body of a stream reset. It fails with ErrLength.
func ParseStreamReset(body []byte) (StreamReset, error) {
	if len(body) != 8 {
		return StreamReset{}, ErrLength
	}
	return StreamReset{ID: binary.BigEndian.Uint32(body), Code: binary.BigEndian.Uint32(body[4:])}, nil
}
