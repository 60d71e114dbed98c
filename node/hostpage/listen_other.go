//go:build !linux

package hostpage

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

var errNotLinux = errors.New("the page for hosts needs Linux, which can bind a socket to a LAN interface")

func listenOn(context.Context, string, netip.AddrPort) (net.Listener, error) { return nil, errNotLinux }

func provoke(context.Context, string, netip.Addr) error { return errNotLinux }
