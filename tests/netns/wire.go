//go:build linux

package netns

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
)

// A Tap counts, by nftables, what a namespace forwards, or sends and receives itself.
type Tap struct{ ns *netnstest.Namespace }

// NewTap starts counting ViNe's datagrams in a namespace, as udp4 and udp6.
func NewTap(t testing.TB, ns *netnstest.Namespace) Tap {
	t.Helper()
	return NewTapOf(t, ns, map[string]string{
		"udp4": "ip protocol udp udp dport 8463",
		"udp6": "ip6 nexthdr udp udp dport 8463",
	})
}

// NewTapOf starts counting what matches the rules, in the words of nft(8), each under its name.
func NewTapOf(t testing.TB, ns *netnstest.Namespace, matches map[string]string) Tap {
	t.Helper()
	netnstest.Require(t, "nft")
	var counters, rules strings.Builder
	for name, match := range matches {
		fmt.Fprintf(&counters, "counter %s {}\n", name)
		fmt.Fprintf(&rules, "%s counter name %s\n", match, name)
	}
	ns.MustExec(t, "nft", fmt.Sprintf(`table inet tap {
		%s
		chain forward { type filter hook forward priority -10; %s }
		chain in { type filter hook input priority -10; %[2]s }
		chain out { type filter hook output priority -10; %[2]s }
	}`, counters.String(), rules.String()))
	return Tap{ns}
}

// Remove ends the count.
func (c Tap) Remove(t testing.TB) {
	t.Helper()
	c.ns.MustExec(t, "nft", "delete table inet tap")
}

// Packets returns a counter's packets.
func (c Tap) Packets(t testing.TB, counter string) int {
	t.Helper()
	n, _ := c.Count(t, counter)
	return n
}

func (c Tap) Count(t testing.TB, counter string) (packets, bytes int) {
	t.Helper()
	var list struct {
		Nftables []struct {
			Counter *struct {
				Name           string
				Packets, Bytes int
			}
		}
	}
	if err := json.Unmarshal([]byte(c.ns.MustExec(t, "nft", "-j", "list", "counters", "table", "inet", "tap")), &list); err != nil {
		t.Fatal(err)
	}
	for _, e := range list.Nftables {
		if e.Counter != nil && e.Counter.Name == counter {
			return e.Counter.Packets, e.Counter.Bytes
		}
	}
	t.Fatalf("no counter %q", counter)
	return 0, 0
}

// A Dump is tcpdump at work on an interface.
type Dump struct {
	p *netnstest.Process
}

// StartDump starts tcpdump and waits until it listens.
func StartDump(t testing.TB, ns *netnstest.Namespace, iface, filter string) Dump {
	t.Helper()
	netnstest.Require(t, "tcpdump")
	p := ns.Start(t, "tcpdump", "-n", "-l", "--immediate-mode", "-i", iface, filter)
	Await(t, "tcpdump listens", 10*time.Second, func() bool { return strings.Contains(p.Output(), "listening on") })
	return Dump{p}
}

// Stop ends tcpdump and returns the packets that it saw, one a line.
func (d Dump) Stop(t testing.TB) []string {
	t.Helper()
	d.p.Stop(t, 10*time.Second)
	return d.Seen()
}

// Seen returns the packets that tcpdump has told of so far.
func (d Dump) Seen() (seen []string) {
	for line := range strings.Lines(d.p.Output()) {
		if strings.Contains(line, " IP ") || strings.Contains(line, " IP6 ") {
			seen = append(seen, strings.TrimSpace(line))
		}
	}
	return seen
}

// A OneWay is a UDP flow from one host to another that never gets an answer.
type OneWay struct {
	sent, got atomic.Int64
}

// StartOneWay sends a datagram every 10 ms until the test ends.
func StartOneWay(t testing.TB, from, to *netnstest.Namespace, addr netip.Addr) *OneWay {
	t.Helper()
	flow := &OneWay{}
	at := net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 9))
	var out, in *net.UDPConn
	err := to.Do(func() (err error) { in, err = net.ListenUDP("udp", at); return err })
	if err == nil {
		err = from.Do(func() (err error) { out, err = net.DialUDP("udp", nil, at); return err })
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		b := make([]byte, 64)
		for {
			if _, err := in.Read(b); err != nil {
				return
			}
			flow.got.Add(1)
		}
	}()
	stop := make(chan struct{})
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				if _, err := out.Write([]byte("one way")); err == nil {
					flow.sent.Add(1)
				}
			}
		}
	}()
	t.Cleanup(func() { close(stop); _ = out.Close(); _ = in.Close() })
	return flow
}

// Got and Sent return how many datagrams have arrived and left.
func (f *OneWay) Got() int64  { return f.got.Load() }
func (f *OneWay) Sent() int64 { return f.sent.Load() }
