// Package hostnet changes the network configuration of the machine a virtual router runs on, and
// changes it back.
//
// A Plan says what the router needs; Apply makes it so and returns a Setup whose Close undoes it:
//
//   - guard routes: the ViNe space is unreachable, with a metric worse than any route in use. They
//     are made first and they stay after Close and after a crash, so that no packet for the ViNe
//     space ever leaves by the default route while the router is down. Only Teardown removes them;
//   - sysctls: forwarding on the router's own interfaces only, where the kernel can do that;
//     reverse-path filtering loose on them. Old values are restored;
//   - the TUN or TAP device: MTU, up, routes of the ViNe space into it;
//   - where there is no such device, and packets are taken off the LAN interfaces: a blackhole for what comes in by them for the
//     ViNe space, so that the kernel does nothing with what a packet socket has a copy of; for netfilter queues the rules that
//     put packets into them before anything else is done. The kernel forwards nothing then;
//   - block routes: the addresses of an attachment's hosts are on its LAN interface (scope link);
//   - for an attachment with its own TUN device, a routing table of its own with `ip rule iif`, so
//     that one address may exist on two attachments.
//
// What it is about to change it first writes to a journal file. A router that crashed finds there
// what it left, and takes it over; Apply and Setup.Update change only what differs, and add before
// they remove, so established traffic loses nothing.
//
// All functions act on the network namespace of the calling thread. Firewalls are left alone: one
// that drops forwarded packets must be told to let those of the TUN device pass. An interface that
// goes away takes its routes with it; Setup.Update with the same plan brings them back.
//
// Host is the other side: what one unmodified machine on the LAN needs.
//
// Linux only; elsewhere Apply fails. Only this package imports vishvananda/netlink and google/nftables.
package hostnet
