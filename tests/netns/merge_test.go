//go:build linux

package netns_test

import (
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tests/netns"
)

// TestMerge: an administrator merges two VNs and splits one by the real command, with TCP connections running inside both. None
// breaks. Hosts reach each other as the plans said, at every VR the log says who did what, and an entry of it is restored.
func TestMerge(t *testing.T) {
	waits(t)
	f := netns.New(t)
	for range 3 {
		enrol(t, f, netns.SiteOption{Hosts: 2})
	}
	a, b, c := f.Sites[0], f.Sites[1], f.Sites[2]
	for _, s := range f.Sites {
		for i := range s.LAN.Hosts {
			s.SetUpHost(t, i, s.Addr4(t, i))
		}
	}
	createVN(t, f, "red", a.Addr4(t, 0).String(), b.Addr4(t, 0).String())
	createVN(t, f, "green", b.Addr4(t, 1).String(), c.Addr4(t, 0).String(), c.Addr4(t, 1).String())
	reaches := func(from *netns.Site, i int, to *netns.Site, j int) bool {
		_, err := from.LAN.Hosts[i].Exec(t, "ping", "-n", "-c", "1", "-W", "1", to.Addr4(t, j).String())
		return err == nil
	}
	awaits := func(what string, want bool, from *netns.Site, i int, to *netns.Site, j int) {
		t.Helper()
		netns.Await(t, what, 20*time.Second, func() bool { return reaches(from, i, to, j) == want })
	}
	awaits("red carries", true, a, 0, b, 0)
	awaits("green carries", true, b, 1, c, 0)
	if reaches(a, 0, c, 0) {
		t.Error("a host of red reaches one of green")
	}

	const length = 25 * time.Second
	red := netns.StartTCP(t, a.Host(t, 0), b.Host(t, 0), length, "-b", "20M")
	green := netns.StartTCP(t, b.Host(t, 1), c.Host(t, 0), length, "-b", "20M")
	netns.Pause(2 * time.Second)
	says := func(out string, lines ...string) {
		t.Helper()
		for _, line := range lines {
			if !strings.Contains(out, line) {
				t.Errorf("%q is missing in:\n%s", line, out)
			}
		}
	}
	says(a.Vine(t, "vn", "plan", "merge", "red", "green"), "VN red: active, encrypt", "VN green: shutdown, encrypt", "pairs of hosts gained: 6", "pairs of hosts lost: 0")
	if !strings.Contains(a.Vine(t, "vn", "show", "red"), "version    1") {
		t.Error("the plan changed red")
	}
	a.Vine(t, "vn", "merge", "red", "green", "--yes")
	awaits("red carries what green did", true, a, 0, c, 1)
	netns.Pause(12 * time.Second) // past the time in which they are still sent in green
	says(a.Vine(t, "vn", "plan", "split", "red", "--into", "blue", c.Addr4(t, 0).String(), b.Addr4(t, 1).String()), "pairs of hosts gained: 0", "pairs of hosts lost: 6")
	a.Vine(t, "vn", "split", "red", "--into", "blue", c.Addr4(t, 0).String(), b.Addr4(t, 1).String())
	awaits("the split", false, a, 0, c, 0)
	for name, flow := range map[string]*netns.TCPFlow{"red": red, "green": green} {
		r := flow.Report(t, 20*time.Second)
		t.Logf("NUMBER TCP inside %s through a merge and a split: %v", name, r)
		if !r.Survived {
			t.Errorf("the connection inside %s is lost: %v", name, r)
		}
	}
	awaits("the parts stay whole", true, a, 0, c, 1)
	awaits("the parts stay whole", true, b, 1, c, 0)
	if reaches(b, 1, c, 1) || reaches(b, 0, c, 0) {
		t.Error("a pair that was split reaches each other")
	}
	for _, s := range f.Sites {
		netns.Await(t, "the log at "+s.Name, 20*time.Second, func() bool { return strings.Contains(s.Vine(t, "vn", "log", "red"), "vn.split with blue") })
		says(s.Vine(t, "vn", "log", "red"), "vn.create", "vn.merge with green")
	}
	says(b.Vine(t, "vn", "compare", "red", "2", "3"), "- host  "+b.Addr4(t, 1).String(), "- host  "+c.Addr4(t, 0).String())
	a.Vine(t, "vn", "restore", "red", "1")
	awaits("red is what it was", false, a, 0, c, 1)
	awaits("red is what it was", true, a, 0, b, 0)

	a.Vine(t, "disable", b.Name)
	awaits("the VR is not used", false, a, 0, b, 0)
	a.Vine(t, "enable", b.Name)
	awaits("the VR is used again", true, a, 0, b, 0)
}
