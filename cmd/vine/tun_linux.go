package main

import (
	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/capture/tun"
)

func openTUN(name string, mtu int) (capture.Device, error) { return tun.Open(name, mtu) }
