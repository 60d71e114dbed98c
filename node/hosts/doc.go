// Package hosts holds what a VR knows about the machines on its LAN that run nothing of ours: what such a
// machine has to be told (Setup, DHCP), and which of them has which address of the VR's blocks (Ledger).
//
// A Setup becomes commands or a script for Linux, macOS and Windows. A DHCP becomes the configuration of a
// DHCP server with the routes as option 121 (RFC 3442) and its elder, 249.
//
// A Ledger is the VR's book of hosts. Its operations return a new Ledger and change nothing, so that the
// caller can put it on disk before it counts: package node does. Of the addresses that are free, those that
// nobody ever had come first, then those that were given back, the one that has rested longest before the
// others. The Ledger also has what hosts ask for themselves, bounded for each machine and for all, since
// anybody on the LAN may ask.
//
// Whether a host is a member of a VN is not in the Ledger but in the signed rosters (package tables).
//
// The package does no I/O, starts no goroutine and reads no clock.
package hosts
