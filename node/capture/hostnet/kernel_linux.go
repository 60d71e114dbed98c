package hostnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// dumpTriesMax bounds how often an interrupted dump is tried again. The kernel interrupts a dump
// when a table changes under it; on a machine where ten in a row are, something is wrong.
const dumpTriesMax = 10

// complete calls dump until the kernel was not interrupted: "dump was inconsistent"
// (NLM_F_DUMP_INTR) means that entries may be missing.
func complete[T any](dump func() (T, error)) (T, error) {
	var v T
	var err error
	for range dumpTriesMax {
		if v, err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return v, err
}

// A kernel changes routes, rules, addresses and links in the namespace in which it was opened.
// Every change is idempotent: making what is there and removing what is not succeed.
type kernel struct {
	*netlink.Handle
}

func openKernel() (*kernel, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &kernel{h}, nil
}

func (k *kernel) close() { k.Handle.Close() }

// explain adds to an error of the kernel what to do about it.
func explain(err error, iface string) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: run as root or give the program CAP_NET_ADMIN, or use the user-space capture", err)
	case errors.Is(err, unix.ENETDOWN):
		return fmt.Errorf("%w: bring the interface up (ip link set %s up)", err, iface)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: for an IPv6 prefix, see that IPv6 is on (sysctl net.ipv6.conf.%s.disable_ipv6)", err, iface)
	}
	return err
}

// make brings about everything in s, guards first.
func (k *kernel) make(plan Plan, s state) error {
	for _, r := range s.Guards {
		if err := k.addRoute(r); err != nil {
			return err
		}
	}
	for _, c := range s.Sysctls {
		if now, err := readSysctl(c.Path); err == nil && now == c.New {
			continue // also what the kernel sets by itself: writing it again would be refused or too early
		}
		if c.Coupled {
			continue
		}
		if err := writeSysctl(c.Path, c.New); err != nil {
			return err
		}
	}
	for _, d := range plan.devices() {
		if err := k.raise(d, plan.MTU); err != nil {
			return err
		}
	}
	for _, a := range s.Addresses {
		if err := k.addAddress(a); err != nil {
			return err
		}
	}
	for _, r := range s.Routes {
		if err := k.addRoute(r); err != nil {
			return err
		}
	}
	for _, q := range s.Queueings {
		if err := q.make(); err != nil {
			return err
		}
	}
	for _, r := range s.Rules {
		if err := k.RuleAdd(r.netlink()); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add rule for %s to table %d: %w", r.Incoming+r.Outgoing, r.Table, explain(err, r.Incoming+r.Outgoing))
		}
	}
	return nil
}

// undo removes everything in s, the last made first. It goes on after an error.
func (k *kernel) undo(s state) error {
	var errs []error
	for _, r := range slices.Backward(s.Rules) {
		if err := k.RuleDel(r.netlink()); err != nil && !gone(err) {
			errs = append(errs, fmt.Errorf("remove rule for %s: %w", r.Incoming+r.Outgoing, explain(err, r.Incoming+r.Outgoing)))
		}
	}
	for _, q := range slices.Backward(s.Queueings) {
		errs = append(errs, q.remove())
	}
	for _, r := range slices.Backward(s.Routes) {
		errs = append(errs, k.removeRoute(r))
	}
	for _, a := range slices.Backward(s.Addresses) {
		errs = append(errs, k.removeAddress(a))
	}
	for _, c := range slices.Backward(s.Sysctls) {
		errs = append(errs, c.restore())
	}
	for _, r := range slices.Backward(s.Guards) {
		errs = append(errs, k.removeRoute(r))
	}
	return errors.Join(errs...)
}

// gone reports whether err says that what should be removed is not there.
func gone(err error) bool {
	var noLink netlink.LinkNotFoundError
	return errors.As(err, &noLink) ||
		errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) ||
		errors.Is(err, unix.EADDRNOTAVAIL)
}

// link finds an interface by name.
func (k *kernel) link(name string) (netlink.Link, error) {
	l, err := complete(func() (netlink.Link, error) { return k.LinkByName(name) })
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	return l, nil
}

// raise brings a TUN device up. It gets no link-local address: the kernel would send router
// solicitations into the mesh.
func (k *kernel) raise(device string, mtu int) error {
	l, err := k.link(device)
	if err != nil {
		return err
	}
	if mtu > 0 && l.Attrs().MTU != mtu {
		if err := k.LinkSetMTU(l, mtu); err != nil {
			return fmt.Errorf("set MTU of %s to %d: %w", device, mtu, explain(err, device))
		}
	}
	if l.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	const addrGenModeNone = 1                       // IN6_ADDR_GEN_MODE_NONE: no link-local address
	_ = k.LinkSetIP6AddrGenMode(l, addrGenModeNone) // a kernel without IPv6 refuses, and has no need
	if err := k.LinkSetUp(l); err != nil {
		return fmt.Errorf("bring up %s: %w", device, explain(err, device))
	}
	return nil
}

func (k *kernel) addAddress(a address) error {
	l, err := k.link(a.Interface)
	if err != nil {
		return err
	}
	if err := k.AddrAdd(l, a.netlink()); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add address %v to %s: %w", a.Addr, a.Interface, explain(err, a.Interface))
	}
	return nil
}

func (k *kernel) removeAddress(a address) error {
	l, err := k.link(a.Interface)
	if err == nil {
		err = k.AddrDel(l, a.netlink())
	}
	if err != nil && !gone(err) {
		return fmt.Errorf("remove address %v from %s: %w", a.Addr, a.Interface, explain(err, a.Interface))
	}
	return nil
}

// missing returns the addresses that are ours already or that the machine does not have: what an
// administrator gave it is not ours to remove.
func (k *kernel) missing(wanted, ours []address) ([]address, error) {
	var list []address
	for _, a := range wanted {
		l, err := k.link(a.Interface)
		if err != nil {
			return nil, err
		}
		present, err := complete(func() ([]netlink.Addr, error) { return k.AddrList(l, family(a.Addr)) })
		if err != nil {
			return nil, fmt.Errorf("list addresses of %s: %w", a.Interface, err)
		}
		has := slices.ContainsFunc(present, func(p netlink.Addr) bool { return p.IP.Equal(a.Addr.AsSlice()) })
		if !has || slices.Contains(ours, a) {
			list = append(list, a)
		}
	}
	return list, nil
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func (a address) netlink() *netlink.Addr {
	n := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a.Addr, a.Addr.BitLen()))}
	if a.Addr == unnumbered {
		n.Scope = unix.RT_SCOPE_HOST // never the source of what the machine itself sends
	}
	return n
}

func (r rule) netlink() *netlink.Rule {
	n := netlink.NewRule()
	n.Priority, n.IifName, n.OifName, n.Table, n.Family = rulePriority, r.Incoming, r.Outgoing, r.Table, unix.AF_INET
	if r.IPv6 {
		n.Family = unix.AF_INET6
	}
	return n
}
