package portmap

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/huin/goupnp"
	"github.com/huin/goupnp/soap"
)

// Bounds of what a UPnP device may say, and of the time that it may take.
const (
	// httpBytesMax bounds an answer: descriptions of real gateways have 3 to 20 kB.
	httpBytesMax = 128 << 10
	// httpHeaderBytesMax bounds the header of an answer.
	httpHeaderBytesMax = 16 << 10
	// httpMax is the time for one request with its answer.
	httpMax = 3 * time.Second
	// callMax is the time for all that one call asks.
	callMax = 15 * time.Second
	// errorBytesMax cuts errors of the HTTP client and of the XML decoder, which may quote what a device said.
	errorBytesMax = 160
)

// upnpLifetime is what we ask of a UPnP device: version 1 devices have no upper bound of their own.
const upnpLifetime = time.Hour

// Error codes of WANIPConnection:1 (section 2.4) that change what we do.
const (
	upnpNoSuchEntry   = 714
	upnpConflict      = 718
	upnpOnlyPermanent = 725
)

// A dial opens a TCP connection from an address of ours.
type dial func(ctx context.Context, local netip.Addr, to netip.AddrPort) (net.Conn, error)

// An upnpClient speaks to the UPnP devices of one gateway. It follows no redirect, uses no proxy, reads no more than
// httpBytesMax, and connects to the gateway's own address only.
type upnpClient struct {
	gateway netip.Addr
	http    http.Client
	lax     laxity
}

func newUPnPClient(gateway, local netip.Addr, d dial, lax laxity) *upnpClient {
	t := &http.Transport{ // no Proxy: the gateway is on our link
		DisableKeepAlives:      true,
		DisableCompression:     true, // an answer must not grow after it was counted
		MaxResponseHeaderBytes: httpHeaderBytesMax,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			to, err := netip.ParseAddrPort(address)
			if err != nil || to.Addr().Unmap() != gateway && !lax.url {
				return nil, errElsewhere
			}
			return d(ctx, local, to)
		},
	}
	c := &upnpClient{gateway: gateway, lax: lax}
	c.http = http.Client{
		Transport:     bounded{t},
		Timeout:       httpMax,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
	}
	if lax.url {
		c.http.CheckRedirect = nil
	}
	return c
}

var (
	errRedirect = errors.New("the device redirects")
	errTooLong  = fmt.Errorf("the device sends more than %d bytes", httpBytesMax)
)

// bounded is a transport whose answers are cut off.
type bounded struct{ next http.RoundTripper }

func (t bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.next.RoundTrip(r)
	if err == nil {
		answer.Body = &boundedBody{answer.Body, httpBytesMax}
	}
	return answer, err
}

// boundedBody fails after left bytes.
type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errTooLong
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// describe fetches a description and finds the services in it.
func (c *upnpClient) describe(ctx context.Context, location string) ([]service, error) {
	u, err := url.Parse(location)
	if err != nil {
		return nil, errElsewhere
	}
	if err := c.own(u); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, errElsewhere
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, shown(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("description: HTTP status %d", answer.StatusCode)
	}
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, shown(err)
	}
	root, err := parseDescription(b)
	if err != nil {
		return nil, err
	}
	return services(root, u, c.own)
}

// own refuses a URL that leads away from the gateway.
func (c *upnpClient) own(u *url.URL) error {
	if c.lax.url {
		return nil
	}
	return onGateway(u, c.gateway)
}

// parseDescription parses a device description.
func parseDescription(b []byte) (*goupnp.RootDevice, error) {
	root := &goupnp.RootDevice{}
	d := xml.NewDecoder(bytes.NewReader(b))
	d.DefaultSpace = goupnp.DeviceXMLNamespace
	if err := d.Decode(root); err != nil {
		return nil, fmt.Errorf("description: %w", shown(err))
	}
	return root, nil
}

// shown makes an error fit for a log: short, and plain ASCII. Those that are compared stay what they are.
func shown(err error) error {
	for _, known := range []error{errElsewhere, errRedirect, errTooLong, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return known
		}
	}
	text := err.Error()
	return errors.New(strconv.QuoteToASCII(text[:min(len(text), errorBytesMax)]))
}

// call performs an action of a service.
func (c *upnpClient) call(ctx context.Context, s service, name string, in, out any) error {
	if err := c.own(&s.control); err != nil {
		return err
	}
	client := soap.SOAPClient{EndpointURL: s.control, HTTPClient: c.http}
	err := client.PerformActionCtx(ctx, s.kind, name, in, out)
	var fault *soap.SOAPFaultError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &fault):
		return resultError{ByUPnP, fault.Detail.UPnPError.Errorcode}
	}
	return shown(err)
}

// address asks a service for its external address. One that has none names 0.0.0.0 or nothing.
func (c *upnpClient) address(ctx context.Context, s service) (netip.Addr, error) {
	var out struct{ NewExternalIPAddress string }
	if err := c.call(ctx, s, "GetExternalIPAddress", nil, &out); err != nil {
		return netip.Addr{}, err
	}
	a, err := netip.ParseAddr(out.NewExternalIPAddress)
	if err != nil || !a.Is4() {
		return netip.Addr{}, errNoAddress
	}
	return a, nil
}

var errNoAddress = errors.New("the device names no external address")

// add maps a port, on the first of the external ports that is free.
func (c *upnpClient) add(ctx context.Context, s service, local netip.Addr, w igdWant) (igdLease, error) {
	lifetime, err := upnpLifetime, error(nil)
	for _, external := range w.external {
		if err = c.addPort(ctx, s, local, w.port, external, lifetime); isUPnP(err, upnpOnlyPermanent) {
			// We renew it all the same, as if it ended.
			lifetime = 0
			err = c.addPort(ctx, s, local, w.port, external, lifetime)
		}
		if err == nil {
			return igdLease{w.port, external, upnpLifetime}, nil
		}
		if !isUPnP(err, upnpConflict) {
			return igdLease{}, err
		}
	}
	return igdLease{}, err
}

func isUPnP(err error, code int) bool {
	e, ok := errors.AsType[resultError](err)
	return ok && e.by == ByUPnP && e.code == code
}

func (c *upnpClient) addPort(ctx context.Context, s service, local netip.Addr, port Port, external uint16, lifetime time.Duration) error {
	in := struct {
		NewRemoteHost             string
		NewExternalPort           string
		NewProtocol               string
		NewInternalPort           string
		NewInternalClient         string
		NewEnabled                string
		NewPortMappingDescription string
		NewLeaseDuration          string
	}{
		"", number(external), port.Protocol.String(), number(port.Port), local.String(), "1", "vine",
		strconv.Itoa(int(lifetime / time.Second)),
	}
	return c.call(ctx, s, "AddPortMapping", &in, nil)
}

// has reports whether a lease is still there and still ours.
func (c *upnpClient) has(ctx context.Context, s service, local netip.Addr, l igdLease) (bool, error) {
	in := igdEntry{"", number(l.external), l.port.Protocol.String()}
	var out struct{ NewInternalPort, NewInternalClient string }
	err := c.call(ctx, s, "GetSpecificPortMappingEntry", &in, &out)
	if isUPnP(err, upnpNoSuchEntry) {
		return false, nil
	}
	if err != nil {
		return true, err
	}
	return out.NewInternalPort == number(l.port.Port) && out.NewInternalClient == local.String(), nil
}

func (c *upnpClient) remove(ctx context.Context, s service, l igdLease) error {
	in := igdEntry{"", number(l.external), l.port.Protocol.String()}
	return c.call(ctx, s, "DeletePortMapping", &in, nil)
}

// An igdEntry names a mapping.
type igdEntry struct {
	NewRemoteHost   string
	NewExternalPort string
	NewProtocol     string
}

func number(n uint16) string { return strconv.Itoa(int(n)) }

// mapPorts performs mapIGD.
func (c *upnpClient) mapPorts(ctx context.Context, call mapIGD) (ev igdMapped) {
	ev.round = call.round
	var list []service
	if call.known != nil {
		list = []service{*call.known}
	} else {
		list, ev.err = c.describeAny(ctx, call.locations)
	}
	for _, s := range list {
		if ev.address, ev.err = c.address(ctx, s); ev.err != nil {
			continue
		}
		ev.service = s
		for _, w := range call.wants {
			l, err := c.add(ctx, s, call.local, w)
			if err != nil {
				ev.err = err
				continue
			}
			ev.leases = append(ev.leases, l)
		}
		if len(ev.leases) > 0 {
			return ev
		}
	}
	return ev
}

// describeAny returns the services of the first location that has any.
func (c *upnpClient) describeAny(ctx context.Context, locations []string) (list []service, err error) {
	for _, location := range locations {
		if list, err = c.describe(ctx, location); err == nil {
			break
		}
	}
	return list, err
}

// check performs checkIGD.
func (c *upnpClient) check(ctx context.Context, call checkIGD) (ev igdChecked) {
	ev.round = call.round
	if ev.address, ev.err = c.address(ctx, call.service); ev.err != nil {
		return ev
	}
	for _, l := range call.leases {
		there, err := c.has(ctx, call.service, call.local, l)
		if err != nil {
			ev.err = err
		}
		if !there {
			ev.gone = append(ev.gone, l.port)
		}
	}
	return ev
}

// unmap performs unmapIGD.
func (c *upnpClient) unmap(ctx context.Context, call unmapIGD) (ev igdUnmapped) {
	for _, l := range call.leases {
		if err := c.remove(ctx, call.service, l); err != nil {
			ev.err = err
		}
	}
	return ev
}
