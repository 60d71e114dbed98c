//go:build linux

package netns_test

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/netns"
)

// curl calls a URL from a host, with nothing but the stock program.
func curl(t *testing.T, from *netnstest.Namespace, words ...string) (string, error) {
	t.Helper()
	netnstest.Require(t, "curl")
	return from.Exec(t, append([]string{"curl", "-sS", "--noproxy", "*", "--max-time", "3"}, words...)...)
}

func page(t *testing.T, from *netnstest.Namespace, gateway netip.Addr, want ...string) string {
	t.Helper()
	out, err := curl(t, from, "-f", "http://"+inURL(gateway)+"/")
	if err != nil {
		t.Fatalf("curl: %v\n%s", err, out)
	}
	for _, text := range want {
		if !strings.Contains(out, text) {
			t.Errorf("the page lacks %q:\n%s", text, out)
		}
	}
	return out
}

func inURL(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// TestHostPage: a host without our software finds out by curl who it is to the VR, asks to be in a VN, is let in by a person,
// sets itself up by the script, and talks to the other site.
func TestHostPage(t *testing.T) {
	waits(t)
	f := netns.New(t)
	a := f.AddSite(t, netns.SiteOption{Hosts: 2})
	a.Init(t)
	a.Up(t)
	b := enrol(t, f, netns.SiteOption{})
	far := b.Addr4(t, 0)
	b.SetUpHost(t, 0, far)
	a.Vine(t, "vn", "create", "blue", "--host", far.String())
	desk, lamp := a.LAN.Hosts[0], a.LAN.Hosts[1]
	gate := a.LAN.V4
	netns.Await(t, "the page is there", 10*time.Second, func() bool {
		_, err := curl(t, desk, "http://"+gate.String()+"/")
		return err == nil
	})
	page(t, desk, gate, "ViNe virtual router site1 of site site1\n", fmt.Sprintf("You are    192.168.%d.11, MAC %s\n", a.N, macOf(t, desk)), "not known here", "Missing    an address")
	page(t, desk, a.LAN.V6, "You are    fd00:168:1::11, MAC "+macOf(t, desk))
	if out, err := curl(t, desk, "http://"+gate.String()+"/setup.sh"); err != nil || !strings.Contains(out, "exit 1") {
		t.Errorf("the script of a stranger: %v\n%s", err, out)
	}

	out, err := curl(t, desk, "-f", "-X", "POST", "http://"+gate.String()+"/join", "-d", "vn=blue", "-d", "name=desk")
	if err != nil || !strings.Contains(out, "Request 1 is filed: desk in blue is waiting.") {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err = curl(t, lamp, "-f", "-X", "POST", "http://"+gate.String()+"/join", "-d", "vn=red")
	if err != nil || !strings.Contains(out, "Request 2 is filed") {
		t.Fatalf("%v\n%s", err, out)
	}
	// What was answered is on disk.
	a.Kill()
	a.Up(t)
	requests := a.Vine(t, "host", "requests")
	for _, want := range []string{macOf(t, desk), macOf(t, lamp), fmt.Sprintf("192.168.%d.12", a.N), "waiting"} {
		if !strings.Contains(requests, want) {
			t.Errorf("no %s in\n%s", want, requests)
		}
	}
	a.Vine(t, "host", "approve", "1")
	a.Vine(t, "host", "deny", "2", "--reason", "ask at room 214")
	netns.Await(t, "the page is there again", 15*time.Second, func() bool {
		_, err := curl(t, lamp, "http://"+gate.String()+"/")
		return err == nil
	})
	page(t, lamp, gate, "Request 2  red: denied: ask at room 214\n")
	page(t, desk, gate, "Host       desk, 10.192.0.2, not seen on this LAN\nMember of  blue\nMissing    10.192.0.2 is not set up on this machine: curl -s http://"+gate.String()+"/setup.sh | sudo sh")
	desk.MustExec(t, "sh", "-ec", "curl -sSf --noproxy '*' http://"+gate.String()+"/setup.sh | sh")
	page(t, desk, gate, "Host       desk, 10.192.0.2, in use\nMember of  blue\nMissing    nothing\n")
	netns.AwaitPing(t, desk, far, 20*time.Second)
	netns.AwaitPing(t, b.LAN.Hosts[0], mustAddr("10.192.0.2"), 20*time.Second)
	if hosts := a.Vine(t, "hosts"); !strings.Contains(hosts, "desk") {
		t.Errorf("vine hosts:\n%s", hosts)
	}
	if out, err := curl(t, desk, "-H", "Accept: text/html", "http://"+gate.String()+"/"); err != nil || !strings.Contains(out, "<form method=\"post\"") {
		t.Errorf("%v\n%s", err, out)
	}
	// Another machine that takes the address is seen by the host whose it is.
	desk.Run(t, "ip addr del 10.192.0.2/24 dev eth0")
	lamp.Run(t, "ip addr add 10.192.0.2/24 dev eth0")
	a.Run(t, "ip neigh flush dev lan0")
	page(t, desk, gate, "in use by another machine")
}

// TestHostPageIsForTheLAN: neither the Internet, nor a host of a VN at another site, nor one behind a router on the LAN gets an
// answer from the page, though each of them reaches another server of the same machine at the same addresses.
func TestHostPageIsForTheLAN(t *testing.T) {
	waits(t)
	f := netns.New(t)
	a := f.AddSite(t, netns.SiteOption{Hosts: 2})
	a.Init(t)
	a.Up(t)
	b := enrol(t, f, netns.SiteOption{})
	far := b.Addr4(t, 0)
	b.SetUpHost(t, 0, far)
	inBlock := a.Joined.Blocks[0].Addr().Next()
	a.Run(t, fmt.Sprintf("ip addr add %v/24 dev lan0", inBlock)) // a gateway that has an address in the ViNe space
	a.Vine(t, "vn", "create", "blue", "--host", far.String()+","+inBlock.String())

	// A router on the LAN with a network behind it.
	router, behind := a.LAN.Hosts[1], netnstest.New(t)
	router.Forward(t)
	netnstest.Wire(t, router, "eth1", behind, "eth0")
	router.Run(t, "ip addr add 172.30.0.1/24 dev eth1")
	behind.Run(t, "ip addr add 172.30.0.2/24 dev eth0\nip route add default via 172.30.0.1")
	a.Run(t, fmt.Sprintf("ip route add 172.30.0.0/24 via 192.168.%d.12", a.N))
	f.Core.Run(t, fmt.Sprintf("ip route add 192.168.%d.0/24 via %v", a.N, a.WAN.V4))

	var l net.Listener
	if err := a.Do(func() (err error) { l, err = net.Listen("tcp", ":81"); return err }); err != nil {
		t.Fatal(err)
	}
	other := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "another server") })}
	go func() { _ = other.Serve(l) }()
	t.Cleanup(func() { _ = other.Close() })

	near := a.LAN.Hosts[0]
	netns.Await(t, "the page is there", 10*time.Second, func() bool {
		_, err := curl(t, near, "http://"+a.LAN.V4.String()+"/")
		return err == nil
	})
	for _, c := range []struct {
		name string
		from *netnstest.Namespace
		to   netip.Addr
		// What curl says: for the kernel there is no such socket; or its answer does not come, for the TTL. A connection that the
		// page closes would be another error: so each of its walls is seen by itself.
		says string
	}{
		{"the Internet, at the WAN address", f.Core.Namespace, a.WAN.V4, "curl: (7)"},
		{"the Internet, at the WAN address, IPv6", f.Core.Namespace, a.WAN.V6, "curl: (7)"},
		{"the Internet, at the LAN address", f.Core.Namespace, a.LAN.V4, "curl: (7)"},
		{"a host of the VN", b.LAN.Hosts[0], inBlock, "curl: (7)"},
		{"behind a router on the LAN", behind, a.LAN.V4, "curl: (28)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			netns.Await(t, "another server answers", 30*time.Second, func() bool {
				out, err := curl(t, c.from, "http://"+inURL(c.to)+":81/")
				return err == nil && out == "another server\n"
			})
			if out, err := curl(t, c.from, "http://"+inURL(c.to)+"/"); err == nil || !strings.Contains(out, c.says) {
				t.Errorf("%v, want %s:\n%s", err, c.says, out)
			}
		})
	}
	// From the LAN, at an address that is not of the LAN.
	near.Run(t, fmt.Sprintf("ip route add %v/32 via %v", a.WAN.V4, a.LAN.V4))
	if out, err := curl(t, near, "http://"+a.WAN.V4.String()+":81/"); err != nil || out != "another server\n" {
		t.Errorf("%v %s", err, out)
	}
	if out, err := curl(t, near, "http://"+a.WAN.V4.String()+"/"); err == nil {
		t.Errorf("the page at the WAN address:\n%s", out)
	}
	page(t, near, a.LAN.V4, "not known here")
}
