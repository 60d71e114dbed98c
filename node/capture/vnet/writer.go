//go:build linux

package vnet

import (
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vine-mesh/vine/internal/poll"
	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/segment"
)

// writeWait is how long a write waits for room before it looks whether the descriptor is still open.
const writeWait = 20 * time.Millisecond

// A Writer puts packets into a descriptor. Its fields are set before the first call. One goroutine may write at a time.
type Writer struct {
	FD   *poll.FD
	Vnet bool // each packet gets a vnet_hdr in front
	// To, if set, writes the Ethernet header of a packet. It reports false if it knows nobody to send it to.
	To func(header *[EthernetLen]byte, packet []byte) bool
	// Refused are the kinds of super-packets (gso_type) that this kernel refuses though they are right. The Writer finds them
	// out; they go as their segments from then on.
	Refused [8]bool

	drain  func(fd uintptr) // made once: making one for each call would allocate
	header [segment.VnetLen]byte
	ether  [EthernetLen]byte
	parts  vector

	// Of the present call.
	pkts []capture.Packet
	done int // packets tried
	n    int // packets taken
	err  error

	finisher segment.Finisher
	rest     []byte // a finished packet for which the kernel had no room; the finisher has the others
	refused  error  // of a finished packet
}

// WriteBatch is capture.Device.WriteBatch.
func (w *Writer) WriteBatch(pkts []capture.Packet) (int, error) {
	if w.drain == nil {
		w.drain = w.put
	}
	w.pkts, w.done, w.n, w.err = pkts, 0, 0, nil
	for closed := false; w.done < len(pkts) && !closed; {
		if closed = !w.FD.Use(w.drain); closed {
			w.err = net.ErrClosed
		} else if w.done < len(pkts) {
			w.FD.WaitWritable(writeWait)
		}
	}
	w.pkts = nil
	return w.n, w.err
}

// put writes packets, all of them if the kernel has room.
func (w *Writer) put(fd uintptr) {
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
func (w *Writer) packet(fd int, p capture.Packet) error {
	if w.rest != nil {
		return w.finished(fd)
	}
	if len(p.Bytes) == 0 || !segment.ToVnet(&w.header, p) {
		return unix.EINVAL
	}
	if w.To != nil {
		if lengthOf(p.Bytes) == 0 {
			return unix.EINVAL // a TUN interface says so itself
		}
		if !w.To(&w.ether, p.Bytes) {
			return unix.EHOSTUNREACH
		}
	}
	kind := w.header[1] & 7
	if w.Vnet && !w.Refused[kind] {
		err := w.write(fd, p.Bytes)
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
	if err == nil && w.Vnet && p.GSOSize != 0 {
		w.Refused[kind] = true // its segments are fine
	}
	return err
}

// finished writes the rest of what the finisher has.
func (w *Writer) finished(fd int) error {
	for w.rest != nil {
		w.header = [segment.VnetLen]byte{}
		err := w.write(fd, w.rest)
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

// write writes b behind w.header and w.ether, if the descriptor has them.
func (w *Writer) write(fd int, b []byte) error {
	if w.Vnet {
		if w.To != nil {
			segment.ShiftVnet(&w.header, EthernetLen)
		}
		w.parts.add(w.header[:])
	}
	if w.To != nil {
		w.parts.add(w.ether[:])
	}
	w.parts.add(b)
	_, err := w.parts.transfer(unix.SYS_WRITEV, fd)
	return err
}
