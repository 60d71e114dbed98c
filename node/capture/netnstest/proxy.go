//go:build linux

package netnstest

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// HTTPProxyPort and SOCKSPort are where the proxies listen.
const (
	HTTPProxyPort = 3128
	SOCKSPort     = 1080
)

// HTTPProxy runs tinyproxy in the namespace at addr. It connects to port 443 and no other.
func (ns *Namespace) HTTPProxy(t testing.TB, addr netip.Addr) *Process {
	t.Helper()
	Require(t, "tinyproxy")
	conf := filepath.Join(t.TempDir(), "tinyproxy.conf")
	text := fmt.Sprintf("Port %d\nListen %v\nTimeout 600\nMaxClients 100\nConnectPort 443\nLogLevel Connect\n", HTTPProxyPort, addr)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return ns.server(t, addr, HTTPProxyPort, "tinyproxy", "-d", "-c", conf)
}

// SOCKSProxy runs microsocks in the namespace at addr: SOCKS5 (RFC 1928) without a password, to any
// address and port.
func (ns *Namespace) SOCKSProxy(t testing.TB, addr netip.Addr) *Process {
	t.Helper()
	Require(t, "microsocks")
	return ns.server(t, addr, SOCKSPort, "microsocks", "-i", addr.String(), "-p", strconv.Itoa(SOCKSPort))
}

// server starts a program and waits until it accepts connections.
func (ns *Namespace) server(t testing.TB, addr netip.Addr, port int, words ...string) *Process {
	t.Helper()
	Require(t, "ss")
	p := ns.Start(t, words...)
	at := netip.AddrPortFrom(addr, uint16(port)).String()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); ; <-tick.C {
		if out, err := ns.Output("ss -Hltn"); err == nil && strings.Contains(out, at) {
			return p
		}
		select {
		case <-p.Done():
			t.Fatalf("%s ended: %v\n%s", words[0], p.Err(), p.Output())
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not listen at %s:\n%s", words[0], at, p.Output())
		}
	}
}
