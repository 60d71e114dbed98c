//go:build linux

package netns_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tests/netns"
)

// TestCrash: kill -9 of a VR and its restart, and what is on the wire meanwhile.
func TestCrash(t *testing.T) {
	waits(t)
	f := grid(t, 3, netns.SiteOption{})
	a, b, c := f.Sites[0], f.Sites[1], f.Sites[2]
	space := netns.VineJSON[status](t, a, "status").Space

	t.Run("iperf3 lives", func(t *testing.T) {
		flow := netns.StartIperf(t, a.LAN.Hosts[0], b.LAN.Hosts[0], b.Addr4(t, 0), "-t", "10", "-i", "0.5", "-b", "100M")
		netns.Pause(2 * time.Second)
		b.Kill()
		netns.Pause(time.Second)
		b.Up(t)
		down := time.Now()
		back := netns.AwaitPing(t, a.LAN.Hosts[0], b.Addr4(t, 0), 20*time.Second)
		t.Logf("NUMBER first ping through a VR restarted after kill -9: %.1f s after it answers its administrator", back.Seconds())
		r := netns.Report(t, flow)
		after := 0.0
		for _, i := range r.Intervals {
			if i.Sum.Start > 9-0.1 {
				after += i.Sum.Bytes
			}
		}
		t.Logf("iperf3 carried %.0f MB, of which %.0f MB in the last second (restarted %.0f s before its end)", r.End.SumReceived.Bytes/1e6, after/1e6, time.Since(down).Seconds())
		if after == 0 {
			t.Error("the flow did not go on")
		}
	})

	t.Run("one way", func(t *testing.T) {
		t.Log("NOT SHOWN HERE: the clock set back a day; no namespace has a wall clock of its own, and the machine's is not ours to change")
		flow := netns.StartOneWay(t, a.LAN.Hosts[0], b.LAN.Hosts[0], b.Addr4(t, 0))
		netns.Await(t, "the flow arrives", 10*time.Second, func() bool { return flow.Got() > 50 })
		b.Kill()
		b.Up(t)
		had := flow.Got()
		back := netns.Await(t, "the flow arrives again", 30*time.Second, func() bool { return flow.Got() > had+50 })
		t.Logf("NUMBER one-way flow after kill -9 of its receiving VR: back %.1f s after the VR answers its administrator", back.Seconds())
	})

	t.Run("authority stopped", func(t *testing.T) {
		if !netns.VineJSON[status](t, a, "status").Serving {
			t.Fatalf("%s does not run the authority", a.Name)
		}
		a.Stop(t)
		netns.AwaitPing(t, b.LAN.Hosts[0], c.Addr4(t, 0), 20*time.Second)
		c.Kill()
		c.Up(t)
		netns.AwaitPing(t, b.LAN.Hosts[0], c.Addr4(t, 0), 20*time.Second)
		netns.AwaitPing(t, c.LAN.Hosts[0], b.Addr4(t, 0), 20*time.Second)
		// Nobody is left to wake the others: both carry traffic from disk.
		b.Kill()
		c.Kill()
		b.Up(t)
		c.Up(t)
		netns.AwaitPing(t, b.LAN.Hosts[0], c.Addr4(t, 0), 30*time.Second)
		a.Up(t)
		netns.AwaitPing(t, b.LAN.Hosts[0], a.Addr4(t, 0), 30*time.Second)
	})

	t.Run("nothing in the clear", func(t *testing.T) {
		// The worst case: a machine that routes anything from anybody to its default gateway.
		careless := func() {
			b.Forward(t)
			b.Sysctl(t, "net/ipv4/conf/lan0/forwarding", "1") // no effect of ip_forward, if that was on
			b.Sysctl(t, "net/ipv4/conf/all/rp_filter", "0")
			b.Sysctl(t, "net/ipv4/conf/lan0/rp_filter", "0")
		}
		careless()
		netns.AwaitPing(t, b.LAN.Hosts[0], a.Addr4(t, 0), 20*time.Second)
		inner := insideFilter(space)
		dump := netns.StartDump(t, b.Namespace, "wan0", inner)
		b.Kill()
		netns.NoPing(t, b.LAN.Hosts[0], a.Addr4(t, 0))
		netns.NoPing(t, b.LAN.Hosts[0], a.Addr6(t, 0))
		netns.NoPing(t, b.Namespace, a.Addr4(t, 0)) // the VR's own machine
		if seen := dump.Stop(t); len(seen) > 0 {
			t.Errorf("inner packets on the WAN while the VR is down:\n%s", strings.Join(seen, "\n"))
		}
		// The control: without the guard routes the same packets are seen.
		b.Vine(t, "down")
		careless() // it has put back what it found
		dump = netns.StartDump(t, b.Namespace, "wan0", inner)
		netns.NoPing(t, b.LAN.Hosts[0], a.Addr4(t, 0))
		if seen := dump.Stop(t); len(seen) == 0 {
			t.Error("tcpdump saw no inner packet even without guard routes: this test shows nothing")
		}
		b.Up(t)
		netns.AwaitPing(t, b.LAN.Hosts[0], a.Addr4(t, 0), 30*time.Second)
	})
}

// insideFilter is a tcpdump filter for packets from or to the ViNe space.
func insideFilter(space []netip.Prefix) string {
	var terms []string
	for _, p := range space {
		terms = append(terms, "net "+p.String())
	}
	return strings.Join(terms, " or ")
}

// TestMachineIsLeftAsItWas: SIGTERM undoes everything but the guard routes, `vine down` those too.
func TestMachineIsLeftAsItWas(t *testing.T) {
	f := netns.New(t)
	s := f.AddSite(t, netns.SiteOption{})
	s.Init(t)
	network, sysctls := s.Network(t)
	for round, kill := range []bool{false, true} {
		s.Up(t)
		createOnce(t, f, round, s.Addr4(t, 0).String(), s.Addr6(t, 0).String())
		if now, _ := s.Network(t); now == network {
			t.Fatal("a running VR changes nothing; the test looks at the wrong machine")
		}
		if kill {
			s.Kill() // `vine down` has to do all the work
		} else {
			s.Stop(t)
			now, nowSysctls := s.Network(t)
			if extra := added(network, now); len(extra) != 2 {
				t.Errorf("after SIGTERM the machine has, beyond what it had:\n%s\nwant the two guard routes", strings.Join(extra, "\n"))
			} else {
				for _, line := range extra {
					if !strings.HasPrefix(line, "unreachable ") {
						t.Errorf("left behind: %s", line)
					}
				}
			}
			if missing := added(now, network); len(missing) > 0 {
				t.Errorf("SIGTERM has taken away:\n%s", strings.Join(missing, "\n"))
			}
			if sysctls != nowSysctls {
				t.Errorf("sysctls after SIGTERM: %q, %q", added(sysctls, nowSysctls), added(nowSysctls, sysctls))
			}
		}
		s.Vine(t, "down")
		now, nowSysctls := s.Network(t)
		if extra, missing := added(network, now), added(now, network); len(extra)+len(missing) > 0 {
			t.Errorf("after vine down: left %q, taken away %q", extra, missing)
		}
		if sysctls != nowSysctls {
			t.Errorf("sysctls after vine down: %q, %q", added(sysctls, nowSysctls), added(nowSysctls, sysctls))
		}
	}
}

func createOnce(t *testing.T, f *netns.Federation, round int, hosts ...string) {
	t.Helper()
	if round == 0 {
		createVN(t, f, "blue", hosts...)
	}
}

// added returns the lines of b that a does not have.
func added(a, b string) []string {
	has := map[string]bool{}
	for line := range strings.Lines(a) {
		has[line] = true
	}
	var extra []string
	for line := range strings.Lines(b) {
		if !has[line] {
			has[line] = true
			extra = append(extra, strings.TrimSpace(line))
		}
	}
	return extra
}
