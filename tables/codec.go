package tables

import (
	"bytes"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// The one encoding: RFC 8949, Section 4.2.1 ("Core Deterministic Encoding Requirements"):
// shortest integers, map keys in bytewise order, definite lengths. Byte arrays and the netip
// types are byte strings; the latter as their MarshalBinary gives them: an address 4 or 16
// bytes, a prefix the address and one byte of length, an address and port the address and two
// bytes of port, low byte first. An empty list is an empty array, never null.
var (
	encMode = must(encOptions().EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   nestingMax,
		MaxArrayElements:  elementsMax,
		MaxMapPairs:       pairsMax,
	}.DecMode())
)

const (
	// nestingMax is what the deepest body needs: map, list, map, list, value.
	nestingMax = 5
	// elementsMax bounds every list. The largest cap, 256 KiB, cannot hold more elements of
	// the smallest kind (an IPv4 address: 1 + 4 bytes).
	elementsMax = 1 << 16
	// pairsMax is above the fields of every body. 16 is the least that the decoder takes.
	pairsMax = 16
)

func encOptions() cbor.EncOptions {
	o := cbor.CoreDetEncOptions()
	o.NilContainers = cbor.NilContainerAsEmpty
	o.IndefLength = cbor.IndefLengthForbidden
	o.TagsMd = cbor.TagsForbidden
	return o
}

func must[T any](v T, err error) T {
	if err != nil {
		panic("tables: internal error: " + err.Error())
	}
	return v
}

// EncodeArgs returns the one encoding of v, for the Args of a Request.
func EncodeArgs(v any) ([]byte, error) { return encMode.Marshal(v) }

// DecodeArgs reads into v, a pointer, what EncodeArgs gives, and nothing else.
func DecodeArgs(b []byte, v any) error { return decodeStrict(b, v) }

// decodeStrict reads b into v and fails unless v encodes to exactly b again.
func decodeStrict(b []byte, v any) error {
	if err := decMode.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, scrub(err))
	}
	again, err := encMode.Marshal(v)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, scrub(err))
	}
	if !bytes.Equal(again, b) {
		return fmt.Errorf("%w: not the one encoding of its content", ErrFormat)
	}
	return nil
}

// scrub keeps hostile text out of the error: the decoder's messages quote field names of Go
// types and, for unknown map keys, bytes of the input.
func scrub(err error) error { return fmt.Errorf("cbor: %T", err) }

// decodeBody reads a body of kind k and checks its fields.
func decodeBody(k Kind, b []byte) (Body, error) {
	body, err := decodeKind(k, b)
	if err != nil {
		return nil, fmt.Errorf("parse %s body: %w", k, err)
	}
	if err := body.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", k, err)
	}
	return body, nil
}

func decodeKind(k Kind, b []byte) (Body, error) {
	switch k {
	case KindRoot:
		return decodeAs[Root](b)
	case KindEnrolment:
		return decodeAs[Enrolment](b)
	case KindSite:
		return decodeAs[Site](b)
	case KindGrant:
		return decodeAs[Grant](b)
	case KindVN:
		return decodeAs[VN](b)
	case KindManifest:
		return decodeAs[Manifest](b)
	case KindFragment:
		return decodeAs[Fragment](b)
	case KindRoster:
		return decodeAs[Roster](b)
	case KindRevocation:
		return decodeAs[Revocation](b)
	case KindHead:
		return decodeAs[Head](b)
	case KindLinkRecord:
		return decodeAs[LinkRecord](b)
	case KindRequest:
		return decodeAs[Request](b)
	case KindReceipt:
		return decodeAs[Receipt](b)
	case KindInvite:
		return decodeAs[Invite](b)
	case KindEntry:
		return decodeAs[Entry](b)
	case KindAdoption:
		return decodeAs[Adoption](b)
	default:
		return nil, fmt.Errorf("%w: unknown kind %d", ErrFormat, k)
	}
}

func decodeAs[T Body](b []byte) (Body, error) {
	var v T
	if err := decodeStrict(b, &v); err != nil {
		return nil, err
	}
	return v, nil
}
