//go:build linux

package netns_test

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/netns"
)

func TestMain(m *testing.M) { os.Exit(netns.Main(m)) }

// waits lets a test that waits more than it works run beside others of its kind, after all that measure a
// machine of their own.
func waits(t *testing.T) { t.Parallel() }

// grid makes a federation of n sites that run, each with hosts hosts set up, all in one VN "blue".
func grid(t *testing.T, n int, o netns.SiteOption) *netns.Federation {
	t.Helper()
	return gridIn(t, netns.New(t), n, o)
}

// gridIn is grid in a federation that has no site yet.
func gridIn(t *testing.T, f *netns.Federation, n int, o netns.SiteOption) *netns.Federation {
	t.Helper()
	for range n {
		enrol(t, f, o)
	}
	var hosts []string
	for _, s := range f.Sites {
		for i := range s.LAN.Hosts {
			hosts = append(hosts, s.Addr4(t, i).String(), s.Addr6(t, i).String())
		}
	}
	createVN(t, f, "blue", hosts...)
	for _, s := range f.Sites {
		for i := range s.LAN.Hosts {
			s.SetUpHost(t, i, s.Addr4(t, i))
			s.SetUpHost(t, i, s.Addr6(t, i))
		}
	}
	for _, s := range f.Sites[1:] {
		netns.AwaitPing(t, s.LAN.Hosts[0], f.Sites[0].Addr4(t, 0), 30*time.Second)
	}
	return f
}

// enrol adds a site, by init if it is the first and else through the first as seed, and runs its VR.
func enrol(t *testing.T, f *netns.Federation, o netns.SiteOption, words ...string) *netns.Site {
	t.Helper()
	s := f.AddSite(t, o)
	if s.N == 1 {
		s.Init(t)
	} else {
		s.Join(t, f.Sites[0].Seed(), words...)
	}
	s.Up(t)
	return s
}

func createVN(t *testing.T, f *netns.Federation, name string, hosts ...string) {
	t.Helper()
	f.Sites[0].Vine(t, "vn", "create", name, "--host", strings.Join(hosts, ","))
}

func sameFile(t *testing.T, a, b string) {
	t.Helper()
	var sums [2][32]byte
	for i, path := range []string{a, b} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = sha256.Sum256(text)
	}
	if !bytes.Equal(sums[0][:], sums[1][:]) {
		t.Errorf("%s and %s differ", a, b)
	}
}

// TestThreeSites: three sites that know only a seed's address carry what stock programs send.
func TestThreeSites(t *testing.T) {
	waits(t)
	netnstest.Require(t, "curl", "iperf3", "ssh", "scp")
	f := netns.New(t)
	a := enrol(t, f, netns.SiteOption{Hosts: 2})
	b := enrol(t, f, netns.SiteOption{})
	start := time.Now()
	c := enrol(t, f, netns.SiteOption{Hosts: 2})
	up := time.Since(start)
	createVN(t, f, "blue", a.Addr4(t, 0).String(), b.Addr4(t, 0).String(), c.Addr4(t, 0).String())
	a.SetUpHost(t, 0, a.Addr4(t, 0))
	b.SetUpHost(t, 0, b.Addr4(t, 0))
	c.SetUpHost(t, 0, c.Addr4(t, 0))
	netns.AwaitPing(t, c.LAN.Hosts[0], a.Addr4(t, 0), 30*time.Second)
	t.Logf("NUMBER join to first ping: %.1f s, of which to the VR running: %.1f s (wanted: at most 10 s)", time.Since(start).Seconds(), up.Seconds())

	createVN(t, f, "green", a.Addr4(t, 1).String(), c.Addr4(t, 1).String())
	a.SetUpHost(t, 1, a.Addr4(t, 1))
	c.SetUpHost(t, 1, c.Addr4(t, 1))
	netns.AwaitPing(t, c.LAN.Hosts[1], a.Addr4(t, 1), 30*time.Second)

	t.Run("ping", func(t *testing.T) {
		for _, from := range f.Sites {
			for _, to := range f.Sites {
				if from != to {
					netns.AwaitPing(t, from.LAN.Hosts[0], to.Addr4(t, 0), 10*time.Second)
				}
			}
		}
	})
	t.Run("endpoints", func(t *testing.T) {
		// What the VR sets up on its machine is no address at which others can reach it.
		for _, at := range netns.VineJSON[status](t, a, "status").Endpoints {
			switch at.Addr() {
			case a.WAN.V4, a.WAN.V6, a.LAN.V4, a.LAN.V6:
			default:
				t.Errorf("%s announces %v", a.Name, at)
			}
		}
	})
	t.Run("other VN", func(t *testing.T) {
		netns.NoPing(t, a.LAN.Hosts[1], b.Addr4(t, 0))
		netns.NoPing(t, a.LAN.Hosts[1], c.Addr4(t, 0))
		netns.NoPing(t, c.LAN.Hosts[0], a.Addr4(t, 1))
		netns.NoPing(t, b.LAN.Hosts[0], a.Addr4(t, 1))
	})
	t.Run("curl", func(t *testing.T) {
		dir := t.TempDir()
		netns.RandomFile(t, filepath.Join(dir, "page"), 1<<20)
		netns.ServeHTTP(t, a.LAN.Hosts[0], a.Addr4(t, 0), dir)
		sameFile(t, filepath.Join(dir, "page"), netns.Fetch(t, b.LAN.Hosts[0], a.Addr4(t, 0), "page"))
	})
	t.Run("scp", func(t *testing.T) {
		dir := t.TempDir()
		netns.RandomFile(t, filepath.Join(dir, "sent"), 20_000_000)
		server := netns.StartSSHD(t, b.LAN.Hosts[0], b.Addr4(t, 0))
		server.Copy(t, c.LAN.Hosts[0], filepath.Join(dir, "sent"), b.Addr4(t, 0), filepath.Join(dir, "got"))
		sameFile(t, filepath.Join(dir, "sent"), filepath.Join(dir, "got"))
	})
	t.Run("iperf3", func(t *testing.T) {
		r := netns.Report(t, netns.StartIperf(t, a.LAN.Hosts[0], c.LAN.Hosts[0], c.Addr4(t, 0), "-t", "2"))
		t.Logf("NUMBER iperf3 over ViNe: %.0f Mbit/s", r.End.SumReceived.BitsPerSecond/1e6)
		if r.End.SumReceived.Bytes == 0 {
			t.Error("iperf3 has carried nothing")
		}
	})
}
