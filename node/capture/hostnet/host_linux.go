package hostnet

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Apply sets up this machine as Commands says. It needs CAP_NET_ADMIN. Applying again does no harm.
func (h Host) Apply() error {
	err := h.change(func(k *kernel, l netlink.Link) error {
		a := &netlink.Addr{IPNet: ipNet(h.Address)}
		if h.Address.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD // as in Commands
		}
		if err := k.AddrReplace(l, a); err != nil {
			return fmt.Errorf("add address: %w", explain(err, l.Attrs().Name))
		}
		for _, r := range h.routes(l) {
			if err := k.RouteReplace(r); err != nil {
				return fmt.Errorf("add route %v: %w", r.Dst, explain(err, l.Attrs().Name))
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("set up host %v: %w", h.Address, err)
	}
	return nil
}

// Remove undoes Apply on this machine. What is not there any more is no error.
func (h Host) Remove() error {
	err := h.change(func(k *kernel, l netlink.Link) error {
		var errs []error
		for _, r := range h.routes(l) {
			if err := k.RouteDel(r); err != nil && !gone(err) {
				errs = append(errs, fmt.Errorf("remove route %v: %w", r.Dst, explain(err, l.Attrs().Name)))
			}
		}
		if err := k.AddrDel(l, &netlink.Addr{IPNet: ipNet(h.Address)}); err != nil && !gone(err) {
			errs = append(errs, fmt.Errorf("remove address: %w", explain(err, l.Attrs().Name)))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return fmt.Errorf("remove host %v: %w", h.Address, err)
	}
	return nil
}

// change calls f with the host's interface.
func (h Host) change(f func(*kernel, netlink.Link) error) error {
	k, err := openKernel()
	if err != nil {
		return err
	}
	defer k.close()
	l, err := h.link(k)
	if err != nil {
		return err
	}
	return f(k, l)
}

func (h Host) link(k *kernel) (netlink.Link, error) {
	if h.Interface != "" {
		return k.link(h.Interface)
	}
	routes, err := k.RouteGet(h.Gateway.AsSlice())
	if err != nil {
		return nil, fmt.Errorf("no interface leads to gateway %v: %w: name the interface", h.Gateway, err)
	}
	for _, r := range routes {
		if r.Gw != nil {
			return nil, fmt.Errorf("gateway %v is not on a network of this host: name the interface, or a gateway that is", h.Gateway)
		}
		return k.LinkByIndex(r.LinkIndex)
	}
	return nil, fmt.Errorf("no interface leads to gateway %v: name the interface", h.Gateway)
}

func (h Host) routes(l netlink.Link) []*netlink.Route {
	var routes []*netlink.Route
	for _, s := range h.Space {
		routes = append(routes, &netlink.Route{
			Dst:       ipNet(s),
			Gw:        h.Gateway.AsSlice(),
			Src:       h.Address.Addr().AsSlice(),
			LinkIndex: l.Attrs().Index,
			Table:     tableMain,
			Protocol:  unix.RTPROT_BOOT, // as `ip route` marks what is not configured to last
		})
	}
	return routes
}
