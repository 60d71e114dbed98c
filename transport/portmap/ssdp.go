package portmap

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/huin/goupnp"
)

// Discovery of UPnP devices (UPnP Device Architecture 1.1, section 1.3): HTTP headers in UDP datagrams.
const (
	ssdpPort = 1900
	// ssdpBytesMax bounds an answer: real ones have 300 to 500 bytes.
	ssdpBytesMax = 2048
	// locationBytesMax bounds an URL: real ones have 40 bytes.
	locationBytesMax = 256
	// locationsMax bounds the descriptions that we fetch from one gateway: it answers several times for one.
	locationsMax = 4
)

// ssdpGroup is the multicast address of discovery. We also ask the gateway alone, which not every gateway
// hears, since not every network carries multicast.
var ssdpGroup = netip.MustParseAddr("239.255.255.250")

// gatewayDevices are the device types that we look for.
var gatewayDevices = []string{
	"urn:schemas-upnp-org:device:InternetGatewayDevice:1",
	"urn:schemas-upnp-org:device:InternetGatewayDevice:2",
}

// appendSearch appends a question for devices of a type to a host. Devices answer it within a second.
func appendSearch(b []byte, to netip.AddrPort, device string) []byte {
	return fmt.Appendf(b, "M-SEARCH * HTTP/1.1\r\nHOST: %v\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: %s\r\n\r\n", to, device)
}

var errNotSSDP = errors.New("not the answer of a gateway device")

// parseSSDP returns the URL of a description from the answer to a search.
func parseSSDP(b []byte) (location string, err error) {
	if len(b) > ssdpBytesMax {
		return "", errSize
	}
	r := textproto.NewReader(bufio.NewReader(bytes.NewReader(b)))
	status, err := r.ReadLine()
	if err != nil || !strings.HasPrefix(status, "HTTP/1.") || !strings.HasPrefix(status[len("HTTP/1."):], "1 200") && !strings.HasPrefix(status[len("HTTP/1."):], "0 200") {
		return "", errNotSSDP
	}
	h, err := r.ReadMIMEHeader()
	if err != nil || !strings.Contains(h.Get("St"), ":InternetGatewayDevice:") {
		return "", errNotSSDP
	}
	location = h.Get("Location")
	if location == "" || len(location) > locationBytesMax {
		return "", errNotSSDP
	}
	return location, nil
}

// errElsewhere is a URL that leads away from the gateway. It does not quote what the gateway said.
var errElsewhere = errors.New("the URL is not one of the gateway's own address")

// onGateway checks that a URL that a device gave leads to the gateway's own address by plain HTTP, so that a
// device cannot have us ask somebody else. Names are refused: who they stand for is not the gateway's to say.
func onGateway(u *url.URL, gateway netip.Addr) error {
	host, err := netip.ParseAddr(u.Hostname())
	if err != nil || u.Scheme != "http" || u.User != nil || u.Opaque != "" || host.Unmap() != gateway.Unmap() {
		return errElsewhere
	}
	return nil
}

// A service is one connection of a gateway device to the outside.
type service struct {
	kind    string // service type
	control url.URL
}

// serviceKinds are the service types that map ports, the best first.
var serviceKinds = []string{
	"urn:schemas-upnp-org:service:WANIPConnection:2",
	"urn:schemas-upnp-org:service:WANIPConnection:1",
	"urn:schemas-upnp-org:service:WANPPPConnection:1",
}

// servicesMax bounds the services that we try: gateways have one or two.
const servicesMax = 4

var errNoService = errors.New("the device maps no ports")

// services finds what maps ports in a description fetched from location. Those whose URL own refuses are left out.
func services(root *goupnp.RootDevice, location *url.URL, own func(*url.URL) error) ([]service, error) {
	base := location
	if root.URLBaseStr != "" {
		var err error
		if base, err = url.Parse(root.URLBaseStr); err != nil {
			return nil, errElsewhere
		}
	}
	root.SetURLBase(base)
	var list []service
	refused := false
	root.Device.VisitServices(func(s *goupnp.Service) {
		if !slices.Contains(serviceKinds, s.ServiceType) || len(list) == servicesMax {
			return
		}
		if !s.ControlURL.Ok || own(&s.ControlURL.URL) != nil {
			refused = true
			return
		}
		list = append(list, service{s.ServiceType, s.ControlURL.URL})
	})
	if len(list) == 0 && refused {
		return nil, errElsewhere
	}
	if len(list) == 0 {
		return nil, errNoService
	}
	slices.SortStableFunc(list, func(a, b service) int {
		return slices.Index(serviceKinds, a.kind) - slices.Index(serviceKinds, b.kind)
	})
	return list, nil
}
