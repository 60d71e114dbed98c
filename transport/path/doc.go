// Package path decides which way the traffic to a router goes: it names paths, measures them from the
// packets that flow, and chooses.
//
// A path is named by a netip.AddrPort (address.go), so that sockets, lanes and links have one type for
// all of them: a UDP endpoint names the direct path, addresses of a prefix that no underlay carries
// name relayed paths and stream connections.
//
// Everything here is pure: callers pass the time and randomness. Package transport asks it about each
// link, package node about the queue-VRs. It sends nothing and knows no key.
package path
