package secure

import (
	"crypto/ecdh"
	"errors"
	"fmt"
	"io"

	"github.com/flynn/noise"

	"github.com/vine-mesh/vine/tables"
)

// errSharedZero is the refusal of a public key of low order: the shared secret would be zero
// whatever our private key is (RFC 7748, Section 6.1).
var errSharedZero = errors.New("secure: peer key gives no shared secret")

// A StaticKey is the X25519 private key of a router's links. It cannot be compared with ==, and
// prints as "key(...)" with every verb. The zero value is no key. A StaticKey may be shared between
// goroutines.
type StaticKey struct {
	_   [0]func()
	key *ecdh.PrivateKey
}

// NewStaticKey returns the key made of 32 secret random bytes (clamped as RFC 7748, Section 5
// says).
func NewStaticKey(seed [32]byte) StaticKey {
	key, err := ecdh.X25519().NewPrivateKey(seed[:])
	if err != nil {
		panic("secure: internal error: 32 bytes are no X25519 key")
	}
	return StaticKey{key: key}
}

// Public returns the public key, the zero LinkKey for the zero StaticKey.
func (k StaticKey) Public() tables.LinkKey {
	if k.key == nil {
		return tables.LinkKey{}
	}
	return tables.LinkKey(k.key.PublicKey().Bytes())
}

// IsZero reports whether k is the zero value.
func (k StaticKey) IsZero() bool { return k.key == nil }

// String returns "key(...)": a private key never shows in a log.
func (k StaticKey) String() string { return "key(...)" }

// Format writes "key(...)" whatever the verb.
func (k StaticKey) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, k.String()) }

// shared returns the X25519 secret of k and peer. It fails for a peer key of low order.
func (k StaticKey) shared(peer tables.LinkKey) ([]byte, error) {
	pub, err := ecdh.X25519().NewPublicKey(peer[:])
	if err != nil || k.key == nil {
		return nil, errSharedZero
	}
	secret, err := k.key.ECDH(pub)
	if err != nil {
		return nil, errSharedZero
	}
	return secret, nil
}

// noiseKey returns the key pair in the form of package noise.
func (k StaticKey) noiseKey() noise.DHKey {
	if k.key == nil {
		return noise.DHKey{}
	}
	return noise.DHKey{Private: k.key.Bytes(), Public: k.key.PublicKey().Bytes()}
}

// curve is X25519 for package noise, by crypto/ecdh: it refuses a shared secret of zero.
type curve struct{}

func (curve) GenerateKeypair(random io.Reader) (noise.DHKey, error) {
	var seed [32]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return noise.DHKey{}, err
	}
	return NewStaticKey(seed).noiseKey(), nil
}

func (curve) DH(private, public []byte) ([]byte, error) {
	if len(private) != 32 || len(public) != 32 {
		return nil, errSharedZero
	}
	return NewStaticKey([32]byte(private)).shared(tables.LinkKey(public))
}

func (curve) DHLen() int     { return 32 }
func (curve) DHName() string { return "25519" }
