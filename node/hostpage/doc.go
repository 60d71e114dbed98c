// Package hostpage is the page that a VR shows to the machines on its LAN: who they are to the VR, what they lack, the
// script that sets them up, and a way to ask to be in a VN.
//
//	curl http://GATEWAY/                          state of the asking machine, as text or, for browsers, HTML
//	curl http://GATEWAY/setup.sh | sudo sh        what it needs (Linux, macOS); /setup.ps1 for Windows
//	curl -X POST http://GATEWAY/join -d vn=blue   a request, which a person or the site's policy clears
//
// Nobody has to prove who he is, so the page is for the LAN alone. A socket is bound to the LAN interface: packets that
// come in by another one, the WAN's or a TUN device's, do not meet it. Its answers leave with a TTL of 1 and go no further
// than the link. A connection is taken only to an address of that interface, from a machine that the kernel's table of
// neighbours has on it; the MAC there is what the machine is known by. So whoever can take another's MAC on the LAN can
// take its place at the page, as he can for every packet of it.
//
// A browser on the LAN must not be led here by a page of others: the Host header has to be the address of the VR, and a
// POST has to come from the page itself or from no browser. Connections, of all and of one machine, bodies, times and
// requests are bounded.
//
// Page.Run owns the goroutines; it waits for them. What a machine may do is decided by package node.
package hostpage
