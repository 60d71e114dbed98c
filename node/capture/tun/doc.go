// Package tun is the capture.Device over a Linux TUN or TAP interface: the kernel routes packets into
// the interface, and what is written to it the kernel takes as received from it. A TAP interface differs in that packets are
// Ethernet frames (docs/adr/0025-ways-of-interception.md).
//
// Packets cross with the header that says what of them is left to us (IFF_VNET_HDR, package vnet): super-packets of up to 64 KB
// in one call, without checksums. On kernels that lack UDP super-packets it does without these, and without all of them by
// songgao/water. The descriptor is close-on-exec, so that no child process (a hook, nft) can read or hold open the tunnel; a
// name that is too long is refused, not cut; a failed Open leaves no descriptor behind; and reading takes what is waiting in
// one go, without allocating.
//
// The package opens the interface and sets its MTU. Bringing it up and routing into it is package
// hostnet's. It needs CAP_NET_ADMIN and /dev/net/tun. On other systems than Linux it is empty.
package tun
