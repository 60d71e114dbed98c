package portmap

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
)

// A home is a site behind a gateway that runs miniupnpd, and somebody on the Internet.
//
//	out 5.5.5.2 --- wan 5.5.5.1 [gw] lan 192.168.7.1 --- 192.168.7.2 vr
//
// miniupnpd does nothing for a gateway without a public address, so that of documentation will not do. Nothing
// leaves the namespaces.
type home struct {
	out, gw, vr *netnstest.Namespace
	daemon      *netnstest.Process
	config      string
}

const homeRules = `table inet filter {
	chain forward {
		type filter hook forward priority 0; policy drop;
		ct state established,related accept
		iifname "lan" oifname "wan" accept
		jump miniupnpd
	}
	chain input { type filter hook input priority 0; policy accept; %s }
	chain miniupnpd { }
	chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
	chain postrouting { type nat hook postrouting priority 100; oifname "wan" masquerade; }
	chain prerouting_miniupnpd { }
	chain postrouting_miniupnpd { }
}`

// newHome makes a home. The gateway offers UPnP and NAT-PMP with PCP as told, and drops what blocked, words of nft(8),
// matches.
func newHome(t *testing.T, upnp, natpmp bool, blocked string) *home {
	t.Helper()
	netnstest.Require(t, "miniupnpd", "nft")
	h := &home{out: netnstest.New(t), gw: netnstest.New(t), vr: netnstest.New(t)}
	h.gw.Forward(t)
	netnstest.Wire(t, h.out, "eth0", h.gw, "wan")
	netnstest.Wire(t, h.vr, "eth0", h.gw, "lan")
	h.out.Run(t, "ip addr add 5.5.5.2/24 dev eth0")
	h.gw.Run(t, "ip addr add 5.5.5.1/24 dev wan\nip addr add 192.168.7.1/24 dev lan")
	h.vr.Run(t, "ip addr add 192.168.7.2/24 dev eth0\nip route add default via 192.168.7.1")
	if blocked != "" {
		blocked += " drop;"
	}
	h.gw.MustExec(t, "nft", fmt.Sprintf(homeRules, blocked))
	yes := map[bool]string{true: "yes", false: "no"}
	h.config = filepath.Join(t.TempDir(), "miniupnpd.conf")
	text := fmt.Sprintf(`ext_ifname=wan
listening_ip=lan
enable_upnp=%s
enable_natpmp=%s
secure_mode=yes
ext_ifname6=wan
system_uptime=no
min_lifetime=120
max_lifetime=86400
upnp_table_name=filter
upnp_nat_table_name=filter
uuid=2e0ef5a3-c8b1-4c5c-9d0d-5f2a1c6c2f10
allow 1024-65535 192.168.7.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
`, yes[upnp], yes[natpmp])
	if err := os.WriteFile(h.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h.start(t)
	return h
}

func (h *home) start(t *testing.T) {
	t.Helper()
	h.daemon = h.gw.Start(t, "miniupnpd", "-d", "-f", h.config, "-P", h.config+".pid")
	t.Cleanup(func() {
		if t.Failed() {
			rules, _ := h.gw.Exec(t, "nft", "list", "ruleset")
			t.Logf("miniupnpd:\n%s\nrules:\n%s", h.daemon.Output(), rules)
		}
	})
}

// portmap returns a Portmap whose sockets are in the VR's namespace.
func (h *home) portmap(t *testing.T, ports ...Port) *Portmap {
	p := New(Config{
		Internal: ports,
		Gateway: func() (gateway, local netip.Addr, err error) {
			_ = h.vr.Do(func() error { gateway, local, err = DefaultGateway(); return nil })
			return gateway, local, err
		},
		Log: testLog(t),
	})
	real := p.outside
	p.outside.listen = func(local netip.Addr) (c conn, err error) {
		_ = h.vr.Do(func() error { c, err = real.listen(local); return nil })
		return c, err
	}
	p.outside.group = func(local netip.Addr) (c conn, err error) {
		_ = h.vr.Do(func() error { c, err = real.group(local); return nil })
		return c, err
	}
	p.outside.dial = func(ctx context.Context, local netip.Addr, to netip.AddrPort) (c net.Conn, err error) {
		_ = h.vr.Do(func() error { c, err = real.dial(ctx, local, to); return nil })
		return c, err
	}
	return p
}

// arrives proves that a packet from outside to external arrives at a socket on the VR.
func (h *home) arrives(t *testing.T, inside *net.UDPConn, external netip.AddrPort) {
	t.Helper()
	if err := h.reach(inside, external); err != nil {
		t.Errorf("packet from outside to %v: %v", external, err)
	}
}

func (h *home) reach(inside *net.UDPConn, external netip.AddrPort) error {
	return h.out.Do(func() error {
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(external))
		if err != nil {
			return err
		}
		defer c.Close()
		message := fmt.Sprintf("to %v from %v", external, c.LocalAddr())
		if _, err := c.Write([]byte(message)); err != nil {
			return err
		}
		if err := inside.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
			return err
		}
		b := make([]byte, 100)
		n, from, err := inside.ReadFromUDPAddrPort(b)
		if err != nil {
			return err
		}
		if string(b[:n]) != message || from.Addr().Unmap() != c.LocalAddr().(*net.UDPAddr).AddrPort().Addr() {
			return fmt.Errorf("%q came from %v", b[:n], from)
		}
		return nil
	})
}

// open opens a UDP socket on the VR, for both families.
func (h *home) open(t *testing.T, port uint16) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	err := h.vr.Do(func() (err error) {
		c, err = net.ListenUDP("udp", &net.UDPAddr{Port: int(port)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// next waits for the mappings to satisfy want.
func next(t *testing.T, p *Portmap, limit time.Duration, want func([]Mapping) bool) []Mapping {
	t.Helper()
	timeout := time.After(limit)
	for {
		select {
		case list := <-p.Mappings():
			if want(list) {
				return list
			}
		case <-timeout:
			t.Fatalf("no such mappings within %v", limit)
		}
	}
}

func atLeast(n int) func([]Mapping) bool { return func(list []Mapping) bool { return len(list) >= n } }

// TestMiniupnpd maps ports on a real gateway by each protocol in turn: packets from outside arrive, and no longer when
// the Portmap has ended.
func TestMiniupnpd(t *testing.T) {
	for _, c := range []struct {
		by           string
		upnp, natpmp bool
		blocked      string
	}{
		{ByPCP, true, true, ""},                             // it offers all three
		{ByNATPMP, true, true, "udp dport 5351 @th,64,8 2"}, // version 2
		{ByUPnP, true, false, ""},
	} {
		t.Run(c.by, func(t *testing.T) {
			h := newHome(t, c.upnp, c.natpmp, c.blocked)
			inside := h.open(t, 4789)
			p := h.portmap(t, Port{UDP, 4789}, Port{TCP, 4443})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			begin := time.Now()
			go func() { ended <- p.Run(ctx) }()
			defer func() { cancel() }()
			list := next(t, p, 20*time.Second, atLeast(2))
			t.Logf("mapped after %v: %+v", time.Since(begin), list)
			for i, m := range list {
				if m.By != c.by || !m.Public || m.External.Addr() != netip.MustParseAddr("5.5.5.1") || !m.Until.After(begin) {
					t.Errorf("mapping %d: %+v", i, m)
				}
			}
			if list[0].Internal != 4789 || list[0].Protocol != UDP || list[1].Internal != 4443 || list[1].Protocol != TCP {
				t.Errorf("mappings of the wrong ports: %+v", list)
			}
			h.arrives(t, inside, list[0].External)
			h.stranger(t, inside, list[0].External)

			cancel()
			begin = time.Now()
			<-ended
			if took := time.Since(begin); took > leaveMax+time.Second {
				t.Errorf("took %v to end", took)
			}
			if rules := h.gw.MustExec(t, "nft", "list", "ruleset"); strings.Contains(rules, "192.168.7.2") {
				t.Errorf("the mapping is still there:\n%s", rules)
			}
			if list := <-p.Mappings(); len(list) != 0 {
				t.Errorf("mappings after the end: %+v", list)
			}
		})
	}
}

// stranger proves that the test can fail: a port that is not mapped is not reached.
func (h *home) stranger(t *testing.T, inside *net.UDPConn, external netip.AddrPort) {
	t.Helper()
	if err := h.reach(inside, netip.AddrPortFrom(external.Addr(), external.Port()+1)); err == nil {
		t.Error("a port that is not mapped is reached")
	}
}

// TestMiniupnpdRestarts kills the gateway's daemon, takes its rules away as a reboot does, and starts it again: the
// next check brings the mapping back. The daemon announces nothing when it starts, and speaks UPnP on another port.
func TestMiniupnpdRestarts(t *testing.T) {
	for _, c := range []struct {
		by           string
		upnp, natpmp bool
		blocked      string
	}{
		{ByPCP, false, true, ""},
		{ByNATPMP, false, true, "udp dport 5351 @th,64,8 2"},
		{ByUPnP, true, false, ""},
	} {
		t.Run(c.by, func(t *testing.T) {
			h := newHome(t, c.upnp, c.natpmp, c.blocked)
			inside := h.open(t, 4789)
			p := h.portmap(t, Port{UDP, 4789})
			p.outside.every = 2 * time.Second
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error)
			go func() { ended <- p.Run(ctx) }()
			defer func() { cancel(); <-ended }()
			started := time.Now()
			first := next(t, p, 20*time.Second, atLeast(1))
			h.arrives(t, inside, first[0].External)

			// The daemon counts in seconds from its start, and RFC 6887 section 8.5 allows its clock an error of two: the clock
			// must be far enough to be seen to go back.
			<-time.After(4*time.Second - time.Since(started))
			h.daemon.Kill()
			h.gw.Run(t, `nft flush chain inet filter miniupnpd
				nft flush chain inet filter prerouting_miniupnpd
				nft flush chain inet filter postrouting_miniupnpd`)
			if err := h.reach(inside, first[0].External); err == nil {
				t.Fatal("the mapping outlived its rules: the test proves nothing")
			}
			h.start(t)
			begin := time.Now()
			again := next(t, p, 30*time.Second, func(list []Mapping) bool {
				return len(list) == 1 && list[0].Until.After(first[0].Until)
			})
			t.Logf("mapped again after %v: %+v", time.Since(begin), again)
			h.arrives(t, inside, again[0].External)
		})
	}
}

// TestMiniupnpdIPv6 opens the gateway's firewall by PCP where there is no NAT: what is mapped is our own address.
func TestMiniupnpdIPv6(t *testing.T) {
	for name, router := range map[string]string{"global": "2600:7::1", "link-local": "fe80::7:1"} {
		t.Run(name, func(t *testing.T) {
			h := newHome(t, false, true, "")
			h.out.Run(t, "ip addr add 2600:5::2/64 dev eth0 nodad\nip -6 route add default via 2600:5::1")
			h.gw.Run(t, `ip addr add 2600:5::1/64 dev wan nodad
				ip addr add 2600:7::1/64 dev lan nodad
				ip addr add fe80::7:1/64 dev lan nodad`)
			h.vr.Run(t, "ip route del default\nip addr add 2600:7::2/64 dev eth0 nodad\nip -6 route add default via "+router+" dev eth0")
			h.daemon.Kill()
			h.start(t)
			p := h.portmap(t, Port{UDP, 4789})
			inside := h.open(t, 4789)
			own := netip.MustParseAddrPort("[2600:7::2]:4789")
			if err := h.reach(inside, own); err == nil {
				t.Fatal("the firewall lets everything pass: the test proves nothing")
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- p.Run(ctx) }()
			defer func() { cancel(); <-ended }()
			list := next(t, p, 10*time.Second, atLeast(1))
			if list[0].External != own || list[0].By != ByPCP || !list[0].Public {
				t.Errorf("%+v", list)
			}
			h.arrives(t, inside, own)
		})
	}
}
