// Package netnstest gives tests network namespaces of their own, so that a test can be root and
// change routes, rules and sysctls without touching the machine.
//
// A namespace lives as long as somebody holds it open; the package closes it when the test ends,
// and the kernel then removes its interfaces. Threads that entered a namespace are never given
// back to the runtime: they end with their goroutine.
//
// Wire joins two namespaces; a Core plays the Internet, a LAN is what is behind a gateway. Translate, Guard
// and Shape are what routers and cables do to packets, HTTPProxy and SOCKSProxy a way past them;
// MeasureUDP tells what became of it. Processes that Start starts end with the test,
// whatever end that takes.
//
// Tests that need a namespace are skipped, with a line that says so, where they may not make one
// (no root, not Linux), and fail instead if the environment variable VINE_NETNS is 1. Only tests
// may import the package.
package netnstest
