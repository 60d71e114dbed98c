package gcm

import (
	"bytes"
	"crypto/cipher"
	"fmt"
	"math/rand/v2"
	"testing"
)

// eachWidth runs a test for the registers of each width, whichever of them New takes. It says which this processor lacks.
func eachWidth(t *testing.T, test func(t *testing.T, fast func(key []byte) cipher.AEAD)) {
	t.Helper()
	for _, w := range widths {
		t.Run(fmt.Sprint(w), func(t *testing.T) {
			if !capable(w) {
				t.Skipf("SKIPPED, NOT TESTED: this processor has no VAES on registers of %d bits", w)
			}
			test(t, func(key []byte) cipher.AEAD { return newState(key, w) })
		})
	}
}

func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestTrial: what this processor can, it does right, and New takes the fastest of it.
func TestTrial(t *testing.T) {
	want := 0
	for _, w := range widths {
		if !capable(w) {
			continue
		}
		if !trial(w) {
			t.Errorf("%d bits: another result than the standard library's", w)
		}
		want = max(want, w)
	}
	if widest != want {
		t.Errorf("registers of %d bits are taken, want %d", widest, want)
	}
}

// TestEveryLength: for every length of text and of additional data the standard library gives the same.
func TestEveryLength(t *testing.T) {
	eachWidth(t, func(t *testing.T, fast func([]byte) cipher.AEAD) {
		r := rand.New(rand.NewPCG(1, 1))
		for n := range 2200 {
			for _, aadLen := range []int{0, 1 + n%40, 28, n % 700} {
				key, nonce, plain, aad := random(r, 16), random(r, 12), random(r, n), random(r, aadLen)
				s, reference := fast(key), mustStandard(key)
				want := reference.Seal(nil, nonce, plain, aad)
				if got := s.Seal(nil, nonce, plain, aad); !bytes.Equal(got, want) {
					t.Fatalf("%d bytes, %d beside them: sealed\n%x, want\n%x", n, aadLen, got, want)
				}
				got, err := s.Open(nil, nonce, want, aad)
				if err != nil || !bytes.Equal(got, plain) {
					t.Fatalf("%d bytes, %d beside them: opened\n%x, %v", n, aadLen, got, err)
				}
			}
		}
	})
}

func mustStandard(key []byte) cipher.AEAD {
	a, err := standard(key)
	if err != nil {
		panic(err)
	}
	return a
}

// TestInPlace: dst may be where the text is, or have something before it already.
func TestInPlace(t *testing.T) {
	eachWidth(t, func(t *testing.T, fast func([]byte) cipher.AEAD) {
		r := rand.New(rand.NewPCG(2, 2))
		key, nonce, aad := random(r, 16), random(r, 12), random(r, 28)
		s, reference := fast(key), mustStandard(key)
		for _, n := range []int{0, 1, 15, 16, 63, 64, 65, 255, 256, 257, 1400, 9000} {
			plain := random(r, n)
			want := reference.Seal(nil, nonce, plain, aad)
			b := append(make([]byte, 0, n+16), plain...)
			sealed := s.Seal(b[:0], nonce, b, aad)
			if !bytes.Equal(sealed, want) {
				t.Fatalf("%d bytes in place", n)
			}
			opened, err := s.Open(sealed[:0], nonce, sealed, aad)
			if err != nil || !bytes.Equal(opened, plain) {
				t.Fatalf("%d bytes opened in place: %v", n, err)
			}
			prefix := []byte("before")
			if got := s.Seal(prefix, nonce, plain, aad); !bytes.Equal(got[len(prefix):], want) || !bytes.HasPrefix(got, prefix) {
				t.Fatalf("%d bytes behind others", n)
			}
		}
		defer func() {
			if recover() == nil {
				t.Error("buffers that overlap are taken")
			}
		}()
		b := make([]byte, 200)
		s.Seal(b[1:1], nonce, b[:100], aad)
	})
}

// TestForged: a flipped bit anywhere, in text, tag, nonce or additional data, and nothing comes out.
func TestForged(t *testing.T) {
	eachWidth(t, func(t *testing.T, fast func([]byte) cipher.AEAD) {
		r := rand.New(rand.NewPCG(3, 3))
		key, nonce, aad := random(r, 16), random(r, 12), random(r, 28)
		s := fast(key)
		for _, n := range []int{0, 1, 64, 100, 300} {
			sealed := s.Seal(nil, nonce, random(r, n), aad)
			for _, part := range [][]byte{sealed, nonce, aad} {
				for bit := range 8 * len(part) {
					part[bit/8] ^= 1 << (bit % 8)
					room := bytes.Repeat([]byte{0xaa}, n)
					got, err := s.Open(room[:0], nonce, sealed, aad)
					if err == nil || got != nil || !bytes.Equal(room, make([]byte, n)) {
						t.Fatalf("%d bytes, bit %d: %x, %v", n, bit, room, err)
					}
					part[bit/8] ^= 1 << (bit % 8)
				}
			}
			if _, err := s.Open(nil, nonce, sealed[:max(0, len(sealed)-17)], aad); err == nil {
				t.Errorf("%d bytes cut short", n)
			}
		}
	})
}

// TestUse: the switch.
func TestUse(t *testing.T) {
	defer Use(true)
	for _, on := range []bool{false, true} {
		Use(on)
		a, err := New(make([]byte, 16))
		if err != nil {
			t.Fatal(err)
		}
		if _, ours := a.(*state); ours != (on && widest != 0) || (Name() == "standard library") == ours {
			t.Errorf("in use %v: %T", on, a)
		}
	}
	if _, err := New(make([]byte, 15)); err == nil {
		t.Error("a key of 15 bytes")
	}
}

// FuzzGCM: whatever the key, the nonce and the text, the standard library gives the same.
func FuzzGCM(f *testing.F) {
	f.Add([]byte("key"), []byte("nonce"), []byte("text"), []byte("beside"))
	f.Add(bytes.Repeat([]byte{0xff}, 16), bytes.Repeat([]byte{0xff}, 12), make([]byte, 1024), make([]byte, 300))
	f.Fuzz(func(t *testing.T, key, nonce, plain, aad []byte) {
		var k [16]byte
		var n [12]byte
		copy(k[:], key)
		copy(n[:], nonce)
		want := mustStandard(k[:]).Seal(nil, n[:], plain, aad)
		for _, w := range widths {
			if !capable(w) {
				continue
			}
			s := newState(k[:], w)
			if got := s.Seal(nil, n[:], plain, aad); !bytes.Equal(got, want) {
				t.Fatalf("%d bits: sealed %x, want %x", w, got, want)
			}
			if got, err := s.Open(nil, n[:], want, aad); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%d bits: opened %x, %v", w, got, err)
			}
			if _, err := s.Open(nil, n[:], plain, aad); err == nil {
				t.Fatalf("%d bits: anything opens", w)
			}
		}
	})
}

func TestDoesNotAllocate(t *testing.T) {
	eachWidth(t, func(t *testing.T, fast func([]byte) cipher.AEAD) {
		s := fast(make([]byte, 16))
		nonce, aad, b := make([]byte, 12), make([]byte, 28), make([]byte, 1400, 1416)
		if n := testing.AllocsPerRun(100, func() {
			sealed := s.Seal(b[:0], nonce, b, aad)
			if _, err := s.Open(sealed[:0], nonce, sealed, aad); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

func BenchmarkGCM(b *testing.B) {
	type choice struct {
		name string
		a    cipher.AEAD
	}
	choices := []choice{{"standard", mustStandard(make([]byte, 16))}}
	for _, w := range widths {
		if capable(w) {
			choices = append(choices, choice{fmt.Sprintf("vaes%d", w), newState(make([]byte, 16), w)})
		}
	}
	for _, size := range []int{64, 512, 1400, 9000} {
		for _, bc := range choices {
			nonce, aad, buf := make([]byte, 12), make([]byte, 28), make([]byte, size, size+16)
			b.Run(fmt.Sprintf("seal/%d/%s", size, bc.name), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					bc.a.Seal(buf[:0], nonce, buf, aad)
				}
			})
			sealed, room := bc.a.Seal(nil, nonce, buf, aad), make([]byte, 0, size)
			b.Run(fmt.Sprintf("open/%d/%s", size, bc.name), func(b *testing.B) {
				b.SetBytes(int64(size))
				for b.Loop() {
					if _, err := bc.a.Open(room, nonce, sealed, aad); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
