package netstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// nic is the number of a host's only network card.
const nic = 1

// A Host is a machine on a LAN: an unmodified TCP/IP stack that knows nothing of ViNe. All methods
// may be called concurrently.
type Host struct {
	lan   *LAN
	addrs []netip.Addr
	stack *stack.Stack
	link  *link

	// ctx ends when the host is closed. running counts operations that use the stack.
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	// mu guards the fields below.
	mu        sync.Mutex
	closed    bool
	listeners map[*listener]struct{}
	pings     uint16 // the number of the last echo request
	client    *http.Client
}

func newHost(l *LAN, addrs []netip.Addr) (*Host, error) {
	h := &Host{
		lan:   l,
		addrs: addrs,
		link:  &link{mtu: uint32(l.mtu), queue: l.queue},

		listeners: make(map[*listener]struct{}),
		stack: stack.New(stack.Options{
			NetworkProtocols: []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{
				tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6,
			},
			HandleLocal: true, // a host reaches its own address without the device
		}),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	if err := h.configure(); err != nil {
		h.discard()
		return nil, err
	}
	return h, nil
}

// discard ends a host that was never registered with the LAN.
func (h *Host) discard() {
	h.cancel()
	h.destroy()
}

func (h *Host) configure() error {
	if err := h.stack.CreateNIC(nic, h.link); err != nil {
		return errors.New(err.String())
	}
	for _, a := range h.addrs {
		address := tcpip.ProtocolAddress{
			Protocol:          network(a),
			AddressWithPrefix: tcpip.AddrFromSlice(a.AsSlice()).WithPrefix(),
		}
		if err := h.stack.AddProtocolAddress(nic, address, stack.AddressProperties{}); err != nil {
			return errors.New(err.String())
		}
	}
	h.stack.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: nic},
		{Destination: header.IPv6EmptySubnet, NIC: nic},
	})
	sack := tcpip.TCPSACKEnabled(true) // as every kernel has it; the library's default is off
	if err := h.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack); err != nil {
		return errors.New(err.String())
	}
	return nil
}

func network(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

func full(a netip.Addr, port uint16) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(a.AsSlice()), Port: port}
}

// Addr returns the host's first address.
func (h *Host) Addr() netip.Addr { return h.addrs[0] }

// source returns the host's first address of the family of dst.
func (h *Host) source(dst netip.Addr) (netip.Addr, error) {
	for _, a := range h.addrs {
		if a.Is4() == dst.Is4() {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("host %v has no address of the family of %v", h.addrs[0], dst)
}

// Listen listens for TCP connections at the host's first address. Port 0 chooses a free one.
func (h *Host) Listen(port uint16) (net.Listener, error) {
	return h.ListenAt(netip.AddrPortFrom(h.addrs[0], port))
}

// ListenAt listens for TCP connections at one of the host's addresses.
func (h *Host) ListenAt(addr netip.AddrPort) (net.Listener, error) {
	if err := h.begin(); err != nil {
		return nil, fmt.Errorf("listen at %v: %w", addr, err)
	}
	defer h.running.Done()
	l, err := gonet.ListenTCP(h.stack, full(addr.Addr(), addr.Port()), network(addr.Addr()))
	if err != nil {
		return nil, fmt.Errorf("listen at %v: %w", addr, err)
	}
	return h.newListener(l)
}

// DialTCP connects to dst over TCP. It fails when ctx ends or the host is closed.
func (h *Host) DialTCP(ctx context.Context, dst netip.AddrPort) (net.Conn, error) {
	dst = netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port())
	src, err := h.source(dst.Addr())
	if err != nil {
		return nil, fmt.Errorf("dial %v: %w", dst, err)
	}
	if err := h.begin(); err != nil {
		return nil, fmt.Errorf("dial %v: %w", dst, err)
	}
	defer h.running.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	c, err := gonet.DialTCPWithBind(ctx, h.stack, full(src, 0), full(dst.Addr(), dst.Port()), network(dst.Addr()))
	if err != nil {
		return nil, fmt.Errorf("dial %v from %v: %w", dst, src, err)
	}
	return c, nil
}

// ListenPacket opens a UDP socket at the host's first address. Port 0 chooses a free one.
func (h *Host) ListenPacket(port uint16) (net.PacketConn, error) {
	return h.ListenPacketAt(netip.AddrPortFrom(h.addrs[0], port))
}

// ListenPacketAt opens a UDP socket at one of the host's addresses.
func (h *Host) ListenPacketAt(addr netip.AddrPort) (net.PacketConn, error) {
	if err := h.begin(); err != nil {
		return nil, fmt.Errorf("listen at %v: %w", addr, err)
	}
	defer h.running.Done()
	local := full(addr.Addr(), addr.Port())
	c, err := gonet.DialUDP(h.stack, &local, nil, network(addr.Addr()))
	if err != nil {
		return nil, fmt.Errorf("listen at %v: %w", addr, err)
	}
	return c, nil
}

// HTTPClient returns a client that connects from the host. URLs must name hosts by address. Each
// request uses a new connection, so none remains when its body has been closed. Requests have no
// time limit but that of their context.
func (h *Host) HTTPClient() *http.Client {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.client == nil {
		h.client = &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				name, port, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				addr, err := netip.ParseAddr(name)
				if err != nil {
					return nil, fmt.Errorf("a user-space host has no names: %w", err)
				}
				number, err := strconv.ParseUint(port, 10, 16)
				if err != nil {
					return nil, err
				}
				return h.DialTCP(ctx, netip.AddrPortFrom(addr, uint16(number)))
			},
		}}
	}
	return h.client
}

// nextPing returns the number of the next echo request, and now.
func (h *Host) nextPing() (uint16, time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pings++
	return h.pings, time.Now()
}
