package portmap

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// DefaultGateway returns the gateway of the default route with the smallest metric and our address towards it,
// of IPv4, or of IPv6 if there is no default route of IPv4. It looks at the network namespace of the calling thread. It is
// supported on Linux only.
func DefaultGateway() (gateway, local netip.Addr, err error) {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		if gateway, local, err = defaultGateway(family); err == nil {
			return gateway, local, nil
		}
	}
	return netip.Addr{}, netip.Addr{}, err
}

var errNoGateway = errors.New("no default route with a gateway")

func defaultGateway(family int) (gateway, local netip.Addr, err error) {
	routes, err := netlink.RouteListFiltered(family, &netlink.Route{}, netlink.RT_FILTER_DST) // those of the main table to everywhere
	if err != nil {
		return gateway, local, fmt.Errorf("list default routes: %w", err)
	}
	var best *netlink.Route
	for i, r := range routes {
		if r.Gw != nil && (best == nil || r.Priority < best.Priority) {
			best = &routes[i]
		}
	}
	if best == nil {
		return gateway, local, errNoGateway
	}
	gw, _ := netip.AddrFromSlice(best.Gw)
	gateway = gw.Unmap()
	// The source towards an address beyond the gateway: towards an IPv6 gateway, which has a link-local address, it
	// would be a link-local one, and mapped would be that.
	towards, err := netlink.RouteGetWithOptions(best.Gw, &netlink.RouteGetOptions{OifIndex: best.LinkIndex})
	if family == netlink.FAMILY_V6 && best.Gw.IsLinkLocalUnicast() {
		towards, err = netlink.RouteGetWithOptions(beyond, &netlink.RouteGetOptions{OifIndex: best.LinkIndex})
		link, linkErr := netlink.LinkByIndex(best.LinkIndex)
		if linkErr != nil {
			return gateway, local, fmt.Errorf("find the interface of the default route: %w", linkErr)
		}
		gateway = gateway.WithZone(link.Attrs().Name)
	}
	if err != nil {
		return gateway, local, fmt.Errorf("find the route to the gateway: %w", err)
	}
	if len(towards) == 0 {
		return gateway, local, errNoGateway
	}
	src, ok := netip.AddrFromSlice(towards[0].Src)
	if !ok {
		return gateway, local, fmt.Errorf("no address towards gateway %v", gateway)
	}
	return gateway, src.Unmap(), nil
}

// beyond is an address on the Internet, of a prefix that is not used (RFC 3849): nothing is sent there.
var beyond = netip.MustParseAddr("2001:db8::1").AsSlice()
