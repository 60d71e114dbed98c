//go:build linux

package netns_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tests/netns"
)

// TestPathMTUIsFound: the core of the Internet carries 1,280 bytes, and no VR is told so. The file of 1 MiB arrives whole, the
// hosts learn nothing false, and what the VRs make stays below what the core carries.
func TestPathMTUIsFound(t *testing.T) {
	waits(t)
	f := netns.New(t)
	o := netns.SiteOption{Tables: "[underlay]\nlisten = \"WAN4:8463\"\n[authority]\nauto_admit = \"open\"\n"}
	a, b := f.AddSite(t, o), f.AddSite(t, o)
	f.OneByOne(t)
	// Larger ones are dropped without a word, as by a firewall that lets no ICMP through.
	f.Core.MustExec(t, "nft", "table inet narrow { chain narrow { type filter hook forward priority 5; meta l4proto udp meta length > 1280 counter drop; }; }")
	a.Init(t)
	a.Up(t)
	b.Join(t, a.Seed())
	b.Up(t)
	createVN(t, f, "blue", a.Addr4(t, 0).String(), b.Addr4(t, 0).String())
	for _, s := range f.Sites {
		s.SetUpHost(t, 0, s.Addr4(t, 0))
	}
	netns.AwaitPing(t, b.LAN.Hosts[0], a.Addr4(t, 0), 30*time.Second)
	dir := t.TempDir()
	netns.RandomFile(t, filepath.Join(dir, "page"), 1<<20)
	netns.ServeHTTP(t, a.LAN.Hosts[0], a.Addr4(t, 0), dir)
	begins := time.Now()
	sameFile(t, filepath.Join(dir, "page"), netns.Fetch(t, b.LAN.Hosts[0], a.Addr4(t, 0), "page"))
	t.Logf("NUMBER 1 MiB over a path of 1,280 bytes that nobody was told of: %s", inSeconds(time.Since(begins)))
	if out := f.Core.MustExec(t, "nft", "list table inet narrow"); !strings.Contains(out, "packets") || strings.Contains(out, "packets 0 ") {
		t.Errorf("nothing was too large for the core: the test shows nothing:\n%s", out)
	}
}

// TestUnderlayMTU: underlays that carry less than is usual. What is larger than the wires' MTU does not arrive; nothing arrives in fragments,
// for the core drops them. Where the VRs are not told, their own wires are wider, so that no system of theirs knows, and no ICMP says it.
func TestUnderlayMTU(t *testing.T) {
	waits(t)
	for _, c := range []struct {
		mtu  int
		told bool
	}{{1280, true}, {1124, true}, {1124, false}} {
		mtu := c.mtu
		t.Run(fmt.Sprintf("%d told %v", mtu, c.told), func(t *testing.T) {
			f := netns.New(t)
			// Below 1,280 there is no IPv6 outside.
			table := "[underlay]\nlisten = \"WAN4:8463\"\n"
			if c.told {
				table += fmt.Sprintf("mtu = %d\n", mtu)
			}
			o := netns.SiteOption{Tables: table + "[authority]\nauto_admit = \"open\"\n"}
			a, b := f.AddSite(t, o), f.AddSite(t, o)
			f.OneByOne(t)
			for _, s := range f.Sites {
				if c.told {
					s.Run(t, fmt.Sprintf("ip link set wan0 mtu %d", mtu))
				}
				f.Core.Run(t, fmt.Sprintf("ip link set %s mtu %d", s.WAN.Far, mtu))
			}
			f.Core.MustExec(t, "nft", "table inet blind { chain before { type filter hook prerouting priority -450; ip frag-off & 0x3fff != 0 drop; }\n"+
				"chain output { type filter hook output priority 5; icmp type destination-unreachable drop; }\n}")
			// Data is of type 1, the first byte after the UDP header.
			tap := netns.NewTapOf(t, f.Core.Namespace, map[string]string{
				"data": "udp dport 8463 @th,64,8 1",
				"init": "udp dport 8463 @th,64,8 2",
				"free": "udp dport 8463 @th,64,8 1 ip frag-off & 0x4000 == 0",
			})
			a.Init(t)
			a.Up(t)
			b.Join(t, a.Seed())
			b.Up(t)
			createVN(t, f, "blue", a.Addr4(t, 0).String(), b.Addr4(t, 0).String(), a.Addr6(t, 0).String(), b.Addr6(t, 0).String())
			for _, s := range f.Sites {
				s.SetUpHost(t, 0, s.Addr4(t, 0))
				s.SetUpHost(t, 0, s.Addr6(t, 0))
			}
			host := b.LAN.Hosts[0]
			netns.AwaitPing(t, host, a.Addr4(t, 0), 30*time.Second)
			dir := t.TempDir()
			netns.RandomFile(t, filepath.Join(dir, "page"), 1<<20)
			begins := time.Now()
			defer func() { t.Logf("1 MiB twice, and pings: %v", time.Since(begins)) }()
			for _, ipv6 := range []bool{false, true} {
				addr := a.Address(t, 0, ipv6)
				netns.ServeHTTP(t, a.LAN.Hosts[0], addr, dir)
				sameFile(t, filepath.Join(dir, "page"), netns.Fetch(t, host, addr, "page"))

				header := 28 // IPv4 and ICMP
				if ipv6 {
					header = 48
				}
				ping := func(size int, words ...string) (string, error) {
					return host.Exec(t, append([]string{"ping", "-n", "-c", "2", "-i", "0.2", "-W", "2",
						"-s", fmt.Sprint(size - header), addr.String()}, words...)...)
				}
				if out, err := ping(1280, "-M", "do"); err != nil {
					t.Errorf("a packet of 1280 bytes must pass whatever the underlay:\n%s", out)
				}
				// 1,400 is what the TUN device takes; the path carries less.
				if out, err := ping(1400, "-M", "do"); err == nil || !tooBig(out) {
					t.Errorf("a packet of 1400 bytes that may not be fragmented: want the sender told, got\n%s", out)
				}
				if out, err := ping(1400, "-M", "dont"); err != nil {
					t.Errorf("a packet of 1400 bytes that may be fragmented:\n%s", out)
				}
			}
			if n := tap.Packets(t, "data"); n < 2000 {
				t.Errorf("the core has counted %d packets with data", n)
			}
			if tap.Packets(t, "init") == 0 { // the link could be over a stream connection
				t.Error("no handshake has crossed the core")
			}
			if n := tap.Packets(t, "free"); n > 0 {
				t.Errorf("%d packets with data could have been fragmented", n)
			}
		})
	}
}

// tooBig reports whether ping was told that its packet is too big.
func tooBig(out string) bool {
	return strings.Contains(out, "rag needed") || strings.Contains(out, "too big") || strings.Contains(out, "too long") || strings.Contains(out, "mtu=")
}
