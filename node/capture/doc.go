// Package capture defines the place where packets of LAN hosts enter and leave a virtual router:
// the Device.
//
// A Device takes whole IP packets away from the machine and puts whole IP packets into it. All
// back ends mean the same by that, and one test suite (package capturetest) is run on each:
//
//	capture/tun         Linux TUN or TAP device, with super-packets
//	capture/raw         packet sockets on LAN interfaces, with super-packets
//	capture/nfqueue     netfilter queues, with super-packets of TCP
//	capture/netstack    LAN hosts as user-space TCP/IP stacks: no root, no kernel (gVisor)
//	capturetest         ChannelDevice, an in-memory fake for tests
//
// What else a router must change on its machine (routes, rules, sysctls) is package
// capture/hostnet. The package itself does no I/O and starts nothing; any package may import it,
// but only package node opens devices.
//
// Design: docs/architecture.md, "Life of a packet", steps 1 and 5.
package capture
