//go:build linux

package netns_test

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/netns"
	"github.com/vine-mesh/vine/transport/underlay"
)

// TestPlainPathBesideKernel measures; it asserts nothing about time. The same hosts, gateways and
// core carry the traffic once through the VRs and once by the kernel's own forwarding. VINE_BINARY names another vine.
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
		rtt := netns.PingMany(t, from, at, 400, 5*time.Millisecond)
		small := smallPackets(t, from, to, at)
		before := cpuTime(t, a) + cpuTime(t, b)
		r := netns.Report(t, netns.StartIperf(t, from, to, at, "-t", "3", "-C", "reno"))
		bits := r.End.SumReceived.BitsPerSecond
		t.Logf("NUMBER %s: TCP %.0f Mbit/s, both VRs %.2f CPU-s per Gbit; UDP of 64 bytes %.0f packets/s; ping %.0f µs on average, %.0f at least (%d of %d)", what,
			bits/1e6, (cpuTime(t, a)+cpuTime(t, b)-before).Seconds()/(bits*3/1e9), small,
			float64(rtt.Avg.Nanoseconds())/1e3, float64(rtt.Min.Nanoseconds())/1e3, rtt.Received, rtt.Sent)
		return bits
	}
	vine := func() float64 { return measure("ViNe, plain path", b.Addr4(t, 0).String()) }
	kernel := func() float64 { return measure("kernel forwarding", "192.168.2.11") }
	compare := func(wires string, set func()) {
		t.Logf("wires %s", wires)
		set()
		ours, kernels := vine(), kernel()
		t.Logf("NUMBER wires %s: ViNe's TCP throughput is %.3f of the kernel's", wires, ours/kernels)
	}
	compare("of a virtual machine: super-packets stay whole", func() {})
	defer func() {
		t.Logf("NUMBER the VRs had %d and %d MiB resident at most", residentMax(t, a)>>20, residentMax(t, b)>>20)
	}()
	if !night() {
		return // cards and cables cost half a minute more
	}
	compare("with network cards: they are cut before the wire, and made after it", func() {
		for _, s := range f.Sites {
			for ns, ports := range map[*netnstest.Namespace][]string{
				s.Namespace: {s.WAN.Interface, "lan0.0"}, f.Core.Namespace: {s.WAN.Far}, s.LAN.Hosts[0]: {"eth0"},
			} {
				for _, port := range ports {
					ns.Run(t, "ethtool -K "+port+" tso off gso off tx-udp-segmentation off gro on")
				}
			}
		}
	})
	compare("as cables between hosts and gateways: no offload", func() {
		for _, h := range []*netnstest.Namespace{from, to} {
			h.NoOffload(t, "eth0")
		}
	})
}

// residentMax returns the most bytes that the site's VR has had resident.
func residentMax(t *testing.T, s *netns.Site) (bytes int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.VR.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &bytes); n == 1 {
			return bytes << 10
		}
	}
	t.Fatalf("no VmHWM in\n%s", b)
	return 0
}

// cpuTime returns what the site's VR has used.
func cpuTime(t *testing.T, s *netns.Site) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.VR.PID()))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// smallPackets returns how many UDP datagrams of 64 bytes a second arrive when as many are sent as arrive: a window of
// them is on its way, and so hardly any is lost.
func smallPackets(t *testing.T, from, to *netnstest.Namespace, at netip.Addr) float64 {
	t.Helper()
	const window, batch, last = 512, 32, 2 * time.Second
	socket := func(ns *netnstest.Namespace) (s underlay.Socket) {
		t.Helper()
		if err := ns.Do(func() (err error) {
			s, err = underlay.ListenUDP(netip.MustParseAddrPort("0.0.0.0:0"))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	buffers := func(n int, addr netip.AddrPort) []underlay.Datagram {
		list := make([]underlay.Datagram, n)
		for i := range list {
			list[i] = underlay.Datagram{Buf: make([]byte, 64), N: 64, Addr: addr}
		}
		return list
	}
	in, out := socket(to), socket(from)
	defer out.Close()
	var arrived atomic.Int64
	done := make(chan struct{})
	more := make(chan struct{}, 1)
	go func() {
		defer close(done)
		for dgs := buffers(underlay.BatchMax, netip.AddrPort{}); ; {
			n, err := in.ReadBatch(dgs)
			if err != nil {
				return
			}
			arrived.Add(int64(n))
			select {
			case more <- struct{}{}:
			default:
			}
		}
	}()
	dgs := buffers(batch, netip.AddrPortFrom(at, in.LocalAddr().Port()))
	start := time.Now()
	for sent := int64(0); time.Since(start) < last; {
		if sent-arrived.Load() > window-batch {
			select {
			case <-more:
			case <-time.After(20 * time.Millisecond):
				sent = arrived.Load() // the rest is lost
			}
			continue
		}
		n, err := out.WriteBatch(dgs)
		if err != nil {
			t.Fatal(err)
		}
		sent += int64(n)
	}
	rate := float64(arrived.Load()) / time.Since(start).Seconds()
	_ = in.Close()
	<-done
	return rate
}
