//go:build !purego

#include "textflag.h"

// AES-128-GCM (FIPS 197; NIST SP 800-38D) with VAES and VPCLMULQDQ on registers of 512 bits: four blocks in each.
//
// GHASH works on blocks whose bytes are in reverse order. As integers of 128 bits they are then polynomials whose
// coefficient of x^0 is the highest bit. For a and b in that form a carry-less product is one bit short of
// what it should be; that is made up for by keeping every power of H multiplied by x. The product of 255 bits, as
// LO + MI x^64 + HI x^128, is divided by x^128 modulo x^128 + x^127 + x^126 + x^121 + 1 in two steps of 64 bits
// (Montgomery's reduction, with the constant 0xc2 << 56; Gueron and Kounavis, "Intel carry-less multiplication
// instruction and its usage for computing the GCM mode"). Products are added up first: up to 16 blocks, each with its own
// power, need one reduction.

// Byte order of each of four blocks reversed.
DATA reverse<>+0(SB)/8, $0x08090a0b0c0d0e0f
DATA reverse<>+8(SB)/8, $0x0001020304050607
DATA reverse<>+16(SB)/8, $0x08090a0b0c0d0e0f
DATA reverse<>+24(SB)/8, $0x0001020304050607
DATA reverse<>+32(SB)/8, $0x08090a0b0c0d0e0f
DATA reverse<>+40(SB)/8, $0x0001020304050607
DATA reverse<>+48(SB)/8, $0x08090a0b0c0d0e0f
DATA reverse<>+56(SB)/8, $0x0001020304050607
GLOBL reverse<>(SB), RODATA|NOPTR, $64

// The first four counters, to be added to 1: of GCM's block numbers 2 to 5.
DATA first<>+0(SB)/8, $1
DATA first<>+8(SB)/8, $0
DATA first<>+16(SB)/8, $2
DATA first<>+24(SB)/8, $0
DATA first<>+32(SB)/8, $3
DATA first<>+40(SB)/8, $0
DATA first<>+48(SB)/8, $4
DATA first<>+56(SB)/8, $0
GLOBL first<>(SB), RODATA|NOPTR, $64

DATA four<>+0(SB)/8, $4
DATA four<>+8(SB)/8, $0
GLOBL four<>(SB), RODATA|NOPTR, $16

DATA poly<>+0(SB)/8, $0xc200000000000000
DATA poly<>+8(SB)/8, $0xc200000000000000
GLOBL poly<>(SB), RODATA|NOPTR, $16

// Where things are, throughout crypt512:
//
//	AX           the state: 11 round keys, then from 176 on H^16 x to H^1 x, then 48 zero bytes
//	R8           the powers of H
//	Z16 - Z26    round keys, four times each
//	Z27 Z28 Z29  four, reverse, poly
//	X30          E(J0), which the tag is hidden with
//	Z31          the GHASH so far, in the lowest block
//	Z15          the next four counters, each block reversed
//	Z8 Z9 Z10    LO, MI, HI of the sum of products
//	Z11 - Z14    scratch

// ROUNDS1 encrypts one register of blocks, whitened already.
#define ROUNDS1(A) \
	VAESENC     Z17, A, A \
	VAESENC     Z18, A, A \
	VAESENC     Z19, A, A \
	VAESENC     Z20, A, A \
	VAESENC     Z21, A, A \
	VAESENC     Z22, A, A \
	VAESENC     Z23, A, A \
	VAESENC     Z24, A, A \
	VAESENC     Z25, A, A \
	VAESENCLAST Z26, A, A

#define ROUND4(K) \
	VAESENC K, Z0, Z0 \
	VAESENC K, Z1, Z1 \
	VAESENC K, Z2, Z2 \
	VAESENC K, Z3, Z3

// NEXT makes the next four counters into A, whitened.
#define NEXT(A) \
	VPSHUFB Z28, Z15, A   \
	VPADDD  Z27, Z15, Z15 \
	VPXORQ  Z16, A, A

// STREAM4 makes 256 bytes of key stream in Z0 to Z3.
#define STREAM4 \
	NEXT(Z0)              \
	NEXT(Z1)              \
	NEXT(Z2)              \
	NEXT(Z3)              \
	ROUND4(Z17)           \
	ROUND4(Z18)           \
	ROUND4(Z19)           \
	ROUND4(Z20)           \
	ROUND4(Z21)           \
	ROUND4(Z22)           \
	ROUND4(Z23)           \
	ROUND4(Z24)           \
	ROUND4(Z25)           \
	VAESENCLAST Z26, Z0, Z0 \
	VAESENCLAST Z26, Z1, Z1 \
	VAESENCLAST Z26, Z2, Z2 \
	VAESENCLAST Z26, Z3, Z3

// MULTIPLY adds the products of four blocks, reversed, and four powers of H.
#define MULTIPLY(D, POWERS) \
	VMOVDQU64  POWERS, Z11         \
	VPCLMULQDQ $0x00, Z11, D, Z12  \
	VPCLMULQDQ $0x11, Z11, D, Z13  \
	VPXORQ     Z12, Z8, Z8         \
	VPXORQ     Z13, Z10, Z10       \
	VPCLMULQDQ $0x01, Z11, D, Z12  \
	VPCLMULQDQ $0x10, Z11, D, Z13  \
	VPTERNLOGQ $0x96, Z12, Z13, Z9

#define CLEAR \
	VPXORQ Z8, Z8, Z8    \
	VPXORQ Z9, Z9, Z9    \
	VPXORQ Z10, Z10, Z10

// REDUCE divides the sum by x^128 and adds up its four blocks: the new GHASH.
#define REDUCE \
	VPCLMULQDQ    $0x00, Z29, Z8, Z12 \
	VPSHUFD       $0x4e, Z8, Z8       \
	VPTERNLOGQ    $0x96, Z12, Z8, Z9  \
	VPCLMULQDQ    $0x00, Z29, Z9, Z12 \
	VPSHUFD       $0x4e, Z9, Z9       \
	VPTERNLOGQ    $0x96, Z12, Z9, Z10 \
	VEXTRACTI64X4 $1, Z10, Y11        \
	VPXORQ        Y11, Y10, Y10       \
	VEXTRACTI32X4 $1, Y10, X11        \
	VPXORQ        X11, X10, X31

// PART makes a mask of the next bytes, at most 64, of those that a register counts; MORE is that number.
#define PART(COUNT, MORE) \
	MOVQ    $64, MORE       \
	CMPQ    COUNT, MORE     \
	CMOVQCS COUNT, MORE     \
	MOVQ    $-1, R11        \
	BZHIQ   MORE, R11, R11  \
	KMOVQ   R11, K1

// POWERSFOR points R12 at the power for the first of the blocks that COUNT bytes, 1 to 256, make.
#define POWERSFOR(COUNT) \
	LEAQ 15(COUNT), R11 \
	ANDQ $~15, R11      \
	LEAQ 256(R8), R12   \
	SUBQ R11, R12

// func crypt512(s *state, nonce *byte, dst, src *byte, n int, aad *byte, aadLen int, tag *byte, open bool)
TEXT ·crypt512(SB), NOSPLIT, $0-65
	MOVQ    s+0(FP), AX
	MOVQ    nonce+8(FP), BX
	MOVQ    dst+16(FP), DI
	MOVQ    src+24(FP), SI
	MOVQ    n+32(FP), CX
	MOVQ    aad+40(FP), R9
	MOVQ    aadLen+48(FP), R10
	MOVBQZX open+64(FP), R13
	LEAQ    176(AX), R8

	VBROADCASTI32X4 0(AX), Z16
	VBROADCASTI32X4 16(AX), Z17
	VBROADCASTI32X4 32(AX), Z18
	VBROADCASTI32X4 48(AX), Z19
	VBROADCASTI32X4 64(AX), Z20
	VBROADCASTI32X4 80(AX), Z21
	VBROADCASTI32X4 96(AX), Z22
	VBROADCASTI32X4 112(AX), Z23
	VBROADCASTI32X4 128(AX), Z24
	VBROADCASTI32X4 144(AX), Z25
	VBROADCASTI32X4 160(AX), Z26
	VBROADCASTI32X4 four<>(SB), Z27
	VMOVDQU64       reverse<>(SB), Z28
	VBROADCASTI32X4 poly<>(SB), Z29

	// J0 is the nonce and the number 1, big-endian.
	MOVQ    (BX), R11
	MOVL    8(BX), R12
	VMOVQ   R11, X15
	VPINSRD $2, R12, X15, X15
	MOVL    $0x01000000, R12
	VPINSRD $3, R12, X15, X15

	VPXORQ Z16, Z15, Z0
	ROUNDS1(Z0)
	VMOVDQA64 X0, X30

	VPSHUFB    X28, X15, X15
	VSHUFI64X2 $0, Z15, Z15, Z15
	VPADDD     first<>(SB), Z15, Z15
	VPXORQ     Z31, Z31, Z31

aad:
	TESTQ R10, R10
	JZ    bulk
	MOVQ  $256, DX
	CMPQ  R10, DX
	CMOVQCS R10, DX
	SUBQ  DX, R10
	POWERSFOR(DX)
	CLEAR

aadPart:
	PART(DX, BX)
	VMOVDQU8.Z (R9), K1, Z4
	VPSHUFB    Z28, Z4, Z4
	VPXORQ     Z31, Z4, Z4
	VPXORQ     Z31, Z31, Z31
	MULTIPLY(Z4, (R12))
	ADDQ BX, R9
	ADDQ $64, R12
	SUBQ BX, DX
	JNZ  aadPart
	REDUCE
	JMP  aad

bulk:
	CMPQ CX, $256
	JB   tail
	STREAM4
	VMOVDQU64 0(SI), Z4
	VMOVDQU64 64(SI), Z5
	VMOVDQU64 128(SI), Z6
	VMOVDQU64 192(SI), Z7
	VPXORQ    Z4, Z0, Z0
	VPXORQ    Z5, Z1, Z1
	VPXORQ    Z6, Z2, Z2
	VPXORQ    Z7, Z3, Z3
	VMOVDQU64 Z0, 0(DI)
	VMOVDQU64 Z1, 64(DI)
	VMOVDQU64 Z2, 128(DI)
	VMOVDQU64 Z3, 192(DI)
	TESTQ     R13, R13
	JNZ       bulkHash
	VMOVDQA64 Z0, Z4
	VMOVDQA64 Z1, Z5
	VMOVDQA64 Z2, Z6
	VMOVDQA64 Z3, Z7

bulkHash:
	VPSHUFB Z28, Z4, Z4
	VPSHUFB Z28, Z5, Z5
	VPSHUFB Z28, Z6, Z6
	VPSHUFB Z28, Z7, Z7
	VPXORQ  Z31, Z4, Z4
	CLEAR
	MULTIPLY(Z4, 0(R8))
	MULTIPLY(Z5, 64(R8))
	MULTIPLY(Z6, 128(R8))
	MULTIPLY(Z7, 192(R8))
	REDUCE
	ADDQ $256, SI
	ADDQ $256, DI
	SUBQ $256, CX
	JMP  bulk

tail:
	TESTQ CX, CX
	JZ    lengths
	POWERSFOR(CX)
	CLEAR
	CMPQ CX, $64
	JA   tail4
	NEXT(Z0)
	ROUNDS1(Z0)
	JMP  tailPart

tail4:
	STREAM4

tailPart:
	PART(CX, BX)
	VMOVDQU8.Z (SI), K1, Z4
	VPXORQ     Z4, Z0, Z0
	VMOVDQU8   Z0, K1, (DI)
	TESTQ      R13, R13
	JNZ        tailHash
	VMOVDQU8.Z Z0, K1, Z4

tailHash:
	VPSHUFB Z28, Z4, Z4
	VPXORQ  Z31, Z4, Z4
	VPXORQ  Z31, Z31, Z31
	MULTIPLY(Z4, (R12))
	VMOVDQA64 Z1, Z0
	VMOVDQA64 Z2, Z1
	VMOVDQA64 Z3, Z2
	ADDQ BX, SI
	ADDQ BX, DI
	ADDQ $64, R12
	SUBQ BX, CX
	JNZ  tailPart
	REDUCE

lengths:
	// The last block has the lengths in bits, big-endian: reversed, that of the text is the lower half.
	MOVQ    n+32(FP), R11
	MOVQ    aadLen+48(FP), R12
	SHLQ    $3, R11
	SHLQ    $3, R12
	VMOVQ   R11, X4
	VPINSRQ $1, R12, X4, X4
	VPXORQ  Z31, Z4, Z4
	CLEAR
	MULTIPLY(Z4, 240(R8))
	REDUCE
	VPSHUFB X28, X31, X31
	VPXORQ  X30, X31, X31
	MOVQ    tag+56(FP), R11
	VMOVDQU64 X31, (R11)
	VZEROUPPER
	RET

// EXPAND makes the next round key of that in X0, and stores it (FIPS 197, Section 5.2).
#define EXPAND(RCON, AT) \
	AESKEYGENASSIST RCON, X0, X1 \
	PSHUFD $0xff, X1, X1  \
	MOVOU  X0, X2         \
	PSLLDQ $4, X2         \
	PXOR   X2, X0         \
	PSLLDQ $4, X2         \
	PXOR   X2, X0         \
	PSLLDQ $4, X2         \
	PXOR   X2, X0         \
	PXOR   X1, X0         \
	MOVOU  X0, AT(AX)     \
	AESENC X0, X3

// func expand(s *state, key, h *byte)
//
// It fills in the round keys, and h with the hash key: the encryption of a block of zeros.
TEXT ·expand(SB), NOSPLIT, $0-24
	MOVQ  s+0(FP), AX
	MOVQ  key+8(FP), BX
	MOVQ  h+16(FP), CX
	MOVOU (BX), X0
	MOVOU X0, (AX)
	MOVOU X0, X3
	EXPAND($0x01, 16)
	EXPAND($0x02, 32)
	EXPAND($0x04, 48)
	EXPAND($0x08, 64)
	EXPAND($0x10, 80)
	EXPAND($0x20, 96)
	EXPAND($0x40, 112)
	EXPAND($0x80, 128)
	EXPAND($0x1b, 144)
	MOVOU X3, X4
	EXPAND($0x36, 160)
	AESENCLAST X0, X4
	MOVOU X4, (CX)
	RET
