// Package vnet moves packets over a descriptor of Linux that carries one packet a call: a TUN or TAP interface, a packet
// socket. The packet has in front of it, if the descriptor does that, a header that says what of it is left to us (struct
// virtio_net_hdr: super-packets of up to 64 KB in one call, without checksums), and an Ethernet header, if there is one.
//
// Nothing here waits but Reader.ReadBatch, and nothing allocates. Who opens the descriptor, and what becomes of other
// packets on the machine, is the back ends' business: capture/tun, capture/raw, capture/nfqueue.
package vnet
