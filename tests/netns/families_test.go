//go:build linux

package netns_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tests/netns"
)

// TestFamilies: IPv6 inside over IPv4 outside and the other way round, seen on the core.
func TestFamilies(t *testing.T) {
	for _, outside := range []struct {
		name, listen string
		used, unused string
	}{
		{"IPv4 outside", "WAN4:8463", "udp4", "udp6"},
		{"IPv6 outside", "[WAN6]:8463", "udp6", "udp4"},
	} {
		t.Run(outside.name, func(t *testing.T) {
			f := netns.New(t)
			o := netns.SiteOption{Tables: "[underlay]\nlisten = \"" + outside.listen + "\"\n[authority]\nauto_admit = \"open\"\n"}
			a, b := f.AddSite(t, o), f.AddSite(t, o)
			f.OneByOne(t)
			tap := netns.NewTap(t, f.Core.Namespace)
			a.Init(t)
			a.Up(t)
			seed := a.Seed()
			if outside.used == "udp6" {
				seed = "[" + a.WAN.V6.String() + "]:8463"
			}
			b.Join(t, seed)
			b.Up(t)
			createVN(t, f, "blue", a.Addr4(t, 0).String(), b.Addr4(t, 0).String(), a.Addr6(t, 0).String(), b.Addr6(t, 0).String())
			for _, s := range f.Sites {
				s.SetUpHost(t, 0, s.Addr4(t, 0))
				s.SetUpHost(t, 0, s.Addr6(t, 0))
			}
			netns.AwaitPing(t, b.LAN.Hosts[0], a.Addr4(t, 0), 30*time.Second)
			netns.AwaitPing(t, b.LAN.Hosts[0], a.Addr6(t, 0), 30*time.Second)
			dir := t.TempDir()
			netns.RandomFile(t, filepath.Join(dir, "page"), 1<<20)
			before := tap.Packets(t, outside.used)
			for _, addr := range []bool{false, true} {
				netns.ServeHTTP(t, a.LAN.Hosts[0], a.Address(t, 0, addr), dir)
				sameFile(t, filepath.Join(dir, "page"), netns.Fetch(t, b.LAN.Hosts[0], a.Address(t, 0, addr), "page"))
			}
			// 2 MiB take more than a thousand packets.
			if n := tap.Packets(t, outside.used) - before; n < 1000 {
				t.Errorf("the core has seen %d packets of %s", n, outside.used)
			}
			if n := tap.Packets(t, outside.unused); n > 0 {
				t.Errorf("the core has seen %d packets of %s", n, outside.unused)
			}
		})
	}
}
