//go:build linux

package netnstest

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// A Behavior says on what of the other side it depends which outside port a flow gets (mapping) and
// which packets come in (filtering), in the words of RFC 4787, sections 4.1 and 5.
type Behavior int

// The behaviors, from the most to the least helpful.
const (
	EndpointIndependent Behavior = iota
	AddressDependent
	AddressAndPortDependent
)

// String returns the name in RFC 4787, in lower case.
func (b Behavior) String() string {
	return [...]string{"endpoint-independent", "address-dependent", "address-and-port-dependent"}[b]
}

// A Translator is an address translator for one inside host, in a router's namespace. It never
// turns packets around ("hairpinning", RFC 4787, section 6), and no packet from outside makes a
// mapping. It is no firewall: a router needs a Firewall too, or it answers what comes unasked.
type Translator struct {
	Outside string     // interface
	Host    netip.Addr // the inside host that packets come in for
	// Mapping is endpoint-independent or address-and-port-dependent: Linux has nothing between.
	Mapping Behavior
	// Filtering of UDP. With address-and-port-dependent mapping it can be nothing else. TCP comes in for
	// flows that began inside only.
	Filtering Behavior
}

// InsidePort is the one UDP port that an endpoint-independent Translator maps to another one, always
// MappedPort, so that nobody may take the port that he listens at for the one that others see. Other
// ports it keeps where they are free.
const (
	InsidePort = 8463
	MappedPort = 38463
)

// memory is how long a Translator lets packets in after the last one went out: RFC 4787, REQ-5, asks
// for at least two minutes. (Flows as such end sooner, with conntrack's 30 s and 120 s.)
const memory = "120s"

// Translate makes the namespace translate what leaves by the translator's interface.
//
// Linux by itself filters by address and port: only a flow's own answers come in. The other two are
// made of a set of the outside ports in use, with the addresses they have sent to if those matter, from
// which a packet that answers nobody gets its way in.
func (ns *Namespace) Translate(t testing.TB, tr Translator) {
	t.Helper()
	Require(t, "nft")
	var in, out, note string
	switch {
	case tr.Mapping == AddressAndPortDependent && tr.Filtering == AddressAndPortDependent:
		out = "oifname WAN masquerade fully-random"
	case tr.Mapping == EndpointIndependent:
		// The second rule keeps the port if it can.
		out = "oifname WAN udp sport INSIDE masquerade to :MAPPED\n oifname WAN masquerade"
	default:
		t.Fatalf("no translator has %v mapping with %v filtering", tr.Mapping, tr.Filtering)
	}
	switch tr.Filtering {
	case EndpointIndependent:
		in, note = "udp dport @ports", "update @ports { udp sport }"
	case AddressDependent:
		in, note = "ip saddr . udp dport @contacts", "update @contacts { ip daddr . udp sport }"
	}
	if in != "" {
		// `note` comes after the translation of sources (priority 100) and so sees the outside port.
		in = "iifname WAN udp dport MAPPED " + in + " dnat to HOST:INSIDE\n iifname WAN " + in + " dnat to HOST"
		note = "oifname WAN meta l4proto udp " + note
	}
	text := `table ip translator {
		set ports { type inet_service; flags dynamic,timeout; timeout MEMORY; size 4096; }
		set contacts { type ipv4_addr . inet_service; flags dynamic,timeout; timeout MEMORY; size 4096; }
		chain in {
			type nat hook prerouting priority -100
			` + in + `
		}
		chain out {
			type nat hook postrouting priority 100
			` + out + `
		}
		chain note {
			type filter hook postrouting priority 110
			` + note + `
		}
	}`
	ns.MustExec(t, "nft", strings.NewReplacer("WAN", fmt.Sprintf("%q", tr.Outside), "HOST", tr.Host.String(), "MEMORY", memory,
		"INSIDE", fmt.Sprint(InsidePort), "MAPPED", fmt.Sprint(MappedPort)).Replace(text))
}
