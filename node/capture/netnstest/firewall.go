//go:build linux

package netnstest

import (
	"fmt"
	"strings"
	"testing"
)

// A Firewall is what a router lets through beside the answers. It drops the rest without a word: no ICMP,
// no reset. Nothing that begins outside comes in, unless a translator on the router has found a host
// inside for it.
type Firewall struct {
	Inside, Outside string // interfaces
	// Out is what may begin inside and leave, a match in the words of nft(8) each; "" matches all.
	// Nothing: the router forwards nothing.
	Out []string
	// Here is what of the inside reaches the router itself, in the same words.
	Here []string
}

// Guard makes the namespace a router behind a firewall.
func (ns *Namespace) Guard(t testing.TB, f Firewall) {
	t.Helper()
	Require(t, "nft")
	ns.Forward(t)
	rules := func(where string, matches []string) string {
		var b strings.Builder
		for _, m := range matches {
			fmt.Fprintf(&b, "%s %s accept\n", where, m)
		}
		return b.String()
	}
	through := fmt.Sprintf("iifname %q oifname %q", f.Inside, f.Outside)
	ns.MustExec(t, "nft", fmt.Sprintf(`table inet firewall {
		chain through {
			type filter hook forward priority 0; policy drop
			ct state established,related accept
			ct status dnat accept
			%s
		}
		chain here {
			type filter hook input priority 0; policy drop
			iifname "lo" accept
			ct state established,related accept
			meta l4proto ipv6-icmp accept
			%s
		}
	}`, rules(through, f.Out), rules(fmt.Sprintf("iifname %q", f.Inside), f.Here)))
}
