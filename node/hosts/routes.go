package hosts

import (
	"fmt"
	"net/netip"
)

// A Route is one classless static route of a DHCP option: packets for Dst go to Via. If Via is 0.0.0.0, Dst is
// on the LAN itself.
type Route struct {
	Dst netip.Prefix
	Via netip.Addr
}

// The codes of the options: RFC 3442, and what Windows before Vista asks for, with the same content.
const (
	OptionRoutes   = 121
	OptionRoutesMS = 249
)

// optionMax is the content of one DHCP option. A longer one would have to be split over several (RFC 3396),
// which not every client puts together again.
const optionMax = 255

// RoutesOption returns the content of option 121.
//
// "Each IP address in the destination descriptor ... consists of one octet describing the width of the subnet
// mask, followed by all the significant octets of the subnet number" (RFC 3442, Classless Route Option Format).
func RoutesOption(routes []Route) ([]byte, error) {
	var b []byte
	for _, r := range routes {
		if !r.Dst.IsValid() || !r.Dst.Addr().Is4() || !r.Via.Is4() {
			return nil, fmt.Errorf("route %v via %v: DHCP has routes of IPv4 only", r.Dst, r.Via)
		}
		net, via := r.Dst.Masked().Addr().As4(), r.Via.As4()
		b = append(b, byte(r.Dst.Bits()))
		b = append(b, net[:(r.Dst.Bits()+7)/8]...)
		b = append(b, via[:]...)
	}
	if len(b) > optionMax {
		return nil, fmt.Errorf("%d routes need %d bytes; a DHCP option has at most %d", len(routes), len(b), optionMax)
	}
	return b, nil
}

// ParseRoutesOption reads the content of option 121.
func ParseRoutesOption(b []byte) ([]Route, error) {
	var routes []Route
	for len(b) > 0 {
		width := int(b[0])
		n := (width + 7) / 8
		if width > 32 || len(b) < 1+n+4 {
			return nil, fmt.Errorf("classless routes: %d bytes at the end are no route", len(b))
		}
		var net [4]byte
		copy(net[:], b[1:1+n])
		r := Route{netip.PrefixFrom(netip.AddrFrom4(net), width), netip.AddrFrom4([4]byte(b[1+n : 1+n+4]))}
		if r.Dst != r.Dst.Masked() {
			return nil, fmt.Errorf("classless routes: %v has bits set behind its length", r.Dst)
		}
		routes, b = append(routes, r), b[1+n+4:]
	}
	return routes, nil
}
