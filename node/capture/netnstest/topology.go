//go:build linux

package netnstest

import (
	"fmt"
	"net/netip"
	"testing"
)

// A Core is a namespace that plays the Internet: a router between sites. Its addresses are those
// for documentation (RFC 5737, RFC 3849), never inside a ViNe space.
type Core struct {
	*Namespace
	links int
}

// NewCore makes a core router without links.
func NewCore(t testing.TB) *Core {
	t.Helper()
	c := &Core{Namespace: New(t)}
	c.Forward(t)
	return c
}

// coreLinksMax is how many /30 fit into one of the documentation prefixes.
const coreLinksMax = 64

// A WAN is a site's way to the Internet.
type WAN struct {
	Interface string     // in the site's namespace
	Far       string     // the core's interface
	V4, V6    netip.Addr // the site's
	Core4     netip.Addr // the core's, the site's default gateway
	Core6     netip.Addr
}

// Attach wires a namespace to the core by its interface iface, gives both ends addresses of both
// families, and makes the core its default gateway.
func (c *Core) Attach(t testing.TB, ns *Namespace, iface string) WAN {
	t.Helper()
	w := c.plan(t, iface)
	Wire(t, ns, iface, c.Namespace, w.Far)
	c.address(t, ns, w)
	return w
}

// plan takes the next addresses.
func (c *Core) plan(t testing.TB, iface string) WAN {
	t.Helper()
	n := c.links
	if c.links++; n >= coreLinksMax {
		t.Fatalf("the core has %d links already", n)
	}
	v4 := func(last int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(4*n + last)}) }
	v6 := func(last int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("2001:db8:%x::%x", n+1, last)) }
	return WAN{
		Interface: iface, Far: fmt.Sprintf("core%d", n),
		V4: v4(2), V6: v6(2), Core4: v4(1), Core6: v6(1),
	}
}

func (c *Core) address(t testing.TB, ns *Namespace, w WAN) {
	t.Helper()
	c.Run(t, fmt.Sprintf(`ip addr add %v/30 dev %[2]s
		ip addr add %[3]v/64 dev %[2]s nodad`, w.Core4, w.Far, w.Core6))
	w.address(t, ns)
}

// address gives the site its addresses and its default routes.
func (w WAN) address(t testing.TB, ns *Namespace) {
	t.Helper()
	ns.Run(t, fmt.Sprintf(`ip addr add %v/30 dev %[2]s
		ip addr add %[3]v/64 dev %[2]s nodad
		ip route add default via %[4]v
		ip -6 route add default via %[5]v`, w.V4, w.Interface, w.V6, w.Core4, w.Core6))
}

// AttachThrough is Attach with a namespace in the middle of the wire that forwards nothing by
// itself: what passes from its interface "near" to "far" and back is the caller's business. The
// site and the core send no packet larger than the MTU and none with an unfinished checksum there.
func (c *Core) AttachThrough(t testing.TB, ns *Namespace, iface string) (w WAN, middle *Namespace) {
	t.Helper()
	w = c.plan(t, iface)
	middle = New(t)
	Wire(t, ns, iface, middle, "near")
	Wire(t, middle, "far", c.Namespace, w.Far)
	ns.NoOffload(t, iface)
	c.NoOffload(t, w.Far)
	// The middle has no part in the conversation.
	middle.Sysctl(t, "net/ipv6/conf/near/disable_ipv6", "1")
	middle.Sysctl(t, "net/ipv6/conf/far/disable_ipv6", "1")
	c.address(t, ns, w)
	return w, middle
}

// AttachBare is Attach of a site to a program in the core's namespace, which does the routing in place of
// the kernel: the far end has no address. The site sends there no packet larger than the MTU and none
// with an unfinished checksum.
func (c *Core) AttachBare(t testing.TB, ns *Namespace, iface string) WAN {
	t.Helper()
	w := c.plan(t, iface)
	Wire(t, ns, iface, c.Namespace, w.Far)
	ns.NoOffload(t, iface)
	c.Sysctl(t, "net/ipv6/conf/"+w.Far+"/disable_ipv6", "1")
	w.address(t, ns)
	return w
}

// Forward makes a router of the namespace, for both families.
func (ns *Namespace) Forward(t testing.TB) {
	t.Helper()
	ns.Sysctl(t, "net/ipv4/ip_forward", "1")
	ns.Sysctl(t, "net/ipv6/conf/all/forwarding", "1")
}

// A LAN is a bridge in a gateway's namespace and the hosts on it.
type LAN struct {
	Interface string // the bridge, in the gateway's namespace
	V4, V6    netip.Addr
	Hosts     []*Namespace // each with one interface, "eth0"
}

// NewLAN gives a gateway a LAN: the bridge iface with 192.168.n.1/24 and fd00:168:n::1/64, and hosts
// with .11, .12 and so on. The hosts have no default route: they know their own network only.
func NewLAN(t testing.TB, gw *Namespace, iface string, n, hosts int) *LAN {
	t.Helper()
	lan := &LAN{
		Interface: iface,
		V4:        netip.AddrFrom4([4]byte{192, 168, byte(n), 1}),
		V6:        netip.MustParseAddr(fmt.Sprintf("fd00:168:%x::1", n)),
	}
	gw.Run(t, fmt.Sprintf("ip link add %s type bridge", iface))
	gw.Sysctl(t, "net/ipv6/conf/"+iface+"/accept_dad", "0")
	gw.Run(t, fmt.Sprintf(`ip link set %[1]s up
		ip addr add %[2]v/24 dev %[1]s
		ip addr add %[3]v/64 dev %[1]s nodad`, iface, lan.V4, lan.V6))
	for i := range hosts {
		lan.AddHost(t, gw, n, i)
	}
	if hosts > 0 {
		gw.awaitCarrier(t, iface)
	}
	return lan
}

// AddHost wires host number i to the LAN of the gateway.
func (l *LAN) AddHost(t testing.TB, gw *Namespace, n, i int) *Namespace {
	t.Helper()
	host := New(t)
	port := fmt.Sprintf("%s.%d", l.Interface, i)
	Wire(t, gw, port, host, "eth0")
	gw.Run(t, fmt.Sprintf("ip link set %s master %s", port, l.Interface))
	host.Run(t, fmt.Sprintf(`ip addr add 192.168.%d.%d/24 dev eth0
		ip addr add fd00:168:%[1]x::%[3]x/64 dev eth0 nodad`, n, 11+i, 0x11+i))
	l.Hosts = append(l.Hosts, host)
	return host
}

// Shape limits what leaves by iface to rate, in the words of tc(8) such as "10mbit", with a queue of
// 50 ms.
func (ns *Namespace) Shape(t testing.TB, iface, rate string) {
	t.Helper()
	Require(t, "tc")
	ns.Run(t, fmt.Sprintf("tc qdisc replace dev %s root tbf rate %s burst 32k latency 50ms", iface, rate))
}

// AwaitAddrs waits until the kernel answers to IPv6 addresses that were just added: it has a thread of its own put the routes
// in, some time after the command has ended, also without duplicate address detection.
func (ns *Namespace) AwaitAddrs(t testing.TB, addrs ...string) {
	t.Helper()
	for _, addr := range addrs {
		ns.MustExec(t, "timeout", "10", "sh", "-c", `until ip -6 route show table local | grep -qF "local $0 "; do sleep 0.01; done`, addr)
	}
}

// NoOffload makes the interface send packets as they would be on a cable: none larger than its MTU,
// and with finished checksums.
func (ns *Namespace) NoOffload(t testing.TB, iface string) {
	t.Helper()
	Require(t, "ethtool")
	ns.Run(t, fmt.Sprintf("ethtool -K %s tx off tso off gso off gro off tx-udp-segmentation off", iface))
}
