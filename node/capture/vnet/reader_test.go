//go:build linux

package vnet

import (
	"net/netip"
	"testing"

	"github.com/vine-mesh/vine/node/capture/capturetest"
)

func TestLengthOf(t *testing.T) {
	p4 := capturetest.AppendUDP(nil, netip.AddrPortFrom(capturetest.Remote4, 1), netip.AddrPortFrom(capturetest.Remote4, 2), make([]byte, 40))
	p6 := capturetest.AppendUDP(nil, netip.AddrPortFrom(capturetest.Remote6, 1), netip.AddrPortFrom(capturetest.Remote6, 2), make([]byte, 40))
	for _, p := range [][]byte{p4, p6} {
		for n := range len(p) + 1 {
			length := lengthOf(p[:n])
			if length != len(p) && (length != 0 || n >= 6) {
				t.Errorf("of %d bytes of a packet of %d: %d", n, len(p), length)
			}
		}
	}
}
