package transport

import (
	"encoding/binary"

	"github.com/vine-mesh/vine/transport/frame"
)

// kindStreamSpans is the control frame that goes with a stream acknowledgement when there are
// gaps: stream ID 4, then one to ackSpansMax times (from 8, to 8), the offsets received above
// the acknowledged one, rising and apart. A receiver that does not know it skips it and
// recovers more slowly (RFC 2018 for TCP).
const kindStreamSpans frame.Kind = 32

const (
	spansFixedLen = 4
	spanLen       = 16
)

// appendSpans appends the control frame to b.
func appendSpans(b []byte, id uint32, spans []span) []byte {
	body := make([]byte, 0, spansFixedLen+ackSpansMax*spanLen)
	body = binary.BigEndian.AppendUint32(body, id)
	for _, s := range spans {
		body = binary.BigEndian.AppendUint64(body, s.from)
		body = binary.BigEndian.AppendUint64(body, s.to)
	}
	return frame.Control{Kind: kindStreamSpans, Body: body}.Append(b)
}

// parseSpans parses the body of a spans frame. It fails with frame.ErrLength or frame.ErrValue.
func parseSpans(body []byte) (id uint32, spans []span, err error) {
	n := (len(body) - spansFixedLen) / spanLen
	if n < 1 || n > ackSpansMax || len(body) != spansFixedLen+n*spanLen {
		return 0, nil, frame.ErrLength
	}
	id = binary.BigEndian.Uint32(body)
	var last uint64
	for i := range n {
		p := body[spansFixedLen+i*spanLen:]
		s := span{binary.BigEndian.Uint64(p), binary.BigEndian.Uint64(p[8:])}
		if s.from <= last || s.to <= s.from {
			return 0, nil, frame.ErrValue
		}
		last = s.to
		spans = append(spans, s)
	}
	return id, spans, nil
}
