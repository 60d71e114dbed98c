//go:build linux

package netns

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/vine-mesh/vine/node/capture/netnstest"
)

// A Kind says what is between a site and the Internet.
type Kind int

// The kinds. Behind a translator, a firewall or a proxy the VR has one IPv4 address, of carriers' space
// (RFC 6598), and no IPv6; what comes unasked is dropped without a word.
const (
	Public            Kind = iota // both families, nothing in between
	FullCone                      // a translator: one outside port, open to all
	AddressRestricted             // one outside port, open to the addresses it has sent to
	PortRestricted                // one outside port, open to the endpoints it has sent to
	Symmetric                     // another outside port, at random, to each endpoint
	DoubleNAT                     // a port-restricted translator behind a carrier's of the same kind
	DoubleSymmetric               // a port-restricted translator behind a carrier's symmetric one
	UDPBlocked                    // a translator for TCP; UDP is dropped silently, both ways
	Only443                       // TCP to port 443 goes out; the rest is dropped silently
	HTTPProxyOnly                 // nothing goes out; an HTTP proxy connects to port 443
	SOCKSOnly                     // nothing goes out; a SOCKS5 proxy connects to anything
	IPv6Only                      // no IPv4 towards the Internet; IPv6 as public as can be
)

var kindNames = [...]string{
	Public: "public", FullCone: "full cone", AddressRestricted: "address-restricted", PortRestricted: "port-restricted",
	Symmetric: "symmetric", DoubleNAT: "double NAT", DoubleSymmetric: "double NAT, symmetric carrier",
	UDPBlocked: "UDP blocked", Only443: "only 443 outgoing", HTTPProxyOnly: "only HTTP proxy", SOCKSOnly: "only SOCKS5 proxy",
	IPv6Only: "IPv6 only",
}

// Kinds are all of them, in the order of the tables.
func Kinds() []Kind {
	list := make([]Kind, len(kindNames))
	for i := range list {
		list[i] = Kind(i)
	}
	return list
}

// String names the kind as the tables do.
func (k Kind) String() string { return kindNames[k] }

// Limited reports whether nobody can begin a conversation with a site of the kind. A full cone is
// limited too: it lets strangers in only while its VR keeps the outside port in use.
func (k Kind) Limited() bool { return k != Public && k != IPv6Only }

// place puts between site number n and the core what the kind says.
func (s *Site) place(t testing.TB, n int) {
	t.Helper()
	toCore := func(ns *netnstest.Namespace) netnstest.WAN { return s.attach(t, ns) }
	if !s.Kind.Limited() {
		s.WAN = toCore(s.Namespace)
		if s.Kind == IPv6Only {
			s.Run(t, "ip -4 addr flush dev wan0")
			s.F.Core.Run(t, "ip -4 addr flush dev "+s.WAN.Far)
			s.WAN.V4, s.WAN.Core4 = netip.Addr{}, netip.Addr{}
		}
		return
	}
	s.Router = netnstest.New(t)
	var wan netnstest.WAN
	if s.Kind == DoubleNAT || s.Kind == DoubleSymmetric {
		s.Carrier = netnstest.New(t)
		wan = toCore(s.Carrier)
		inner := behind(t, s.Router, s.Carrier, 65, n)
		mapping := netnstest.EndpointIndependent
		if s.Kind == DoubleSymmetric {
			mapping = netnstest.AddressAndPortDependent
		}
		s.Carrier.Translate(t, netnstest.Translator{Outside: "wan0", Host: inner, Mapping: mapping, Filtering: netnstest.AddressAndPortDependent})
		s.Carrier.Guard(t, netnstest.Firewall{Inside: "in0", Outside: "wan0", Out: []string{""}})
	} else {
		wan = toCore(s.Router)
	}
	s.Outside = wan.V4
	s.WAN = netnstest.WAN{Interface: "wan0", Far: wan.Far, Core4: wan.Core4, Core6: wan.Core6}
	s.WAN.V4 = behind(t, s.Namespace, s.Router, 64, n)
	gateway := s.Gateway()
	s.Router.Translate(t, s.Kind.translator(s.WAN.V4))
	s.Router.Guard(t, s.Kind.firewall(gateway))
	switch s.Kind {
	case HTTPProxyOnly:
		s.Proxy = s.Router.HTTPProxy(t, gateway)
		s.proxy(fmt.Sprintf("http://%v:%d", gateway, netnstest.HTTPProxyPort), "HTTPS_PROXY", "https_proxy")
	case SOCKSOnly:
		s.Proxy = s.Router.SOCKSProxy(t, gateway)
		s.proxy(fmt.Sprintf("socks5://%v:%d", gateway, netnstest.SOCKSPort), "ALL_PROXY", "all_proxy")
	}
}

// Gateway is the inside address of the site's router, where proxies listen.
func (s *Site) Gateway() netip.Addr { return netip.AddrFrom4([4]byte{100, 64, byte(s.N), 1}) }

// behind wires a namespace to its router and makes that its gateway.
func behind(t testing.TB, inside, router *netnstest.Namespace, second, n int) netip.Addr {
	t.Helper()
	netnstest.Wire(t, inside, "wan0", router, "in0")
	router.Run(t, fmt.Sprintf("ip addr add 100.%d.%d.1/24 dev in0", second, n))
	inside.Run(t, fmt.Sprintf("ip addr add 100.%d.%d.2/24 dev wan0\nip route add default via 100.%[1]d.%[2]d.1", second, n))
	return netip.AddrFrom4([4]byte{100, byte(second), byte(n), 2})
}

// translator is the kind's, nearest to the VR.
func (k Kind) translator(host netip.Addr) netnstest.Translator {
	tr := netnstest.Translator{Outside: "wan0", Host: host, Filtering: netnstest.AddressAndPortDependent}
	switch k {
	case FullCone:
		tr.Filtering = netnstest.EndpointIndependent
	case AddressRestricted:
		tr.Filtering = netnstest.AddressDependent
	case Symmetric:
		tr.Mapping = netnstest.AddressAndPortDependent
	}
	return tr
}

// firewall is the kind's, nearest to the VR.
func (k Kind) firewall(gateway netip.Addr) netnstest.Firewall {
	f := netnstest.Firewall{Inside: "in0", Outside: "wan0"}
	here := fmt.Sprintf("ip daddr %v ", gateway)
	switch k {
	case UDPBlocked:
		f.Out, f.Here = []string{"meta l4proto { tcp, icmp }"}, []string{here + "meta l4proto icmp"}
	case Only443:
		f.Out = []string{"tcp dport 443"}
	case HTTPProxyOnly:
		f.Here = []string{here + fmt.Sprintf("tcp dport %d", netnstest.HTTPProxyPort)}
	case SOCKSOnly:
		f.Here = []string{here + fmt.Sprintf("tcp dport %d", netnstest.SOCKSPort)}
	default:
		// A home router answers its own hosts, and hears what they say to groups.
		f.Out, f.Here = []string{""}, []string{here, "ip daddr 224.0.0.0/4"}
	}
	return f
}

// proxy sets environment variables of the site's VR.
func (s *Site) proxy(url string, names ...string) {
	for _, name := range names {
		s.Env = append(s.Env, name+"="+url)
	}
}
