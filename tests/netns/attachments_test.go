//go:build linux

package netns_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/netns"
)

// TestSameAddressesTwice: two hosts at one site have the same address, in two VNs. Their VR serves both, by
// two attachments with a TUN device and a routing table each; every host reaches the other of its
// own VN and nobody else.
func TestSameAddressesTwice(t *testing.T) {
	// How many routers there are to a host beyond the VR's sending half: the kernel is one where it routes packets to the VR.
	ways := map[string]string{"tun": "2", "raw": "1"}
	if os.Getenv("VINE_NIGHT") == "1" {
		ways["tap"], ways["nfqueue"] = "2", "1"
	}
	for way, ttl := range ways {
		t.Run(way, func(t *testing.T) { sameAddressesTwice(t, way, ttl) })
	}
}

// sameAddressesTwice does it in a way of capture. A packet with the TTL ends in the VR.
func sameAddressesTwice(t *testing.T, way, ttl string) {
	waits(t)
	f := netns.New(t)
	a := f.AddSite(t, netns.SiteOption{})
	second := netnstest.NewLAN(t, a.Namespace, "lan1", 101, 1)
	// With the default MTU the kernel itself would have to refuse what is larger than the TUN device
	// takes; but to answer one of two hosts with one address it would need to know which.
	a.WriteConfig(t, a.ReadConfig(t)+`
[capture]
kind = "`+way+`"
mtu = 1500
[[attachment]]
interface = "lan0"
vns = ["red"]
device = "vine1"
[[attachment]]
interface = "lan1"
vns = ["blue"]
device = "vine2"
`)
	a.Run(t, "sysctl -q -w net.ipv4.conf.all.rp_filter=1") // the strictest
	was, _ := a.Network(t)
	a.Init(t)
	a.Up(t)
	b := enrol(t, f, netns.SiteOption{})
	c := enrol(t, f, netns.SiteOption{})
	a.Vine(t, "vn", "create", "red", "--prefix", "10.200.0.0/24@"+a.Name+",10.200.1.0/24@"+b.Name, "--host", "10.200.0.10,10.200.1.10")
	a.Vine(t, "vn", "create", "blue", "--prefix", "10.200.0.0/24@"+a.Name+",10.200.2.0/24@"+c.Name, "--host", "10.200.0.10,10.200.2.10")
	near, redFar, blueFar := mustAddr("10.200.0.10"), mustAddr("10.200.1.10"), mustAddr("10.200.2.10")
	a.SetUpHost(t, 0, near)
	second.Hosts[0].MustExec(t, "sh", "-e", "-c", a.Vine(t, "host", "setup", near.String(), "--gateway", second.V4.String()))
	b.SetUpHost(t, 0, redFar)
	c.SetUpHost(t, 0, blueFar)
	red, blue := a.LAN.Hosts[0], second.Hosts[0]
	netns.AwaitPing(t, red, redFar, 30*time.Second)
	netns.AwaitPing(t, blue, blueFar, 30*time.Second)
	netns.AwaitPing(t, b.LAN.Hosts[0], near, 30*time.Second)
	netns.AwaitPing(t, c.LAN.Hosts[0], near, 30*time.Second)

	// The two hosts of the one address serve pages that say who they are.
	for name, h := range map[string]*netnstest.Namespace{"red": red, "blue": blue} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "page"), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		netns.ServeHTTP(t, h, near, dir)
	}
	for name, h := range map[string]*netnstest.Namespace{"red": b.LAN.Hosts[0], "blue": c.LAN.Hosts[0]} {
		page, err := os.ReadFile(netns.Fetch(t, h, near, "page"))
		if err != nil || string(page) != name {
			t.Errorf("%q, %v; want the page of %q", page, err, name)
		}
	}
	netns.NoPing(t, red, blueFar)
	netns.NoPing(t, blue, redFar)
	// What the VR itself has to say to its hosts, on each attachment.
	for far, h := range map[netip.Addr]*netnstest.Namespace{redFar: red, blueFar: blue} {
		if out, err := h.Exec(t, "ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-M", "do", "-s", "1472", far.String()); err == nil || !tooBig(out) {
			t.Errorf("to %v: a packet of 1500 bytes that may not be fragmented:\n%s", far, out)
		}
		if out, _ := h.Exec(t, "ping", "-n", "-c", "1", "-W", "1", "-t", ttl, far.String()); !strings.Contains(out, "exceeded") {
			t.Errorf("to %v: no word of a packet whose TTL ends in the VR:\n%s", far, out)
		}
	}
	a.Stop(t)
	a.Vine(t, "down")
	if now, _ := a.Network(t); len(added(was, now))+len(added(now, was)) > 0 {
		t.Errorf("after vine down: left %q, taken away %q", added(was, now), added(now, was))
	}
}
