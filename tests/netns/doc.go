// Package netns runs the real vine binary at sites of its own making: network namespaces joined by
// a core router, with LAN hosts that run nothing but stock programs.
//
// A Federation has a core and sites. Each Site is a namespace with the VR's machine, its way to the
// Internet, which may be bad (Impair) or of any Kind, and its LAN; Init, Join, Up and Vine run the
// binary there as an administrator would. A Flow and a TCPFlow between hosts tell what became of
// each packet and each tenth of a second; a QueueVR is a site to which all sorts of things happen.
// The binary is built once for all tests of a process. Everything ends with the test, also when it
// fails: namespaces and processes are held by the test's own threads.
//
// The tests need root and are skipped, loudly, without it; they fail instead if VINE_NETNS is 1.
// VINE_NIGHT=1 makes the long ones whole. Only tests
// may import the package.
package netns
