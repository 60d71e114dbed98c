//go:build linux

package netns_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/netns"
)

// TestPlainPathBesideKernel measures; it asserts nothing about time. The same hosts, gateways and
// core carry the traffic once through the VRs and once by the kernel's own forwarding.
func TestPlainPathBesideKernel(t *testing.T) {
	f := grid(t, 2, netns.SiteOption{})
	a, b := f.Sites[0], f.Sites[1]
	for _, s := range f.Sites {
		s.Forward(t)
		s.Run(t, "ip link set lan0 mtu 1500")
		f.Core.Run(t, fmt.Sprintf("ip route add 192.168.%d.0/24 via %v", s.N, s.WAN.V4))
		s.LAN.Hosts[0].Run(t, "ip route add 192.168.0.0/16 via "+s.LAN.V4.String())
	}
	from, to := a.LAN.Hosts[0], b.LAN.Hosts[0]
	measure := func(what, addr string) float64 {
		at := mustAddr(addr)
		rtt := netns.PingMany(t, from, at, 200, 5*time.Millisecond)
		r := netns.Report(t, netns.StartIperf(t, from, to, at, "-t", "2"))
		t.Logf("NUMBER %s: TCP %.0f Mbit/s, ping %.0f µs on average (%d of %d)", what,
			r.End.SumReceived.BitsPerSecond/1e6, float64(rtt.Avg.Nanoseconds())/1e3, rtt.Received, rtt.Sent)
		return r.End.SumReceived.BitsPerSecond
	}
	vine := measure("ViNe, plain path", b.Addr4(t, 0).String())
	kernel := measure("kernel forwarding, super-packets kept whole (veth offloads on)", "192.168.2.11")
	for _, h := range []*netnstest.Namespace{from, to} {
		h.NoOffload(t, "eth0")
	}
	cable := measure("kernel forwarding, packets as on a cable (offloads off)", "192.168.2.11")
	t.Logf("NUMBER ViNe's TCP throughput is %.2f of the kernel's with packets as on a cable, %.3f of that with super-packets", vine/cable, vine/kernel)
}
