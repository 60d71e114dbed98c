//go:build !purego

#include "textflag.h"

// AES-128-GCM with VAES and VPCLMULQDQ on registers of 256 bits, two blocks in each, for processors without AVX-512. The arithmetic is that
// of crypt512_amd64.s; all instructions here are of AVX2, VAES and VPCLMULQDQ (VEX encoded). Without masks, what is left of the
// last block goes byte by byte.

DATA reverse<>+0(SB)/8, $0x08090a0b0c0d0e0f
DATA reverse<>+8(SB)/8, $0x0001020304050607
DATA reverse<>+16(SB)/8, $0x08090a0b0c0d0e0f
DATA reverse<>+24(SB)/8, $0x0001020304050607
GLOBL reverse<>(SB), RODATA|NOPTR, $32

// The first two counters, to be added to 1: of GCM's block numbers 2 and 3.
DATA first<>+0(SB)/8, $1
DATA first<>+8(SB)/8, $0
DATA first<>+16(SB)/8, $2
DATA first<>+24(SB)/8, $0
GLOBL first<>(SB), RODATA|NOPTR, $32

DATA two<>+0(SB)/8, $2
DATA two<>+8(SB)/8, $0
DATA two<>+16(SB)/8, $2
DATA two<>+24(SB)/8, $0
GLOBL two<>(SB), RODATA|NOPTR, $32

DATA poly<>+0(SB)/8, $0xc200000000000000
DATA poly<>+8(SB)/8, $0xc200000000000000
DATA poly<>+16(SB)/8, $0xc200000000000000
DATA poly<>+24(SB)/8, $0xc200000000000000
GLOBL poly<>(SB), RODATA|NOPTR, $32

// Where things are, throughout:
//
//	AX            the state: 11 round keys, then from 176 on H^16 x to H^1 x
//	R8            the powers of H
//	Y0 - Y7       blocks
//	Y8 Y15        scratch
//	Y9            the next two counters, each block reversed
//	Y10 Y11 Y12   LO, MI, HI of the sum of products
//	Y13           the GHASH so far, in the lower block; the upper one is zero
//	Y14           reverse

#define ROUND8(OP, AT) \
	VBROADCASTI128 AT(AX), Y8 \
	OP Y8, Y0, Y0             \
	OP Y8, Y1, Y1             \
	OP Y8, Y2, Y2             \
	OP Y8, Y3, Y3             \
	OP Y8, Y4, Y4             \
	OP Y8, Y5, Y5             \
	OP Y8, Y6, Y6             \
	OP Y8, Y7, Y7

// NEXT makes the next two counters into A.
#define NEXT(A) \
	VPSHUFB Y14, Y9, A         \
	VPADDD  two<>(SB), Y9, Y9

// STREAM8 makes 256 bytes of key stream in Y0 to Y7.
#define STREAM8 \
	NEXT(Y0)            \
	NEXT(Y1)            \
	NEXT(Y2)            \
	NEXT(Y3)            \
	NEXT(Y4)            \
	NEXT(Y5)            \
	NEXT(Y6)            \
	NEXT(Y7)            \
	ROUND8(VPXOR, 0)    \
	ROUND8(VAESENC, 16) \
	ROUND8(VAESENC, 32) \
	ROUND8(VAESENC, 48) \
	ROUND8(VAESENC, 64) \
	ROUND8(VAESENC, 80) \
	ROUND8(VAESENC, 96) \
	ROUND8(VAESENC, 112) \
	ROUND8(VAESENC, 128) \
	ROUND8(VAESENC, 144) \
	ROUND8(VAESENCLAST, 160)

// MULTIPLY adds the products of two blocks, reversed, and two powers of H.
#define MULTIPLY(D, POWERS) \
	VMOVDQU    POWERS, Y8         \
	VPCLMULQDQ $0x00, Y8, D, Y15  \
	VPXOR      Y15, Y10, Y10      \
	VPCLMULQDQ $0x01, Y8, D, Y15  \
	VPXOR      Y15, Y11, Y11      \
	VPCLMULQDQ $0x10, Y8, D, Y15  \
	VPXOR      Y15, Y11, Y11      \
	VPCLMULQDQ $0x11, Y8, D, Y15  \
	VPXOR      Y15, Y12, Y12

// MULTIPLY1 is MULTIPLY for the block in X0 and one power.
#define MULTIPLY1(POWER) \
	VMOVDQU    POWER, X8          \
	VPCLMULQDQ $0x00, X8, X0, X15 \
	VPXOR      Y15, Y10, Y10      \
	VPCLMULQDQ $0x01, X8, X0, X15 \
	VPXOR      Y15, Y11, Y11      \
	VPCLMULQDQ $0x10, X8, X0, X15 \
	VPXOR      Y15, Y11, Y11      \
	VPCLMULQDQ $0x11, X8, X0, X15 \
	VPXOR      Y15, Y12, Y12

#define CLEAR \
	VPXOR Y10, Y10, Y10 \
	VPXOR Y11, Y11, Y11 \
	VPXOR Y12, Y12, Y12

// REDUCE divides the sum by x^128 and adds up its two blocks: the new GHASH.
#define REDUCE \
	VPCLMULQDQ   $0x00, poly<>(SB), Y10, Y15 \
	VPSHUFD      $0x4e, Y10, Y10     \
	VPXOR        Y15, Y11, Y11       \
	VPXOR        Y10, Y11, Y11       \
	VPCLMULQDQ   $0x00, poly<>(SB), Y11, Y15 \
	VPSHUFD      $0x4e, Y11, Y11     \
	VPXOR        Y15, Y12, Y12       \
	VPXOR        Y11, Y12, Y12       \
	VEXTRACTI128 $1, Y12, X8         \
	VPXOR        X8, X12, X13

// BLOCKS2 multiplies the next two of 16 blocks that begin at R9.
#define BLOCKS2(AT) \
	VMOVDQU AT(R9), Y0      \
	VPSHUFB Y14, Y0, Y0     \
	MULTIPLY(Y0, AT(R8))

// hash adds DX bytes at R9 to the GHASH, filled up with zeros to whole blocks. It uses BX, R11, R12, Y0 and all that is scratch.
TEXT hash<>(SB), NOSPLIT, $16-0
hash16:
	CMPQ DX, $256
	JB   rest
	CLEAR
	VMOVDQU (R9), Y0
	VPSHUFB Y14, Y0, Y0
	VPXOR   Y13, Y0, Y0
	MULTIPLY(Y0, 0(R8))
	BLOCKS2(32)
	BLOCKS2(64)
	BLOCKS2(96)
	BLOCKS2(128)
	BLOCKS2(160)
	BLOCKS2(192)
	BLOCKS2(224)
	REDUCE
	ADDQ $256, R9
	SUBQ $256, DX
	JMP  hash16

rest:
	TESTQ DX, DX
	JZ    done
	CLEAR

	// R12 is at the power for the first of the blocks that are left.
	LEAQ 15(DX), R11
	ANDQ $~15, R11
	LEAQ 256(R8), R12
	SUBQ R11, R12

rest2:
	CMPQ DX, $32
	JB   rest1
	VMOVDQU (R9), Y0
	VPSHUFB Y14, Y0, Y0
	VPXOR   Y13, Y0, Y0
	VPXOR   Y13, Y13, Y13
	MULTIPLY(Y0, (R12))
	ADDQ $32, R9
	ADDQ $32, R12
	SUBQ $32, DX
	JMP  rest2

rest1:
	CMPQ DX, $16
	JB   part
	VMOVDQU (R9), X0
	VPSHUFB X14, X0, X0
	VPXOR   X13, X0, X0
	VPXOR   Y13, Y13, Y13
	MULTIPLY1((R12))
	ADDQ $16, R9
	ADDQ $16, R12
	SUBQ $16, DX

part:
	TESTQ DX, DX
	JZ    reduce
	VPXOR X0, X0, X0
	VMOVDQU X0, 0(SP)
	LEAQ  0(SP), BX
	CMPQ  DX, $8
	JB    bytes
	MOVQ  (R9), R11
	MOVQ  R11, (BX)
	ADDQ  $8, R9
	ADDQ  $8, BX
	SUBQ  $8, DX
	JZ    last

bytes:
	MOVB -1(R9)(DX*1), R11
	MOVB R11, -1(BX)(DX*1)
	DECQ DX
	JNZ  bytes

last:
	VMOVDQU 0(SP), X0
	VPSHUFB X14, X0, X0
	VPXOR   X13, X0, X0
	MULTIPLY1((R12))

reduce:
	REDUCE

done:
	RET

// func crypt256(s *state, nonce *byte, dst, src *byte, n int, aad *byte, aadLen int, tag *byte, open bool)
//
// On the stack are 256 bytes of key stream for the end of the text, and E(J0), which the tag is hidden with.
TEXT ·crypt256(SB), NOSPLIT, $272-65
	MOVQ    s+0(FP), AX
	MOVQ    nonce+8(FP), BX
	MOVQ    dst+16(FP), DI
	MOVQ    src+24(FP), SI
	MOVQ    n+32(FP), CX
	MOVBQZX open+64(FP), R13
	LEAQ    176(AX), R8
	VMOVDQU reverse<>(SB), Y14
	VPXOR   Y13, Y13, Y13

	// J0 is the nonce and the number 1, big-endian.
	MOVQ    (BX), R11
	MOVL    8(BX), R12
	VMOVQ   R11, X9
	VPINSRD $2, R12, X9, X9
	MOVL    $0x01000000, R12
	VPINSRD $3, R12, X9, X9

	VPXOR       0(AX), X9, X0
	VAESENC     16(AX), X0, X0
	VAESENC     32(AX), X0, X0
	VAESENC     48(AX), X0, X0
	VAESENC     64(AX), X0, X0
	VAESENC     80(AX), X0, X0
	VAESENC     96(AX), X0, X0
	VAESENC     112(AX), X0, X0
	VAESENC     128(AX), X0, X0
	VAESENC     144(AX), X0, X0
	VAESENCLAST 160(AX), X0, X0
	VMOVDQU     X0, 256(SP)

	VPSHUFB     X14, X9, X9
	VINSERTI128 $1, X9, Y9, Y9
	VPADDD      first<>(SB), Y9, Y9

	MOVQ aad+40(FP), R9
	MOVQ aadLen+48(FP), DX
	CALL hash<>(SB)

bulk:
	CMPQ  CX, $256
	JB    tail
	TESTQ R13, R13
	JZ    bulkStream
	MOVQ  SI, R9
	MOVQ  $256, DX
	CALL  hash<>(SB)

bulkStream:
	STREAM8
	VPXOR   0(SI), Y0, Y0
	VPXOR   32(SI), Y1, Y1
	VPXOR   64(SI), Y2, Y2
	VPXOR   96(SI), Y3, Y3
	VPXOR   128(SI), Y4, Y4
	VPXOR   160(SI), Y5, Y5
	VPXOR   192(SI), Y6, Y6
	VPXOR   224(SI), Y7, Y7
	VMOVDQU Y0, 0(DI)
	VMOVDQU Y1, 32(DI)
	VMOVDQU Y2, 64(DI)
	VMOVDQU Y3, 96(DI)
	VMOVDQU Y4, 128(DI)
	VMOVDQU Y5, 160(DI)
	VMOVDQU Y6, 192(DI)
	VMOVDQU Y7, 224(DI)
	TESTQ   R13, R13
	JNZ     bulkNext
	MOVQ    DI, R9
	MOVQ    $256, DX
	CALL    hash<>(SB)

bulkNext:
	ADDQ $256, SI
	ADDQ $256, DI
	SUBQ $256, CX
	JMP  bulk

tail:
	TESTQ CX, CX
	JZ    lengths
	MOVQ  DI, R10
	TESTQ R13, R13
	JZ    tailStream
	MOVQ  SI, R9
	MOVQ  CX, DX
	CALL  hash<>(SB)

tailStream:
	STREAM8
	VMOVDQU Y0, 0(SP)
	VMOVDQU Y1, 32(SP)
	VMOVDQU Y2, 64(SP)
	VMOVDQU Y3, 96(SP)
	VMOVDQU Y4, 128(SP)
	VMOVDQU Y5, 160(SP)
	VMOVDQU Y6, 192(SP)
	VMOVDQU Y7, 224(SP)
	LEAQ    0(SP), R11
	MOVQ    CX, DX

tail2:
	CMPQ    DX, $32
	JB      tail1
	VMOVDQU (SI), Y0
	VPXOR   (R11), Y0, Y0
	VMOVDQU Y0, (DI)
	ADDQ    $32, SI
	ADDQ    $32, DI
	ADDQ    $32, R11
	SUBQ    $32, DX
	JMP     tail2

tail1:
	CMPQ    DX, $16
	JB      tail8
	VMOVDQU (SI), X0
	VPXOR   (R11), X0, X0
	VMOVDQU X0, (DI)
	ADDQ    $16, SI
	ADDQ    $16, DI
	ADDQ    $16, R11
	SUBQ    $16, DX

tail8:
	CMPQ DX, $8
	JB   tailByte
	MOVQ (SI), R12
	XORQ (R11), R12
	MOVQ R12, (DI)
	ADDQ $8, SI
	ADDQ $8, DI
	ADDQ $8, R11
	SUBQ $8, DX

tailByte:
	TESTQ DX, DX
	JZ    tailHash
	MOVB  -1(SI)(DX*1), R12
	XORB  -1(R11)(DX*1), R12
	MOVB  R12, -1(DI)(DX*1)
	DECQ  DX
	JMP   tailByte

tailHash:
	TESTQ R13, R13
	JNZ   lengths
	MOVQ  R10, R9
	MOVQ  CX, DX
	CALL  hash<>(SB)

lengths:
	// The last block has the lengths in bits, big-endian: reversed, that of the text is the lower half.
	MOVQ    n+32(FP), R11
	MOVQ    aadLen+48(FP), R12
	SHLQ    $3, R11
	SHLQ    $3, R12
	VMOVQ   R11, X0
	VPINSRQ $1, R12, X0, X0
	VPXOR   X13, X0, X0
	CLEAR
	MULTIPLY1(240(R8))
	REDUCE
	VPSHUFB X14, X13, X13
	VPXOR   256(SP), X13, X13
	MOVQ    tag+56(FP), R11
	VMOVDQU X13, (R11)
	VZEROUPPER
	RET

// func leaf7() (ecx uint32)
//
// It returns what the processor says of itself in leaf 7 (Intel SDM, CPUID): bit 9 is VAES, bit 10 VPCLMULQDQ. A processor with
// AVX2 has that leaf.
TEXT ·leaf7(SB), NOSPLIT, $0-4
	MOVL $7, AX
	XORL CX, CX
	CPUID
	MOVL CX, ecx+0(FP)
	RET
