//go:build linux

package tun

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"github.com/vine-mesh/vine/internal/poll"
	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/capture/vnet"
)

// nameMax is the length of the longest interface name: IFNAMSIZ less the final zero byte.
const nameMax = unix.IFNAMSIZ - 1

// mtuMax is the largest MTU that Linux gives such an interface: an IPv4 total length.
const mtuMax = 65535

// A Device is an open TUN or TAP interface. It exists as long as it is open: when it is closed, or the
// process ends however, the kernel removes the interface with its addresses and routes.
//
// The kernel queues up to queueLength packets for the reader and drops the ones that come
// when the queue is full; the interface's TX drop counter shows it. The Device has no goroutine.
// The interface belongs to the network namespace of the thread that called Open; the Device may
// be used from any thread.
type Device struct {
	name   string
	mtu    int
	fd     *poll.FD
	reader vnet.Reader
	writer vnet.Writer
	frame  [vnet.EthernetLen]byte // TAP: what stands before a packet to the kernel, but for its kind
	more   []*Device              // further queues
}

var _ capture.Queued = (*Device)(nil)

// Open makes a TUN interface with the MTU in bytes, capture.MTUMin to 65,535. name has at most 15
// bytes; it may hold one "%d" that the kernel replaces by the first free number ("vine%d"), and if it
// is empty the kernel chooses a name. The interface is down and has no address.
//
// The error says what to do if the right to make interfaces is missing, the kernel offers no TUN
// device, or the name is taken. After an error nothing is left open.
func Open(name string, mtu int) (*Device, error) { return openKind(unix.IFF_TUN, name, mtu, 1) }

// OpenQueues is Open of an interface with so many queues, at least one. Where the kernel gives no super-packets it has one.
func OpenQueues(name string, mtu, queues int) (*Device, error) {
	return openKind(unix.IFF_TUN, name, mtu, queues)
}

// OpenTAP is Open of a TAP interface.
func OpenTAP(name string, mtu int) (*Device, error) {
	d, err := openKind(unix.IFF_TAP, name, mtu, 1)
	if err != nil {
		return nil, err
	}
	if err := d.makeEthernet(); err != nil {
		_ = d.fd.Close()
		return nil, fmt.Errorf("open device %q: %w", d.name, err)
	}
	return d, nil
}

func openKind(kind uint16, name string, mtu, queues int) (*Device, error) {
	if len(name) > nameMax {
		return nil, fmt.Errorf("open device %q: the name has %d bytes, the kernel allows %d: choose a shorter one", name, len(name), nameMax)
	}
	if mtu < capture.MTUMin || mtu > mtuMax {
		return nil, fmt.Errorf("open device %q: MTU %d is not between %d and %d", name, mtu, capture.MTUMin, mtuMax)
	}
	d, err := openOffloading(kind, name, queues)
	if err != nil {
		return nil, fmt.Errorf("open device %q: %w%s", name, err, advice(err))
	}
	d.mtu = mtu
	for _, q := range d.more {
		q.mtu = mtu
	}
	if err := setLink(d.name, mtu); err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("open device %q: set MTU %d and queue length %d: %w", d.name, mtu, queueLength, err)
	}
	return d, nil
}

// What the kernel may leave to us (TUN_F_* of linux/if_tun.h).
const (
	offloadCsum = 0x01
	offloadTSO4 = 0x02
	offloadTSO6 = 0x04
	offloadECN  = 0x08
	offloadUSO4 = 0x20
	offloadUSO6 = 0x40

	offloadTCP = offloadCsum | offloadTSO4 | offloadTSO6 | offloadECN
	offloadAll = offloadTCP | offloadUSO4 | offloadUSO6
)

// openOffloading opens the interface with super-packets of TCP and UDP, else of TCP alone (UDP needs Linux 6.2), else
// without any.
func openOffloading(kind uint16, name string, queues int) (*Device, error) {
	d, err := openQueues(kind, name, queues)
	if errors.Is(err, unix.EINVAL) {
		return openWater(kind, name)
	}
	if err != nil {
		return nil, err
	}
	set := func(flags int) (err error) {
		d.fd.Use(func(fd uintptr) { err = unix.IoctlSetInt(int(fd), unix.TUNSETOFFLOAD, flags) })
		return err
	}
	if set(offloadAll) == nil || set(offloadTCP) == nil {
		return d, nil
	}
	_ = d.Close()
	return openWater(kind, name)
}

// openQueues opens the interface and its further queues.
func openQueues(kind uint16, name string, queues int) (*Device, error) {
	if queues <= 1 {
		return openVnet(kind, name)
	}
	kind |= unix.IFF_MULTI_QUEUE
	d, err := openVnet(kind, name)
	if err != nil {
		return nil, err
	}
	for range queues - 1 {
		q, err := openVnet(kind, d.name)
		if err != nil {
			_ = d.Close()
			return nil, fmt.Errorf("queue %d: %w", len(d.more)+1, err)
		}
		d.more = append(d.more, q)
	}
	return d, nil
}

// openVnet opens the interface with headers that describe super-packets, which water does not know. The descriptor is close-on-exec: no child process may inherit the tunnel.
func openVnet(kind uint16, name string) (*Device, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(kind | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return newDevice(req.Name(), fd, true), nil
}

func newDevice(name string, fd int, offloads bool) *Device {
	d := &Device{name: name, fd: poll.New(fd)}
	d.reader.FD, d.reader.Vnet = d.fd, offloads
	d.writer.FD, d.writer.Vnet = d.fd, offloads
	return d
}

func advice(err error) string {
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return ": run as root or give the program CAP_NET_ADMIN, or use the user-space capture"
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return ": load the module (modprobe tun); in a container, pass the device (--device /dev/net/tun)"
	case errors.Is(err, unix.EBUSY):
		return ": another process has it open: stop that one or choose another name"
	case errors.Is(err, unix.EINVAL):
		return ": an interface of another kind has this name, or the name is not allowed: choose another"
	}
	return ""
}

// queueLength is how many packets wait in the kernel for the reader. At 150,000 small packets a second the kernel's 500 are
// there after 3 ms, for which the reader may well have no processor where several programs share two: with four times as many
// 1.4 times as many packets a second come through without loss. Super-packets wait no longer by it than their senders' windows.
const queueLength = 2000

func setLink(name string, mtu int) error {
	return configure(name, func(fd int, req *unix.Ifreq) error {
		req.SetUint32(uint32(mtu))
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFMTU, req); err != nil {
			return err
		}
		req.SetUint32(queueLength)
		return unix.IoctlIfreq(fd, unix.SIOCSIFTXQLEN, req)
	})
}

// configure calls f with a socket for ioctls of interfaces, and a request that names one.
func configure(name string, f func(fd int, req *unix.Ifreq) error) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	return f(fd, req)
}

// Queues implements capture.Queued.
func (d *Device) Queues() []capture.Pollable {
	var list []capture.Pollable
	for _, q := range d.more {
		list = append(list, q)
	}
	return list
}

// FD implements capture.Pollable.
func (d *Device) FD() *poll.FD { return d.fd }

// ReadBatch implements capture.Device.
func (d *Device) ReadBatch(bufs [][]byte, pkts []capture.Packet) (int, error) {
	n, err := d.reader.ReadBatch(bufs, pkts)
	return n, d.explain("read from", err)
}

// TryReadBatch implements capture.Pollable.
func (d *Device) TryReadBatch(bufs [][]byte, pkts []capture.Packet) (int, error) {
	n, err := d.reader.TryReadBatch(bufs, pkts)
	return n, d.explain("read from", err)
}

// Clipped returns how many packets ReadBatch dropped because they were longer than its buffers, or not what the kernel said
// of them.
func (d *Device) Clipped() uint64 { return d.reader.Clipped() }

// WriteBatch implements capture.Device. The kernel refuses what does not begin like IP, and
// everything while the interface is down.
func (d *Device) WriteBatch(pkts []capture.Packet) (int, error) {
	n, err := d.writer.WriteBatch(pkts)
	return n, d.explain("write to", err)
}

func (d *Device) explain(doing string, err error) error {
	if err == nil || err == net.ErrClosed {
		return err
	}
	return fmt.Errorf("%s device %q: %w", doing, d.name, err)
}

// MTU implements capture.Device. It is the MTU given to Open.
func (d *Device) MTU() int { return d.mtu }

// Name implements capture.Device.
func (d *Device) Name() string { return d.name }

// Close implements capture.Device. It closes all queues.
func (d *Device) Close() error {
	err := d.fd.Close()
	for _, q := range d.more {
		err = errors.Join(err, q.fd.Close())
	}
	if err != nil {
		return fmt.Errorf("close device %q: %w", d.name, err)
	}
	return nil
}
