// Package underlay opens the sockets a router sends and receives on: it is the only code that listens.
//
// A Socket moves datagrams in batches. Every answer of the network about one datagram, such as "no
// route", "port closed" or "too big", is counted and never stops the batch or the socket, because a
// mesh has peers that are down at all times and because ICMP can be forged. What a packet may be is
// decided above (transport/frame, transport/secure), and so is its size: DF is set and the kernel's
// idea of the path MTU is ignored, for transport/path searches the path MTU itself (RFC 8899).
//
// UDP is a UDP port, Streams are datagrams over stream connections (TCP, or WebSocket over TLS, straight or
// through a proxy) for sites that let no UDP through.
//
// The package keeps no peers, and no goroutine but those of Streams.Run. In-memory sockets with the same contract are
// in transport/transporttest; transporttest.CheckSocket checks both.
package underlay
