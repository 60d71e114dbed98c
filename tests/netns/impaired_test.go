//go:build linux

package netns_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tests/impair"
	"github.com/vine-mesh/vine/tests/netns"
)

// TestImpairedNetwork: a federation whose one site is behind a bad line from the start.
func TestImpairedNetwork(t *testing.T) {
	waits(t)
	f := netns.New(t)
	a := enrol(t, f, netns.SiteOption{})
	b := f.AddSite(t, netns.SiteOption{Middle: true})
	settings := impair.Settings{Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond, Reorder: 0.01, Loss: 0.01}
	cable := b.Impair(t, settings)

	// The line itself, by the kernel's own packets.
	rtt := netns.PingMany(t, b.Namespace, b.WAN.Core4, 100, 20*time.Millisecond)
	t.Logf("the line alone: %d of %d answered, round trips of %v to %v, on average %.2f times the two delays",
		rtt.Received, rtt.Sent, rtt.Min, rtt.Max, rtt.Avg.Seconds()/(2*settings.Delay).Seconds())
	// A reordered packet skips its delay, so one way may be free.
	if rtt.Avg < 2*(settings.Delay-settings.Jitter) || rtt.Min < settings.Delay-settings.Jitter && settings.Reorder == 0 {
		t.Errorf("round trips of %v are quicker than the line allows", rtt.Avg)
	}
	// One in a hundred each way; twelve of a hundred are as good as impossible.
	if lost := rtt.Sent - rtt.Received; lost > 12 {
		t.Errorf("the line lost %d of %d", lost, rtt.Sent)
	}

	b.Join(t, a.Seed())
	b.Up(t)
	createVN(t, f, "blue", a.Addr4(t, 0).String(), b.Addr4(t, 0).String())
	for _, s := range f.Sites {
		s.SetUpHost(t, 0, s.Addr4(t, 0))
	}
	netns.AwaitPing(t, b.LAN.Hosts[0], a.Addr4(t, 0), 30*time.Second)
	through := netns.PingMany(t, b.LAN.Hosts[0], a.Addr4(t, 0), 100, 20*time.Millisecond)
	t.Logf("NUMBER ping over 20 ms, 5 ms jitter, 1 %% loss, 1 %% reordered: %d of %d answered, on average %.2f times the line alone",
		through.Received, through.Sent, through.Avg.Seconds()/rtt.Avg.Seconds())
	if lost := through.Sent - through.Received; lost > 12 {
		t.Errorf("%d of %d pings are lost", lost, through.Sent)
	}
	dir := t.TempDir()
	netns.RandomFile(t, filepath.Join(dir, "page"), 1<<20)
	netns.ServeHTTP(t, a.LAN.Hosts[0], a.Addr4(t, 0), dir)
	sameFile(t, filepath.Join(dir, "page"), netns.Fetch(t, b.LAN.Hosts[0], a.Addr4(t, 0), "page"))
	r := netns.Report(t, netns.StartIperf(t, b.LAN.Hosts[0], a.LAN.Hosts[0], a.Addr4(t, 0), "-t", "3"))
	t.Logf("NUMBER iperf3 over the same: %.1f Mbit/s", r.End.SumReceived.BitsPerSecond/1e6)
	if r.End.SumReceived.Bytes == 0 {
		t.Error("iperf3 has carried nothing")
	}
	toB, toA := cable.Counts()
	t.Logf("the line: out %+v, back %+v", toB, toA)
	if toB.Lost == 0 || toB.Reordered == 0 || toA.Lost == 0 {
		t.Error("the line was not bad at all")
	}

	// An outage ends by itself.
	cable.Cut(true)
	netns.NoPing(t, b.LAN.Hosts[0], a.Addr4(t, 0))
	cable.Cut(false)
	back := netns.AwaitPing(t, b.LAN.Hosts[0], a.Addr4(t, 0), 30*time.Second)
	t.Logf("NUMBER first ping after a short outage: %.1f s after the cable is mended", back.Seconds())
}
