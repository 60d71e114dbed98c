package cost

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"hash"
	"strconv"
	"time"

	"golang.org/x/crypto/blowfish"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/vine-mesh/vine/bench"
)

// packetSizes are the lengths that cryptography is measured at.
var packetSizes = []int{64, 256, 512, 1024, 1400}

// An algorithm is one row: make returns what is called for each packet.
type algorithm struct {
	name   string
	theirs string // what the dissertation says of it
	make   func(packet []byte) (func(), error)
}

func encryption(ctx context.Context, length time.Duration) (bench.Table, error) {
	return rows(ctx, length, []algorithm{
		{"AES-128-GCM: ViNe, tag included", "", aead(16, newGCM)},
		{"AES-256-GCM: Nebula, OpenVPN", "", aead(32, newGCM)},
		{"ChaCha20-Poly1305: WireGuard", "", aead(32, chacha20poly1305.New)},
		{"AES-128-CBC", "32 us in OpenVPN 2.1, worse than in Java", cbc(16, aes.NewCipher)},
		{"3DES-CBC", "221 us in OpenVPN 2.1, better than in Java", cbc(24, des.NewTripleDESCipher)},
		{"Blowfish-CBC", "45 us in OpenVPN 2.1, better than in Java", cbc(16, func(key []byte) (cipher.Block, error) { return blowfish.NewCipher(key) })},
	})
}

func digests(ctx context.Context, length time.Duration) (bench.Table, error) {
	return rows(ctx, length, []algorithm{
		{"GMAC with AES-128: ViNe, authenticated only", "", gmac},
		{"HMAC-SHA256", "", mac(sha256.New)},
		{"HMAC-SHA1", "15 us in OpenVPN 2.1; SHA1 of an ID: 1.21 us in Java", mac(sha1.New)},
		{"HMAC-MD5", "10 us in OpenVPN 2.1; MD5 of an ID: 0.77 us in Java", mac(md5.New)},
	})
}

func rows(ctx context.Context, length time.Duration, algorithms []algorithm) (bench.Table, error) {
	t := bench.Table{Head: []string{"bytes"}}
	for _, n := range packetSizes {
		t.Head = append(t.Head, strconv.Itoa(n))
	}
	t.Head = append(t.Head, "dissertation")
	for _, a := range algorithms {
		row := []string{a.name}
		for _, n := range packetSizes {
			f, err := a.make(make([]byte, n))
			if err != nil {
				return t, err
			}
			ns, err := perCall(ctx, length, f)
			if err != nil {
				return t, err
			}
			row = append(row, microseconds(ns))
		}
		if a.theirs == "" {
			a.theirs = "-"
		}
		t.Rows = append(t.Rows, append(row, a.theirs))
	}
	t.Notes = []string{"Go's standard library and golang.org/x/crypto, one core. The dissertation's figures are drawings; the numbers are those of its text, for a packet of the MTU."}
	return t, nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func aead(keyLen int, open func(key []byte) (cipher.AEAD, error)) func([]byte) (func(), error) {
	return func(packet []byte) (func(), error) {
		a, err := open(make([]byte, keyLen))
		if err != nil {
			return nil, err
		}
		nonce, out := make([]byte, a.NonceSize()), make([]byte, 0, len(packet)+a.Overhead())
		return func() {
			nonce[0]++
			out = a.Seal(out[:0], nonce, packet, nil)
		}, nil
	}
}

func gmac(packet []byte) (func(), error) {
	a, err := newGCM(make([]byte, 16))
	if err != nil {
		return nil, err
	}
	nonce, out := make([]byte, a.NonceSize()), make([]byte, 0, a.Overhead())
	return func() {
		nonce[0]++
		out = a.Seal(out[:0], nonce, nil, packet)
	}, nil
}

func cbc(keyLen int, open func(key []byte) (cipher.Block, error)) func([]byte) (func(), error) {
	return func(packet []byte) (func(), error) {
		key := make([]byte, keyLen)
		for i := range key {
			key[i] = byte(i)
		}
		block, err := open(key)
		if err != nil {
			return nil, err
		}
		iv, size := make([]byte, block.BlockSize()), block.BlockSize()
		padded := make([]byte, (len(packet)/size+1)*size)
		return func() { cipher.NewCBCEncrypter(block, iv).CryptBlocks(padded, padded) }, nil
	}
}

func mac(h func() hash.Hash) func([]byte) (func(), error) {
	return func(packet []byte) (func(), error) {
		m := hmac.New(h, make([]byte, 16))
		var sum []byte
		return func() {
			m.Reset()
			m.Write(packet)
			sum = m.Sum(sum[:0])
		}, nil
	}
}
