//go:build linux

package netns_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tests/netns"
)

// TestPhysicalMembers: where the LANs of the sites do not clash, their own subnets can be part of the ViNe space. Then hosts are
// members of a VN by the address that they have anyway, and need a route only, beside hosts with an address of a block; and a
// host of the same LAN that is no member gets nothing.
func TestPhysicalMembers(t *testing.T) {
	waits(t)
	f := netns.New(t)
	lans := []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("192.168.2.0/24")}
	declare := func(s *netns.Site) {
		text := strings.Replace(s.ReadConfig(t), "interface = \"lan0\"\n", fmt.Sprintf("interface = \"lan0\"\nsubnets = [%q]\n", lans[s.N-1]), 1)
		if !strings.Contains(text, "subnets") {
			t.Fatalf("no attachment in\n%s", text)
		}
		s.WriteConfig(t, text)
	}
	a := f.AddSite(t, netns.SiteOption{Hosts: 2})
	a.Init(t, "--space", "10.192.0.0/10,192.168.0.0/16")
	// Without a word from the operator the LAN's route is refused: it could be a mistake, and a leak.
	if out, err := a.Exec(t, a.F.Binary(), "--config", a.ConfigPath(), "up"); err == nil || !strings.Contains(out, "lies inside the ViNe space") {
		t.Fatalf("vine up: %v\n%s", err, out)
	}
	declare(a)
	a.Up(t)
	b := f.AddSite(t, netns.SiteOption{Hosts: 2})
	b.Join(t, a.Seed())
	declare(b)
	b.Up(t)
	alias := b.Addr4(t, 1)
	a.Vine(t, "vn", "create", "blue",
		"--prefix", fmt.Sprintf("%v@%s,%v@%s", lans[0], a.Name, lans[1], b.Name),
		"--host", "192.168.1.11,192.168.2.11,"+alias.String())
	setUp := func(s *netns.Site, i int, addr string) {
		s.LAN.Hosts[i].MustExec(t, "sh", "-e", "-c", s.Vine(t, "host", "setup", addr, "--gateway", s.LAN.V4.String()))
	}
	setUp(a, 0, "192.168.1.11/24")
	setUp(b, 0, "192.168.2.11/24")
	setUp(b, 1, alias.String())
	setUp(a, 1, "192.168.1.12/24") // no member
	near, outsider := a.LAN.Hosts[0], a.LAN.Hosts[1]
	netns.AwaitPing(t, near, mustAddr("192.168.2.11"), 30*time.Second)
	netns.AwaitPing(t, near, alias, 30*time.Second)
	netns.AwaitPing(t, b.LAN.Hosts[0], mustAddr("192.168.1.11"), 30*time.Second)
	netns.AwaitPing(t, b.LAN.Hosts[1], mustAddr("192.168.1.11"), 30*time.Second)
	netns.NoPing(t, outsider, mustAddr("192.168.2.11"))
	netns.NoPing(t, near, mustAddr("192.168.2.12"))
	// The LAN itself is as it was: for hosts, and for the VR's machine.
	netns.AwaitPing(t, outsider, mustAddr("192.168.1.11"), 5*time.Second)
	netns.AwaitPing(t, a.Namespace, mustAddr("192.168.1.12"), 5*time.Second)
	a.Kill()
	netns.AwaitPing(t, a.Namespace, mustAddr("192.168.1.12"), 5*time.Second)
	a.Up(t)
	netns.AwaitPing(t, near, alias, 30*time.Second)
	a.Stop(t)
	netns.AwaitPing(t, a.Namespace, mustAddr("192.168.1.12"), 5*time.Second)
}
