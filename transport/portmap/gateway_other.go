//go:build !linux

package portmap

import (
	"errors"
	"net/netip"
)

// DefaultGateway is supported on Linux only.
func DefaultGateway() (gateway, local netip.Addr, err error) {
	return gateway, local, errors.ErrUnsupported
}
