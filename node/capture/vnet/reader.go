//go:build linux

package vnet

import (
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/vine-mesh/vine/internal/poll"
	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/segment"
)

// readBytes bounds what one batch takes: more would fall out of the cache before it is sealed.
const readBytes = 256 << 10

// A Reader takes packets out of a descriptor. Its fields are set before the first call. One goroutine may read at a time.
type Reader struct {
	FD       *poll.FD
	Vnet     bool // each packet has a vnet_hdr in front
	Ethernet bool // and an Ethernet header
	// From, if set, is told of every IP packet from which Ethernet address and by which interface it came. The descriptor must
	// then be a packet socket.
	From func(mac [6]byte, index int, packet []byte)
	// Passing, if set, is an error that says nothing about the next packet, and is passed over.
	Passing unix.Errno

	clipped atomic.Uint64

	fill  func(fd uintptr) // made once: making one for each call would allocate
	try   func() bool
	vnet  [segment.VnetLen]byte
	ether [EthernetLen]byte
	parts vector
	name  unix.RawSockaddrLinklayer
	msg   unix.Msghdr

	// Of the present call.
	bufs [][]byte
	pkts []capture.Packet
	n    int
	lost uint64
	err  error
}

// ReadBatch is capture.Device.ReadBatch. It takes at most readBytes or a little more, however many packets that are.
func (r *Reader) ReadBatch(bufs [][]byte, pkts []capture.Packet) (int, error) {
	r.begin(bufs, pkts)
	err := r.FD.Read(r.try)
	if err == nil {
		err = r.err
	}
	return r.end(err)
}

// TryReadBatch is capture.Pollable.TryReadBatch.
func (r *Reader) TryReadBatch(bufs [][]byte, pkts []capture.Packet) (int, error) {
	r.begin(bufs, pkts)
	r.tryRead()
	return r.end(r.err)
}

// Clipped returns how many packets were dropped because they were longer than the buffers, or not what the kernel said of
// them. It may be called from any goroutine.
func (r *Reader) Clipped() uint64 { return r.clipped.Load() }

func (r *Reader) begin(bufs [][]byte, pkts []capture.Packet) {
	_ = bufs[0]
	if r.fill == nil {
		r.fill, r.try = r.take, r.tryRead
	}
	r.bufs, r.pkts, r.n, r.err = bufs, pkts, 0, nil
}

// tryRead reads what is there. It reports whether there is something to tell the caller.
func (r *Reader) tryRead() bool {
	if !r.FD.Use(r.fill) {
		r.n, r.err = 0, net.ErrClosed
	}
	if r.n > 0 {
		r.err = nil // an error behind the first packet shows again in the next call
	}
	return r.n > 0 || r.err != nil
}

func (r *Reader) end(err error) (int, error) {
	if r.lost > 0 {
		r.clipped.Add(r.lost)
		r.lost = 0
	}
	r.bufs, r.pkts = nil, nil
	switch {
	case errors.Is(err, net.ErrClosed):
		return 0, net.ErrClosed
	case err != nil:
		return 0, err
	}
	return r.n, nil
}

// take reads until the buffers are full, enough was read or nothing waits.
func (r *Reader) take(fd uintptr) {
	for total := 0; r.n < len(r.bufs) && total < readBytes; {
		b := r.bufs[r.n]
		n, err := r.read(int(fd), b)
		switch {
		case err == nil && n > 0:
			if p, ok := r.packet(b, n); ok {
				r.pkts[r.n] = p
				r.n++
				total += n
			}
		case errors.Is(err, unix.EINTR), r.Passing != 0 && errors.Is(err, r.Passing):
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

// read reads one packet to b, and what stands before it to r.vnet and r.ether. It returns the packet's length.
func (r *Reader) read(fd int, b []byte) (int, error) {
	head := 0
	if r.Vnet {
		r.parts.add(r.vnet[:])
		head += len(r.vnet)
	}
	if r.Ethernet {
		r.parts.add(r.ether[:])
		head += len(r.ether)
	}
	r.parts.add(b)
	n, err := 0, error(nil)
	if r.From == nil {
		n, err = r.parts.transfer(unix.SYS_READV, fd)
	} else {
		n, err = r.parts.receive(fd, &r.name, &r.msg)
	}
	if err == nil && n <= head {
		return 0, nil
	}
	return n - head, err
}

// packet makes a Packet of the n bytes in b, or counts them as lost. What is no IP packet is passed over.
func (r *Reader) packet(b []byte, n int) (p capture.Packet, ok bool) {
	if r.Ethernet {
		if kind := binary.BigEndian.Uint16(r.ether[12:]); kind != unix.ETH_P_IP && kind != unix.ETH_P_IPV6 {
			return p, false
		}
	}
	length := lengthOf(b[:n])
	switch {
	case n == len(b) && length > n || length == 0 && n == len(b):
		r.lost++ // cut by its buffer: the kernel says so only to those who ask in another way
		return p, false
	case r.Ethernet && length > n:
		r.lost++
		return p, false
	case r.Ethernet && length > 0:
		n = length // short frames are filled up
	}
	p = capture.Packet{Bytes: b[:n]}
	if r.Vnet {
		if r.Ethernet {
			segment.ShiftVnet(&r.vnet, -EthernetLen)
		}
		if p, ok = segment.FromVnet(&r.vnet, b[:n]); !ok {
			r.lost++
			return p, false
		}
	}
	if r.From != nil {
		r.From([6]byte(r.ether[6:]), int(r.name.Ifindex), p.Bytes)
	}
	return p, true
}

// lengthOf returns how long an IP packet says that it is, zero for what is none.
func lengthOf(b []byte) int {
	switch {
	case len(b) >= 4 && b[0]>>4 == 4:
		return int(binary.BigEndian.Uint16(b[2:]))
	case len(b) >= 6 && b[0]>>4 == 6:
		return 40 + int(binary.BigEndian.Uint16(b[4:]))
	}
	return 0
}
