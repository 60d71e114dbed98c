//go:build linux

package netns_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/netns"
)

// A nature is what TestKinds expects of a kind.
type nature struct {
	kind               netns.Kind
	udp                bool // goes out and its answer comes in; then
	mapping, filtering netnstest.Behavior
	seen               uint16 // outside port of port 8463; 0: it is another each time
	tcp, tcp443        bool   // to port 8463, and to 443, goes out
	proxy              string // what connects for the site
}

const (
	independent = netnstest.EndpointIndependent
	address     = netnstest.AddressDependent
	both        = netnstest.AddressAndPortDependent
)

var natures = []nature{
	{netns.Public, true, independent, independent, 8463, true, true, ""},
	{netns.FullCone, true, independent, independent, 38463, true, true, ""},
	{netns.AddressRestricted, true, independent, address, 38463, true, true, ""},
	{netns.PortRestricted, true, independent, both, 38463, true, true, ""},
	{netns.Symmetric, true, both, both, 0, true, true, ""},
	{netns.DoubleNAT, true, independent, both, 38463, true, true, ""},
	{netns.DoubleSymmetric, true, both, both, 0, true, true, ""},
	{netns.UDPBlocked, false, 0, 0, 0, true, true, ""},
	{netns.Only443, false, 0, 0, 0, false, true, ""},
	{netns.HTTPProxyOnly, false, 0, 0, 0, false, false, "http"},
	{netns.SOCKSOnly, false, 0, 0, 0, false, false, "socks5"},
	{netns.IPv6Only, true, independent, independent, 8463, true, true, ""},
}

// outside is what the tests of kinds talk to: two addresses of both families.
type outside struct {
	at  [2]*netnstest.Namespace
	wan [2]netnstest.WAN
}

// addresses returns the two in the site's family.
func (o outside) addresses(s *netns.Site) [2]netip.Addr {
	if s.Kind == netns.IPv6Only {
		return [2]netip.Addr{o.wan[0].V6, o.wan[1].V6}
	}
	return [2]netip.Addr{o.wan[0].V4, o.wan[1].V4}
}

// TestKinds measures what each kind of site does to plain sockets. No ViNe is in it.
func TestKinds(t *testing.T) {
	waits(t)
	if len(natures) != len(netns.Kinds()) {
		t.Fatalf("%d kinds are expected something of, of %d", len(natures), len(netns.Kinds()))
	}
	f := netns.New(t)
	var out outside
	for i := range out.at {
		out.at[i] = netnstest.New(t)
		out.wan[i] = f.Core.Attach(t, out.at[i], "wan0")
	}
	for _, port := range []uint16{443, 8463, 22} {
		greet(t, out.at[0], port)
	}
	for _, want := range natures {
		s := f.AddSite(t, netns.SiteOption{Kind: want.kind})
		t.Run(want.kind.String(), func(t *testing.T) {
			want.checkUDP(t, s, out)
			want.checkTCP(t, s, out)
			want.checkSilence(t, s, out)
			want.checkProxy(t, s, out)
		})
	}
}

func (w nature) checkUDP(t *testing.T, s *netns.Site, out outside) {
	at := out.addresses(s)
	m := netnstest.MeasureUDP(t, s.Namespace, netnstest.InsidePort, out.at, at)
	if m.Passes != w.udp || m.Mapping != w.mapping || m.Filtering != w.filtering {
		t.Errorf("measured %+v", m)
	}
	if !w.udp {
		t.Logf("UDP does not pass")
		return
	}
	t.Logf("mapping %v, filtering %v, seen as %v", m.Mapping, m.Filtering, m.Seen)
	if port := m.Seen[0].Port(); w.seen != 0 && port != w.seen || w.seen == 0 && (port == netnstest.InsidePort || port == netnstest.MappedPort) {
		t.Errorf("port %d is seen as %d", netnstest.InsidePort, port)
	}
	want := s.Outside
	if !s.Kind.Limited() {
		want = s.WAN.V6
		if s.Kind == netns.Public {
			want = s.WAN.V4
		}
	}
	if m.Seen[0].Addr() != want {
		t.Errorf("the outside sees %v, want %v", m.Seen[0].Addr(), want)
	}
	if s.Kind.Limited() {
		w.checkHairpin(t, s, m.Seen[0])
		w.checkUnmapped(t, s, out)
	}
}

// checkHairpin: no translator here turns packets around.
func (w nature) checkHairpin(t *testing.T, s *netns.Site, mapped netip.AddrPort) {
	a := netnstest.ListenUDP(t, s.Namespace, netip.AddrPortFrom(netip.IPv4Unspecified(), netnstest.InsidePort+1))
	b := netnstest.ListenUDP(t, s.Namespace, netip.MustParseAddrPort("0.0.0.0:7000"))
	if _, err := a.WriteToUDPAddrPort([]byte("around"), mapped); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*net.UDPConn{a, b} {
		if quiet(c) != nil {
			t.Errorf("a packet to %v from inside was turned around", mapped)
		}
	}
}

// checkUnmapped: a port that the VR has never sent from is open to nobody, not even in a full cone.
func (w nature) checkUnmapped(t *testing.T, s *netns.Site, out outside) {
	const port = 4711
	c := netnstest.ListenUDP(t, s.Namespace, netip.AddrPortFrom(netip.IPv4Unspecified(), port))
	from := netnstest.ListenUDP(t, out.at[0], netip.AddrPortFrom(out.wan[0].V4, 0))
	if _, err := from.WriteToUDPAddrPort([]byte("unasked"), netip.AddrPortFrom(s.Outside, port)); err != nil {
		t.Fatal(err)
	}
	if err := quiet(c); err != nil {
		t.Errorf("a port that was never used from inside: %v", err)
	}
}

// quiet returns an error if something arrives soon.
func quiet(c *net.UDPConn) error {
	_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	n, err := c.Read(make([]byte, 64))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return fmt.Errorf("%d bytes, %v", n, err)
}

// greet accepts TCP connections at a port, of both families, and says hello on each.
func greet(t *testing.T, ns *netnstest.Namespace, port uint16) {
	t.Helper()
	var l net.Listener
	err := ns.Do(func() (err error) { l, err = net.Listen("tcp", fmt.Sprintf("[::]:%d", port)); return err })
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
			_, _ = io.WriteString(c, greeting)
			_ = c.Close()
		}
	}()
}

const greeting = "hello from outside\n"

// dial connects from a namespace, soon or not at all.
func dial(ns *netnstest.Namespace, network string, to netip.AddrPort) (c net.Conn, err error) {
	doErr := ns.Do(func() error {
		c, err = (&net.Dialer{Timeout: 500 * time.Millisecond}).Dial(network, to.String())
		return nil
	})
	return c, errors.Join(err, doErr)
}

// greeted reports whether a connection leads to the outside.
func greeted(ns *netnstest.Namespace, to netip.AddrPort) error {
	c, err := dial(ns, "tcp", to)
	if err != nil {
		return err
	}
	defer c.Close()
	return hello(c)
}

func hello(c net.Conn) error {
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	b, err := io.ReadAll(c)
	if string(b) != greeting {
		return fmt.Errorf("heard %q, %v", b, err)
	}
	return nil
}

func (w nature) checkTCP(t *testing.T, s *netns.Site, out outside) {
	to := out.addresses(s)[0]
	for port, want := range map[uint16]bool{443: w.tcp443, 8463: w.tcp} {
		if err := greeted(s.Namespace, netip.AddrPortFrom(to, port)); (err == nil) != want {
			t.Errorf("TCP to port %d: %v, want success: %v", port, err, want)
		}
	}
	if w.kind == netns.IPv6Only {
		if err := greeted(s.Namespace, netip.AddrPortFrom(out.wan[0].V4, 443)); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("IPv4 from a site without: %v", err)
		}
	}
}

// checkSilence: what does not pass is lost, and nobody is told, neither inside nor outside.
func (w nature) checkSilence(t *testing.T, s *netns.Site, out outside) {
	if !s.Kind.Limited() {
		return
	}
	words := map[string]string{
		"unreachable": "icmp type destination-unreachable", "prohibited": "icmpv6 type destination-unreachable",
		"broken": "tcp flags & rst == rst",
	}
	taps := []netns.Tap{netns.NewTapOf(t, s.Namespace, words), netns.NewTapOf(t, out.at[1], words)}
	// From outside: the port in use, one that is not, and TCP.
	for _, to := range []string{"38463", "9999"} {
		refused(t, out.at[1], "udp", netip.MustParseAddrPort(s.Outside.String()+":"+to))
	}
	for _, to := range []string{"443", "8463", "3128"} {
		refused(t, out.at[1], "tcp", netip.MustParseAddrPort(s.Outside.String()+":"+to))
	}
	// From inside: whatever the firewall keeps.
	if !w.udp {
		for _, port := range []uint16{443, 8463, 9999} {
			refused(t, s.Namespace, "udp", netip.AddrPortFrom(out.wan[0].V4, port))
		}
	}
	if !w.tcp {
		refused(t, s.Namespace, "tcp", netip.AddrPortFrom(out.wan[0].V4, 8463))
		refused(t, s.Namespace, "tcp", netip.AddrPortFrom(out.wan[0].V4, 9999))
		if netns.Ping(t, s.Namespace, out.wan[0].V4) {
			t.Error("a ping went out")
		}
	}
	if !w.tcp443 {
		refused(t, s.Namespace, "tcp", netip.AddrPortFrom(out.wan[0].V4, 443))
	}
	for i, tap := range taps {
		for name := range words {
			if n := tap.Packets(t, name); n > 0 {
				t.Errorf("%s has been told %d times: %s", []string{"inside", "outside"}[i], n, name)
			}
		}
		tap.Remove(t)
	}
}

// refused fails the test if a connection is answered in any way, an error included.
func refused(t *testing.T, ns *netnstest.Namespace, network string, to netip.AddrPort) {
	t.Helper()
	c, err := dial(ns, network, to)
	if err == nil && network == "udp" {
		if _, err = c.Write([]byte("anybody?")); err == nil {
			_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			_, err = c.Read(make([]byte, 1))
		}
	}
	if c != nil {
		_ = c.Close()
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) && !isTimeout(err) {
		t.Errorf("%s to %v: %v, want silence", network, to, err)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func (w nature) checkProxy(t *testing.T, s *netns.Site, out outside) {
	if w.proxy == "" {
		if len(s.Env) > 0 {
			t.Errorf("the environment of a site without a proxy: %q", s.Env)
		}
		return
	}
	_, url, _ := strings.Cut(s.Env[0], "=")
	scheme, at, _ := strings.Cut(url, "://")
	if scheme != w.proxy {
		t.Fatalf("the environment is %q", s.Env)
	}
	connect := connectHTTP
	if scheme == "socks5" {
		connect = connectSOCKS
	}
	for _, to := range []netip.Addr{out.wan[0].V4, out.wan[0].V6} {
		if err := connect(s.Namespace, netip.MustParseAddrPort(at), netip.AddrPortFrom(to, 443)); err != nil {
			t.Errorf("%s to %v port 443: %v", s.Env[0], to, err)
		}
	}
	err := connect(s.Namespace, netip.MustParseAddrPort(at), netip.AddrPortFrom(out.wan[0].V4, 22))
	t.Logf("the proxy, to port 22: %v", err)
	if open := scheme == "socks5"; (err == nil) != open {
		t.Errorf("%s to port 22: %v, want success: %v", s.Env[0], err, open)
	}
}

// connectHTTP goes through an HTTP proxy (RFC 9110, section 9.3.6).
func connectHTTP(ns *netnstest.Namespace, proxy, to netip.AddrPort) error {
	c, err := dial(ns, "tcp", proxy)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprintf(c, "CONNECT %v HTTP/1.1\r\nHost: %[1]v\r\n\r\n", to); err != nil {
		return err
	}
	b, err := io.ReadAll(c)
	status, rest, _ := strings.Cut(string(b), "\r\n")
	if _, body, _ := strings.Cut(rest, "\r\n\r\n"); !strings.Contains(status, " 200") || body != greeting {
		return fmt.Errorf("the proxy says %q, %v", status, err)
	}
	return nil
}

// connectSOCKS goes through a SOCKS5 proxy (RFC 1928) that wants no password.
func connectSOCKS(ns *netnstest.Namespace, proxy, to netip.AddrPort) error {
	c, err := dial(ns, "tcp", proxy)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	kind := byte(1)
	if to.Addr().Is6() {
		kind = 4
	}
	// Not both at once: microsocks forgets what comes with the greeting.
	head := make([]byte, 4)
	if _, err := c.Write([]byte{5, 1, 0}); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, head[:2]); err != nil || head[1] != 0 {
		return fmt.Errorf("the proxy chooses %x, %v", head, err)
	}
	ask := append([]byte{5, 1, 0, kind}, to.Addr().AsSlice()...)
	if _, err := c.Write(append(ask, byte(to.Port()>>8), byte(to.Port()))); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, head); err != nil || head[1] != 0 {
		return fmt.Errorf("the proxy answers %x, %v", head, err)
	}
	// The address that it connects from, and the port.
	if _, err := io.ReadFull(c, make([]byte, map[byte]int{1: 6, 4: 18}[head[3]])); err != nil {
		return err
	}
	return hello(c)
}
