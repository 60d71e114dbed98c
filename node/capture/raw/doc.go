// Package raw is the capture.Device over packet sockets of Linux (AF_PACKET): packets of hosts are copied off the LAN
// interface, and packets for hosts are sent out by it as Ethernet frames.
//
// A packet socket gets copies. That the machine itself neither forwards nor answers what they are of is package hostnet's: by
// a routing rule all that comes in by a LAN interface for the ViNe space ends in a blackhole. Without that rule every packet is
// there twice.
//
// The frames need the Ethernet addresses of hosts. They are those that the hosts' own packets came from; for a host that has
// sent nothing for a while the kernel sends the packet, by an IP socket, and finds out by ARP or neighbour discovery.
//
// Injector is the second half by itself, for back ends that take packets in another way. It needs CAP_NET_RAW, and
// CAP_NET_ADMIN for a large buffer. On other systems than Linux the package is empty.
package raw
