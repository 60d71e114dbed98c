//go:build linux

package raw

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vine-mesh/vine/internal/poll"
	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/capture/vnet"
	"github.com/vine-mesh/vine/node/segment"
)

// An Injector puts packets into LANs, as frames to the hosts. Learn may be called concurrently with WriteBatch; of that only
// one call at a time may run. It belongs to the network namespace of the thread that called NewInjector.
type Injector struct {
	ports      []*port
	neighbours *neighbours
	kernel     kernelSender

	// Of the present WriteBatch: when it is, and where the host of the last packet is, for most often the next is for the same.
	now  time.Time
	last found
}

// A found is where a host is, if that is known.
type found struct {
	host netip.Addr
	mac  [6]byte
	port int
	ok   bool
}

// A port is a LAN interface.
type port struct {
	name    string
	index   int
	mtu     int
	address [6]byte
	writer  vnet.Writer
}

// NewInjector returns the Injector of LAN interfaces, which must be Ethernets. Without any the kernel's routes lead to the hosts.
// After an error nothing is left open.
func NewInjector(interfaces []string) (*Injector, error) {
	i := &Injector{neighbours: newNeighbours()}
	for _, name := range interfaces {
		if err := i.open(name); err != nil {
			_ = i.Close()
			return nil, err
		}
	}
	bind := ""
	if len(interfaces) == 1 {
		bind = interfaces[0]
	}
	if err := i.kernel.open(bind); err != nil {
		_ = i.Close()
		return nil, err
	}
	return i, nil
}

func (i *Injector) open(name string) error {
	address, err := vnet.AddressOf(name)
	if err != nil {
		return err
	}
	link, err := net.InterfaceByName(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	if link.MTU < capture.MTUMin {
		return fmt.Errorf("interface %s has an MTU of %d, less than %d: make it larger", name, link.MTU, capture.MTUMin)
	}
	fd, err := packetSocket(link.Index, 0, nil)
	if err != nil {
		return err
	}
	p := &port{name: name, index: link.Index, mtu: link.MTU, address: address}
	p.writer = vnet.Writer{FD: poll.New(fd), Vnet: true, To: func(header *[vnet.EthernetLen]byte, packet []byte) bool {
		at := i.find(packet)
		copy(header[:6], at.mac[:])
		copy(header[6:], p.address[:])
		vnet.SetKind(header, packet)
		return at.ok
	}}
	i.ports = append(i.ports, p)
	return nil
}

func (i *Injector) indexes() (list []int) {
	for _, p := range i.ports {
		list = append(list, p.index)
	}
	return list
}

// Learn notes that a packet came in by the interface of that index from an Ethernet address.
func (i *Injector) Learn(index int, mac [6]byte, packet []byte) {
	at := slices.IndexFunc(i.ports, func(p *port) bool { return p.index == index })
	src, _, ok := addresses(packet)
	if at >= 0 && ok {
		i.neighbours.learn(src, mac, at)
	}
}

// WriteBatch is capture.Device.WriteBatch. A packet longer than the interface's MTU, or whose segments are, is refused: nobody
// is there to fragment it.
func (i *Injector) WriteBatch(pkts []capture.Packet) (n int, err error) {
	i.now, i.last = time.Now(), found{}
	for len(pkts) > 0 {
		at := i.find(pkts[0].Bytes)
		count, done, refused := 1, 0, error(nil)
		switch {
		case !at.ok:
			if refused = i.kernel.send(pkts[0]); refused == nil {
				done = 1
			}
		case i.ports[at.port].tooLong(pkts[0]):
			refused = unix.EMSGSIZE
		default:
			for count < len(pkts) && !i.ports[at.port].tooLong(pkts[count]) {
				if next := i.find(pkts[count].Bytes); !next.ok || next.port != at.port {
					break
				}
				count++
			}
			done, refused = i.ports[at.port].writer.WriteBatch(pkts[:count])
		}
		n += done
		if refused == net.ErrClosed {
			return n, refused
		}
		if err == nil {
			err = refused
		}
		pkts = pkts[count:]
	}
	return n, err
}

// tooLong reports whether p has a segment that is longer than the interface carries: of those the kernel does not say so.
func (p *port) tooLong(pkt capture.Packet) bool {
	return pkt.GSOSize != 0 && pkt.SegmentLength() > p.mtu
}

// find returns where the host is that a packet goes to.
func (i *Injector) find(packet []byte) found {
	_, dst, ok := addresses(packet)
	if !ok {
		return found{}
	}
	if i.last.host != dst {
		i.last.host = dst
		i.last.mac, i.last.port, i.last.ok = i.neighbours.find(i.now, dst)
	}
	return i.last
}

// addresses returns the source and the destination of an IP packet.
func addresses(b []byte) (src, dst netip.Addr, ok bool) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:])), true
	case len(b) >= 40 && b[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:])), true
	}
	return src, dst, false
}

// MTU returns the smallest MTU of the interfaces, as it was when they were opened; without any what every LAN carries.
func (i *Injector) MTU() int {
	if len(i.ports) == 0 {
		return 1500
	}
	mtu := i.ports[0].mtu
	for _, p := range i.ports {
		mtu = min(mtu, p.mtu)
	}
	return mtu
}

// Name returns the interfaces' names, with commas in between.
func (i *Injector) Name() string {
	names := []string{}
	if len(i.ports) == 0 {
		return "none"
	}
	for _, p := range i.ports {
		names = append(names, p.name)
	}
	return strings.Join(names, ",")
}

// Stale reports whether an interface is another than it was: made again under the same name, or with another address or MTU. It looks
// in the network namespace of the calling thread. One that is not there is not another.
func (i *Injector) Stale() bool {
	return slices.ContainsFunc(i.ports, func(p *port) bool {
		link, err := net.InterfaceByName(p.name)
		return err == nil && (link.Index != p.index || link.MTU != p.mtu || string(link.HardwareAddr) != string(p.address[:]))
	})
}

// Close ends it: WriteBatch then returns net.ErrClosed. The second and later calls do nothing and return nil.
func (i *Injector) Close() error {
	errs := []error{i.kernel.close()}
	for _, p := range i.ports {
		errs = append(errs, p.writer.FD.Close())
	}
	return errors.Join(errs...)
}

// A kernelSender has the kernel send packets whose hosts we do not know: it asks for their Ethernet addresses, and keeps the
// packets meanwhile. They go the way of the machine's routes, by the one interface if there is only that.
type kernelSender struct {
	v4, v6   *poll.FD // v6 is nil on a machine without IPv6
	to4      unix.SockaddrInet4
	to6      unix.SockaddrInet6
	finisher segment.Finisher
	piece    []byte
	err      error
	write4   func(uintptr) // made once: making them for each call would allocate
	write6   func(uintptr)
}

func (k *kernelSender) open(bind string) error {
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		// IPPROTO_RAW: what is written begins with the IP header, of either family (raw(7), and ipv6_hdrincl of the kernel).
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if family == unix.AF_INET6 && errors.Is(err, unix.EAFNOSUPPORT) {
			continue
		}
		if err == nil && bind != "" {
			if err = unix.BindToDevice(fd, bind); err != nil {
				_ = unix.Close(fd)
			}
		}
		if err != nil {
			_ = k.close()
			return err
		}
		if family == unix.AF_INET {
			k.v4 = poll.New(fd)
		} else {
			k.v6 = poll.New(fd)
		}
	}
	k.write4 = func(fd uintptr) { k.err = unix.Sendto(int(fd), k.piece, 0, &k.to4) }
	k.write6 = func(fd uintptr) { k.err = unix.Sendto(int(fd), k.piece, 0, &k.to6) }
	return nil
}

// send sends p, or its segments one by one.
func (k *kernelSender) send(p capture.Packet) (err error) {
	_, dst, ok := addresses(p.Bytes)
	if !ok || !k.finisher.Start(p) {
		return unix.EINVAL
	}
	fd, write := k.v4, k.write4
	if dst.Is6() {
		fd, write = k.v6, k.write6
		k.to6.Addr = dst.As16()
	} else {
		k.to4.Addr = dst.As4()
	}
	if fd == nil {
		return unix.EAFNOSUPPORT
	}
	for k.piece, ok = k.finisher.Next(); ok; k.piece, ok = k.finisher.Next() {
		if !fd.Use(write) {
			k.piece = nil
			return net.ErrClosed
		}
		if err == nil {
			err = k.err
		}
	}
	return err
}

func (k *kernelSender) close() error {
	var errs []error
	for _, fd := range []*poll.FD{k.v4, k.v6} {
		if fd != nil {
			errs = append(errs, fd.Close())
		}
	}
	return errors.Join(errs...)
}
