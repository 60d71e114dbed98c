package hostnet

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/node/capture/tun"
	"github.com/vine-mesh/vine/node/segment"
)

// Two LANs, two routers, and for the mesh a loop that copies from one TUN device to the other: the
// stock ping of one host reaches the other host, at any size, over both families.
func TestPingBetweenLANs(t *testing.T) {
	netnstest.Require(t, "ping")
	var devices [2]*tun.Device
	var hosts [2]*netnstest.Namespace
	for i := range devices {
		router, host := netnstest.New(t), netnstest.New(t)
		hosts[i] = host
		netnstest.Wire(t, router, "lan0", host, "eth0")
		router.Run(t, fmt.Sprintf("ip addr add 192.168.%d.1/24 dev lan0\nip addr add fd01:%d::1/64 dev lan0", i, i))
		host.Run(t, fmt.Sprintf("ip addr add 192.168.%d.5/24 dev eth0\nip addr add fd01:%d::5/64 dev eth0", i, i))
		for _, c := range [][2]string{
			{fmt.Sprintf("10.192.%d.5/24", i), fmt.Sprintf("192.168.%d.1", i)},
			{fmt.Sprintf("fd00:192:%d::5/64", i), fmt.Sprintf("fd01:%d::1", i)},
		} {
			h, err := HostSetup(netip.MustParsePrefix(c[0]), netip.MustParseAddr(c[1]), space...)
			if err != nil {
				t.Fatal(err)
			}
			shell(t, host, h.Commands())
		}
		plan := Plan{Device: "vine0", MTU: 1420, Space: space, Attachments: []Attachment{{
			Interface: "lan0", Blocks: pfx(fmt.Sprintf("10.192.%d.0/24", i), fmt.Sprintf("fd00:192:%d::/64", i)),
		}}}
		var s *Setup
		err := router.Do(func() (err error) {
			if devices[i], err = tun.Open("vine0", 1420); err == nil {
				s, err = Apply(plan, t.TempDir()+"/hostnet.json")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := router.Do(s.Close); err != nil {
				t.Error(err)
			}
		})
	}
	var wg sync.WaitGroup
	wg.Go(func() { carry(devices[0], devices[1]) })
	wg.Go(func() { carry(devices[1], devices[0]) })
	defer wg.Wait()
	defer func() { _, _ = devices[0].Close(), devices[1].Close() }()

	// No router fragments IPv6: the first large packet comes back as too big, then the first large
	// reply; after that both hosts have learnt.
	out, _ := hosts[0].Output("ping -c 4 -i 0.05 -W 5 -s 4000 fd00:192:1::5")
	if !strings.Contains(out, "mtu=1420") || !strings.Contains(out, "4008 bytes from") {
		t.Errorf("large IPv6 packets:\n%s", out)
	}
	for _, command := range []string{
		"ping -c 3 -i 0.01 -W 5 10.192.1.5",
		"ping -c 3 -i 0.01 -W 5 fd00:192:1::5",
		"ping -c 1 -W 5 -M do -s 1392 10.192.1.5", // 1420 bytes
		"ping -c 1 -W 5 -s 4000 10.192.1.5",
	} {
		out, err := hosts[0].Output(command)
		if err != nil || !strings.Contains(out, " 0% packet loss") {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	}
	// The host learns the MTU by ICMP of its router.
	if out, err := hosts[0].Output("ping -c 1 -W 5 -M do -s 1393 10.192.1.5"); err == nil || !strings.Contains(out, "mtu = 1420") && !strings.Contains(out, "mtu=1420") {
		t.Errorf("ping beyond the MTU: %v\n%s", err, out)
	}
}

func carry(from, to capture.Device) {
	bufs, pkts := [][]byte{make([]byte, segment.LengthMax)}, make([]capture.Packet, 1)
	for {
		if _, err := from.ReadBatch(bufs, pkts); err != nil {
			return
		}
		_, _ = to.WriteBatch(pkts)
	}
}
