//go:build !linux

package main

import (
	"errors"

	"github.com/vine-mesh/vine/node/capture"
)

func openTUN(string, int) (capture.Device, error) {
	return nil, errors.New("TUN devices are supported on Linux only")
}
