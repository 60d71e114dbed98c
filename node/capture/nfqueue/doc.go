// Package nfqueue is the capture.Device over queues of Linux's netfilter: a rule of the machine, which package hostnet makes,
// puts packets of hosts into a queue before anything else is done with them; the Device takes them and tells the kernel to
// drop them. So no other part of the machine ever has them. What no Device takes, the kernel drops too.
//
// There are two queues side by side. That of TCP gives super-packets whole, with checksums left to us; how long their segments
// are the kernel does not say, so that is guessed, which TCP allows. In the other queue the kernel makes single packets first,
// with whole checksums, for of other packets the segments are what the sender meant.
//
// Packets go to hosts as with package raw, by its Injector. On other systems than Linux the package is empty.
package nfqueue
