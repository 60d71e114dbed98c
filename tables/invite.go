package tables

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"
	"time"
)

// A Token is an invite in the hands of the invited: the signed Invite and the private half of
// its key. Its text is base64url without padding (RFC 4648, Section 5) over the 32-byte seed of
// the key followed by the envelope. Whoever has the text can join once.
type Token struct {
	key    ed25519.PrivateKey
	invite *Document
}

// NewToken makes an invite that signer, whose public key the invite's User becomes, gives out.
// It sets invite.Key and invite.User. Random bytes come from random.
func NewToken(random io.Reader, invite Invite, signer ed25519.PrivateKey) (Token, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return Token{}, fmt.Errorf("make invite: %w", err)
	}
	key := ed25519.NewKeyFromSeed(seed)
	invite.Key, invite.User = PublicOf(key), PublicOf(signer)
	d, err := Sign(invite, signer)
	if err != nil {
		return Token{}, fmt.Errorf("make invite: %w", err)
	}
	return Token{key, d}, nil
}

// Text returns the text of the token. It is a secret.
func (t Token) Text() string {
	return base64.RawURLEncoding.EncodeToString(append(t.key.Seed(), t.invite.raw...))
}

// String hides the token, so that it does not end in a log.
func (t Token) String() string { return "token(…)" }

// Document returns the signed invite, which is no secret.
func (t Token) Document() *Document { return t.invite }

// Invite returns what the invite says.
func (t Token) Invite() Invite { return t.invite.body.(Invite) }

// tokenTextMax is the text of the seed and the largest invite.
const tokenTextMax = (ed25519.SeedSize + sizeMaxDefault) * 4 / 3

// ParseToken reads the text of a token. It checks that the invite is well signed by the user it
// names and that the seed belongs to it; whether the user may invite is for CheckInvite.
func ParseToken(text string) (Token, error) {
	if len(text) > tokenTextMax {
		return Token{}, fmt.Errorf("parse invite token: %w", ErrTooBig)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < ed25519.SeedSize || base64.RawURLEncoding.EncodedLen(len(b)) != len(text) {
		return Token{}, fmt.Errorf("parse invite token: %w", ErrFormat)
	}
	d, err := ParseDocument(b[ed25519.SeedSize:])
	if err != nil {
		return Token{}, fmt.Errorf("parse invite token: %w", err)
	}
	invite, ok := d.body.(Invite)
	key := ed25519.NewKeyFromSeed(b[:ed25519.SeedSize])
	if !ok || invite.Key != PublicOf(key) || !d.SignedBy(invite.User) {
		return Token{}, fmt.Errorf("parse invite token: %w: seed, invite and signer do not belong together", ErrFormat)
	}
	return Token{key, d}, nil
}

// proofDomain keeps proofs apart from everything else that an Ed25519 key may sign.
const proofDomain = "vine invite proof v1\x00"

func proofMessage(federation Hash, identity PublicKey) []byte {
	b := append([]byte(proofDomain), federation[:]...)
	return append(b, identity[:]...)
}

// Prove returns the proof that identity holds the invite: the signature of the invite key over
// the domain text, the federation ID and the identity. It is no secret: it is of no use to any
// other identity or federation.
func (t Token) Prove(federation Hash, identity PublicKey) []byte {
	return ed25519.Sign(t.key, proofMessage(federation, identity))
}

// CheckInvite reports whether the authority self may redeem the invite for identity at now:
// proof fits, the invite names self, has not ended, is not spent, and its user's key is not
// revoked and has a grant. Whether that grant allows inviting is for package policy; it gets
// the grants from Grants(invite.User, now).
//
// An authority that enrols checks and stores the enrolment in one step on the goroutine that
// owns the store: so an invite is spent once.
func (v *View) CheckInvite(now time.Time, d *Document, identity PublicKey, proof []byte, self PublicKey) error {
	b, ok := d.body.(Invite)
	switch {
	case !ok:
		return fmt.Errorf("invite: %w: a %s", ErrFormat, d.Kind())
	case !d.SignedBy(b.User) || !Verify(b.Key, proofMessage(v.federation, identity), proof):
		return fmt.Errorf("invite: %w", ErrSignature)
	case b.Authority != self:
		return fmt.Errorf("invite: %w: another authority redeems it", ErrSigner)
	case ended(b.NotAfter, now):
		return fmt.Errorf("invite: %w", ErrExpired)
	case v.InviteSpent(b.Key):
		return fmt.Errorf("invite: %w: it is spent", ErrConflict)
	case v.Revoked(b.User) || v.Revoked(identity):
		return fmt.Errorf("invite: %w", ErrRevoked)
	case len(v.Grants(b.User, now)) == 0:
		return fmt.Errorf("invite: %w: the user has no grant", ErrSigner)
	}
	return nil
}
