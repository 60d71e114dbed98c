package tables

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
)

// A RouterID names one virtual router in its federation (dissertation table 3-3, MyID).
// The authority gives it at enrolment and never gives it twice. Zero names no router.
type RouterID uint32

// String returns the decimal form with the prefix "vr".
func (id RouterID) String() string { return fmt.Sprintf("vr%d", uint32(id)) }

// A VNID is the 32-bit number of a virtual network (dissertation table 3-4, ViNeID).
// Zero names no virtual network.
type VNID uint32

// String returns the decimal form with the prefix "vn".
func (id VNID) String() string { return fmt.Sprintf("vn%d", uint32(id)) }

// A Hash is a SHA-256 digest.
type Hash [sha256.Size]byte

// IsZero reports whether h is the zero value, which is the hash of nothing.
func (h Hash) IsZero() bool { return h == Hash{} }

// String returns the fingerprint text of h: see Fingerprint.
func (h Hash) String() string { return fingerprint(h) }

// A PublicKey is an Ed25519 public key: the identity of a VR, a user or a signer.
type PublicKey [ed25519.PublicKeySize]byte

// IsZero reports whether k is the zero value, which is no key.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// Fingerprint returns the text by which people compare keys: the first 20 bytes of the key's
// SHA-256 in lower-case base32 (RFC 4648, Section 6) without padding, 32 characters.
func (k PublicKey) Fingerprint() string { return fingerprint(sha256.Sum256(k[:])) }

// String returns the fingerprint.
func (k PublicKey) String() string { return k.Fingerprint() }

// A LinkKey is an X25519 public key: the static key of a VR in link handshakes.
// The VR's identity signs it in the link record, so it can change without the authority.
type LinkKey [32]byte

// IsZero reports whether k is the zero value, which is no key.
func (k LinkKey) IsZero() bool { return k == LinkKey{} }

// fingerprintBytes is how much of a hash a fingerprint shows: 160 bits keep a second
// preimage out of reach, and 32 characters can still be read aloud.
const fingerprintBytes = 20

var fingerprintEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

func fingerprint(h Hash) string {
	return strings.ToLower(fingerprintEncoding.EncodeToString(h[:fingerprintBytes]))
}

// MatchFingerprint reports whether text, as a user typed it, is the fingerprint of h.
// Case and the separators "-" and ":" do not matter.
func MatchFingerprint(text string, h Hash) bool {
	text = strings.ToLower(strings.NewReplacer("-", "", ":", "").Replace(text))
	return text == fingerprint(h)
}
