package secure

import (
	"crypto/subtle"

	"golang.org/x/crypto/blake2s"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// Labels keep the uses of one public key apart.
const (
	labelMAC1   = "vine mac1 v1"
	labelCookie = "vine cookie v1"
	labelMAC2   = "vine mac2 v1    " // 16 bytes: fills a cookie up to a MAC key
)

// macCover is how many bytes of an init or response MAC1 covers: the header, the ephemeral key and
// the sealed static key. MAC1 proves that the sender knows our public key, not that the message is
// fresh or whole: whoever saw one genuine message can send it again as it was, so covering the rest would
// stop nobody, and cost every junk datagram of 1,200 bytes 2 us instead of 0.3.
const macCover = 8 + frame.KeyLen + frame.KeyLen + frame.TagLen

const macsLen = 2 * frame.MACLen

type mac [frame.MACLen]byte

// equal compares in constant time.
func (m mac) equal(o mac) bool { return subtle.ConstantTimeCompare(m[:], o[:]) == 1 }

// labelKey returns the key that label and a public key give: BLAKE2s-256(label || key).
func labelKey(label string, key tables.LinkKey) [32]byte {
	return blake2s.Sum256(append([]byte(label), key[:]...))
}

// macInputMax is the longest message that sumMAC takes: what MAC1 covers.
const macInputMax = macCover

// sumMAC returns the first 128 bits of BLAKE2s-256(key || message). BLAKE2 has no length extension,
// so a key of fixed length in front makes a MAC; unlike the keyed mode of the library it needs no
// allocation and no state, so any number of goroutines may run it. It panics if message is
// longer than macInputMax.
func sumMAC(key *[32]byte, message []byte) mac {
	if len(message) > macInputMax {
		panic("secure: internal error: MAC input too long")
	}
	var in [32 + macInputMax]byte
	copy(in[:], key[:])
	n := copy(in[32:], message)
	sum := blake2s.Sum256(in[:32+n])
	return mac(sum[:frame.MACLen])
}

// The MACs stand at the end of a datagram, MAC1 before MAC2. These functions need a datagram that
// is at least macsLen long.

func mac1Of(key *[32]byte, datagram []byte) mac {
	return sumMAC(key, datagram[:min(macCover, len(datagram)-macsLen)])
}

// mac2Of covers MAC1, and by it what MAC1 covers, under the cookie. The receiver checks MAC1 first.
func mac2Of(cookie mac, datagram []byte) mac {
	var key [32]byte
	copy(key[copy(key[:], cookie[:]):], labelMAC2)
	mac1 := mac1In(datagram)
	return sumMAC(&key, mac1[:])
}

func mac1In(datagram []byte) mac { return mac(datagram[len(datagram)-macsLen:]) }
func mac2In(datagram []byte) mac { return mac(datagram[len(datagram)-frame.MACLen:]) }
