//go:build !linux

package gateway

import (
	"errors"
	"net/netip"
)

func openPort(string, []netip.Addr) (wire, error) {
	return nil, errors.New("only Linux can share a gateway address")
}
