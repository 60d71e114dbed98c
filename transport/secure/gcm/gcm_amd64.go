//go:build !purego

package gcm

import "golang.org/x/sys/cpu"

// capable reports whether the processor has what the assembly for registers of so many bits is made of, and the system keeps
// these registers.
func capable(width int) bool {
	x := &cpu.X86
	if width == 512 {
		return x.HasAES && x.HasBMI2 && x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasAVX512VAES && x.HasAVX512VPCLMULQDQ
	}
	const vaes, vpclmulqdq = 1 << 9, 1 << 10 // package cpu has these for AVX-512 only
	return x.HasAES && x.HasAVX2 && leaf7()&(vaes|vpclmulqdq) == vaes|vpclmulqdq
}

// crypt512 is state.crypt on registers of 512 bits.
//
//go:noescape
func crypt512(s *state, nonce *byte, dst, src *byte, n int, aad *byte, aadLen int, tag *byte, open bool)

// crypt256 is state.crypt on registers of 256 bits.
//
//go:noescape
func crypt256(s *state, nonce *byte, dst, src *byte, n int, aad *byte, aadLen int, tag *byte, open bool)

// expand fills in the round keys of s for a key of 16 bytes, and the hash key of 16 bytes.
//
//go:noescape
func expand(s *state, key, h *byte)

// leaf7 returns ECX of CPUID with 7 and 0.
func leaf7() (ecx uint32)
