// Package lab does what package bench plans: it builds two sites out of network namespaces for every party, starts the
// party's routers in them, and measures between the hosts with iperf3, ping, and a sender of UDP packets of its own.
//
//	near.host ---- near.router ==== wire ==== far.router ---- far.host
//	      eth0    lan0       wan0            wan0      lan0    eth0
//
// Every party has sites of its own, alike in all but the router's program. Hosts run nothing of any party; they have a
// default route to their router. The wires are shaped as the regime says. Everything is made with the programs of
// iproute2, ethtool and nft, so that it can be made again by hand.
//
// Linux only, as root. Run leaves nothing behind: namespaces and programs are those of package netns.
package lab
