package underlay

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sendWaitMax bounds how long WriteBatch waits for room in a full send buffer. A buffer of 7 MiB drains
// in 59 ms at 1 Gb/s; what is slower than that for this long is congested, and the packets are late.
const sendWaitMax = 20 * time.Millisecond

// idleBatches is how many batches are kept for reuse: the reader's and those of a lane and the control
// loop writing at once. More calls at the same time allocate.
const idleBatches = 4

// platform is the Linux part of a UDP.
//
// The kernel calls are made here rather than through golang.org/x/net, whose ReadBatch allocates the
// source address of every packet.
type platform struct {
	raw     syscall.RawConn
	readers chan *batch // idle batches; never waited on
	writers chan *batch
}

// mmsghdr is struct mmsghdr of recvmmsg(2). Go pads it as C does, for the alignment of Msghdr is that
// of a pointer.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// A batch is the memory of one call: headers that point at names and vectors, which point at the
// caller's buffers. It is used by one call at a time.
type batch struct {
	socket *UDP
	count  int // datagrams in the batch
	next   int // written or given up so far
	sent   int
	again  bool // the send buffer is full
	err    error

	// The functions that RawConn is given, bound once, for a closure per call would be an allocation.
	readFunc  func(fd uintptr) bool
	writeFunc func(fd uintptr)
	waitFunc  func(fd uintptr) bool

	hdrs  [BatchMax]mmsghdr
	names [BatchMax]unix.RawSockaddrInet6 // holds a RawSockaddrInet4 too
	iovs  [BatchMax]unix.Iovec
}

func newBatch(s *UDP) *batch {
	b := &batch{socket: s}
	b.readFunc, b.writeFunc, b.waitFunc = b.read, b.write, b.writeOrWait
	for i := range b.hdrs {
		h := &b.hdrs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Iov = &b.iovs[i]
		h.SetIovlen(1)
	}
	return b
}

func take(idle chan *batch, s *UDP) *batch {
	select {
	case b := <-idle:
		return b
	default:
		return newBatch(s)
	}
}

func give(idle chan *batch, b *batch) {
	clear(b.iovs[:b.count]) // the caller's buffers are the caller's again
	b.count, b.err = 0, nil
	select {
	case idle <- b:
	default:
	}
}

func (s *UDP) open() error {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return err
	}
	s.raw = raw
	s.readers = make(chan *batch, idleBatches)
	s.writers = make(chan *batch, idleBatches)
	return raw.Control(s.setOptions)
}

// ReadBatch implements Socket. It allocates nothing.
func (s *UDP) ReadBatch(dgs []Datagram) (int, error) {
	if len(dgs) == 0 {
		return 0, nil
	}
	b := take(s.readers, s)
	defer give(s.readers, b)
	b.count = min(len(dgs), BatchMax)
	for i := range b.count {
		b.iovs[i].Base = unsafe.SliceData(dgs[i].Buf)
		b.iovs[i].SetLen(len(dgs[i].Buf))
	}
	if err := s.raw.Read(b.readFunc); err != nil {
		return 0, s.result("read", err)
	}
	if b.err != nil {
		return 0, s.result("read", b.err)
	}
	for i := range b.next {
		h := &b.hdrs[i]
		dgs[i].N = int(h.n)
		dgs[i].Addr = readName(&b.names[i])
		if h.hdr.Flags&unix.MSG_TRUNC != 0 {
			dgs[i].N = 0
			s.counts.truncated.Add(1)
		}
	}
	s.counts.received.Add(uint64(b.next))
	return b.next, nil
}

// read is called by the poller with the descriptor; false means "wait until readable".
func (b *batch) read(fd uintptr) bool {
	b.next = 0
	for {
		for i := range b.count { // the kernel overwrites both
			b.hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet6
			b.hdrs[i].hdr.Flags = 0
		}
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.hdrs[0])), uintptr(b.count), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			b.next = int(n)
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		case unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EMSGSIZE, unix.EHOSTDOWN,
			unix.ENETDOWN, unix.EPROTO, unix.ENOPROTOOPT, unix.EACCES, unix.EOPNOTSUPP:
			// What ICMP said about something sent before. The kernel has cleared it by reporting it.
			b.socket.counts.readErrors.Add(1)
		default:
			b.err = os.NewSyscallError("recvmmsg", errno)
			return true
		}
	}
}

// WriteBatch implements Socket. It allocates nothing.
func (s *UDP) WriteBatch(dgs []Datagram) (int, error) {
	sent := 0
	for len(dgs) > 0 {
		n := min(len(dgs), BatchMax)
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
	b := take(s.writers, s)
	defer give(s.writers, b)
	b.next, b.sent, b.again = 0, 0, false
	for i := range dgs {
		d := &dgs[i]
		if !s.family.reaches(d.Addr.Addr()) {
			s.counts.unreachable.Add(1)
			continue
		}
		j := b.count
		b.count++
		b.hdrs[j].hdr.Namelen = writeName(&b.names[j], s.family, d.Addr)
		buf := d.Buf[:d.N]
		b.iovs[j].Base = unsafe.SliceData(buf)
		b.iovs[j].SetLen(len(buf))
	}
	// Control looks at no deadline, so one that another writer left behind does no harm here.
	err := s.raw.Control(b.writeFunc)
	if err == nil && b.again {
		if err = s.conn.SetWriteDeadline(time.Now().Add(sendWaitMax)); err == nil {
			err = s.raw.Write(b.waitFunc)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
			s.counts.noBuffer.Add(uint64(b.count - b.next))
		}
	}
	s.counts.sent.Add(uint64(b.sent))
	if err == nil {
		err = b.err
	}
	if err != nil {
		return b.sent, s.result("write", err)
	}
	return b.sent, nil
}

// write sends the rest of the batch. sendmmsg(2) stops at a datagram that fails and tells why only when
// it is the first, so a failing one costs one more call, and the batch goes on after it.
func (b *batch) write(fd uintptr) {
	b.again = false
	for b.next < b.count {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.hdrs[b.next])), uintptr(b.count-b.next), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			b.next += int(n)
			b.sent += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			b.again = true
			return
		case unix.EBADF, unix.ENOTSOCK, unix.EFAULT, unix.ENOSYS:
			b.err = os.NewSyscallError("sendmmsg", errno)
			return
		default:
			b.socket.counts.failed(errno)
			b.next++
		}
	}
}

// writeOrWait is write for the poller; false means "wait until writable".
func (b *batch) writeOrWait(fd uintptr) bool {
	b.write(fd)
	return !b.again
}

// failed counts a datagram that could not be sent.
func (c *counts) failed(errno syscall.Errno) {
	switch errno {
	case unix.ECONNREFUSED:
		c.refused.Add(1)
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENETDOWN, unix.EADDRNOTAVAIL, unix.EAFNOSUPPORT:
		c.unreachable.Add(1)
	case unix.EMSGSIZE:
		c.tooBig.Add(1)
	case unix.EPERM, unix.EACCES:
		c.filtered.Add(1)
	case unix.ENOBUFS, unix.ENOMEM:
		c.noBuffer.Add(1)
	default:
		c.others.Add(1)
	}
}

// readName converts what the kernel wrote. It allocates nothing, except the first time a link-local
// address of some interface is seen.
func readName(sa *unix.RawSockaddrInet6) netip.AddrPort {
	if sa.Family == unix.AF_INET {
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(sa4.Addr), fromNetworkOrder(sa4.Port))
	}
	a := netip.AddrFrom16(sa.Addr).Unmap()
	if sa.Scope_id != 0 && a.IsLinkLocalUnicast() && a.Is6() {
		a = a.WithZone(strconv.FormatUint(uint64(sa.Scope_id), 10))
	}
	return netip.AddrPortFrom(a, fromNetworkOrder(sa.Port))
}

// writeName writes addr as the socket's family wants it and returns its length.
func writeName(sa *unix.RawSockaddrInet6, f family, addr netip.AddrPort) uint32 {
	if f == familyV4 {
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(sa)) = unix.RawSockaddrInet4{
			Family: unix.AF_INET,
			Port:   toNetworkOrder(addr.Port()),
			Addr:   addr.Addr().Unmap().As4(),
		}
		return unix.SizeofSockaddrInet4
	}
	*sa = unix.RawSockaddrInet6{
		Family:   unix.AF_INET6,
		Port:     toNetworkOrder(addr.Port()),
		Addr:     addr.Addr().As16(), // 4-in-6 for IPv4
		Scope_id: scope(addr.Addr().Zone()),
	}
	return unix.SizeofSockaddrInet6
}

// scope returns the interface index a zone names by number or by name, and 0 when there is none.
func scope(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	ifi, err := net.InterfaceByName(zone)
	if err != nil {
		return 0
	}
	return uint32(ifi.Index)
}

func toNetworkOrder(port uint16) (raw uint16) {
	b := (*[2]byte)(unsafe.Pointer(&raw))
	b[0], b[1] = byte(port>>8), byte(port)
	return raw
}

func fromNetworkOrder(raw uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&raw))
	return uint16(b[0])<<8 | uint16(b[1])
}
