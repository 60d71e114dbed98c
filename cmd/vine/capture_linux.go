package main

import (
	"fmt"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/capture/nfqueue"
	"github.com/vine-mesh/vine/node/capture/raw"
	"github.com/vine-mesh/vine/node/capture/tun"
)

// open opens the device of an attachment.
func (p port) open(way string) (capture.Device, error) {
	switch way {
	case "tun":
		return tun.OpenQueues(p.device, p.mtu, p.lanes)
	case "tap":
		return tun.OpenTAP(p.device, p.mtu)
	case "raw":
		return raw.Open(p.interfaces, p.space)
	case "nfqueue":
		return nfqueue.Open(p.interfaces, p.queue, p.mtu)
	}
	return nil, fmt.Errorf("there is no way of capture %q", way)
}
