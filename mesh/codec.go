package mesh

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/vine-mesh/vine/tables"
)

// errMalformed answers every byte string that no encoder of this package makes. One value for
// all, so that hostile input costs no allocation; what was wrong with it helps nobody.
var errMalformed = errors.New("mesh: malformed message")

// A reader takes fields off the front of a byte string. After the first field that is not there
// failed is set and all further reads give zero values.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) bytes(n int) []byte {
	if r.failed || n < 0 || n > len(r.b) {
		r.failed = true
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) byte() byte {
	if p := r.bytes(1); p != nil {
		return p[0]
	}
	return 0
}

// uvarint reads an unsigned LEB128 number (as encoding/binary writes it) in its shortest form
// only: a number has one encoding, so that parsing and appending again gives the same bytes.
func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if r.failed || n <= 0 || n != uvarintLen(v) {
		r.failed = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// key reads what appendKey wrote.
func (r *reader) key() tables.DocKey {
	kind := tables.Kind(r.byte())
	n := r.uvarint()
	if kind == 0 || n == 0 || n > idBytesMax {
		r.failed = true
		return tables.DocKey{}
	}
	return tables.DocKey{Kind: kind, ID: string(r.bytes(int(n)))}
}

// appendKey appends kind 1, ID length (uvarint, 1 to 1,024) and the ID.
func appendKey(b []byte, k tables.DocKey) []byte {
	b = append(b, byte(k.Kind))
	b = binary.AppendUvarint(b, uint64(len(k.ID)))
	return append(b, k.ID...)
}

func keyLen(k tables.DocKey) int { return 1 + uvarintLen(uint64(len(k.ID))) + len(k.ID) }
