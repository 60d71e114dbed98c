//go:build linux

package tun

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/vine-mesh/vine/node/capture/vnet"
)

// makeEthernet has the device's packets be Ethernet frames between the kernel and us. The interface does no ARP and no
// neighbour discovery: the kernel then sends whatever it routes into it to the interface's own address, and takes what comes
// to that. So there is nobody to answer, and no table of neighbours to fill with every address of the ViNe space.
func (d *Device) makeEthernet() error {
	err := configure(d.name, func(fd int, req *unix.Ifreq) error {
		if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
			return fmt.Errorf("read flags: %w", err)
		}
		req.SetUint16(req.Uint16() | unix.IFF_NOARP)
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
			return fmt.Errorf("turn ARP off: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	address, err := vnet.AddressOf(d.name)
	if err != nil {
		return err
	}
	copy(d.frame[:6], address[:])
	copy(d.frame[6:], address[:])
	d.frame[11] ^= 1 // not from itself: a bridge, or a filter, would take that for a loop
	d.reader.Ethernet = true
	d.writer.To = d.toKernel
	return nil
}

// toKernel writes the header of a frame to the kernel.
func (d *Device) toKernel(header *[vnet.EthernetLen]byte, packet []byte) bool {
	*header = d.frame
	vnet.SetKind(header, packet)
	return true
}
