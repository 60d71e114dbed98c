package node

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/vine-mesh/vine/tables"
)

// The join conversation runs on one stream of a join connection (docs/wire.md, "Joining"):
//
//	member   offer    the chain of roots, so that the newcomer can name the federation
//	newcomer apply    its join request, signed by its new identity
//	member   status   what has become of it, whenever that changes
//	member   document everything the newcomer needs to start, once it is enrolled
//	member   done
//
// A message is: type 1, length 3 (big-endian), body. The body of a document is its envelope, the
// others are deterministic CBOR.
type joinType uint8

const (
	joinOffer    joinType = 1
	joinApply    joinType = 2
	joinStatus   joinType = 3
	joinDocument joinType = 4
	joinDone     joinType = 5
)

// joinMessageMax bounds a message: the largest document.
const joinMessageMax = 256 << 10

// An offer is what a member tells a stranger: only what anybody needs to name the federation.
type offer struct {
	Roots    [][]byte       `cbor:"1,keyasint"` // envelopes, version 1 first
	Observed netip.AddrPort `cbor:"2,keyasint"` // where the member sees the newcomer
}

// A joinState tells the newcomer where its request stands.
type joinState struct {
	State  string `cbor:"1,keyasint"` // tables.StatePending, StateDone or StateRefused
	Reason string `cbor:"2,keyasint"`
}

var errJoinMessage = errors.New("malformed join message")

func appendJoin(b []byte, t joinType, body []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(t)<<24|uint32(len(body)))
	return append(b, body...)
}

// appendJoinBody appends a message with a CBOR body.
func appendJoinBody(b []byte, t joinType, body any) []byte {
	encoded, err := tables.EncodeArgs(body)
	if err != nil {
		panic("node: internal error: " + err.Error())
	}
	return appendJoin(b, t, encoded)
}

// parseJoin reads one message from the start of b; ok is false when more bytes are needed.
func parseJoin(b []byte) (t joinType, body, rest []byte, ok bool, err error) {
	if len(b) < 4 {
		return 0, nil, b, false, nil
	}
	header := binary.BigEndian.Uint32(b)
	t, n := joinType(header>>24), int(header&0xffffff)
	if t < joinOffer || t > joinDone || n > joinMessageMax {
		return 0, nil, b, false, errJoinMessage
	}
	if len(b) < 4+n {
		return 0, nil, b, false, nil
	}
	return t, b[4 : 4+n], b[4+n:], true, nil
}
