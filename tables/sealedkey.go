package tables

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

// A sealed key file is text:
//
//	-----BEGIN VINE SEALED KEY-----
//	base64 (RFC 4648, Section 4), 64 characters a line
//	-----END VINE SEALED KEY-----
//
// over these bytes, numbers big-endian:
//
//	version 1, passes 4, memory in KiB 4, lanes 1, salt 16, public key 32, nonce 24,
//	seed sealed with XChaCha20-Poly1305 32+16
//
// The key is Argon2id of the passphrase (RFC 9106); everything before the nonce is additional
// data.
const (
	sealedBegin = "-----BEGIN VINE SEALED KEY-----"
	sealedEnd   = "-----END VINE SEALED KEY-----"

	sealedVersion = 1
	saltLen       = 16
	sealedHeader  = 1 + 4 + 4 + 1 + saltLen + ed25519.PublicKeySize
	sealedLen     = sealedHeader + chacha20poly1305.NonceSizeX + ed25519.SeedSize + chacha20poly1305.Overhead
)

// A kdfCost is what one guess at a passphrase costs.
type kdfCost struct {
	passes, memory uint32 // memory in KiB
	lanes          uint8
}

// sealedCost is RFC 9106, Section 4, the second recommended option ("memory-constrained"):
// a small site's machine must be able to open the file.
var sealedCost = kdfCost{passes: 3, memory: 64 << 10, lanes: 4}

// sealedCostMax bounds what a damaged or hostile file can make the reader spend: 256 MiB and
// some seconds.
var sealedCostMax = kdfCost{passes: 8, memory: 256 << 10, lanes: 16}

// ErrPassphrase says that a sealed key does not open: the passphrase is wrong or the file was
// changed, which cannot be told apart.
var ErrPassphrase = errors.New("wrong passphrase, or the file is damaged")

// SealKey returns the text of a sealed key file. Salt and nonce come from random.
func SealKey(random io.Reader, passphrase []byte, key ed25519.PrivateKey) ([]byte, error) {
	return sealKey(random, passphrase, key, sealedCost)
}

func sealKey(random io.Reader, passphrase []byte, key ed25519.PrivateKey, cost kdfCost) ([]byte, error) {
	var salt [saltLen]byte
	var nonce [chacha20poly1305.NonceSizeX]byte
	if _, err := io.ReadFull(random, salt[:]); err != nil {
		return nil, fmt.Errorf("seal key: %w", err)
	}
	if _, err := io.ReadFull(random, nonce[:]); err != nil {
		return nil, fmt.Errorf("seal key: %w", err)
	}
	b := make([]byte, 0, sealedLen)
	b = append(b, sealedVersion)
	b = binary.BigEndian.AppendUint32(b, cost.passes)
	b = binary.BigEndian.AppendUint32(b, cost.memory)
	b = append(b, cost.lanes)
	b = append(b, salt[:]...)
	public := PublicOf(key)
	b = append(b, public[:]...)
	aead := must(chacha20poly1305.NewX(cost.derive(passphrase, salt[:])))
	header := b[:len(b):len(b)]
	b = append(b, nonce[:]...)
	b = aead.Seal(b, nonce[:], key.Seed(), header)
	return armour(b), nil
}

func (c kdfCost) derive(passphrase, salt []byte) []byte {
	return argon2.IDKey(passphrase, salt, c.passes, c.memory, c.lanes, chacha20poly1305.KeySize)
}

func (c kdfCost) valid() bool {
	m := sealedCostMax
	return c.passes >= 1 && c.passes <= m.passes && c.lanes >= 1 && c.lanes <= m.lanes &&
		c.memory >= 8*uint32(c.lanes) && c.memory <= m.memory
}

func armour(b []byte) []byte {
	var text strings.Builder
	text.WriteString(sealedBegin + "\n")
	for enc := base64.StdEncoding.EncodeToString(b); enc != ""; {
		n := min(64, len(enc))
		text.WriteString(enc[:n] + "\n")
		enc = enc[n:]
	}
	text.WriteString(sealedEnd + "\n")
	return []byte(text.String())
}

// dearmour returns the bytes of a sealed key file. Line ends may be CR LF.
func dearmour(text []byte) ([]byte, error) {
	const textMax = 4096
	if len(text) > textMax {
		return nil, fmt.Errorf("open sealed key: %w", ErrTooBig)
	}
	s := strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n"))
	s, begins := strings.CutPrefix(s, sealedBegin+"\n")
	s, ends := strings.CutSuffix(s, "\n"+sealedEnd)
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if !begins || !ends || err != nil || len(b) != sealedLen || b[0] != sealedVersion {
		return nil, fmt.Errorf("open sealed key: %w: not a sealed key file", ErrFormat)
	}
	return b, nil
}

// SealedPublic returns the public key that a sealed key file names, without opening it; OpenKey
// checks that it is true.
func SealedPublic(text []byte) (PublicKey, error) {
	b, err := dearmour(text)
	if err != nil {
		return PublicKey{}, err
	}
	return PublicKey(b[sealedHeader-ed25519.PublicKeySize : sealedHeader]), nil
}

// OpenKey returns the key in a sealed key file, ErrPassphrase if it does not open. It takes
// 64 MiB and a good part of a second, on purpose.
func OpenKey(passphrase, text []byte) (ed25519.PrivateKey, error) {
	b, err := dearmour(text)
	if err != nil {
		return nil, err
	}
	cost := kdfCost{binary.BigEndian.Uint32(b[1:]), binary.BigEndian.Uint32(b[5:]), b[9]}
	if !cost.valid() {
		return nil, fmt.Errorf("open sealed key: %w: cost out of bounds", ErrFormat)
	}
	salt := b[10 : 10+saltLen]
	header, nonce, sealed := b[:sealedHeader], b[sealedHeader:sealedHeader+chacha20poly1305.NonceSizeX], b[sealedHeader+chacha20poly1305.NonceSizeX:]
	aead := must(chacha20poly1305.NewX(cost.derive(passphrase, salt)))
	seed, err := aead.Open(nil, nonce, sealed, header)
	if err != nil {
		return nil, ErrPassphrase
	}
	key := ed25519.NewKeyFromSeed(seed)
	public := PublicOf(key)
	if string(public[:]) != string(header[sealedHeader-ed25519.PublicKeySize:]) {
		return nil, ErrPassphrase
	}
	return key, nil
}
