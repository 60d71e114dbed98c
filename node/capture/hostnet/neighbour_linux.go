package hostnet

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vine-mesh/vine/node/hosts"
)

// Neighbour returns the MAC that the kernel has for an address on an interface; empty: none. It asks nobody on the LAN.
func Neighbour(iface string, addr netip.Addr) (hosts.MAC, error) {
	i, err := net.InterfaceByName(iface)
	if err != nil {
		return "", fmt.Errorf("neighbours of %s: %w", iface, err)
	}
	family := unix.AF_INET
	if addr.Is6() {
		family = unix.AF_INET6
	}
	list, err := netlink.NeighList(i.Index, family)
	if err != nil {
		return "", fmt.Errorf("neighbours of %s: %w", iface, err)
	}
	const known = unix.NUD_PERMANENT | unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE
	for _, n := range list {
		if a, ok := netip.AddrFromSlice(n.IP); ok && a.Unmap() == addr.WithZone("") && n.State&known != 0 {
			mac, err := hosts.ParseMAC(n.HardwareAddr.String())
			if err != nil {
				return "", nil // of a link without MACs
			}
			return mac, nil
		}
	}
	return "", nil
}
