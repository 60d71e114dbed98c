// Package gcm is AES-128-GCM (NIST SP 800-38D) for processors with VAES and VPCLMULQDQ, on registers of 512 bits (AVX-512) or of 256
// (AVX2), some three times and twice as fast as the standard library, which uses registers of 128.
//
// New returns the standard library's where the processor has not what it takes, where the trial at the start has found a
// difference, or after Use(false). So a wrong answer needs a processor that is right in the trial and wrong later. The tests
// compare it with the standard library for every length, and with Wycheproof's vectors.
package gcm

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"
)

const (
	keyLen   = 16
	nonceLen = 12
	tagLen   = 16
)

var errOpen = errors.New("gcm: message authentication failed")

var off atomic.Bool

// Use says whether New may return this package's implementation; it may unless told otherwise. Any goroutine may call it.
func Use(fast bool) { off.Store(!fast) }

// Name returns what New returns, for people: "VAES, 512 bits", "VAES, 256 bits" or "standard library". Any goroutine may call it.
func Name() string {
	if w := width(); w != 0 {
		return fmt.Sprintf("VAES, %d bits", w)
	}
	return "standard library"
}

// width returns the bits of the registers that New makes use of; zero: of the standard library's.
func width() int {
	if off.Load() {
		return 0
	}
	return widest
}

// New returns AES-GCM with a key of 16 bytes, nonces of 12 and tags of 16. It may be used by several goroutines at once, does not
// allocate but to make dst longer, and panics as the standard library's does where a caller is wrong.
func New(key []byte) (cipher.AEAD, error) {
	if w := width(); len(key) == keyLen && w != 0 {
		return newState(key, w), nil
	}
	return standard(key)
}

func standard(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// A state is what a key expands to. The assembly knows its layout.
type state struct {
	rounds [11 * 16]byte
	powers [16 * 16]byte // of H, times x: H^16 first; each as an integer of 128 bits, little-endian
	zeros  [48]byte      // behind the last power, for vectors that are not full
	width  int           // bits of the registers to use
}

// newState expands a key for registers of so many bits.
func newState(key []byte, width int) *state {
	s := &state{width: width}
	var h [16]byte
	expand(s, &key[0], &h[0])
	// Reversed, a block is an integer whose highest bit is the coefficient of x^0; times x is a shift to the left.
	one := element{hi: binary.BigEndian.Uint64(h[:]), lo: binary.BigEndian.Uint64(h[8:])}.timesX()
	power := one
	for i := 15; i >= 0; i-- {
		binary.LittleEndian.PutUint64(s.powers[16*i:], power.lo)
		binary.LittleEndian.PutUint64(s.powers[16*i+8:], power.hi)
		power = power.times(one)
	}
	return s
}

// An element is one of GF(2^128) as GHASH has it, the coefficient of x^0 in the highest bit of hi.
type element struct{ hi, lo uint64 }

// timesX multiplies by x. What is shifted out of the top is x^128 = 1 + x^121 + x^126 + x^127.
func (a element) timesX() element {
	out := -(a.hi >> 63)
	return element{hi: (a.hi<<1 | a.lo>>63) ^ out&0xc200000000000000, lo: a.lo<<1 ^ out&1}
}

// divX divides by x.
func (a element) divX() element {
	out := -(a.lo & 1)
	a.hi ^= out & 0xc200000000000000
	return element{hi: a.hi>>1 | out<<63, lo: (a.lo^out&1)>>1 | a.hi<<63}
}

// times multiplies two elements that are times x each, into one that is: a*b/x^128 as integers. It takes the same time
// whatever they are.
func (a element) times(b element) (c element) {
	for i := range 128 {
		bit := a.lo >> i
		if i >= 64 {
			bit = a.hi >> (i - 64)
		}
		mask := -(bit & 1)
		c.hi ^= b.hi & mask
		c.lo ^= b.lo & mask
		c = c.divX()
	}
	return c
}

// NonceSize implements cipher.AEAD.
func (*state) NonceSize() int { return nonceLen }

// Overhead implements cipher.AEAD.
func (*state) Overhead() int { return tagLen }

// Seal implements cipher.AEAD.
func (s *state) Seal(dst, nonce, plaintext, aad []byte) []byte {
	checkNonce(nonce)
	whole, out := grow(dst, len(plaintext)+tagLen)
	checkOverlap(out, plaintext)
	s.crypt(&nonce[0], &out[0], unsafe.SliceData(plaintext), len(plaintext), unsafe.SliceData(aad), len(aad), &out[len(plaintext)], false)
	return whole
}

// Open implements cipher.AEAD. What does not open is not given out: dst has zeros then.
func (s *state) Open(dst, nonce, ciphertext, aad []byte) ([]byte, error) {
	checkNonce(nonce)
	n := len(ciphertext) - tagLen
	if n < 0 {
		return nil, errOpen
	}
	whole, out := grow(dst, n)
	checkOverlap(out, ciphertext[:n])
	var tag, sent [tagLen]byte
	copy(sent[:], ciphertext[n:]) // out may reach beyond it, if dst has the capacity
	s.crypt(&nonce[0], unsafe.SliceData(out), &ciphertext[0], n, unsafe.SliceData(aad), len(aad), &tag[0], true)
	if subtle.ConstantTimeCompare(tag[:], sent[:]) != 1 {
		clear(out)
		return nil, errOpen
	}
	return whole, nil
}

// crypt seals, or with open decrypts, n bytes from src to dst, which are the same or do not overlap, and writes the tag of
// 16 bytes that belongs to the ciphertext and aad.
func (s *state) crypt(nonce, dst, src *byte, n int, aad *byte, aadLen int, tag *byte, open bool) {
	if s.width == 512 {
		crypt512(s, nonce, dst, src, n, aad, aadLen, tag, open)
	} else {
		crypt256(s, nonce, dst, src, n, aad, aadLen, tag, open)
	}
}

func checkNonce(nonce []byte) {
	if len(nonce) != nonceLen {
		panic("gcm: incorrect nonce length")
	}
}

// grow returns dst made longer by n bytes, and those.
func grow(dst []byte, n int) (whole, tail []byte) {
	if need := len(dst) + n; cap(dst) >= need {
		whole = dst[:need]
	} else {
		whole = make([]byte, need)
		copy(whole, dst)
	}
	return whole, whole[len(dst):]
}

// checkOverlap panics if out and in share memory without beginning at the same place.
func checkOverlap(out, in []byte) {
	if len(out) == 0 || len(in) == 0 || &out[0] == &in[0] {
		return
	}
	a, b := uintptr(unsafe.Pointer(&out[0])), uintptr(unsafe.Pointer(&in[0]))
	if a < b+uintptr(len(in)) && b < a+uintptr(len(out)) {
		panic("gcm: invalid buffer overlap")
	}
}

// widest is the bits of the widest registers with which this processor can do it, and does it right; zero: there are none.
var widest = func() int {
	for _, w := range widths {
		if capable(w) && trial(w) {
			return w
		}
	}
	return 0
}()

// widths are the bits of registers for which there is assembly, the fastest first.
var widths = [...]int{512, 256}

// trial compares this package with the standard library.
func trial(width int) bool {
	var text [1500]byte
	for i := range text {
		text[i] = byte(i*i>>3) ^ byte(i)
	}
	for n := range 40 {
		key, nonce, aad := text[n:n+keyLen], text[2*n:2*n+nonceLen], text[3*n:4*n]
		plain := text[:n*n%len(text)]
		reference, err := standard(key)
		if err != nil {
			return false
		}
		want := reference.Seal(nil, nonce, plain, aad)
		s := newState(key, width)
		got := s.Seal(nil, nonce, plain, aad)
		back, err := s.Open(nil, nonce, got, aad)
		if !bytes.Equal(got, want) || err != nil || !bytes.Equal(back, plain) {
			return false
		}
		got[n%len(got)] ^= 1
		if _, err := s.Open(nil, nonce, got, aad); err == nil {
			return false
		}
	}
	return true
}
