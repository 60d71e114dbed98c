// Package forward defines what a router does with one packet.
//
// A Snapshot is all that packet code may know: which local host is in which VN (LNDT), which
// router delivers a prefix (GNDT), and how much a path carries. Decide answers for a packet
// that a local host sent, Arrived for one that another router sent: forward it, or drop it for
// a counted reason. Both are pure functions of the Snapshot and the packet, change neither and
// do not allocate. A packet never crosses from one VN into another, whatever it holds;
// TestAgainstReference compares both with a slow forwarder that shares no code with them.
//
// Beside them stand the edits that a router makes: the TTL, the TCP MSS, ICMP errors, IPv4
// fragmentation, and splitting a packet in two for a narrow path. Each works on the bytes that
// the caller gives it.
//
// The package does no I/O, starts no goroutine and reads no clock: callers pass now. It
// does not verify documents (package tables) or seal packets (package secure). The rules are
// those of the dissertation, chapter 3, "ViNe Routing"; docs/architecture.md, "Life of a
// packet", says them in order.
package forward
