//go:build linux

package netns_test

import (
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tests/netns"
)

// strict admits nobody without an invite.
const strict = "[authority]\nauto_admit = \"invite\"\n"

// TestSeedDies: a seed that is not the authority dies within a second of the last join, which was
// by invite; the others find each other, and a fourth joins through another member.
func TestSeedDies(t *testing.T) {
	waits(t)
	f := netns.New(t)
	o := netns.SiteOption{Tables: strict}
	authority := enrol(t, f, o)
	ticket := func() string {
		return strings.TrimSpace(authority.Vine(t, "invite", "--expires", "1h"))
	}
	seed := enrol(t, f, o, "--invite", ticket())
	newcomer := f.AddSite(t, o)
	newcomer.Join(t, seed.Seed(), "--invite", ticket())
	joined := time.Now()
	seed.Kill()
	if d := time.Since(joined); d > time.Second {
		t.Errorf("the seed died %v after the join, wanted within a second", d)
	}
	newcomer.Up(t)
	fourth := f.AddSite(t, o)
	start := time.Now()
	fourth.Join(t, newcomer.Seed(), "--invite", ticket())
	t.Logf("NUMBER join through a member that joined last, its seed dead: %.1f s", time.Since(start).Seconds())
	fourth.Up(t)
	live := []*netns.Site{authority, newcomer, fourth}
	var hosts []string
	for _, s := range live {
		hosts = append(hosts, s.Addr4(t, 0).String())
	}
	createVN(t, f, "blue", hosts...)
	for _, s := range live {
		s.SetUpHost(t, 0, s.Addr4(t, 0))
	}
	netns.AwaitPing(t, fourth.LAN.Hosts[0], newcomer.Addr4(t, 0), 30*time.Second)
	netns.AwaitPing(t, newcomer.LAN.Hosts[0], authority.Addr4(t, 0), 30*time.Second)

	t.Run("used invite", func(t *testing.T) {
		used := ticket()
		fifth := f.AddSite(t, o)
		fifth.Join(t, authority.Seed(), "--invite", used)
		sixth := f.AddSite(t, o)
		out, stderr, err := sixth.Try(t, "join", authority.Seed(), "--name", sixth.Name, "--lan", "lan0", "--invite", used, "--timeout", "5s")
		if err == nil {
			t.Errorf("an invite counted twice: %s%s", out, stderr)
		}
		t.Logf("second use: %s", strings.TrimSpace(stderr))
	})
}
