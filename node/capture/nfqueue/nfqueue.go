//go:build linux

package nfqueue

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vine-mesh/vine/internal/poll"
	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/capture/raw"
	"github.com/vine-mesh/vine/node/segment"
)

const (
	// queueLength is how many packets of each queue the kernel keeps for us: as many as wait in a TUN interface.
	queueLength = 2000
	// queueBytes bounds their copies for us, by the kernel's own account.
	queueBytes = 16 << 20
	// readBytes bounds what one batch takes: more would fall out of the cache before it is sealed.
	readBytes = 256 << 10
	// messageMax is the length of the longest message: a packet, and what is said about it.
	messageMax = segment.LengthMax + 1024
)

// A Device takes packets out of two queues. The kernel drops the ones that come when a queue is full;
// /proc/net/netfilter/nfnetlink_queue shows how many. The Device has no goroutine. It belongs to the network namespace of the
// thread that called Open, and may be used from any thread.
type Device struct {
	fd       *poll.FD
	number   uint16 // of the queue of TCP; the other one is the next
	mtu      int    // what segments of TCP fit into
	injector *raw.Injector
	clipped  atomic.Uint64

	fill    func(fd uintptr) // made once: making one for each call would allocate
	try     func() bool
	buf     []byte
	verdict [verdictLen]byte

	// Of the present call.
	bufs [][]byte
	pkts []capture.Packet
	n    int
	lost uint64
	err  error
	last [2]uint32 // ID of the last packet taken from each queue
	took [2]bool
}

var _ capture.Pollable = (*Device)(nil)

// Open binds the queue of TCP packets, number, and that of others, number + 1, of packets that hosts on the LAN interfaces send.
// TCP super-packets get segments that fit into mtu bytes. The error says what to do if a right is missing, the kernel has
// no such queues, or another program has them. After an error nothing is left open.
func Open(interfaces []string, number uint16, mtu int) (*Device, error) {
	d := &Device{number: number, mtu: mtu, buf: make([]byte, messageMax)}
	d.fill, d.try = d.take, d.tryRead
	if mtu < capture.MTUMin {
		return nil, fmt.Errorf("capture by netfilter queue %d: MTU %d is less than %d", number, mtu, capture.MTUMin)
	}
	var err error
	if d.injector, err = raw.NewInjector(interfaces); err != nil {
		return nil, fmt.Errorf("capture by netfilter queue %d: %w", number, err)
	}
	fd, err := bind(number)
	if err != nil {
		_ = d.injector.Close()
		return nil, fmt.Errorf("capture by netfilter queue %d: %w%s", number, err, advice(err))
	}
	d.fd = poll.New(fd)
	return d, nil
}

func advice(err error) string {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.EBUSY):
		return ": run as root or give the program CAP_NET_ADMIN; or another program has this queue (/proc/net/netfilter/nfnetlink_queue): stop that one"
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EINVAL):
		return ": the kernel has no netfilter queues: load the module (modprobe nfnetlink_queue), or choose another way"
	}
	return ""
}

// FD implements capture.Pollable.
func (d *Device) FD() *poll.FD { return d.fd }

// ReadBatch implements capture.Device. It takes at most readBytes or a little more, however many packets that are.
func (d *Device) ReadBatch(bufs [][]byte, pkts []capture.Packet) (int, error) {
	d.begin(bufs, pkts)
	err := d.fd.Read(d.try)
	if err == nil {
		err = d.err
	}
	return d.end(err)
}

// TryReadBatch implements capture.Pollable.
func (d *Device) TryReadBatch(bufs [][]byte, pkts []capture.Packet) (int, error) {
	d.begin(bufs, pkts)
	d.tryRead()
	return d.end(d.err)
}

func (d *Device) begin(bufs [][]byte, pkts []capture.Packet) {
	_ = bufs[0]
	d.bufs, d.pkts, d.n, d.err = bufs, pkts, 0, nil
}

// tryRead reads what is there. It reports whether there is something to tell the caller.
func (d *Device) tryRead() bool {
	if !d.fd.Use(d.fill) {
		d.n, d.err = 0, net.ErrClosed
	}
	if d.n > 0 {
		d.err = nil // an error behind the first packet shows again in the next call
	}
	return d.n > 0 || d.err != nil
}

func (d *Device) end(err error) (int, error) {
	if d.lost > 0 {
		d.clipped.Add(d.lost)
		d.lost = 0
	}
	d.bufs, d.pkts = nil, nil
	switch {
	case errors.Is(err, net.ErrClosed):
		return 0, net.ErrClosed
	case err != nil:
		return 0, fmt.Errorf("read netfilter queue %d: %w", d.number, err)
	}
	return d.n, nil
}

// take reads until the buffers are full, enough was read or nothing waits, and has the kernel drop what was read.
func (d *Device) take(fd uintptr) {
	d.took = [2]bool{}
	for total := 0; d.n < len(d.bufs) && total < readBytes && d.err == nil; {
		// It does not wait, so Go's scheduler is not told of it: see theKernel of transport/underlay.
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&d.buf[0])), uintptr(len(d.buf)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
		case unix.EINTR, unix.ENOBUFS: // the latter: some did not fit, and are lost
			continue
		default:
			if errno != unix.EAGAIN {
				d.err = errno
			}
			d.dropTaken(fd)
			return
		}
		total += int(n)
		for rest := d.buf[:n]; rest != nil; {
			var m message
			var ok bool
			if m, rest, ok = parseMessage(rest); ok && m.queue-d.number < 2 {
				d.packet(&m)
			}
		}
	}
	d.dropTaken(fd)
}

// packet takes a packet of a message. The kernel sends one a message, and so one fits that has found room for itself.
func (d *Device) packet(m *message) {
	which := m.queue - d.number
	d.last[which], d.took[which] = m.id, true
	if m.mac != [6]byte{} {
		d.injector.Learn(m.index, m.mac, m.payload)
	}
	if d.n == len(d.bufs) || m.cut || len(m.payload) == 0 || len(m.payload) > len(d.bufs[d.n]) {
		d.lost++
		return
	}
	p := capture.Packet{Bytes: d.bufs[d.n][:copy(d.bufs[d.n], m.payload)]}
	ok := true
	switch {
	case m.info&infoGSO != 0:
		p, ok = segment.GuessSuper(p.Bytes, d.mtu)
	case m.info&infoNoChecksum != 0:
		ok = segment.Seed(p.Bytes)
		p.Partial = true
	}
	if !ok {
		d.lost++
		return
	}
	d.pkts[d.n] = p
	d.n++
}

// dropTaken has the kernel forget what was taken.
func (d *Device) dropTaken(fd uintptr) {
	for which := range d.took {
		if !d.took[which] {
			continue
		}
		putVerdict(&d.verdict, d.number+uint16(which), d.last[which])
		for {
			_, _, errno := unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&d.verdict)), verdictLen)
			if errno != unix.EINTR {
				break
			}
		}
	}
}

// Clipped returns how many packets ReadBatch dropped because they were longer than its buffers, or not what the kernel said
// of them.
func (d *Device) Clipped() uint64 { return d.clipped.Load() }

// WriteBatch implements capture.Device: see raw.Injector.WriteBatch.
func (d *Device) WriteBatch(pkts []capture.Packet) (int, error) {
	n, err := d.injector.WriteBatch(pkts)
	if err == nil || err == net.ErrClosed {
		return n, err
	}
	return n, fmt.Errorf("write packets of %s: %w", d.Name(), err)
}

// MTU implements capture.Device. It is the smallest of the interfaces' at the time of Open.
func (d *Device) MTU() int { return d.injector.MTU() }

// Name implements capture.Device. It is the interfaces' names, with commas in between.
func (d *Device) Name() string { return d.injector.Name() }

// Stale is raw.Injector.Stale: the Device should be opened anew.
func (d *Device) Stale() bool { return d.injector.Stale() }

// Close implements capture.Device. The kernel drops what waits in the queues.
func (d *Device) Close() error {
	if err := errors.Join(d.fd.Close(), d.injector.Close()); err != nil {
		return fmt.Errorf("close netfilter queue %d: %w", d.number, err)
	}
	return nil
}
