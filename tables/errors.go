package tables

import "errors"

// What can be wrong with a document. Every error of ParseEnvelope, ParseDocument and Store.Put
// is one of these to errors.Is; ErrNotYet may come together with another.
var (
	ErrFormat    = errors.New("malformed document")                // never acceptable, whoever signed it
	ErrTooBig    = errors.New("document too big")                  // longer than SizeMax of its kind
	ErrSignature = errors.New("bad signature")                     // a signature does not verify
	ErrSigner    = errors.New("signer may not sign this")          // the right form, the wrong key
	ErrExpired   = errors.New("expired")                           // its time, or its signer's, has passed
	ErrRevoked   = errors.New("signer is revoked")                 // a revocation names the signer
	ErrConflict  = errors.New("conflicts with a document we hold") // a name, number or block is taken
	ErrQuota     = errors.New("quota exceeded")                    // too many open requests
	ErrStale     = errors.New("no current head")                   // no authority vouches for the present: see Store.TrustStale
	ErrNotYet    = errors.New("needs a document we lack")          // may be accepted later; the store holds it for a while
)
