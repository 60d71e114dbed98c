package underlay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
)

// bufferBytes is the socket buffer asked for in each direction: at 1 Gb/s 7 MiB absorb a pause of the
// reader of 59 ms, which covers a garbage collection and a lost time slice.
const bufferBytes = 7 << 20

// A UDP is a Socket on a UDP port. ListenUDP makes it; the zero value is of no use.
type UDP struct {
	local   netip.AddrPort
	family  family
	granted Settings
	spread  bool // see Beside
	closed  atomic.Bool
	counts  counts
	platform
}

// family says which addresses a socket can send to.
type family uint8

const (
	familyV4   family = iota + 1 // an AF_INET socket
	familyV6                     // an AF_INET6 socket with IPV6_V6ONLY
	familyDual                   // an AF_INET6 socket that reaches IPv4 through 4-in-6 addresses
)

// Settings says what the system made of the options ListenUDP asks for. None of them is needed to work.
type Settings struct {
	ReceiveBytes int  // receive buffer in bytes as asked for (Linux books twice that); 0 if unknown
	SendBytes    int  // send buffer, likewise
	Forced       bool // the buffers were set beyond the system's limit, which takes CAP_NET_ADMIN
	Probing      bool // DF is set on every packet and the kernel's path MTU is ignored
	DualStack    bool // IPv4 and IPv6 on one socket
}

// Counters are totals since the socket was opened.
type Counters struct {
	Received    uint64 // datagrams read
	Truncated   uint64 // of these, longer than the reader's buffer and so given with N = 0
	ReadErrors  uint64 // ICMP errors reported by a read, and passed over
	Sent        uint64 // datagrams the kernel took
	Refused     uint64 // not sent: ECONNREFUSED
	Unreachable uint64 // not sent: no route, host or network down, or an address family we do not have
	TooBig      uint64 // not sent: EMSGSIZE, larger than the interface
	Filtered    uint64 // not sent: EPERM or EACCES, a local packet filter or a broadcast address
	NoBuffer    uint64 // not sent: the send buffer or the queue of the interface stayed full
	Other       uint64 // not sent: any other error
}

// counts is Counters while they grow.
type counts struct {
	received, truncated, readErrors                                atomic.Uint64
	sent, refused, unreachable, tooBig, filtered, noBuffer, others atomic.Uint64
}

// ListenUDP opens a UDP socket on addr, whose port may be 0. On [::] the socket is dual-stack, and
// plain IPv4 when the host has no IPv6; on 0.0.0.0 or an IPv4 address it is IPv4 only, on any other
// IPv6 address IPv6 only. The Socket is a *UDP.
func ListenUDP(addr netip.AddrPort) (Socket, error) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	switch {
	case !addr.IsValid():
		return nil, errors.New("listen udp: invalid address")
	case addr.Addr().Is4():
		return listen("udp4", addr, familyV4)
	case addr.Addr() != netip.IPv6Unspecified():
		return listen("udp6", addr, familyV6)
	}
	s, err := listen("udp", addr, familyDual)
	if err != nil && noIPv6(err) {
		return listen("udp4", netip.AddrPortFrom(netip.IPv4Unspecified(), addr.Port()), familyV4)
	}
	return s, err
}

// ListenUDP6 is ListenUDP for an IPv6 address, but on [::] it leaves IPv4 alone, so that another
// socket can have 0.0.0.0 with the same port.
func ListenUDP6(addr netip.AddrPort) (Socket, error) {
	if !addr.Addr().Is6() || addr.Addr().Is4In6() {
		return nil, fmt.Errorf("listen udp %v: not an IPv6 address", addr)
	}
	return listen("udp6", addr, familyV6)
}

func listen(network string, addr netip.AddrPort, f family) (Socket, error) {
	s, err := listenWith(nil, network, addr, f)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// listenWith is listen. prepare, if not nil, is given the descriptor before it is bound.
func listenWith(prepare func(fd uintptr) error, network string, addr netip.AddrPort, f family) (*UDP, error) {
	var lc net.ListenConfig
	if prepare != nil {
		lc.Control = func(_, _ string, raw syscall.RawConn) error {
			var err error
			e := raw.Control(func(fd uintptr) { err = prepare(fd) })
			return errors.Join(e, err)
		}
	}
	pc, err := lc.ListenPacket(context.Background(), network, addr.String())
	if err != nil {
		return nil, fmt.Errorf("listen udp %v: %w", addr, err)
	}
	conn := pc.(*net.UDPConn)
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	s := &UDP{family: f, local: netip.AddrPortFrom(local.Addr().Unmap(), local.Port())}
	if err := s.open(conn); err != nil {
		conn.Close()
		return nil, fmt.Errorf("listen udp %v: %w", addr, err)
	}
	s.granted.DualStack = f == familyDual
	return s, nil
}

// LocalAddr implements Socket.
func (s *UDP) LocalAddr() netip.AddrPort { return s.local }

// Settings returns what the system granted when the socket was opened.
func (s *UDP) Settings() Settings { return s.granted }

// Counters returns the totals so far. They are read one by one, so they need not add up while
// other goroutines use the socket.
func (s *UDP) Counters() Counters {
	c := &s.counts
	return Counters{
		Received: c.received.Load(), Truncated: c.truncated.Load(), ReadErrors: c.readErrors.Load(),
		Sent: c.sent.Load(), Refused: c.refused.Load(), Unreachable: c.unreachable.Load(),
		TooBig: c.tooBig.Load(), Filtered: c.filtered.Load(), NoBuffer: c.noBuffer.Load(), Other: c.others.Load(),
	}
}

// Close implements Socket.
func (s *UDP) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return s.shut()
}

// result is what a call that ended with err returns: net.ErrClosed alone once the socket is closed.
func (s *UDP) result(op string, err error) error {
	if s.closed.Load() || errors.Is(err, net.ErrClosed) {
		return net.ErrClosed
	}
	return fmt.Errorf("%s udp %v: %w", op, s.local, err)
}

// reaches reports whether the socket can send to addresses like a.
func (f family) reaches(a netip.Addr) bool {
	switch {
	case !a.IsValid():
		return false
	case a.Is4() || a.Is4In6():
		return f != familyV6
	default:
		return f != familyV4
	}
}
