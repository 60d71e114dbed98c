package gcm

import (
	"bytes"
	"crypto/cipher"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

// edge returns n bytes of which the last, or the first, is at the border of a page that must not be touched.
func edge(t *testing.T, n int, last bool) []byte {
	t.Helper()
	page := unix.Getpagesize()
	inner := (n/page + 1) * page
	b, err := unix.Mmap(-1, 0, inner+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(b) })
	for _, guard := range [][]byte{b[:page], b[page+inner:]} {
		if err := unix.Mprotect(guard, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	if last {
		return b[page+inner-n : page+inner : page+inner]
	}
	return b[page : page+n : page+n]
}

// TestKeepsToItsBuffers: nothing before or behind the buffers is read or written: the pages there cannot be.
func TestKeepsToItsBuffers(t *testing.T) {
	eachWidth(t, func(t *testing.T, fast func([]byte) cipher.AEAD) {
		r := rand.New(rand.NewPCG(4, 4))
		for _, n := range []int{1, 7, 15, 16, 17, 63, 64, 65, 127, 128, 200, 255, 256, 257, 300, 511, 513, 1400} {
			for _, last := range []bool{true, false} {
				key, nonce := edge(t, 16, last), edge(t, 12, last)
				plain, aad, sealed, opened := edge(t, n, last), edge(t, 1+n%70, last), edge(t, n+16, last), edge(t, n, last)
				for _, b := range [][]byte{key, nonce, plain, aad} {
					copy(b, random(r, len(b)))
				}
				s := fast(key)
				s.Seal(sealed[:0], nonce, plain, aad)
				if want := mustStandard(key).Seal(nil, nonce, plain, aad); !bytes.Equal(sealed, want) {
					t.Fatalf("%d bytes", n)
				}
				if got, err := s.Open(opened[:0], nonce, sealed, aad); err != nil || !bytes.Equal(got, plain) {
					t.Fatalf("%d bytes: %v", n, err)
				}
			}
		}
	})
}
