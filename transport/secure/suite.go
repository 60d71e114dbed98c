package secure

import (
	"crypto/cipher"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/vine-mesh/vine/transport/secure/gcm"
)

// A Suite is the AEAD of a session's datagrams. The handshake itself always uses
// ChaCha20-Poly1305; the suite of the session follows from both authenticated payloads.
type Suite uint8

// Suites.
const (
	SuiteChaCha20Poly1305 Suite = 1 // RFC 8439
	SuiteAES128GCM        Suite = 2 // NIST SP 800-38D
)

// String returns the usual name of the suite.
func (s Suite) String() string {
	switch s {
	case SuiteChaCha20Poly1305:
		return "ChaCha20-Poly1305"
	case SuiteAES128GCM:
		return "AES-128-GCM"
	}
	return "unknown"
}

// chooseSuite is a function of both sides' authenticated statements, so neither an attacker nor
// one side alone can turn it: AES-GCM without hardware is slow and leaks by timing, so both must
// have it.
func chooseSuite(ours, theirs bool) Suite {
	if ours && theirs {
		return SuiteAES128GCM
	}
	return SuiteChaCha20Poly1305
}

// keyBytes is the length of the suite's key.
func (s Suite) keyBytes() int {
	if s == SuiteAES128GCM {
		return 16
	}
	return chacha20poly1305.KeySize
}

// counterMax is the first counter that may not be sealed or opened under one key.
//
// AES-GCM: 2^32 packets. With RFC 9001, Appendix B.1 in hand, 2^28 packets of 2^11 bytes keep an
// attacker's advantage below 2^-57; that is where we rekey (rekeyCounter). The hard stop at 2^32
// packets of the same size still is 2^-49, and a lane cannot get there in RejectAfter. Whoever seals
// records of up to 2^16 bytes must lower rekeyCounter to 2^23 (same appendix).
// ChaCha20-Poly1305 has no such limit before its counter ends (RFC 9001, Section 6.6); 2^60 keeps
// sums of counters far from overflow.
func (s Suite) counterMax() uint64 {
	if s == SuiteAES128GCM {
		return 1 << 32
	}
	return 1 << 60
}

// rekeyCounter is the counter at which a sender asks for new keys: see counterMax.
const rekeyCounter = 1 << 28

// AESName returns which implementation of AES-GCM this process uses, for people, such as "VAES, 256 bits": see gcm.Name.
func AESName() string { return gcm.Name() }

// newAEAD returns the AEAD for key, whose length must be keyBytes.
func (s Suite) newAEAD(key []byte) cipher.AEAD {
	if s != SuiteAES128GCM {
		aead, err := chacha20poly1305.New(key)
		if err != nil {
			panic("secure: internal error: wrong key length")
		}
		return aead
	}
	aead, err := gcm.New(key)
	if err != nil {
		panic("secure: internal error: wrong key length")
	}
	return aead
}
