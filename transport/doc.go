// Package transport keeps a router's links: authenticated sessions with other routers, and the
// byte streams and data channels that ride on them.
//
// Links is a state machine. It takes datagrams, hints and the passing of time, each with the
// time now, and returns actions: what to send, which keys the lanes may use, which streams have
// something to read. It does no I/O, starts no goroutine, reads no clock and takes randomness
// only from Config.Rand, so that a whole network of Links runs in a test in virtual time.
//
// What it promises:
//   - Nothing unauthenticated gets an answer, with one exception: a join hello of full size gets
//     a stateless cookie that is shorter than the hello.
//   - Only authenticated packets say that a peer is alive or where it is, and a new address
//     carries data only after an encrypted path challenge came back from it.
//   - Handshakes are ordered by (boot count, counter), never by a wall clock. A replayed first
//     message displaces nothing: a session that a peer initiated is used for sending only after
//     a packet in it proved that the peer holds its keys.
//   - A rekey loses no packet: old receive keys outlive the change.
//   - Every collection is bounded by a named constant (limits.go).
//
// It does not decide whom to link with (package node), who is enrolled (package tables), nor
// where packets go (package node/forward), and it never sees a data packet: lanes seal and open
// those with the keys that Channels and Granted hand out.
//
// The wire format is docs/wire.md; its codecs are package transport/frame, its cryptography
// package transport/secure. Package node imports it; it imports nothing of node, mesh or policy.
package transport
