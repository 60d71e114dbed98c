package hostnet

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Own puts addresses on a device of this machine, or takes them off. What is so already is no error. It keeps no journal: with a
// TUN or TAP device of ours its addresses go, however the process ends.
//
// The machine takes what comes in for them by any interface. It answers ARP for the IPv4 ones there, for Linux does so for every
// address that it has.
func Own(device string, addrs []netip.Addr, on bool) error {
	k, err := openKernel()
	if err != nil {
		return err
	}
	defer k.close()
	l, err := k.link(device)
	if err != nil {
		if !on && gone(errors.Unwrap(err)) {
			return nil
		}
		return err
	}
	var errs []error
	for _, addr := range addrs {
		a := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(addr, addr.BitLen())), Scope: unix.RT_SCOPE_HOST}
		if addr.Is6() {
			a.Scope = unix.RT_SCOPE_UNIVERSE // IPv6 tells the scope from the address
			// Whether another machine has it the lease has decided. Deprecated addresses are the source of nothing new.
			a.Flags, a.ValidLft, a.PreferedLft = unix.IFA_F_NODAD, int(^uint32(0)>>1), 0
		}
		if on {
			err = k.AddrAdd(l, a)
		} else {
			err = k.AddrDel(l, a)
		}
		if err != nil && !errors.Is(err, unix.EEXIST) && !gone(err) {
			errs = append(errs, fmt.Errorf("address %v on %s: %w", addr, device, explain(err, device)))
		}
	}
	return errors.Join(errs...)
}
