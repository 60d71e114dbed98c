//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/bench"
	"github.com/vine-mesh/vine/bench/netns"
	"github.com/vine-mesh/vine/node/capture/netnstest"
)

// open builds the sites of a party, starts its routers, and waits until the hosts reach each other.
func open(t *testing.T, c carrier, topology bench.Topology, regime bench.Regime) *sites {
	t.Helper()
	netnstest.Require(t, "ip", "tc", "ethtool", "nft", "ping")
	s, err := build(bench.Place{Party: c.name, Topology: topology}, regime, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.close()
		sweepWireGuard()
	})
	programs, err := c.find()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.open(ctx, s, func(name string) string { return programs[name] }); err != nil {
		t.Fatal(err)
	}
	if err := s.await(ctx, 30*time.Second); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestBlasterCounts: at a rate that any path carries nothing is lost, and what the path loses is counted.
func TestBlasterCounts(t *testing.T) {
	s := open(t, kernel, bench.Lossy, bench.NIC)
	b, err := newBlaster(s.near.host, s.far.host, s.target, 64, false)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	try := func(rate float64, length time.Duration) bench.Trial {
		t.Helper()
		trial, err := b.try(rate, length)
		if err != nil {
			t.Fatal(err)
		}
		if trial.Sent <= 0 || trial.Sent > 1.1*rate {
			t.Errorf("asked for %.0f, sent %.0f", rate, trial.Sent)
		}
		return trial
	}
	if trial := try(2000, 300*time.Millisecond); trial.Received != trial.Sent {
		t.Errorf("%+v", trial)
	}
	const percent = 20
	if err := s.lose(percent); err != nil {
		t.Fatal(err)
	}
	// Of n packets a share p is lost, give or take sqrt(p*(1-p)/n); four times that is allowed.
	const length = time.Second
	trial := try(10_000, length)
	n := trial.Sent * length.Seconds()
	lost, slack := 1-trial.Received/trial.Sent, 4*math.Sqrt(0.2*0.8/n)
	if math.Abs(lost-percent/100.) > slack {
		t.Errorf("%.1f %% of %.0f packets lost, want %d", 100*lost, n, percent)
	}
	if err := s.lose(0); err != nil {
		t.Fatal(err)
	}
	if trial := try(2000, 300*time.Millisecond); trial.Received != trial.Sent {
		t.Errorf("after the loss: %+v", trial)
	}
}

// TestBlasterTooLong: packets that do not fit are an error and no loss, and fit when routers may fragment them.
func TestBlasterTooLong(t *testing.T) {
	s := open(t, kernel, bench.Direct, bench.Unlimited)
	if err := s.near.router.Run("ip link set wan0 mtu 1400"); err != nil {
		t.Fatal(err)
	}
	for _, fragment := range []bool{false, true} {
		b, err := newBlaster(s.near.host, s.far.host, s.target, 1500, fragment)
		if err != nil {
			t.Fatal(err)
		}
		trial, err := b.try(1000, 300*time.Millisecond)
		if fragment && (err != nil || trial.Received != trial.Sent) {
			t.Errorf("%+v, %v", trial, err)
		}
		if !fragment && err == nil {
			t.Errorf("packets of 1,500 bytes pass a wire of 1,400: %+v", trial)
		}
		b.close()
	}
}

// counters returns the packets and bytes that an interface has sent.
func counters(t *testing.T, ns *netns.Namespace, iface string) (packets, bytes float64) {
	t.Helper()
	out, err := ns.Output("ip -s -j link show dev " + iface)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var links []struct {
		Stats struct {
			TX struct{ Packets, Bytes float64 }
		} `json:"stats64"`
	}
	if err := json.Unmarshal([]byte(out), &links); err != nil || len(links) != 1 {
		t.Fatalf("%v\n%s", err, out)
	}
	return links[0].Stats.TX.Packets, links[0].Stats.TX.Bytes
}

// TestRegimes: on which wires a TCP flow's packets are larger than the MTU, and on which not.
func TestRegimes(t *testing.T) {
	netnstest.Require(t, "iperf3")
	for _, c := range []struct {
		regime   bench.Regime
		wan, lan bool // super-packets pass
	}{
		{bench.Unlimited, true, true},
		{bench.NIC, false, true},
		{bench.NICLAN, false, false},
		{bench.Gigabit, false, true},
	} {
		t.Run(string(c.regime), func(t *testing.T) {
			s := open(t, kernel, bench.Direct, c.regime)
			client, server, err := s.flow(t.Context(), time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if err := ended(t.Context(), time.Second, client); err != nil {
				t.Fatal(err)
			}
			server.Kill()
			f, err := bench.ParseIperf(client.Output())
			if err != nil {
				t.Fatal(err)
			}
			for _, wire := range []struct {
				name  string
				ns    *netns.Namespace
				iface string
				super bool
			}{{"between the sites", s.near.router, "wan0", c.wan}, {"of the near LAN", s.near.host, "eth0", c.lan}} {
				packets, bytes := counters(t, wire.ns, wire.iface)
				if mean := bytes / packets; (mean > 1514) != wire.super {
					t.Errorf("on the wire %s a packet has %.0f bytes on average", wire.name, mean)
				}
			}
			// A flow of a host that sends much faster than the wire: without the wire's limit it is far above.
			if line := bench.Ceiling(32, 0); c.regime == bench.Gigabit && f.Mbits > 1.1*line {
				t.Errorf("%.0f Mb/s on a wire of 1 Gb/s", f.Mbits)
			}
		})
	}
}

// plain counts what a router sends to the other site in the clear: packets from the host's own address.
func plain(t *testing.T, s *sites, during func()) int {
	t.Helper()
	rules := fmt.Sprintf("table inet plain {\ncounter seen {}\nchain out { type filter hook postrouting priority 300; "+
		"oifname \"wan0\" ip saddr %v counter name seen; }\n}\n", s.near.hostAddr())
	path := filepath.Join(t.TempDir(), "plain.nft")
	if err := os.WriteFile(path, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.near.router.Run("nft -f " + path); err != nil {
		t.Fatal(err)
	}
	during()
	out, err := s.near.router.Output("nft list counter inet plain seen")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var packets int
	if _, after, ok := strings.Cut(out, "packets "); ok {
		_, _ = fmt.Sscan(after, &packets)
	}
	return packets
}

// TestPeersCarry: every peer that is installed carries packets, and not in the clear, which would be the kernel's
// work. The kernel's are in the clear.
func TestPeersCarry(t *testing.T) {
	installed, absent := Peers()
	t.Logf("installed: %q; not installed: %q", installed, absent)
	for _, c := range append([]carrier{kernel}, peers...) {
		if _, err := c.find(); err != nil {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			s := open(t, c, bench.Direct, bench.NIC)
			seen := plain(t, s, func() {
				out, err := s.near.host.Output(fmt.Sprintf("ping -n -c 5 -i 0.1 -W 1 -s %d %v", c.mtu-headers, s.target))
				if err != nil {
					t.Errorf("packets of %d bytes do not pass: %v\n%s", c.mtu, err, out)
				}
			})
			// A peer that is still setting up its routes may let one slip: the kernel's count is of all five and their answers.
			if want := c.name == bench.Kernel; (seen >= 5) != want {
				t.Errorf("%d packets in the clear", seen)
			}
			if c.name != bench.Kernel {
				if p := c.describe(must(c.find())); p.Version == "" || p.MTU == 0 {
					t.Errorf("%+v", p)
				}
			}
		})
	}
}

func must(paths map[string]string, err error) map[string]string {
	if err != nil {
		panic(err)
	}
	return paths
}

func TestVersionIn(t *testing.T) {
	for text, want := range map[string]string{
		"wireguard-go v0.0.20250522\n\nUserspace": "0.0.20250522", "Version: 1.11.1": "1.11.1",
		"tinc version 1.0.36 (built": "1.0.36", "OpenVPN 2.6.14 x86_64-pc-linux-gnu [SSL": "2.6.14", "": "", "no version": "",
	} {
		if got := versionIn(text); got != want {
			t.Errorf("versionIn(%q) = %q", text, got)
		}
	}
}

func TestFindSaysHow(t *testing.T) {
	c := carrier{name: "x", programs: [][]string{{"no-such-program", "nor-this"}}, get: "write it"}
	if _, err := c.find(); err == nil || err.Error() != "x: no no-such-program or nor-this in the PATH; to get it: write it" {
		t.Errorf("%v", err)
	}
}

// TestSnapshot reads the kernel's own account.
func TestSnapshot(t *testing.T) {
	a, err := snapshot()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for time.Since(begin) < 300*time.Millisecond { // busy
	}
	b, err := snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if l := bench.LoadBetween(a, b, os.Getpid()); l.Capacity <= 0 || l.Busy <= 0 || l.Busy > l.Capacity || l.Foreign > l.Busy {
		t.Errorf("%+v", l)
	}
}

// TestKnown: what the help lists is what can be set up.
func TestKnown(t *testing.T) {
	if len(Known) != len(peers) {
		t.Errorf("%d peers are known, %d can be set up", len(Known), len(peers))
	}
	for i, c := range peers {
		if c.name != Known[i].Name || c.get != Known[i].Get || c.get == "" {
			t.Errorf("%q and %q", c.name, Known[i].Name)
		}
	}
}
