// Package poll has file descriptors that carry packets, and one goroutine wait for several of them.
//
// The poller of the Go runtime wakes a goroutine for each descriptor, on any processor, and is told whenever a socket could
// be written to, which a UDP socket says for each datagram that has left it. A lane that carries packets both ways between two
// descriptors is better off as one goroutine: what it writes to one of them often makes the next packet of the other, which
// it then reads without having waited.
package poll
