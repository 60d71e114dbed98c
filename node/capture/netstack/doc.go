// Package netstack is the capture.Device without a kernel: behind it are LAN hosts that live in
// this process, each a TCP/IP stack of its own (gVisor). It needs no privilege and no interface.
// `vine demo` runs its sites on it, and tests use it as real TCP on both ends.
//
// A LAN is the device. Every packet of a host leaves through it, also those to another host of
// the same LAN: there is no Ethernet that hosts could take a short cut on.
//
// Only this package imports gvisor.dev/gvisor, and nothing of it shows in the exported API. Hosts
// speak IPv4, IPv6, TCP, UDP and ICMP; they know no names (no DNS).
package netstack
