//go:build !purego

package gcm

import "golang.org/x/sys/cpu"

// capable reports whether the processor has what crypt is made of, and the system keeps its registers.
func capable() bool {
	x := &cpu.X86
	return x.HasAES && x.HasBMI2 && x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasAVX512VAES && x.HasAVX512VPCLMULQDQ
}

// crypt seals, or with open decrypts, n bytes from src to dst, which are the same or do not overlap, and writes the tag of
// 16 bytes that belongs to the ciphertext and aad.
//
//go:noescape
func crypt(s *state, nonce *byte, dst, src *byte, n int, aad *byte, aadLen int, tag *byte, open bool)

// expand fills in the round keys of s for a key of 16 bytes, and the hash key of 16 bytes.
//
//go:noescape
func expand(s *state, key, h *byte)
