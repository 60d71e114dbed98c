// Package lease decides which VR of a site answers for the gateway address that its VRs share.
//
// The VRs of a delivery set stand on one LAN. Each says several times a second, in a signed Message that no router passes on,
// whom it hears and whether it holds the lease. A Lease is what one VR makes of that: a pure state machine that takes the time
// and what was heard, and returns what to do. Who holds it answers for the address (ARP, neighbour discovery); every VR of the
// set takes the packets that come to it, holder or not, so two holders do no harm, and none is what must not last.
//
// Beside it stand the frames: what a VR must read and write on the LAN for that.
//
// The package does no I/O, starts no goroutine and reads no clock: callers pass now. Package gateway acts on it. What is gone
// when a VR dies is known within DeadAfter; ADR 0034 says why the rules are as they are.
package lease
