package portmap

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
)

// A fakeGateway is a gateway in memory that speaks what it is told to, honestly but for what a test twists.
type fakeGateway struct {
	mu sync.Mutex
	// The fields below are guarded by mu.
	pcp, natpmp, upnp bool
	external          netip.Addr
	lifetime          uint32 // granted; 0: as asked
	booted            time.Time
	mappings          map[Port]fakeMapping
	asked             []time.Time // arrivals of PCP mapping requests
	requests          int         // all datagrams
	dialled           []netip.AddrPort
	busy              map[uint16]bool // external ports that UPnP says are taken
	permanent         bool            // UPnP knows no leases
	sockets           []*fakeSocket

	source     netip.AddrPort                     // of answers, if valid, in place of the true one
	twist      func([]byte) []byte                // of answers from the server port
	location   string                             // of the description
	controlURL string                             // in the description
	serve      func(*http.Request, net.Conn) bool // true: it has answered
	httpPort   uint16
}

type fakeMapping struct {
	external uint16
	until    time.Time // zero: no end
	nonce    nonce
}

func newFakeGateway() *fakeGateway {
	return &fakeGateway{external: wan, booted: time.Now().Add(-1000 * time.Second), mappings: map[Port]fakeMapping{}, httpPort: 5000, controlURL: "/ctl"}
}

// outside is what a Portmap sees.
func (g *fakeGateway) outside() outside {
	return outside{every: checkInterval, listen: g.listen, group: g.group, dial: g.dial}
}

func (g *fakeGateway) epoch() uint32 { return uint32(time.Since(g.booted) / time.Second) }

// restart loses all mappings.
func (g *fakeGateway) restart() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.booted, g.mappings = time.Now(), map[Port]fakeMapping{}
	g.httpPort++
}

// mapped reports whether a port is mapped now.
func (g *fakeGateway) mapped(p Port) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	m, ok := g.mappings[p]
	return ok && (m.until.IsZero() || time.Now().Before(m.until))
}

func (g *fakeGateway) put(p Port, external uint16, seconds uint32, n nonce) fakeMapping {
	m := fakeMapping{external, time.Now().Add(time.Duration(seconds) * time.Second), n}
	if seconds == 0 {
		delete(g.mappings, p)
	} else {
		g.mappings[p] = m
	}
	return m
}

type fakePacket struct {
	from  netip.AddrPort
	bytes []byte
}

// A fakeSocket is a UDP socket whose other end is the gateway.
type fakeSocket struct {
	gateway *fakeGateway
	group   bool
	in      chan fakePacket
	closed  chan struct{}
}

func (g *fakeGateway) listen(netip.Addr) (conn, error) { return g.open(false), nil }
func (g *fakeGateway) group(netip.Addr) (conn, error)  { return g.open(true), nil }

func (g *fakeGateway) open(group bool) *fakeSocket {
	s := &fakeSocket{g, group, make(chan fakePacket, 64), make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sockets = append(g.sockets, s)
	return s
}

// say sends a datagram to the Portmap, or to the group.
func (g *fakeGateway) say(group bool, from netip.AddrPort, b []byte) {
	for _, s := range g.sockets {
		if s.group == group {
			select {
			case s.in <- fakePacket{from, b}:
			default: // a full buffer drops
			}
		}
	}
}

func (s *fakeSocket) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case p := <-s.in:
		return copy(b, p.bytes), p.from, nil
	case <-s.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

func (s *fakeSocket) Close() error { close(s.closed); return nil }

func (s *fakeSocket) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	g := s.gateway
	g.mu.Lock()
	defer g.mu.Unlock()
	g.requests++
	var answer []byte
	from := to
	switch {
	case to == netip.AddrPortFrom(gateway, serverPort):
		if answer = g.answer(b); answer != nil && g.twist != nil {
			answer = g.twist(answer)
		}
	case g.upnp && to.Port() == ssdpPort && strings.Contains(string(b), "InternetGatewayDevice:1"):
		location := g.location
		if location == "" {
			location = fmt.Sprintf("http://%v:%d/root.xml", gateway, g.httpPort)
		}
		answer, from = []byte(ssdpAnswer(location)), netip.AddrPortFrom(gateway, ssdpPort)
	}
	if g.source.IsValid() {
		from = g.source
	}
	if answer != nil {
		s.in <- fakePacket{from, answer}
	}
	return len(b), nil
}

// answer is that of a server of PCP, of NAT-PMP, or of both.
func (g *fakeGateway) answer(b []byte) []byte {
	switch {
	case b[0] == pcpVersion && b[1] == pcpMap:
		g.asked = append(g.asked, time.Now())
		if !g.pcp && g.natpmp {
			return natpmpAnswer{op: 1, result: 1, epoch: g.epoch(), short: true}.append(nil)
		}
		if !g.pcp {
			return nil
		}
		m, seconds := parsePCPMapping(b[pcpHeaderSize:]), binary.BigEndian.Uint32(b[4:])
		if old, ok := g.mappings[m.port]; ok && old.nonce != m.nonce {
			return pcpAnswer{op: pcpMap, result: 2, epoch: g.epoch(), mapping: m}.append(nil)
		}
		seconds = g.granted(seconds)
		g.put(m.port, m.external.Port(), seconds, m.nonce)
		m.external = netip.AddrPortFrom(g.external, m.external.Port())
		return pcpAnswer{op: pcpMap, lifetime: seconds, epoch: g.epoch(), mapping: m}.append(nil)
	case b[0] == pcpVersion && b[1] == pcpAnnounce && g.pcp:
		return pcpAnswer{op: pcpAnnounce, epoch: g.epoch()}.append(nil)
	case b[0] == natpmpVersion && g.natpmp && b[1] == natpmpAddress:
		return natpmpAnswer{epoch: g.epoch(), address: g.external}.append(nil)
	case b[0] == natpmpVersion && g.natpmp:
		p := Port{UDP, binary.BigEndian.Uint16(b[4:])}
		if b[1] == natpmpMapTCP {
			p.Protocol = TCP
		}
		external, seconds := binary.BigEndian.Uint16(b[6:]), g.granted(binary.BigEndian.Uint32(b[8:]))
		g.put(p, external, seconds, nonce{})
		return natpmpAnswer{op: b[1], epoch: g.epoch(), port: p, external: external, lifetime: seconds}.append(nil)
	}
	return nil
}

func (g *fakeGateway) granted(asked uint32) uint32 {
	if asked == 0 || g.lifetime == 0 {
		return asked
	}
	return g.lifetime
}

// dial connects to the gateway's HTTP server, one request a connection.
func (g *fakeGateway) dial(_ context.Context, _ netip.Addr, to netip.AddrPort) (net.Conn, error) {
	g.mu.Lock()
	g.dialled = append(g.dialled, to)
	refused := g.serve == nil && to.Port() != g.httpPort
	g.mu.Unlock()
	if refused {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		r, err := http.ReadRequest(bufio.NewReader(theirs))
		if err != nil {
			return
		}
		body, _ := io.ReadAll(r.Body)
		if g.serve != nil && g.serve(r, theirs) {
			return
		}
		g.mu.Lock()
		status, text := g.http(r, string(body))
		g.mu.Unlock()
		fmt.Fprintf(theirs, "HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, len(text), text)
	}()
	return ours, nil
}

// http answers one request.
func (g *fakeGateway) http(r *http.Request, body string) (status int, text string) {
	if r.Method == http.MethodGet {
		return 200, description("", g.controlURL)
	}
	_, action, _ := strings.Cut(strings.Trim(r.Header.Get("SOAPACTION"), `"`), "#")
	port := Port{map[string]Protocol{"UDP": UDP, "TCP": TCP}[argument(body, "NewProtocol")], number16(argument(body, "NewInternalPort"))}
	external := number16(argument(body, "NewExternalPort"))
	var out string
	switch action {
	case "GetExternalIPAddress":
		out = "<NewExternalIPAddress>" + g.external.String() + "</NewExternalIPAddress>"
	case "AddPortMapping":
		lease := argument(body, "NewLeaseDuration")
		switch {
		case g.busy[external]:
			return 500, fault(upnpConflict)
		case g.permanent && lease != "0":
			return 500, fault(upnpOnlyPermanent)
		}
		m := fakeMapping{external: external}
		if lease != "0" {
			m.until = time.Now().Add(upnpLifetime)
		}
		g.mappings[port] = m
	case "GetSpecificPortMappingEntry":
		for p, m := range g.mappings {
			if p.Protocol == port.Protocol && m.external == external {
				out = fmt.Sprintf("<NewInternalPort>%d</NewInternalPort><NewInternalClient>%v</NewInternalClient>", p.Port, us)
			}
		}
		if out == "" {
			return 500, fault(upnpNoSuchEntry)
		}
	case "DeletePortMapping":
		for p, m := range g.mappings {
			if p.Protocol == port.Protocol && m.external == external {
				delete(g.mappings, p)
			}
		}
	}
	return 200, envelope(fmt.Sprintf(`<u:%sResponse xmlns:u="%s">%s</u:%[1]sResponse>`, action, serviceKinds[1], out))
}

func argument(body, name string) string {
	if found := regexp.MustCompile("<" + name + ">([^<]*)<").FindStringSubmatch(body); found != nil {
		return found[1]
	}
	return ""
}

func number16(text string) (n uint16) {
	_, _ = fmt.Sscan(text, &n)
	return n
}

func envelope(body string) string {
	return `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>` + body + `</s:Body></s:Envelope>`
}

func fault(code int) string {
	return envelope(fmt.Sprintf(`<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>%d</errorCode></UPnPError></detail></s:Fault>`, code))
}

func ssdpAnswer(location string) string {
	return "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: " + gatewayDevices[0] + "\r\nLOCATION: " + location + "\r\n\r\n"
}

func description(base, control string) string {
	if base != "" {
		base = "<URLBase>" + base + "</URLBase>"
	}
	return `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0">` + base + `<device><deviceType>` + gatewayDevices[0] + `</deviceType><deviceList><device><serviceList><service><serviceType>` +
		serviceKinds[1] + `</serviceType><controlURL>` + control + `</controlURL></service></serviceList></device></deviceList></device></root>`
}

func mustURL(text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil {
		panic(err)
	}
	return u
}
