package hostnet

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func (r route) String() string {
	switch {
	case r.Unreachable:
		return fmt.Sprintf("unreachable %v table %d", r.Prefix, r.Table)
	case r.Blackhole:
		return fmt.Sprintf("blackhole %v table %d", r.Prefix, r.Table)
	}
	return fmt.Sprintf("%v dev %s table %d", r.Prefix, r.Interface, r.Table)
}

// netlink returns the kernel's form. It fails if the interface is not there.
func (r route) netlink(k *kernel) (*netlink.Route, error) {
	n := &netlink.Route{
		Dst:      ipNet(r.Prefix),
		Table:    r.Table,
		Priority: r.Metric,
		Protocol: protocol,
		Family:   family(r.Prefix.Addr()),
	}
	switch {
	case r.Unreachable:
		n.Type = unix.RTN_UNREACHABLE
		return n, nil
	case r.Blackhole:
		n.Type = unix.RTN_BLACKHOLE
		return n, nil
	}
	l, err := k.link(r.Interface)
	if err != nil {
		return nil, err
	}
	n.LinkIndex = l.Attrs().Index
	if r.Prefix.Addr().Is4() {
		n.Scope = unix.RT_SCOPE_LINK // IPv6 routes have no scope
	}
	return n, nil
}

// addRoute adds a route. One of ours that stands in its place (same prefix and metric, another
// interface) is replaced; another's makes it fail.
func (k *kernel) addRoute(r route) error {
	n, err := r.netlink(k)
	if err == nil {
		err = k.RouteAdd(n)
	}
	if errors.Is(err, unix.EEXIST) {
		err = k.replaceRoute(r, n)
	}
	if err != nil {
		return fmt.Errorf("add route %v: %w", r, explain(err, r.Interface))
	}
	return nil
}

func (k *kernel) replaceRoute(r route, n *netlink.Route) error {
	routes, err := k.routes(n.Family, r.Table)
	if err != nil {
		return err
	}
	for _, old := range routes {
		if prefix(old) != r.Prefix || old.Priority != r.Metric {
			continue
		}
		same := old.Type == n.Type || old.Type == unix.RTN_UNICAST && n.Type == 0
		switch {
		case old.Protocol != protocol:
			return fmt.Errorf("a route that is not ours is in its place: %v", old)
		case same && (r.Interface == "" || old.LinkIndex == n.LinkIndex):
			return nil
		}
	}
	return k.RouteReplace(n)
}

func (k *kernel) removeRoute(r route) error {
	n, err := r.netlink(k)
	if err == nil {
		err = k.RouteDel(n)
	}
	if err != nil && !gone(err) {
		return fmt.Errorf("remove route %v: %w", r, explain(err, r.Interface))
	}
	return nil
}

// routes lists the routes of a family in a table.
func (k *kernel) routes(family, table int) ([]netlink.Route, error) {
	routes, err := complete(func() ([]netlink.Route, error) {
		return k.RouteListFiltered(family, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return routes, nil
}

// prefix returns a route's destination; the default route's is the zero Prefix.
func prefix(r netlink.Route) netip.Prefix {
	if r.Dst == nil {
		return netip.Prefix{}
	}
	a, ok := netip.AddrFromSlice(r.Dst.IP)
	if !ok {
		return netip.Prefix{}
	}
	if r.Family == unix.AF_INET || len(r.Dst.Mask) == 4 {
		a = a.Unmap()
	}
	bits, _ := r.Dst.Mask.Size()
	return netip.PrefixFrom(a, bits)
}

// inspect checks the plan against the machine before anything is changed: the interfaces are there,
// and no route of the main table would draw packets for the ViNe space out of the TUN device.
func (k *kernel) inspect(plan Plan, ours state) error {
	for _, d := range plan.devices() {
		l, err := k.link(d)
		if gone(err) {
			return fmt.Errorf("%w: open the TUN device before setting up the network", err)
		}
		if err != nil {
			return err
		}
		if l.Type() != "tuntap" {
			return fmt.Errorf("interface %s is of type %s, not a TUN device: choose another name", d, l.Type())
		}
	}
	for _, name := range plan.interfaces() {
		l, err := k.link(name)
		if gone(err) {
			return fmt.Errorf("%w: name a LAN interface that exists (ip link shows them)", err)
		}
		if err != nil {
			return err
		}
		if l.Attrs().Flags&unix.IFF_UP == 0 {
			return fmt.Errorf("interface %s is down: bring it up (ip link set %s up)", name, name)
		}
	}
	var errs []error
	if plan.Device == "" {
		errs = append(errs, k.inspectOwn(plan, ours))
	}
	for _, ipv6 := range plan.families() {
		f := unix.AF_INET
		if ipv6 {
			f = unix.AF_INET6
		}
		routes, err := k.routes(f, tableMain)
		if err != nil {
			return err
		}
		for _, r := range routes {
			if prefix(r).IsValid() && plan.inSpace(prefix(r)) && !k.belongs(r, plan, ours) {
				errs = append(errs, collision(r))
			}
		}
	}
	return errors.Join(errs...)
}

// inspectOwn refuses to take packets off LAN interfaces of a machine that has an address inside the ViNe space by itself: it would
// take part in a packet that we take, and answer it a second time.
func (k *kernel) inspectOwn(plan Plan, ours state) error {
	list, err := complete(func() ([]netlink.Addr, error) { return k.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range list {
		at, ok := netip.AddrFromSlice(a.IP)
		if at = at.Unmap(); !ok || !plan.inSpace(netip.PrefixFrom(at, at.BitLen())) {
			continue
		}
		if !slices.ContainsFunc(ours.Addresses, func(own address) bool { return own.Addr == at }) {
			return fmt.Errorf("the machine has the address %v inside the ViNe space: remove it, or capture by a TUN or TAP device", at)
		}
	}
	return nil
}

// belongs reports whether a route inside the ViNe space may be there: it is ours, or it leads to
// hosts of an attachment on that attachment's interface (the machine has an address there), in a block that is delivered there
// or in a subnet that the plan says to be the LAN's own.
func (k *kernel) belongs(r netlink.Route, plan Plan, ours state) bool {
	if r.Type != unix.RTN_UNICAST {
		return true // it forwards nothing
	}
	if len(r.MultiPath) > 0 {
		return false
	}
	l, err := k.LinkByIndex(r.LinkIndex)
	if err != nil {
		return gone(err)
	}
	name := l.Attrs().Name
	if r.Protocol == protocol {
		return slices.ContainsFunc(ours.Routes, func(o route) bool {
			return o.Prefix == prefix(r) && o.Interface == name && o.Table == tableMain
		})
	}
	if prefix(r).IsSingleIP() && slices.Contains(ours.Addresses, address{Addr: prefix(r).Addr(), Interface: name}) {
		return true // the kernel's own route to an address of ours
	}
	return r.Gw == nil && slices.ContainsFunc(plan.Attachments, func(a Attachment) bool {
		return a.Interface == name && slices.ContainsFunc(slices.Concat(a.Blocks, a.Subnets), func(b netip.Prefix) bool {
			return b.Overlaps(prefix(r)) && b.Bits() <= prefix(r).Bits()
		})
	})
}

func collision(r netlink.Route) error {
	if r.Protocol == protocol {
		return fmt.Errorf("route %v was left by a router whose journal is lost, or another router runs: stop it, then `ip route flush proto %d`", prefix(r), protocol)
	}
	return fmt.Errorf("route %v of this machine lies inside the ViNe space: packets for it would leave in the clear; remove it or choose another ViNe space", prefix(r))
}
