package tables

import (
	"crypto/ed25519"
	"encoding/hex"
)

// Verify reports whether sig is key's Ed25519 signature over message (RFC 8032, Section 5.1.7).
// It refuses what makes a signature malleable: a scalar that is not reduced (the standard
// library does) and keys that are not canonical points of large order, for which one signature
// fits many messages.
func Verify(key PublicKey, message, sig []byte) bool {
	return key.usable() && len(sig) == ed25519.SignatureSize && ed25519.Verify(key[:], message, sig)
}

// smallOrderY are the y coordinates, sign bit clear, of the eight points of small order.
var smallOrderY = [...]PublicKey{
	hexKey("0000000000000000000000000000000000000000000000000000000000000000"),
	hexKey("0100000000000000000000000000000000000000000000000000000000000000"),
	hexKey("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
	hexKey("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
	hexKey("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
}

func hexKey(s string) PublicKey { return PublicKey(must(hex.DecodeString(s))) }

// usable reports whether k is a canonical encoding (y < 2^255-19) and not of small order.
func (k PublicKey) usable() bool {
	k[31] &= 0x7f
	for _, small := range smallOrderY {
		if k == small {
			return false
		}
	}
	if k[31] != 0x7f || k[0] < 0xed {
		return true
	}
	for _, b := range k[1:31] {
		if b != 0xff {
			return true
		}
	}
	return false
}
