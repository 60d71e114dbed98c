//go:build !linux

package main

import (
	"errors"

	"github.com/vine-mesh/vine/node/capture"
)

func (p port) open(string) (capture.Device, error) {
	return nil, errors.New("packets of a LAN are captured on Linux only")
}
