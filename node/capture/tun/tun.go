//go:build linux

package tun

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/songgao/water"
	"golang.org/x/sys/unix"

	"github.com/vine-mesh/vine/node/capture"
)

// nameMax is the length of the longest interface name: IFNAMSIZ less the final zero byte.
const nameMax = unix.IFNAMSIZ - 1

// mtuMax is the largest MTU that Linux gives a TUN interface: an IPv4 total length.
const mtuMax = 65535

// A Device is an open TUN interface. It exists as long as it is open: when it is closed, or the
// process ends however, the kernel removes the interface with its addresses and routes.
//
// The kernel queues up to txqueuelen (500) packets for the reader and drops the ones that come
// when the queue is full; the interface's TX drop counter shows it. The Device has no goroutine.
// The interface belongs to the network namespace of the thread that called Open; the Device may
// be used from any thread.
type Device struct {
	name    string
	mtu     int
	file    *os.File
	raw     syscall.RawConn
	closed  atomic.Bool
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
	d, err := openWater(name)
	if err != nil {
		return nil, fmt.Errorf("open tun device %q: %w%s", name, err, advice(err))
	}
	d.mtu = mtu
	if err := setMTU(d.name, mtu); err != nil {
		_ = d.file.Close()
		return nil, fmt.Errorf("open tun device %q: set MTU %d: %w", d.name, mtu, err)
	}
	return d, nil
}

// opening serialises openWater: strays tells a descriptor leaked by this call from others by it.
var opening sync.Mutex

// openWater calls water.New and mends what it gets.
func openWater(name string) (*Device, error) {
	opening.Lock()
	defer opening.Unlock()

	// water opens without O_CLOEXEC. Holding ForkLock keeps every fork away until the flag is set:
	// "it is held for reading while creating new file descriptors [...] and marking them
	// close-on-exec" (package syscall, ForkLock).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()

	before := tunFDs()
	ifce, err := water.New(water.Config{
		DeviceType:             water.TUN,
		PlatformSpecificParams: water.PlatformSpecificParams{Name: name},
	})
	if err != nil {
		// When the ioctl fails water forgets its descriptor, which a child could inherit.
		for fd := range tunFDs() {
			if !before[fd] {
				_ = unix.Close(fd)
			}
		}
		return nil, err
	}
	file, ok := ifce.ReadWriteCloser.(*os.File)
	if !ok {
		_ = ifce.Close()
		return nil, errors.New("water gave no file")
	}
	raw, err := file.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { unix.CloseOnExec(int(fd)) })
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	d := &Device{name: ifce.Name(), file: file, raw: raw}
	// The method values are made once: making one for each call would allocate.
	d.reader.step, d.writer.step = d.reader.fill, d.writer.drain
	return d, nil
}

// tunFDs returns this process's descriptors of /dev/net/tun. It is empty if /proc is not there.
func tunFDs() map[int]bool {
	fds := make(map[int]bool)
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fds
	}
	for _, e := range entries {
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err != nil {
			continue
		}
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && target == "/dev/net/tun" {
			fds[fd] = true
		}
	}
	return fds
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

func setMTU(name string, mtu int) error {
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
	return unix.IoctlIfreq(fd, unix.SIOCSIFMTU, req)
}

// ReadBatch implements capture.Device.
func (d *Device) ReadBatch(bufs [][]byte, sizes []int) (int, error) {
	_ = bufs[0]
	r := &d.reader
	r.bufs, r.sizes = bufs, sizes
	for {
		r.n, r.err = 0, nil
		err := d.raw.Read(r.step)
		switch {
		case d.closed.Load():
			err = net.ErrClosed
		case r.n > 0:
			// An error behind the first packet shows again in the next call.
			err = nil
		case err == nil && r.err == nil:
			continue // every packet was too long for its buffer
		case err == nil:
			err = fmt.Errorf("read from tun device %q: %w", d.name, r.err)
		default:
			err = fmt.Errorf("read from tun device %q: %w", d.name, err)
		}
		if r.clipped > 0 {
			d.clipped.Add(r.clipped)
			r.clipped = 0
		}
		n := r.n
		r.bufs, r.sizes = nil, nil
		if err != nil {
			n = 0
		}
		return n, err
	}
}

// A reader is the state of one ReadBatch call, kept in the Device so that it needs no allocation.
type reader struct {
	step    func(fd uintptr) bool
	bufs    [][]byte
	sizes   []int
	n       int
	clipped uint64
	err     error
}

// fill reads until the buffers are full or nothing waits. It reports false, which makes the
// runtime wait for more, if it has come away with nothing.
func (r *reader) fill(fd uintptr) bool {
	for r.n < len(r.bufs) {
		b := r.bufs[r.n]
		n, err := unix.Read(int(fd), b)
		switch {
		case err == nil && n == len(b) && cut(b):
			r.clipped++
		case err == nil && n > 0:
			r.sizes[r.n] = n
			r.n++
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return r.n > 0
		default:
			if err == nil {
				err = unix.EIO // reading nothing: the device does not do this
			}
			r.err = err
			return true
		}
	}
	return true
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

// Clipped returns how many packets ReadBatch dropped because they were longer than its buffers.
func (d *Device) Clipped() uint64 { return d.clipped.Load() }

// WriteBatch implements capture.Device. The kernel refuses what does not begin like IP, and
// everything while the interface is down.
func (d *Device) WriteBatch(pkts [][]byte) (int, error) {
	w := &d.writer
	w.pkts, w.done, w.n, w.err = pkts, 0, 0, nil
	err := d.raw.Write(w.step)
	w.pkts = nil
	switch {
	case d.closed.Load():
		return w.n, net.ErrClosed
	case err == nil:
		err = w.err
	}
	if err != nil {
		err = fmt.Errorf("write to tun device %q: %w", d.name, err)
	}
	return w.n, err
}

// A writer is the state of one WriteBatch call, kept in the Device so that it needs no allocation.
type writer struct {
	step func(fd uintptr) bool
	pkts [][]byte
	done int // packets tried
	n    int // packets taken
	err  error
}

// drain writes all packets. It reports false, which makes the runtime wait, if the kernel has no
// room at the moment.
func (w *writer) drain(fd uintptr) bool {
	for w.done < len(w.pkts) {
		p := w.pkts[w.done]
		var err error = unix.EINVAL
		if len(p) > 0 {
			_, err = unix.Write(int(fd), p)
		}
		switch {
		case err == nil:
			w.n++
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return false
		case w.err == nil:
			w.err = err
		}
		w.done++
	}
	return true
}

// MTU implements capture.Device. It is the MTU given to Open.
func (d *Device) MTU() int { return d.mtu }

// Name implements capture.Device.
func (d *Device) Name() string { return d.name }

// Close implements capture.Device.
func (d *Device) Close() error {
	if d.closed.Swap(true) {
		return nil
	}
	if err := d.file.Close(); err != nil {
		return fmt.Errorf("close tun device %q: %w", d.name, err)
	}
	return nil
}
