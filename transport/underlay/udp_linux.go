package underlay

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vine-mesh/vine/internal/poll"
)

// idleBatches is how many batches are kept for reuse: the reader's and those of a lane and the control
// loop writing at once. More calls at the same time allocate.
const idleBatches = 4

// platform is the Linux part of a UDP.
//
// The kernel calls are made here rather than through golang.org/x/net, whose ReadBatch allocates the
// source address of every packet.
type platform struct {
	fd       *poll.FD
	kernel   *kernel
	readers  chan *incoming // idle batches; never waited on
	writers  chan *outgoing
	segments atomic.Bool // datagrams are sent in segmented messages
	coalesce atomic.Bool // what is read may be several datagrams
	singles  singles
}

// A kernel is the calls that a socket makes. Only tests put in another than theKernel, which refuses or does wrong.
type kernel struct {
	recvmmsg   func(fd uintptr, hdrs []mmsghdr) (int, syscall.Errno)
	sendmmsg   func(fd uintptr, hdrs []mmsghdr) (int, syscall.Errno)
	setsockopt func(fd uintptr, level, option, value int) error
}

// The two that carry datagrams never wait (MSG_DONTWAIT), so Go's scheduler is not told of them: it takes the processor of a
// goroutine in a system call away after 20 us, which a message of 64 KB takes too, and wakes a thread for it. The price is that
// a garbage collection may wait for them, some 0.3 ms for 128 datagrams one by one.
var theKernel = kernel{
	recvmmsg: func(fd uintptr, hdrs []mmsghdr) (int, syscall.Errno) {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(unsafe.SliceData(hdrs))), uintptr(len(hdrs)), unix.MSG_DONTWAIT, 0, 0)
		return int(n), errno
	},
	sendmmsg: func(fd uintptr, hdrs []mmsghdr) (int, syscall.Errno) {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(unsafe.SliceData(hdrs))), uintptr(len(hdrs)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		return int(n), errno
	},
	setsockopt: func(fd uintptr, level, option, value int) error {
		return unix.SetsockoptInt(int(fd), level, option, value)
	},
}

// mmsghdr is struct mmsghdr of recvmmsg(2). Go pads it as C does, for the alignment of Msghdr is that
// of a pointer.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// A control is a control message: UDP_SEGMENT or UDP_GRO (udp(7)), how long each datagram in a message is; IP_TOS (ip(7)) or
// IPV6_TCLASS (RFC 3542, Section 6.5), of which the two lowest bits are ECN. All are as long as this when padded.
type control struct {
	hdr   unix.Cmsghdr
	value [4]byte // the kernel takes 2 bytes of UDP_SEGMENT and gives 1 of IP_TOS
	_     [4]byte
}

// controls are those of one message, one behind the other.
type controls [2]control

// open takes the socket away from the standard library, whose poller would be woken for each datagram that has left: see
// package poll.
func (s *UDP) open(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	fd := -1
	if e := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
		return e
	}
	if err != nil {
		return os.NewSyscallError("dup", err)
	}
	s.fd, s.kernel = poll.New(fd), &theKernel
	s.readers = make(chan *incoming, idleBatches)
	s.writers = make(chan *outgoing, idleBatches)
	s.fd.Use(s.setOptions)
	return conn.Close()
}

// FD returns the descriptor, for a lane that waits for several. It belongs to s.
func (s *UDP) FD() *poll.FD { return s.fd }

func (s *UDP) shut() error { return s.fd.Close() }

// take returns an idle batch, or a new one.
func take[B any](idle chan *B, make func() *B) *B {
	select {
	case b := <-idle:
		return b
	default:
		return make()
	}
}

func give[B any](idle chan *B, b *B) {
	select {
	case idle <- b:
	default:
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
