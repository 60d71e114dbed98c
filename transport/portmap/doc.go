// Package portmap keeps ports of this machine mapped on the gateway in front of it, by the Port Control
// Protocol (PCP, RFC 6887), by NAT-PMP (RFC 6886) or by UPnP IGD (WANIPConnection, WANPPPConnection),
// whichever the gateway offers, in this order.
//
// A Portmap tries all three at once, keeps what the best one gave, renews it at half its lifetime, and maps
// again when the gateway restarted, when the gateway or our address changed, or when a mapping lapsed. To a
// gateway that offers nothing it comes back after 1 minute, then 2, up to 30. It removes its mappings when it
// ends.
//
// What it learns is a hint: the gateway says at which address and port packets from outside arrive, and may
// lie. It is trusted for nothing else. Answers count only from the gateway's own address, and only to what was
// asked; those of PCP must repeat a secret nonce. All that is read is bounded in size and time. A UPnP device is
// spoken to on the gateway's own address only, whatever URL it gives, without redirects and proxies.
//
// The protocol is pure code: codecs in pcp.go, natpmp.go and ssdp.go, decisions in machine.go and the files
// next to it, which take the time as an argument and give back what to do. run.go, upnp.go and gateway_linux.go
// do it. Only this package imports github.com/huin/goupnp; it uses its description and SOAP types, not its
// discovery, which neither bounds answers nor tells where they come from.
package portmap
