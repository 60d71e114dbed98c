//go:build !linux

package gateway

import (
	"errors"
	"net/netip"

	"github.com/vine-mesh/vine/node/lease"
)

type port struct{ mac lease.MAC }

func openPort(string, []netip.Addr) (*port, error) {
	return nil, errors.New("only Linux can share a gateway address")
}

func (p *port) read(chan<- lease.Frame) error { return errors.ErrUnsupported }
func (p *port) write([]byte)                  {}
func (p *port) Close()                        {}
