package netns_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/netns"
)

// TestCongestionMarks: a router between the sites marks some of our datagrams as having met congestion. The hosts' TCP, which runs
// nothing of ours, sees the marks and slows down by them, without a lost packet. Where hosts do not speak of congestion, nothing that
// we send can be marked.
func TestCongestionMarks(t *testing.T) {
	f := grid(t, 2, netns.SiteOption{})
	a, b := f.Sites[0], f.Sites[1]
	from, to := a.LAN.Hosts[0], b.LAN.Hosts[0]
	netnstest.Require(t, "nft")
	f.Core.Run(t, "nft add table inet marks\nnft add chain inet marks way { type filter hook forward priority 0 ; }\n"+
		"nft add rule inet marks way ip ecn { ect0, ect1 } numgen random mod 100 < 2 ip ecn set ce")
	for _, speak := range []bool{true, false} {
		for _, h := range []*netnstest.Namespace{from, to} {
			h.Sysctl(t, "net/ipv4/tcp_ecn", map[bool]string{true: "1", false: "0"}[speak])
		}
		ce, delivered := statistic(t, to, "IpExt", "InCEPkts"), statistic(t, from, "TcpExt", "TCPDeliveredCE")
		r := netns.Report(t, netns.StartIperf(t, from, to, b.Addr4(t, 0), "-t", "2", "-C", "reno"))
		ce, delivered = statistic(t, to, "IpExt", "InCEPkts")-ce, statistic(t, from, "TcpExt", "TCPDeliveredCE")-delivered
		t.Logf("NUMBER hosts that speak of congestion %v: %.0f Mb/s, %d marked packets at the receiver, %d told to the sender", speak,
			r.End.SumReceived.BitsPerSecond/1e6, ce, delivered)
		if got := ce > 0 && delivered > 0; got != speak {
			t.Errorf("hosts that speak of congestion %v: %d marked packets arrive, the sender is told of %d", speak, ce, delivered)
		}
	}
}

// statistic returns a counter of the kernel from /proc/net/netstat.
func statistic(t *testing.T, ns *netnstest.Namespace, group, name string) int {
	t.Helper()
	out, err := ns.Output("cat /proc/net/netstat")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, line := range strings.Split(out, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != group+":" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, n := range names {
			if n == name {
				v, err := strconv.Atoi(fields[i])
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
		}
	}
	t.Fatalf("no counter %s %s", group, name)
	return 0
}
