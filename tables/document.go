package tables

import (
	"crypto/ed25519"
	"fmt"
)

// A Document is one envelope whose body is well formed and whose every signature verifies.
// Whether its signers may sign it is for the Store to say.
//
// ParseDocument is the only way to obtain one. Documents are immutable and may be shared
// between goroutines; callers must not change the slices inside a Body.
type Document struct {
	raw     []byte
	key     DocKey
	hash    Hash
	body    Body
	signers []PublicKey
}

// ParseDocument reads exactly one document: trailing bytes are an error. It copies b. It costs
// one signature verification per signature and needs no Store, so it can run beside the
// goroutine that owns one.
func ParseDocument(b []byte) (*Document, error) {
	e, rest, err := ParseEnvelope(b)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("parse document: %w: %d bytes after the envelope", ErrFormat, len(rest))
	}
	return e.Document()
}

// Document checks the body and the signatures of e.
func (e Envelope) Document() (*Document, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	body, err := decodeBody(e.Kind, e.Body)
	if err != nil {
		return nil, err
	}
	if err := e.Verify(); err != nil {
		return nil, fmt.Errorf("%s: %w", e.Kind, err)
	}
	d := &Document{raw: AppendEnvelope(nil, e), hash: BodyHash(e.Kind, e.Body), body: body}
	if len(d.raw) > SizeMax(e.Kind) {
		return nil, fmt.Errorf("%s: %w: %d bytes", e.Kind, ErrTooBig, len(d.raw))
	}
	d.key = body.key(d.hash)
	for _, s := range e.Signatures {
		d.signers = append(d.signers, s.Key)
	}
	return d, nil
}

// Sign seals body and returns the document.
func Sign(body Body, signers ...ed25519.PrivateKey) (*Document, error) {
	e, err := SealBody(body, signers...)
	if err != nil {
		return nil, err
	}
	return e.Document()
}

// Bytes returns the envelope exactly as it came. Callers must not change it.
func (d *Document) Bytes() []byte { return d.raw }

// Kind returns the kind of the document.
func (d *Document) Kind() Kind { return d.key.Kind }

// Key returns the name that all versions of the document share.
func (d *Document) Key() DocKey { return d.key }

// Version returns the version; 1 for requests and invites.
func (d *Document) Version() uint64 { return d.body.version() }

// Hash returns the body hash.
func (d *Document) Hash() Hash { return d.hash }

// Body returns the body, a value of one of the types of body.go.
func (d *Document) Body() Body { return d.body }

// Digest returns what others need to know to ask for the document.
func (d *Document) Digest() Digest { return Digest{d.key, d.Version(), d.hash} }

// SignedBy reports whether key has signed the document.
func (d *Document) SignedBy(key PublicKey) bool {
	for _, s := range d.signers {
		if s == key {
			return true
		}
	}
	return false
}

// Signers returns the keys that have signed, sorted. Callers must not change the slice.
func (d *Document) Signers() []PublicKey { return d.signers }
