// Package underlay opens the sockets a router sends and receives on: it is the only code that listens.
//
// A Socket moves datagrams in batches. Every answer of the network about one datagram, such as "no
// route", "port closed" or "too big", is counted and never stops the batch or the socket, because a
// mesh has peers that are down at all times and because ICMP can be forged. What a packet may be is
// decided above (transport/frame, transport/secure), and so is its size: DF is set and the kernel's
// idea of the path MTU is ignored, for transport/path searches the path MTU itself (RFC 8899).
//
// The package keeps no peers, no timers and no goroutine. In-memory sockets with the same contract are
// in transport/transporttest; transporttest.CheckSocket checks both.
package underlay
