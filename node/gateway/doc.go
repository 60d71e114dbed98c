// Package gateway acts on package lease: it speaks and listens on the LAN for one VR of a site whose VRs share a gateway address,
// and answers for the address while that VR holds the lease.
//
// The address is on no LAN interface. This package answers the questions who has it (ARP, neighbour discovery) with the interface's
// own Ethernet address, and has its caller put the address on the capture device, where the machine takes it for its own: there
// it can be pinged, and the page for hosts is. Both end with the process, however that ends: a VR that was killed on a machine
// that lives answers for nothing.
//
// It needs CAP_NET_RAW. On other systems than Linux Run fails.
package gateway
