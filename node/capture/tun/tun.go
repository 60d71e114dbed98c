//go:build linux

package tun

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vine-mesh/vine/internal/poll"
	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/segment"
)

// nameMax is the length of the longest interface name: IFNAMSIZ less the final zero byte.
const nameMax = unix.IFNAMSIZ - 1

// mtuMax is the largest MTU that Linux gives a TUN interface: an IPv4 total length.
const mtuMax = 65535

// A Device is an open TUN interface. It exists as long as it is open: when it is closed, or the
// process ends however, the kernel removes the interface with its addresses and routes.
//
// The kernel queues up to queueLength packets for the reader and drops the ones that come
// when the queue is full; the interface's TX drop counter shows it. The Device has no goroutine.
// The interface belongs to the network namespace of the thread that called Open; the Device may
// be used from any thread.
type Device struct {
	name    string
	mtu     int
	fd      *poll.FD
	clipped atomic.Uint64

	reader reader
	writer writer
}

var _ capture.Device = (*Device)(nil)

// Open makes a TUN interface with the MTU in bytes, capture.MTUMin to 65,535. name has at most 15
// bytes; it may hold one "%d" that the kernel replaces by the first free number ("vine%d"), and if it
// is empty the kernel chooses a name. The interface is down and has no address.
//
// The error says what to do if the right to make interfaces is missing, the kernel offers no TUN
// device, or the name is taken. After an error nothing is left open.
func Open(name string, mtu int) (*Device, error) {
	if len(name) > nameMax {
		return nil, fmt.Errorf("open tun device %q: the name has %d bytes, the kernel allows %d: choose a shorter one", name, len(name), nameMax)
	}
	if mtu < capture.MTUMin || mtu > mtuMax {
		return nil, fmt.Errorf("open tun device %q: MTU %d is not between %d and %d", name, mtu, capture.MTUMin, mtuMax)
	}
	d, err := openOffloading(name)
	if err != nil {
		return nil, fmt.Errorf("open tun device %q: %w%s", name, err, advice(err))
	}
	d.mtu = mtu
	if err := setLink(d.name, mtu); err != nil {
		_ = d.fd.Close()
		return nil, fmt.Errorf("open tun device %q: set MTU %d and queue length %d: %w", d.name, mtu, queueLength, err)
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
func openOffloading(name string) (*Device, error) {
	d, err := openVnet(name)
	if errors.Is(err, unix.EINVAL) {
		return openWater(name)
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
	_ = d.fd.Close()
	return openWater(name)
}

// openVnet opens the interface with headers that describe super-packets, which water does not know. The descriptor is close-on-exec: no child process may inherit the tunnel.
func openVnet(name string) (*Device, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
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

func newDevice(name string, fd int, vnet bool) *Device {
	d := &Device{name: name, fd: poll.New(fd)}
	d.reader.vnet, d.writer.vnet = vnet, vnet
	// The method values are made once: making one for each call would allocate.
	d.reader.fill, d.reader.try = d.reader.take, func() bool { return d.tryRead() }
	d.writer.drain = d.writer.put
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
	req.SetUint32(uint32(mtu))
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFMTU, req); err != nil {
		return err
	}
	req.SetUint32(queueLength)
	return unix.IoctlIfreq(fd, unix.SIOCSIFTXQLEN, req)
}

// FD implements capture.Pollable.
func (d *Device) FD() *poll.FD { return d.fd }

// ReadBatch implements capture.Device. It takes at most readBytes or a little more, however many packets that are.
func (d *Device) ReadBatch(bufs [][]byte, pkts []capture.Packet) (int, error) {
	_ = bufs[0]
	r := &d.reader
	r.bufs, r.pkts, r.n, r.err = bufs, pkts, 0, nil
	err := d.fd.Read(r.try)
	if err == nil {
		err = r.err
	}
	return d.read(err)
}

// TryReadBatch implements capture.Pollable.
func (d *Device) TryReadBatch(bufs [][]byte, pkts []capture.Packet) (int, error) {
	_ = bufs[0]
	r := &d.reader
	r.bufs, r.pkts, r.n, r.err = bufs, pkts, 0, nil
	d.tryRead()
	return d.read(r.err)
}

// tryRead reads what is there. It reports whether there is something to tell the caller.
func (d *Device) tryRead() bool {
	r := &d.reader
	if !d.fd.Use(r.fill) {
		r.n, r.err = 0, net.ErrClosed
	}
	if r.n > 0 {
		r.err = nil // an error behind the first packet shows again in the next call
	}
	return r.n > 0 || r.err != nil
}

// read ends a call.
func (d *Device) read(err error) (int, error) {
	r := &d.reader
	if r.clipped > 0 {
		d.clipped.Add(r.clipped)
		r.clipped = 0
	}
	r.bufs, r.pkts = nil, nil
	switch {
	case errors.Is(err, net.ErrClosed):
		return 0, net.ErrClosed
	case err != nil:
		return 0, fmt.Errorf("read from tun device %q: %w", d.name, err)
	}
	return r.n, nil
}

// readBytes bounds what one ReadBatch takes: more would fall out of the cache before it is sealed.
const readBytes = 256 << 10

// A reader is the state of one ReadBatch call, kept in the Device so that it needs no allocation.
type reader struct {
	fill    func(fd uintptr)
	try     func() bool
	vnet    bool
	header  [segment.VnetLen]byte
	vector  [2]unix.Iovec
	bufs    [][]byte
	pkts    []capture.Packet
	n       int
	clipped uint64
	err     error
}

// take reads until the buffers are full, enough was read or nothing waits.
func (r *reader) take(fd uintptr) {
	for total := 0; r.n < len(r.bufs) && total < readBytes; {
		b := r.bufs[r.n]
		n, err := r.read(int(fd), b)
		switch {
		case err == nil && n == len(b) && cut(b):
			r.clipped++
		case err == nil && n > 0:
			p := capture.Packet{Bytes: b[:n]}
			if r.vnet {
				var ok bool
				if p, ok = segment.FromVnet(&r.header, b[:n]); !ok {
					r.clipped++
					continue
				}
			}
			r.pkts[r.n] = p
			r.n++
			total += n
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return
		default:
			if err == nil {
				err = unix.EIO // reading nothing: the device does not do this
			}
			r.err = err
			return
		}
	}
}

// read reads one packet to b, and what the kernel says about it to r.header. It returns the packet's length.
func (r *reader) read(fd int, b []byte) (int, error) {
	if !r.vnet {
		return unix.Read(fd, b)
	}
	n, err := transfer(unix.SYS_READV, fd, &r.vector, r.header[:], b)
	if err == nil && n <= segment.VnetLen {
		return 0, nil
	}
	return n - segment.VnetLen, err
}

// transfer is readv or writev of two buffers, without the list that package unix would make for each call. It does not
// wait, for the descriptor does not, so Go's scheduler is not told of it: see theKernel of transport/underlay.
func transfer(call uintptr, fd int, vector *[2]unix.Iovec, header, b []byte) (int, error) {
	vector[0].Base, vector[1].Base = unsafe.SliceData(header), unsafe.SliceData(b)
	vector[0].SetLen(len(header))
	vector[1].SetLen(len(b))
	n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(vector)), uintptr(len(vector)))
	vector[0].Base, vector[1].Base = nil, nil
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// cut reports whether a packet that fills its buffer has been cut by it: its header promises more.
// The kernel says so itself only in the packet information header, which we do without.
func cut(b []byte) bool {
	switch {
	case len(b) >= 4 && b[0]>>4 == 4:
		return int(binary.BigEndian.Uint16(b[2:])) > len(b)
	case len(b) >= 6 && b[0]>>4 == 6:
		return 40+int(binary.BigEndian.Uint16(b[4:])) > len(b)
	}
	return true
}

// Clipped returns how many packets ReadBatch dropped because they were longer than its buffers, or not what the kernel said
// of them.
func (d *Device) Clipped() uint64 { return d.clipped.Load() }

// WriteBatch implements capture.Device. The kernel refuses what does not begin like IP, and
// everything while the interface is down.
func (d *Device) WriteBatch(pkts []capture.Packet) (int, error) {
	w := &d.writer
	w.pkts, w.done, w.n, w.err = pkts, 0, 0, nil
	for closed := false; w.done < len(pkts) && !closed; {
		if closed = !d.fd.Use(w.drain); closed {
			w.err = net.ErrClosed
		} else if w.done < len(pkts) {
			d.fd.WaitWritable(writeWait)
		}
	}
	w.pkts = nil
	switch {
	case w.err == net.ErrClosed:
		return w.n, w.err
	case w.err != nil:
		return w.n, fmt.Errorf("write to tun device %q: %w", d.name, w.err)
	}
	return w.n, nil
}

// writeWait is how long a write waits for room before it looks whether the device is still open.
const writeWait = 20 * time.Millisecond

// A writer is the state of one WriteBatch call, kept in the Device so that it needs no allocation.
type writer struct {
	drain  func(fd uintptr)
	vnet   bool
	broken [8]bool // kinds of super-packets (gso_type) that this kernel refuses though they are right
	header [segment.VnetLen]byte
	vector [2]unix.Iovec
	pkts   []capture.Packet
	done   int // packets tried
	n      int // packets taken
	err    error

	finisher segment.Finisher
	rest     []byte // a finished packet for which the kernel had no room; the finisher has the others
	refused  error  // of a finished packet
}

// put writes packets, all of them if the kernel has room.
func (w *writer) put(fd uintptr) {
	for w.done < len(w.pkts) {
		err := w.packet(int(fd), w.pkts[w.done])
		switch {
		case err == nil:
			w.n++
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return
		case w.err == nil:
			w.err = err
		}
		w.done++
	}
}

// packet writes one packet, in one call if the kernel takes it so. After EAGAIN and EINTR it is called with the same again.
//
// Kernels with a fault take a header that is right for EINVAL (6.6.44 and others of that month, for a tail shorter than
// gso_size), and UDP needs Linux 6.2: then the segments go one by one, and so they do from then on for this kind.
func (w *writer) packet(fd int, p capture.Packet) error {
	if w.rest != nil {
		return w.finished(fd)
	}
	if len(p.Bytes) == 0 || !segment.ToVnet(&w.header, p) {
		return unix.EINVAL
	}
	kind := w.header[1] & 7
	if w.vnet && !w.broken[kind] {
		_, err := transfer(unix.SYS_WRITEV, fd, &w.vector, w.header[:], p.Bytes)
		if p.GSOSize == 0 || !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	if !w.finisher.Start(p) {
		return unix.EINVAL
	}
	w.refused = nil
	w.rest, _ = w.finisher.Next()
	err := w.finished(fd)
	if err == nil && w.vnet && p.GSOSize != 0 {
		w.broken[kind] = true // its segments are fine
	}
	return err
}

// finished writes the rest of what the finisher has.
func (w *writer) finished(fd int) error {
	for w.rest != nil {
		var err error
		if w.vnet {
			w.header = [segment.VnetLen]byte{}
			_, err = transfer(unix.SYS_WRITEV, fd, &w.vector, w.header[:], w.rest)
		} else {
			_, err = unix.Write(fd, w.rest)
		}
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			return err
		}
		if w.refused == nil {
			w.refused = err
		}
		w.rest, _ = w.finisher.Next()
	}
	return w.refused
}

// MTU implements capture.Device. It is the MTU given to Open.
func (d *Device) MTU() int { return d.mtu }

// Name implements capture.Device.
func (d *Device) Name() string { return d.name }

// Close implements capture.Device.
func (d *Device) Close() error {
	if err := d.fd.Close(); err != nil {
		return fmt.Errorf("close tun device %q: %w", d.name, err)
	}
	return nil
}
