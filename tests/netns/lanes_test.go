//go:build linux

package netns_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tests/netns"
)

// TestLanes: 1, 2 and 4 lanes under many flows both ways, with TUN queues, sockets and keys of their own, at both sites; and a VR
// with several lanes beside one with one. No packet of a steady flow is lost, comes twice or is overtaken, and every TCP connection lives.
func TestLanes(t *testing.T) {
	waits(t)
	for _, lanes := range [][2]int{{1, 1}, {2, 2}, {4, 4}, {4, 1}} {
		t.Run(fmt.Sprintf("%d and %d", lanes[0], lanes[1]), func(t *testing.T) {
			f := netns.New(t)
			for _, n := range lanes {
				enrol(t, f, netns.SiteOption{Hosts: 2, Tables: fmt.Sprintf("[underlay]\nlanes = %d\n[authority]\nauto_admit = \"open\"\n", n)})
			}
			a, b := f.Sites[0], f.Sites[1]
			createVN(t, f, "blue", a.Addr4(t, 0).String(), a.Addr4(t, 1).String(), b.Addr4(t, 0).String(), b.Addr4(t, 1).String())
			for _, s := range f.Sites {
				for i := range s.LAN.Hosts {
					s.SetUpHost(t, i, s.Addr4(t, i))
				}
			}
			netns.AwaitPing(t, b.LAN.Hosts[0], a.Addr4(t, 0), 30*time.Second)

			steady := netns.StartFlow(t, a.Host(t, 0), b.Host(t, 0), 500)
			const length = 5 * time.Second
			there := netns.StartTCP(t, a.Host(t, 1), b.Host(t, 1), length, "-P", "8", "-b", "10M")
			netns.Pause(2 * time.Second)
			steady.Stop()
			for way, d := range map[string]*netns.Direction{"there": steady.There, "back": steady.Back} {
				r := d.All()
				t.Logf("NUMBER %d and %d lanes, %s, beside 8 TCP connections: %v", lanes[0], lanes[1], way, r)
				if r.Lost > 0 || r.Duplicates > 0 || r.Reordered > 0 {
					t.Errorf("%s: %v", way, r)
				}
			}
			if r := there.Report(t, 20*time.Second); !r.Survived {
				t.Errorf("TCP: %v", r)
			} else {
				t.Logf("NUMBER %d and %d lanes: 8 TCP connections, %v", lanes[0], lanes[1], r)
			}
			iperf := netns.StartIperf(t, b.LAN.Hosts[1], a.LAN.Hosts[1], a.Addr4(t, 1), "-P", "4", "-n", "200M", "-C", "reno")
			t.Logf("NUMBER %d and %d lanes: 4 TCP connections the other way, %.0f Mb/s", lanes[0], lanes[1], netns.Report(t, iperf).End.SumReceived.BitsPerSecond/1e6)
			used := map[string]int{}
			for _, s := range f.Sites {
				status := netns.VineJSON[struct {
					Packets struct {
						Lanes []struct{ Sent, Received uint64 }
						Drops map[string]uint64
					}
				}](t, s, "status")
				if got := len(status.Packets.Lanes); got != lanes[s.N-1] {
					t.Errorf("%s has %d lanes, want %d", s.Name, got, lanes[s.N-1])
				}
				for _, l := range status.Packets.Lanes {
					if l.Sent > 100 {
						used[s.Name]++
					}
				}
				t.Logf("%s: %+v", s.Name, status.Packets)
				if n := status.Packets.Drops["data-not-opened"]; n > 0 {
					t.Errorf("%s did not open %d datagrams", s.Name, n)
				}
			}
			if min(lanes[0], lanes[1]) > 1 && used[a.Name] < 2 {
				t.Errorf("lanes in use: %v: the test shows little", used)
			}
		})
	}
}
