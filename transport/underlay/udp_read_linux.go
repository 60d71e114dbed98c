package underlay

import (
	"encoding/binary"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An incoming is the memory of one ReadBatch: headers that point at names and vectors, which point at the
// caller's buffers. It is used by one call at a time.
type incoming struct {
	socket *UDP
	count  int // messages asked for
	came   int
	err    error

	// fill and read, bound once: a closure per call would be an allocation.
	tryRead func(fd uintptr)
	read    func() bool

	hdrs     [BatchMax]mmsghdr
	names    [BatchMax]unix.RawSockaddrInet6 // holds a RawSockaddrInet4 too
	iovs     [BatchMax]unix.Iovec
	controls [BatchMax]controls
}

func (s *UDP) newIncoming() *incoming {
	b := &incoming{socket: s}
	b.tryRead, b.read = b.fill, b.done
	for i := range b.hdrs {
		h := &b.hdrs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Iov = &b.iovs[i]
		h.SetIovlen(1)
	}
	return b
}

// ReadBatch implements Socket. It allocates nothing.
func (s *UDP) ReadBatch(dgs []Datagram) (int, error) { return s.readBatch(dgs, false) }

// TryReadBatch implements Socket. It allocates nothing.
func (s *UDP) TryReadBatch(dgs []Datagram) (int, error) { return s.readBatch(dgs, true) }

func (s *UDP) readBatch(dgs []Datagram, try bool) (int, error) {
	if len(dgs) == 0 {
		return 0, nil
	}
	b := take(s.readers, s.newIncoming)
	defer func() {
		clear(b.iovs[:b.count]) // the caller's buffers are the caller's again
		give(s.readers, b)
	}()
	b.count, b.came, b.err = min(len(dgs), BatchMax), 0, nil
	for i := range b.count {
		b.iovs[i].Base = unsafe.SliceData(dgs[i].Buf)
		b.iovs[i].SetLen(len(dgs[i].Buf))
	}
	if try {
		b.done()
	} else if err := s.fd.Read(b.read); err != nil {
		return 0, s.result("read", err)
	}
	if b.err != nil {
		return 0, s.result("read", b.err)
	}
	for i := range b.came {
		b.datagram(i, &dgs[i])
	}
	return b.came, nil
}

// datagram fills d with what is known of message i.
func (b *incoming) datagram(i int, d *Datagram) {
	h, c := &b.hdrs[i], &b.socket.counts
	d.N, d.Addr, d.Segment, d.ECN = int(h.n), readName(&b.names[i]), 0, 0
	if h.hdr.Flags&unix.MSG_TRUNC != 0 {
		d.N = 0
		c.truncated.Add(1)
	} else {
		d.Segment, d.ECN = b.controls[i].read(int(h.hdr.Controllen), d.N)
	}
	c.received.Add(uint64(d.Count()))
}

// read returns how long each datagram in a message of n bytes is, whose control messages have length bytes, zero if it
// is one datagram; and its ECN. What cannot be is taken for one datagram: then it does not open.
func (c *controls) read(length, n int) (segment int, ecn uint8) {
	for i := 0; i < len(c) && length >= (i+1)*unix.CmsgSpace(1); i++ {
		m := &c[i]
		switch size := int(m.hdr.Len) - unix.CmsgLen(0); {
		case m.hdr.Level == unix.IPPROTO_UDP && m.hdr.Type == unix.UDP_GRO && size >= 4:
			if segment = int(int32(binary.NativeEndian.Uint32(m.value[:]))); segment <= 0 || segment >= n {
				segment = 0
			}
		case m.hdr.Level == unix.IPPROTO_IP && m.hdr.Type == unix.IP_TOS && size >= 1:
			ecn = m.value[0] & 3
		case m.hdr.Level == unix.IPPROTO_IPV6 && m.hdr.Type == unix.IPV6_TCLASS && size >= 4:
			ecn = uint8(binary.NativeEndian.Uint32(m.value[:])) & 3
		}
	}
	return segment, ecn
}

// done reads, and reports whether there is something to tell the caller.
func (b *incoming) done() bool {
	if !b.socket.fd.Use(b.tryRead) {
		b.err = net.ErrClosed
	}
	return b.came > 0 || b.err != nil
}

// fill takes what is there.
func (b *incoming) fill(fd uintptr) {
	for {
		for i := range b.count { // the kernel overwrites all of it
			h := &b.hdrs[i].hdr
			h.Namelen, h.Flags, h.Control = unix.SizeofSockaddrInet6, 0, (*byte)(unsafe.Pointer(&b.controls[i]))
			h.SetControllen(int(unsafe.Sizeof(b.controls[i])))
		}
		n, errno := b.socket.kernel.recvmmsg(fd, b.hdrs[:b.count])
		switch errno {
		case 0:
			b.came = n
			return
		case unix.EINTR:
		case unix.EAGAIN:
			return
		case unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EMSGSIZE, unix.EHOSTDOWN,
			unix.ENETDOWN, unix.EPROTO, unix.ENOPROTOOPT, unix.EACCES, unix.EOPNOTSUPP:
			// What ICMP said about something sent before. The kernel has cleared it by reporting it.
			b.socket.counts.readErrors.Add(1)
		default:
			b.err = os.NewSyscallError("recvmmsg", errno)
			return
		}
	}
}
