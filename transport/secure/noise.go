package secure

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/flynn/noise"

	"github.com/vine-mesh/vine/tables"
)

// Errors of the handshakes. Besides them the readers return package frame's for a datagram that
// does not parse.
var (
	// ErrHandshake: the message does not authenticate, or is not for this handshake. Nothing has
	// changed; the genuine one can still come.
	ErrHandshake = errors.New("secure: handshake message refused")
	// ErrFailed: the handshake is over. Failed reports true, or it has given its session already.
	ErrFailed = errors.New("secure: handshake is over")
	// ErrHello: our own hello is longer than HelloMax.
	ErrHello = errors.New("secure: hello too long")
)

// HelloMax is the longest hello, so that every handshake message fits in frame.HandshakeLen bytes: an init has one byte to spare.
const HelloMax = 872

// Prologues bind a handshake to the protocol and its version, IK also to the federation. A newcomer does not
// know the federation before the seed's hello names it, so the prologue of a join has none.
const (
	prologueLink = "vine v1"
	prologueJoin = "vine v1 join"
)

var noiseSuite = noise.NewCipherSuite(curve{}, noise.CipherChaChaPoly, noise.HashBLAKE2s)

// A Config is what all handshakes of one router share. It is not modified here and may be shared
// between goroutines as far as Rand may.
type Config struct {
	Static     StaticKey
	Federation tables.Hash // hash of the first root document; not used when joining
	FastAES    bool        // this machine has instructions for AES and GCM
	Rand       io.Reader   // a cryptographic source: ephemeral keys come from it

	// splitSecrets, if a test sets it, replaces the secrets of the session, by direction.
	splitSecrets func(fromInitiator, fromResponder *noise.CipherState, handshakeHash []byte) [2][32]byte
	// keepState, if a test sets it, makes a handshake go on with the state in which a refused message left it.
	keepState bool
}

// An Order orders the init messages of one router by (boot count from disk, counter within the
// boot), never by a clock.
//
// A responder keeps, per static key, the highest Order that it answered, and answers only
// an init that is After it: so a recorded one is refused. The mark must outlive the session, and a restart
// of the responder, or a recorded init costs one useless session.
type Order struct{ Boot, Counter uint64 }

// After reports whether o is later than p.
func (o Order) After(p Order) bool {
	return o.Boot > p.Boot || o.Boot == p.Boot && o.Counter > p.Counter
}

// seedLen is the length of an ephemeral private key.
const seedLen = 32

// newSeed draws an ephemeral key. It is kept for as long as the handshake lasts, so that the Noise
// state can be made again as it was before a message that was refused.
func (c *Config) newSeed() (seed [seedLen]byte, err error) {
	_, err = io.ReadFull(c.Rand, seed[:])
	return seed, err
}

// state returns a Noise state at the start of a pattern.
func (c *Config) state(p noise.HandshakePattern, initiator bool, peer []byte, seed [seedLen]byte) (*noise.HandshakeState, error) {
	prologue := []byte(prologueJoin)
	if p.Name == noise.HandshakeIK.Name {
		prologue = append([]byte(prologueLink), c.Federation[:]...)
	}
	return noise.NewHandshakeState(noise.Config{
		CipherSuite:   noiseSuite,
		Random:        bytes.NewReader(seed[:]),
		Pattern:       p,
		Initiator:     initiator,
		Prologue:      prologue,
		StaticKeypair: c.Static.noiseKey(),
		PeerStatic:    peer,
	})
}

// secrets takes the session's secrets from the Noise split. They must be the cipher keys: the
// handshake hash beside them is no secret, everyone who saw the messages can compute it.
func (c *Config) secrets(fromInitiator, fromResponder *noise.CipherState, hash []byte) [2][32]byte {
	if c.splitSecrets != nil {
		return c.splitSecrets(fromInitiator, fromResponder, hash)
	}
	return [2][32]byte{fromInitiator.UnsafeKey(), fromResponder.UnsafeKey()}
}

// A payload is what both sides say in the encrypted part of a handshake message:
//
//	flags 1 (bit 0: fast AES, others zero), length of hello 2, hello
//
// In an init, boot count 8 and counter 8 stand before, and zeroes follow up to the fixed length.
type payload struct {
	fastAES bool
	hello   []byte
}

func (p payload) append(b []byte) []byte {
	var flags byte
	if p.fastAES {
		flags = 1
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.hello)))
	return append(b, p.hello...)
}

// parsePayload parses a payload. Unknown flags are ignored: they are authenticated, and a later
// version may set them.
func parsePayload(b []byte) (p payload, rest []byte, err error) {
	if len(b) < 3 {
		return payload{}, nil, ErrHandshake
	}
	n := int(binary.BigEndian.Uint16(b[1:]))
	if n > HelloMax || len(b) < 3+n {
		return payload{}, nil, ErrHandshake
	}
	return payload{fastAES: b[0]&1 != 0, hello: b[3 : 3+n]}, b[3+n:], nil
}

// initPayload returns the payload of an init, n bytes long.
func initPayload(o Order, p payload, n int) []byte {
	b := make([]byte, 0, n)
	b = binary.BigEndian.AppendUint64(b, o.Boot)
	b = binary.BigEndian.AppendUint64(b, o.Counter)
	b = p.append(b)
	return b[:n]
}

// parseInitPayload parses the payload of an init. The padding is not looked at.
func parseInitPayload(b []byte) (Order, payload, error) {
	if len(b) < 16 {
		return Order{}, payload{}, ErrHandshake
	}
	o := Order{Boot: binary.BigEndian.Uint64(b), Counter: binary.BigEndian.Uint64(b[8:])}
	p, _, err := parsePayload(b[16:])
	return o, p, err
}
