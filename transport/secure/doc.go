// Package secure makes two routers sure of each other and keeps their packets private.
//
// It holds the handshakes (Noise IK between enrolled routers, Noise XX for a newcomer that knows
// only an address), the gate that stands before them (MAC1, cookies, limiter), the sessions that
// come out of them (AEAD with a counter nonce, replay window, deadlines), the hop tags of what goes
// through a queue-VR, and the sessionless box for gossip datagrams. Layouts are package frame's;
// docs/wire.md is the normative text.
//
// What it promises:
//   - a message that does not authenticate changes nothing: neither a handshake, nor a replay
//     window, nor a deadline. FuzzForgedHandshake and TestBitFlips check it;
//   - data keys come from the secrets of the Noise split, never from the handshake hash, which
//     every observer of the handshake can compute (TestObserverCannotDerive);
//   - a nonce is never used twice under one key: a counter that is spent seals nothing;
//   - the packet path and the gate allocate nothing.
//
// The package does no I/O, starts no goroutine, reads no clock and no global randomness: callers
// pass now, and an io.Reader that must be a cryptographic source. It takes no lock; what may be
// shared between goroutines uses atomics and says so. Only package transport and node import it.
package secure
