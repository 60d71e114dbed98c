//go:build linux

package netns_test

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tests/netns"
)

// capturing has a site capture in a way from its next start or reload on.
func capturing(t *testing.T, s *netns.Site, way string) {
	t.Helper()
	s.Configure(t, fmt.Sprintf("[authority]\nauto_admit = \"open\"\n[capture]\nkind = %q\n", way))
}

// TestWays: packets are captured in each way, changed while the VR runs and a flow goes on, whose session lives. In each, ping and
// iperf3 work in both families, and the LAN and the WAN see every packet once.
func TestWays(t *testing.T) {
	f := grid(t, 2, netns.SiteOption{})
	f.OneByOne(t)
	a, b := f.Sites[0], f.Sites[1]
	// A bridge may have netfilter see packets before they reach its own interface, and tcpdump there: not at b.
	b.Run(t, "sysctl -q -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0")
	h := &handshakes{a, map[string]float64{}, map[string]int{}}
	h.look(t)
	flow := netns.StartFlow(t, a.Host(t, 0), b.Host(t, 0), 500)
	goesOn := func(way string) {
		t.Helper()
		there, back := flow.There.Received(), flow.Back.Received()
		netns.Await(t, "the flow goes on by "+way, 20*time.Second, func() bool { return flow.There.Received() > there+50 && flow.Back.Received() > back+50 })
	}
	goesOn("tun")
	type change struct {
		way      string
		from, to time.Time
	}
	var changes []change
	ways := []string{"tap", "nfqueue", "raw", "tun"}
	if os.Getenv("VINE_NIGHT") == "1" { // each after each other
		ways = []string{"tap", "raw", "nfqueue", "raw", "tap", "nfqueue", "tap", "tun", "raw", "tun", "nfqueue", "tun"}
	}
	for _, way := range ways {
		begun := time.Now()
		for _, s := range f.Sites {
			capturing(t, s, way)
			s.Vine(t, "reload")
		}
		goesOn(way)
		changes = append(changes, change{way, begun, time.Now()})
		h.look(t)
		if way != "tun" {
			seenOnce(t, a, b)
		}
		iperf := netns.StartIperf(t, a.LAN.Hosts[0], b.LAN.Hosts[0], b.Addr4(t, 0), "-n", "50M", "-C", "reno")
		t.Logf("NUMBER iperf3 by %s: %.0f Mb/s", way, netns.Report(t, iperf).End.SumReceived.BitsPerSecond/1e6)
	}
	end := time.Now()
	flow.Stop()
	for i, c := range changes {
		until := end
		if i+1 < len(changes) {
			until = changes[i+1].from
		}
		t.Logf("NUMBER in %s: there: %v; back: %v", c.way, flow.There.Between(c.to, until), flow.Back.Between(c.to, until))
		there, back := flow.There.Between(c.from, c.to), flow.Back.Between(c.from, c.to)
		t.Logf("NUMBER to %s at both sites: there: %v; back: %v", c.way, there, back)
		for _, r := range []netns.Record{there, back} {
			if r.Duplicates > 0 {
				t.Errorf("to %s: %v", c.way, r)
			}
		}
	}
	if n := h.count[b.Name]; n > 0 {
		t.Errorf("%d handshakes: the link's session did not live", n)
	}
}

// seenOnce pings in both families and compares what crosses the LAN's wire, the machine's own LAN interface, and the WAN, at b, with
// what was sent.
func seenOnce(t *testing.T, a, b *netns.Site) {
	t.Helper()
	const pings, size = 20, 777 // a size that nothing else has
	const ethernet, ipv4, ipv6, echo, udp, header = 14, 20, 40, 8, 8, 32
	inner := fmt.Sprintf("(icmp and len == %d) or (icmp6 and len == %d)", ethernet+ipv4+echo+size, ethernet+ipv6+echo+size)
	var sealed []string
	for _, outer := range []int{ipv4, ipv6} {
		for _, in := range []int{ipv4, ipv6} {
			sealed = append(sealed, fmt.Sprintf("(%s and udp and len == %d)", map[int]string{ipv4: "ip", ipv6: "ip6"}[outer], ethernet+outer+udp+header+in+echo+size))
		}
	}
	type place struct {
		what string
		dump netns.Dump
		want int
	}
	const all = 2 * 2 * pings // there and back, in two families
	places := []place{
		{"the LAN's wire", netns.StartDump(t, b.Namespace, "lan0.0", inner), all},
		{"the LAN interface", netns.StartDump(t, b.Namespace, "lan0", inner), all},
		{"the WAN, sealed", netns.StartDump(t, b.Namespace, "wan0", strings.Join(sealed, " or ")), all},
		{"the WAN, in the clear", netns.StartDump(t, b.Namespace, "wan0", inner), 0},
	}
	for _, to := range []netip.Addr{b.Addr4(t, 0), b.Addr6(t, 0)} {
		out, err := a.LAN.Hosts[0].Exec(t, "ping", "-n", "-c", fmt.Sprint(pings), "-i", "0.01", "-W", "2", "-s", fmt.Sprint(size), to.String())
		// ping goes two round trips after its last packet, on a busy machine without the last answers: tcpdump counts them.
		if err != nil || strings.Contains(out, "DUP") || strings.Contains(out, "duplicates") {
			t.Errorf("ping: %v\n%s", err, out)
		}
	}
	for _, p := range places {
		if p.want > 0 { // tcpdump may be late
			netns.Await(t, fmt.Sprintf("%d packets on %s", p.want, p.what), 10*time.Second, func() bool { return len(p.dump.Seen()) >= p.want })
		}
	}
	for _, p := range places {
		if seen := p.dump.Stop(t); len(seen) != p.want {
			t.Errorf("%d packets of %d on %s:\n%s", len(seen), p.want, p.what, strings.Join(seen[:min(len(seen), 5)], "\n"))
		}
	}
}

// TestRawCopiesWithoutRule shows what TestWays looks for: without the rule of hostnet the kernel deals with what a packet socket has
// copied, and every packet is there a second time, or answered.
func TestRawCopiesWithoutRule(t *testing.T) {
	f := grid(t, 2, netns.SiteOption{})
	a, b := f.Sites[0], f.Sites[1]
	capturing(t, a, "raw")
	a.Vine(t, "reload")
	netns.AwaitPing(t, a.LAN.Hosts[0], b.Addr4(t, 0), 10*time.Second)
	count := func() int {
		dump := netns.StartDump(t, a.Namespace, "wan0", insideFilter(netns.VineJSON[status](t, a, "status").Space))
		netns.Ping(t, a.LAN.Hosts[0], b.Addr4(t, 0))
		return len(dump.Stop(t))
	}
	if n := count(); n != 0 {
		t.Errorf("%d packets in the clear", n)
	}
	a.Forward(t)
	a.Run(t, "ip rule del priority 8463\nip route flush proto 84")
	if n := count(); n == 0 {
		t.Error("without rule and guards nothing is there twice: the test shows nothing")
	}
}

// TestWayFromTheStart: a VR starts in a way, is killed in it, leaks nothing, and starts again; a way that cannot be leaves all as it
// is; and at the end the machine is as before.
func TestWayFromTheStart(t *testing.T) {
	for _, way := range []string{"raw", "nfqueue"} {
		t.Run(way, func(t *testing.T) {
			waits(t)
			f := grid(t, 2, netns.SiteOption{})
			a, b := f.Sites[0], f.Sites[1]
			space := netns.VineJSON[status](t, a, "status").Space
			b.Stop(t)
			b.Vine(t, "down")
			was, sysctls := b.Network(t)
			capturing(t, b, way)
			b.Up(t)
			netns.AwaitPing(t, b.LAN.Hosts[0], a.Addr4(t, 0), 20*time.Second)
			netns.AwaitPing(t, b.LAN.Hosts[0], a.Addr6(t, 0), 20*time.Second)
			capturing(t, b, "none")
			if _, stderr, err := b.Try(t, "reload"); err == nil || !strings.Contains(stderr, "restart") {
				t.Errorf("to no capture while the VR runs: %v\n%s", err, stderr)
			}
			netns.AwaitPing(t, b.LAN.Hosts[0], a.Addr4(t, 0), 20*time.Second)
			// A way that fails: another program has the TAP interface's name.
			b.Run(t, "ip link add vine0 type bridge")
			capturing(t, b, "tap")
			if _, stderr, err := b.Try(t, "reload"); err == nil {
				t.Errorf("to a TAP interface whose name is taken: %s", stderr)
			}
			netns.AwaitPing(t, b.LAN.Hosts[0], a.Addr4(t, 0), 20*time.Second)
			b.Run(t, "ip link del vine0")

			dump := netns.StartDump(t, b.Namespace, "wan0", insideFilter(space))
			b.Forward(t)
			b.Kill()
			netns.NoPing(t, b.LAN.Hosts[0], a.Addr4(t, 0))
			netns.NoPing(t, b.LAN.Hosts[0], a.Addr6(t, 0))
			if seen := dump.Stop(t); len(seen) > 0 {
				t.Errorf("inner packets on the WAN while the VR is down:\n%s", strings.Join(seen, "\n"))
			}
			b.Sysctl(t, "net/ipv4/ip_forward", "0")
			b.Sysctl(t, "net/ipv6/conf/all/forwarding", "0")
			capturing(t, b, way)
			b.Up(t)
			netns.AwaitPing(t, b.LAN.Hosts[0], a.Addr4(t, 0), 20*time.Second)
			b.Stop(t)
			b.Vine(t, "down")
			now, after := b.Network(t)
			if len(added(was, now))+len(added(now, was)) > 0 || after != sysctls {
				t.Errorf("after vine down: left %q, taken away %q, sysctls %q", added(was, now), added(now, was), added(sysctls, after))
			}
		})
	}
}

// TestInterfaceMadeAgain: the LAN interface is removed and made again; the VR captures on the new one before long.
func TestInterfaceMadeAgain(t *testing.T) {
	if os.Getenv("VINE_NIGHT") != "1" {
		t.Skip("it takes half a minute: VINE_NIGHT=1 runs it")
	}
	for _, way := range []string{"tun", "raw", "nfqueue"} {
		t.Run(way, func(t *testing.T) {
			waits(t)
			f := grid(t, 2, netns.SiteOption{})
			a, b := f.Sites[0], f.Sites[1]
			capturing(t, b, way)
			b.Vine(t, "reload")
			netns.AwaitPing(t, b.LAN.Hosts[0], a.Addr4(t, 0), 20*time.Second)
			b.Run(t, "ip link del lan0")
			b.Run(t, fmt.Sprintf(`ip link add lan0 type bridge
				ip link set lan0 up
				ip addr add %v/24 dev lan0
				ip link set lan0.0 master lan0`, b.LAN.V4))
			took := netns.AwaitPing(t, b.LAN.Hosts[0], a.Addr4(t, 0), time.Minute)
			t.Logf("NUMBER the LAN interface made again, %s: first ping after %.1f s", way, took.Seconds())
		})
	}
}
