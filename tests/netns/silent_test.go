//go:build linux

package netns_test

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/netns"
)

// firstPath is what a site may take to its first working path where UDP is dropped silently.
const firstPath = 5 * time.Second

// TestSilentUDP: where UDP is dropped silently a VR joins, and later starts, without waiting long for it.
func TestSilentUDP(t *testing.T) {
	waits(t)
	f := netns.New(t)
	founder := enrol(t, f, netns.SiteOption{Tables: netns.Streams})
	for _, kind := range []netns.Kind{netns.UDPBlocked, netns.Only443, netns.HTTPProxyOnly, netns.SOCKSOnly} {
		s := f.AddSite(t, netns.SiteOption{Kind: kind})
		t.Run(kind.String(), func(t *testing.T) {
			start := time.Now()
			s.Join(t, founder.Seed())
			joined := time.Since(start)
			start = time.Now()
			s.Up(t)
			var l link
			netns.Await(t, s.Name+" has a link", 30*time.Second, func() bool {
				l = links(t, s)[founder.Name]
				return l.State == "up"
			})
			up := time.Since(start)
			t.Logf("NUMBER %v: joined after %s, first working link %s after the start (%v)", kind, inSeconds(joined), inSeconds(up), l)
			if joined > firstPath || up > firstPath {
				t.Errorf("%v: joined after %v, a link after %v; want %v at most", kind, joined, up, firstPath)
			}
			if l.Transport == "udp" {
				t.Errorf("%v: the link says that it uses UDP: %+v", kind, l)
			}
		})
	}
}

// TestBadProxies: a proxy that is none, or that refuses, is named in what vine says; so it is if it hangs.
func TestBadProxies(t *testing.T) {
	waits(t)
	f := netns.New(t)
	founder := enrol(t, f, netns.SiteOption{Tables: netns.Streams})
	for _, bad := range []struct {
		name   string
		answer string
		says   string
	}{
		{"rubbish", "\x16\x03\x01rubbish\x00\xff\r\n\r\nmore of it", ""},
		{"endless rubbish", strings.Repeat("X", 10<<20), ""},
		{"refuses", "HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n", "403"},
		{"says nothing", "", ""},
	} {
		t.Run(bad.name, func(t *testing.T) {
			s := f.AddSite(t, netns.SiteOption{Kind: netns.HTTPProxyOnly})
			s.Proxy.Kill()
			at := netip.AddrPortFrom(s.Gateway(), netnstest.HTTPProxyPort)
			answer(t, s.Router, at, bad.answer)
			start := time.Now()
			stdout, stderr, err := s.Try(t, "join", founder.Seed(), "--name", s.Name, "--lan", "lan0", "--timeout", "10s")
			t.Logf("after %s: %s", inSeconds(time.Since(start)), strings.TrimSpace(stderr))
			if err == nil {
				t.Fatalf("joined through a proxy that is none: %s", stdout)
			}
			if d := time.Since(start); d > 20*time.Second {
				t.Errorf("--timeout 10s took %v", d)
			}
			for _, want := range []string{"proxy", at.String(), bad.says} {
				if !strings.Contains(stderr, want) {
					t.Errorf("vine says\n%s\nwant %q in it", stderr, want)
				}
			}
		})
	}
}

// answer accepts connections, reads what comes first, and answers always the same; with nothing to say it keeps
// the connection.
func answer(t *testing.T, ns *netnstest.Namespace, at netip.AddrPort, text string) {
	t.Helper()
	var l net.Listener
	err := ns.Do(func() (err error) { l, err = net.Listen("tcp", at.String()); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = c.Read(make([]byte, 4096))
				if text == "" {
					_, _ = io.Copy(io.Discard, c)
				}
				_, _ = io.WriteString(c, text)
			}()
		}
	}()
}

// TestLimitedSeed: a seed that is limited itself. Where its translator lets a stranger in, the newcomer either
// joins and then finds the rest of the federation, or is told what is the matter; where not, vine says what may
// be the matter.
func TestLimitedSeed(t *testing.T) {
	waits(t)
	f := netns.New(t)
	founder := enrol(t, f, netns.SiteOption{Tables: netns.Streams})
	for _, kind := range []netns.Kind{netns.FullCone, netns.PortRestricted} {
		seed := enrol(t, f, netns.SiteOption{Kind: kind})
		t.Run(kind.String(), func(t *testing.T) {
			netns.Await(t, seed.Name+" knows that it is limited", 60*time.Second, func() bool {
				return netns.VineJSON[status](t, seed, "status").Kind == "limited"
			})
			s := f.AddSite(t, netns.SiteOption{})
			at := netip.AddrPortFrom(seed.Outside, netnstest.MappedPort).String()
			start := time.Now()
			_, stderr, err := s.Try(t, "join", at, "--name", s.Name, "--lan", "lan0", "--timeout", "10s")
			t.Logf("NUMBER join through a limited seed, %v: %v after %s", kind, err, inSeconds(time.Since(start)))
			switch {
			case err == nil && kind == netns.PortRestricted:
				t.Error("joined through a seed that no stranger reaches")
			case err == nil:
				s.Up(t)
				netns.Await(t, s.Name+" has a link to "+founder.Name, 20*time.Second, func() bool {
					return links(t, s)[founder.Name].State == "up"
				})
			case !strings.Contains(stderr, "limited") || !strings.Contains(stderr, at):
				t.Errorf("vine says\n%s\nwant %q and %q in it", stderr, "limited", at)
			}
		})
	}
}
