// Package transporttest is an internet in memory: hosts, access lines, NAT boxes, firewalls and
// partitions, whose sockets keep the contract of underlay.Socket.
//
// One goroutine, Internet.Run, carries every packet, in the order of (time, number of the event) and
// with one timer. No packet costs a goroutine or a timer, no call blocks on another host, and nothing
// waits with a lock held: the package works in a testing/synctest bubble, where time costs nothing,
// and outside one in real time. All times come from package time; all randomness from the seed, drawn
// per sending host, so that what happens to one host's packets depends only on what that host sent.
// With one goroutine using it in a bubble, the same seed gives the same deliveries; goroutines that
// act at the same instant are ordered by the Go scheduler and not by the seed.
//
// A packet goes: access line of the sender (up), path to the next box, access line there (down), and
// so again for every NAT box between. Each of these steps is a Path. ICMP, IP fragments, TCP and routing
// are not modelled: what cannot be delivered is dropped and counted at the sending host.
//
// For tests and simulations only.
package transporttest
