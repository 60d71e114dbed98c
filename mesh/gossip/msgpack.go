package gossip

import (
	"encoding/binary"
	"errors"
	"math"
)

// memberlist and serf speak MessagePack: one map per message whose keys are the Go field
// names. The small reader and writer here know just that. They exist so that the policing
// accepts a closed set of encodings, allocates in proportion to what it read, and needs no
// reflection on hostile bytes.

var (
	// errShort reports that the value goes on behind the end of the bytes.
	errShort = errors.New("gossip: value is cut short")
	// errEncoding reports bytes that no member's encoder makes.
	errEncoding = errors.New("gossip: not the expected encoding")
)

const (
	// depthMax bounds nesting in values that are skipped.
	depthMax = 4
	// fieldsMax bounds the fields of one message; the largest has 11.
	fieldsMax = 32
	// keyMax bounds the name of a field.
	keyMax = 32
)

// A reader takes MessagePack values from the front of b. Slices it returns alias b.
type reader struct{ b []byte }

func (r *reader) take(n int) ([]byte, error) {
	if n < 0 || n > len(r.b) {
		return nil, errShort
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v, nil
}

func (r *reader) tag() (byte, error) {
	v, err := r.take(1)
	if err != nil {
		return 0, err
	}
	return v[0], nil
}

// uintN takes a big-endian number of n bytes.
func (r *reader) uintN(n int) (uint64, error) {
	v, err := r.take(n)
	if err != nil {
		return 0, err
	}
	var x uint64
	for _, c := range v {
		x = x<<8 | uint64(c)
	}
	return x, nil
}

// length takes the header of a map or array and returns its number of elements.
func (r *reader) length(fix, tag16, tag32 byte) (int, error) {
	t, err := r.tag()
	if err != nil {
		return 0, err
	}
	var n uint64
	switch {
	case t&0xf0 == fix:
		n = uint64(t & 0x0f)
	case t == tag16:
		n, err = r.uintN(2)
	case t == tag32:
		n, err = r.uintN(4)
	case t == 0xc0: // nil is an empty one
	default:
		return 0, errEncoding
	}
	if err != nil {
		return 0, err
	}
	if n > math.MaxInt32 {
		return 0, errEncoding
	}
	return int(n), nil
}

func (r *reader) mapLen() (int, error)   { return r.length(0x80, 0xde, 0xdf) }
func (r *reader) arrayLen() (int, error) { return r.length(0x90, 0xdc, 0xdd) }

// raw takes a string or a byte string, of any of the encodings that exist, or nil.
func (r *reader) raw(max int) ([]byte, error) {
	t, err := r.tag()
	if err != nil {
		return nil, err
	}
	var n uint64
	switch {
	case t&0xe0 == 0xa0:
		n = uint64(t & 0x1f)
	case t == 0xd9, t == 0xc4:
		n, err = r.uintN(1)
	case t == 0xda, t == 0xc5:
		n, err = r.uintN(2)
	case t == 0xdb, t == 0xc6:
		n, err = r.uintN(4)
	case t == 0xc0:
		return nil, nil
	default:
		return nil, errEncoding
	}
	if err != nil {
		return nil, err
	}
	if n > uint64(max) {
		return nil, errEncoding
	}
	return r.take(int(n))
}

// uint takes a number that is not negative and at most max.
func (r *reader) uint(max uint64) (uint64, error) {
	t, err := r.tag()
	if err != nil {
		return 0, err
	}
	var v uint64
	switch {
	case t < 0x80:
		v = uint64(t)
	case t >= 0xcc && t <= 0xcf:
		v, err = r.uintN(1 << (t - 0xcc))
	case t >= 0xd0 && t <= 0xd3: // signed, but not negative
		n := 1 << (t - 0xd0)
		v, err = r.uintN(n)
		if err == nil && v>>(8*n-1) != 0 {
			return 0, errEncoding
		}
	default:
		return 0, errEncoding
	}
	if err != nil {
		return 0, err
	}
	if v > max {
		return 0, errEncoding
	}
	return v, nil
}

func (r *reader) bool() (bool, error) {
	t, err := r.tag()
	if err != nil {
		return false, err
	}
	if t != 0xc2 && t != 0xc3 {
		return false, errEncoding
	}
	return t == 0xc3, nil
}

// skip takes one value of any kind. Only fields that the policing does not know are
// skipped; they do not reach memberlist.
func (r *reader) skip(depth int) error {
	if depth > depthMax {
		return errEncoding
	}
	if len(r.b) == 0 {
		return errShort
	}
	switch t := r.b[0]; {
	case t&0xf0 == 0x80, t == 0xde, t == 0xdf:
		n, err := r.mapLen()
		for i := 0; i < 2*n && err == nil; i++ {
			err = r.skip(depth + 1)
		}
		return err
	case t&0xf0 == 0x90, t == 0xdc, t == 0xdd:
		n, err := r.arrayLen()
		for i := 0; i < n && err == nil; i++ {
			err = r.skip(depth + 1)
		}
		return err
	case t == 0xc0, t == 0xc2, t == 0xc3, t < 0x80, t >= 0xe0:
		r.b = r.b[1:]
		return nil
	case t == 0xca, t == 0xcb: // floats
		_, err := r.take(1 + 4<<(t-0xca))
		return err
	case t >= 0xcc && t <= 0xcf:
		_, err := r.take(1 + 1<<(t-0xcc))
		return err
	case t >= 0xd0 && t <= 0xd3:
		_, err := r.take(1 + 1<<(t-0xd0))
		return err
	default:
		_, err := r.raw(math.MaxInt32)
		return err
	}
}

// fields takes one message: a map from field names. It calls field for every name, which
// takes the value, or reports false to have it skipped.
func (r *reader) fields(field func(name string) (known bool, err error)) error {
	n, err := r.mapLen()
	if err != nil {
		return err
	}
	if n > fieldsMax {
		return errEncoding
	}
	for range n {
		name, err := r.raw(keyMax)
		if err != nil {
			return err
		}
		known, err := field(string(name))
		if err == nil && !known {
			err = r.skip(0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func appendMap(b []byte, n int) []byte {
	if n < 16 {
		return append(b, 0x80|byte(n))
	}
	return binary.BigEndian.AppendUint16(append(b, 0xde), uint16(n))
}

func appendArray(b []byte, n int) []byte {
	if n < 16 {
		return append(b, 0x90|byte(n))
	}
	return binary.BigEndian.AppendUint16(append(b, 0xdc), uint16(n))
}

// appendRaw appends a string or byte string in the encoding that both libraries use.
func appendRaw[T string | []byte](b []byte, v T) []byte {
	switch {
	case len(v) < 32:
		b = append(b, 0xa0|byte(len(v)))
	case len(v) < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0xda), uint16(len(v)))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0xdb), uint32(len(v)))
	}
	return append(b, v...)
}

func appendUint(b []byte, v uint64) []byte {
	switch {
	case v < 0x80:
		return append(b, byte(v))
	case v < 1<<8:
		return append(b, 0xcc, byte(v))
	case v < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(v))
	case v < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(v))
	default:
		return binary.BigEndian.AppendUint64(append(b, 0xcf), v)
	}
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 0xc3)
	}
	return append(b, 0xc2)
}
