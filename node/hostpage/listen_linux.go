package hostpage

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listenOn opens a TCP socket that only packets meet which come in by the interface, and whose answers die at the first
// router.
func listenOn(ctx context.Context, iface string, at netip.AddrPort) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) {
			err = unix.BindToDevice(int(fd), iface)
			if err == nil {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, 1)
			}
			if err == nil && network == "tcp6" {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 1)
			}
		}); cerr != nil {
			return cerr
		}
		return err
	}}
	lc.SetMultipathTCP(false) // such a connection has several interfaces
	text := at.String()
	if !at.Addr().IsValid() {
		text = ":" + netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port()).String()[len("0.0.0.0:"):]
	}
	return lc.Listen(ctx, "tcp", text)
}

// provoke has the kernel look for a neighbour: it sends an empty datagram to its discard port.
func provoke(ctx context.Context, iface string, addr netip.Addr) error {
	d := net.Dialer{Timeout: time.Second, Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		cerr := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), iface) })
		return errors.Join(cerr, err)
	}}
	c, err := d.DialContext(ctx, "udp", netip.AddrPortFrom(addr, 9).String())
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write(nil)
	return err
}
