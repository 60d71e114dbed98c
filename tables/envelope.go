package tables

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
)

// An Envelope carries a body and the signatures over it. Its encoding is the deterministic
// CBOR map {1: kind, 2: body as a byte string, 3: [{1: key, 2: signature}, ...]} with the
// signatures sorted by key, no key twice.
//
// A parsed Envelope is well formed; nothing is said yet of its body or its signatures.
type Envelope struct {
	Kind       Kind        `cbor:"1,keyasint"`
	Body       []byte      `cbor:"2,keyasint"`
	Signatures []Signature `cbor:"3,keyasint"`
}

// A Signature is one Ed25519 signature over the pre-authentication encoding.
type Signature struct {
	Key       PublicKey                   `cbor:"1,keyasint"`
	Signature [ed25519.SignatureSize]byte `cbor:"2,keyasint"`
}

const (
	// signaturesMax bounds the work that one envelope can ask for: 16 verifications are
	// about a millisecond. A root change with 8 old and 8 new keys fits.
	signaturesMax = 16

	sizeMaxDefault = 16 << 10
	sizeMaxTable   = 256 << 10 // manifest, fragment, roster, entry, adoption: some ten thousand entries
	sizeMaxRequest = 8 << 10
)

// SizeMax returns the most bytes that an envelope of kind k may have, signatures included.
func SizeMax(k Kind) int {
	switch k {
	case KindManifest, KindFragment, KindRoster, KindEntry, KindAdoption:
		return sizeMaxTable
	case KindRequest:
		return sizeMaxRequest
	default:
		return sizeMaxDefault
	}
}

// payloadType is the DSSE payload type of a kind. The version in it changes when the meaning
// of a body does.
func payloadType(k Kind) string { return "application/vnd.vine." + k.String() + ".v1+cbor" }

// AppendPreAuth appends to b what is signed: the pre-authentication encoding of DSSE version 1
// (secure-systems-lab/dsse, protocol.md) over the payload type of kind and the body:
//
//	"DSSEv1" SP len(type) SP type SP len(body) SP body
//
// with lengths in ASCII decimal. So a body signed as one kind is never valid as another.
func AppendPreAuth(b []byte, kind Kind, body []byte) []byte {
	t := payloadType(kind)
	b = append(b, "DSSEv1 "...)
	b = strconv.AppendInt(b, int64(len(t)), 10)
	b = append(b, ' ')
	b = append(b, t...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, ' ')
	return append(b, body...)
}

// BodyHash returns the SHA-256 of the pre-authentication encoding. Signatures are not part of
// it: the same body signed by two keys is the same document.
func BodyHash(kind Kind, body []byte) Hash {
	return sha256.Sum256(AppendPreAuth(nil, kind, body))
}

// HashBody returns the body hash that body has once sealed.
func HashBody(body Body) (Hash, error) {
	enc, err := encMode.Marshal(body)
	if err != nil {
		return Hash{}, fmt.Errorf("encode %s: %w", body.Kind(), err)
	}
	return BodyHash(body.Kind(), enc), nil
}

// SealBody checks the fields of body and signs it with every signer. It fails on a body that
// ParseDocument would refuse, so a signer never puts out a document that nobody accepts.
func SealBody(body Body, signers ...ed25519.PrivateKey) (Envelope, error) {
	if err := body.check(); err != nil {
		return Envelope{}, fmt.Errorf("seal %s: %w", body.Kind(), err)
	}
	enc, err := encMode.Marshal(body)
	if err != nil {
		return Envelope{}, fmt.Errorf("seal %s: %w", body.Kind(), err)
	}
	e := Envelope{Kind: body.Kind(), Body: enc}
	for _, s := range signers {
		e = e.sign(s)
	}
	if n := len(AppendEnvelope(nil, e)); n > SizeMax(e.Kind) {
		return Envelope{}, fmt.Errorf("seal %s: %w: %d bytes, limit %d", e.Kind, ErrTooBig, n, SizeMax(e.Kind))
	}
	if err := e.check(); err != nil {
		return Envelope{}, fmt.Errorf("seal %s: %w", e.Kind, err)
	}
	return e, nil
}

// sign returns e with the signature of key added, in its place.
func (e Envelope) sign(key ed25519.PrivateKey) Envelope {
	sig := Signature{Key: PublicOf(key)}
	copy(sig.Signature[:], ed25519.Sign(key, AppendPreAuth(nil, e.Kind, e.Body)))
	sigs := slices.DeleteFunc(slices.Clone(e.Signatures), func(s Signature) bool { return s.Key == sig.Key })
	sigs = append(sigs, sig)
	slices.SortFunc(sigs, func(a, b Signature) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	e.Signatures = sigs
	return e
}

// Countersign returns e with one more signature. It fails if e does not hold a valid body.
func Countersign(e Envelope, signer ed25519.PrivateKey) (Envelope, error) {
	if _, err := decodeBody(e.Kind, e.Body); err != nil {
		return Envelope{}, fmt.Errorf("countersign: %w", err)
	}
	e = e.sign(signer)
	return e, e.check()
}

// PublicOf returns the public half of key.
func PublicOf(key ed25519.PrivateKey) PublicKey {
	return PublicKey(key.Public().(ed25519.PublicKey))
}

// AppendEnvelope appends the encoding of e to b.
func AppendEnvelope(b []byte, e Envelope) []byte {
	enc, err := encMode.Marshal(e)
	if err != nil {
		panic("tables: internal error: " + err.Error())
	}
	return append(b, enc...)
}

// ParseEnvelope reads one envelope from the front of b and returns what follows it. The
// envelope shares no memory with b.
func ParseEnvelope(b []byte) (e Envelope, rest []byte, err error) {
	// "Endless data": nothing beyond the largest cap is ever looked at.
	head := b[:min(len(b), sizeMaxTable)]
	rest, err = decMode.UnmarshalFirst(head, &e)
	if err != nil {
		if len(b) > len(head) {
			return Envelope{}, nil, fmt.Errorf("parse envelope: %w: over %d bytes", ErrTooBig, sizeMaxTable)
		}
		return Envelope{}, nil, fmt.Errorf("parse envelope: %w: %w", ErrFormat, scrub(err))
	}
	n := len(head) - len(rest)
	if err := e.check(); err != nil {
		return Envelope{}, nil, fmt.Errorf("parse envelope: %w", err)
	}
	if n > SizeMax(e.Kind) {
		return Envelope{}, nil, fmt.Errorf("parse envelope: %w: %s of %d bytes, limit %d", ErrTooBig, e.Kind, n, SizeMax(e.Kind))
	}
	if !bytes.Equal(AppendEnvelope(nil, e), b[:n]) {
		return Envelope{}, nil, fmt.Errorf("parse envelope: %w: not the one encoding of its content", ErrFormat)
	}
	return e, b[n:], nil
}

// check reports whether the envelope is well formed: a known kind and 1 to signaturesMax
// signatures in ascending order of key.
func (e Envelope) check() error {
	if !e.Kind.Valid() {
		return fmt.Errorf("%w: unknown kind %d", ErrFormat, e.Kind)
	}
	if n := len(e.Signatures); n < 1 || n > signaturesMax {
		return fmt.Errorf("%w: %d signatures", ErrFormat, n)
	}
	for i := 1; i < len(e.Signatures); i++ {
		if bytes.Compare(e.Signatures[i-1].Key[:], e.Signatures[i].Key[:]) >= 0 {
			return fmt.Errorf("%w: signatures not in order of distinct keys", ErrFormat)
		}
	}
	return nil
}

// Verify checks every signature: one bad signature spoils the envelope, so that nobody can
// hang junk on a document.
func (e Envelope) Verify() error {
	pae := AppendPreAuth(nil, e.Kind, e.Body)
	for _, s := range e.Signatures {
		if !Verify(s.Key, pae, s.Signature[:]) {
			return fmt.Errorf("%w by %s", ErrSignature, s.Key)
		}
	}
	return nil
}
