package underlay

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// sendWaitMax bounds how long WriteBatch waits for room in a full send buffer. A buffer of 7 MiB drains
	// in 59 ms at 1 Gb/s; what is slower than that for this long is congested, and the packets are late.
	sendWaitMax = 20 * time.Millisecond

	// writeMax is how many datagrams one kernel call moves at most: two super-packets of 64 KB and more.
	writeMax = 2 * BatchMax

	segmentsMax = 64    // datagrams of one message: UDP_MAX_SEGMENTS before Linux 6.9
	messageMax  = 65507 // bytes of one message: what a UDP datagram can have over IPv4
)

// An outgoing is the memory of one kernel call of WriteBatch: headers that point at names, vectors and controls. The
// vectors point at the caller's buffers: a message has one for each of its datagrams, so nothing is copied. It is
// used by one call at a time.
type outgoing struct {
	socket *UDP
	packed int  // datagrams in the batch
	count  int  // messages that carry them
	next   int  // messages written or given up so far
	sent   int  // datagrams
	again  bool // the send buffer is full
	err    error

	try func(fd uintptr) // write, bound once, for a closure per call would be an allocation

	hdrs     [writeMax]mmsghdr
	messages [writeMax]message
	iovs     [writeMax]unix.Iovec            // by datagram
	names    [writeMax]unix.RawSockaddrInet6 // holds a RawSockaddrInet4 too; by the first datagram of a message
	controls [writeMax]controls              // likewise
}

// A message is some consecutive datagrams of a batch: first is their first. With several, all have one length but the
// last, which may be shorter.
type message struct {
	first, datagrams int
	to               netip.Addr
	ecn              uint8
	parted           bool // the kernel did not take it together with the ones that follow it
}

func (s *UDP) newOutgoing() *outgoing {
	b := &outgoing{socket: s}
	b.try = b.write
	return b
}

// WriteBatch implements Socket. It allocates nothing.
func (s *UDP) WriteBatch(dgs []Datagram) (int, error) {
	sent := 0
	for len(dgs) > 0 {
		n := min(len(dgs), writeMax)
		took, err := s.writeSome(dgs[:n])
		sent += took
		if err != nil {
			return sent, err
		}
		dgs = dgs[n:]
	}
	return sent, nil
}

func (s *UDP) writeSome(dgs []Datagram) (int, error) {
	b := take(s.writers, s.newOutgoing)
	defer func() {
		clear(b.iovs[:b.packed]) // the caller's buffers are the caller's again
		give(s.writers, b)
	}()
	b.packed, b.count, b.next, b.sent, b.again, b.err = 0, 0, 0, 0, false, nil
	b.pack(dgs)
	err := s.push(b)
	s.counts.sent.Add(uint64(b.sent))
	if err == nil {
		err = b.err
	}
	if err != nil {
		return b.sent, s.result("write", err)
	}
	return b.sent, nil
}

// push writes the messages, and waits for room if there is none.
func (s *UDP) push(b *outgoing) error {
	for until := (time.Time{}); ; {
		if !s.fd.Use(b.try) {
			return net.ErrClosed
		}
		if !b.again {
			return nil
		}
		if until.IsZero() {
			until = time.Now().Add(sendWaitMax)
		}
		if !s.fd.WaitWritable(time.Until(until)) {
			for _, m := range b.messages[b.next:b.count] {
				s.counts.noBuffer.Add(uint64(m.datagrams))
			}
			return nil
		}
	}
}

// pack makes messages of the datagrams.
func (b *outgoing) pack(dgs []Datagram) {
	s := b.socket
	segments := s.segments.Load()
	for len(dgs) > 0 {
		to := dgs[0].Addr
		if !s.family.reaches(to.Addr()) {
			s.counts.unreachable.Add(1)
			dgs = dgs[1:]
			continue
		}
		n := 1
		if segments {
			if n = together(dgs); n > 1 && s.singles.has(to.Addr()) {
				n = 1
			}
		}
		first := b.packed
		for i := range dgs[:n] {
			buf := dgs[i].Buf[:dgs[i].N]
			b.iovs[first+i].Base = unsafe.SliceData(buf)
			b.iovs[first+i].SetLen(len(buf))
		}
		b.packed += n
		m := message{first: first, datagrams: n, to: to.Addr(), ecn: dgs[0].ECN}
		h := &b.hdrs[b.count].hdr
		*h = unix.Msghdr{
			Name: (*byte)(unsafe.Pointer(&b.names[first])), Namelen: writeName(&b.names[first], s.family, to),
			Iov: &b.iovs[first],
		}
		h.SetIovlen(n)
		segment := 0
		if n > 1 {
			segment = dgs[0].N
		}
		b.controls[first].set(h, segment, m)
		b.messages[b.count] = m
		b.count++
		dgs = dgs[n:]
	}
}

// together returns how many of the first datagrams can go as one message.
func together(dgs []Datagram) int {
	size := dgs[0].N
	total, n := size, 1
	for n < min(len(dgs), segmentsMax) && size > 0 {
		d := &dgs[n]
		if d.N == 0 || d.N > size || total+d.N > messageMax || d.Addr != dgs[0].Addr || d.ECN != dgs[0].ECN {
			break
		}
		total += d.N
		n++
		if d.N < size {
			break
		}
	}
	return n
}

// set makes the control messages of a message: each datagram but the last has segment bytes, unless that is zero; and its ECN.
func (c *controls) set(h *unix.Msghdr, segment int, m message) {
	n := 0
	if segment != 0 {
		c[n].hdr.Level, c[n].hdr.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
		c[n].hdr.SetLen(unix.CmsgLen(2))
		binary.NativeEndian.PutUint16(c[n].value[:], uint16(segment))
		n++
	}
	if m.ecn != 0 {
		c[n].hdr.Level, c[n].hdr.Type = unix.IPPROTO_IP, unix.IP_TOS
		if !m.to.Is4() && !m.to.Is4In6() {
			c[n].hdr.Level, c[n].hdr.Type = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
		}
		c[n].hdr.SetLen(unix.CmsgLen(4))
		binary.NativeEndian.PutUint32(c[n].value[:], uint32(m.ecn))
		n++
	}
	h.Control = nil
	if n > 0 {
		h.Control = (*byte)(unsafe.Pointer(c))
	}
	h.SetControllen(n * unix.CmsgSpace(4))
}

// write sends the rest of the batch. sendmmsg(2) stops at a message that fails and tells why only when
// it is the first, so a failing one costs one more call, and the batch goes on after it.
func (b *outgoing) write(fd uintptr) {
	b.again = false
	s := b.socket
	for b.next < b.count {
		n, errno := s.kernel.sendmmsg(fd, b.hdrs[b.next:b.count])
		m := b.messages[b.next]
		switch errno {
		case 0:
			for _, m := range b.messages[b.next : b.next+n] {
				b.sent += m.datagrams
			}
			if m.parted {
				s.singles.add(m.to)
			}
			b.next += n
		case unix.EINTR:
		case unix.EAGAIN:
			b.again = true
			return
		case unix.EBADF, unix.ENOTSOCK, unix.EFAULT, unix.ENOSYS:
			b.err = os.NewSyscallError("sendmmsg", errno)
			return
		case unix.EIO, unix.EINVAL, unix.EMSGSIZE:
			if m.datagrams > 1 {
				b.part()
				continue
			}
			fallthrough
		default:
			s.counts.failed(errno, m.datagrams)
			b.next++
		}
	}
}

// part makes the next message, which the kernel has refused, one message for each datagram.
//
// Where a device computes no checksums, or the packets are transformed on their way to it, older kernels give EIO;
// EMSGSIZE, where a datagram is longer than the path, which may still take it in fragments; EINVAL, where they know
// nothing of segments. But each of the three may be for the datagrams as such: a destination is remembered as one that takes
// no segments only when the first datagram, which is as long as any, gets through alone.
func (b *outgoing) part() {
	whole, m := b.hdrs[b.next], b.messages[b.next]
	copy(b.hdrs[b.next+m.datagrams:], b.hdrs[b.next+1:b.count])
	copy(b.messages[b.next+m.datagrams:], b.messages[b.next+1:b.count])
	b.count += m.datagrams - 1
	for i := range m.datagrams {
		h := whole
		h.hdr.Iov = &b.iovs[m.first+i]
		h.hdr.SetIovlen(1)
		one := message{first: m.first + i, datagrams: 1, to: m.to, ecn: m.ecn, parted: i == 0}
		b.controls[one.first].set(&h.hdr, 0, one)
		b.hdrs[b.next+i], b.messages[b.next+i] = h, one
	}
}

// failed counts datagrams that could not be sent.
func (c *counts) failed(errno syscall.Errno, datagrams int) {
	n := uint64(datagrams)
	switch errno {
	case unix.ECONNREFUSED:
		c.refused.Add(n)
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENETDOWN, unix.EADDRNOTAVAIL, unix.EAFNOSUPPORT:
		c.unreachable.Add(n)
	case unix.EMSGSIZE:
		c.tooBig.Add(n)
	case unix.EPERM, unix.EACCES:
		c.filtered.Add(n)
	case unix.ENOBUFS, unix.ENOMEM:
		c.noBuffer.Add(n)
	default:
		c.others.Add(n)
	}
}
