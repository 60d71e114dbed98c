package underlay

import (
	"errors"

	"golang.org/x/sys/unix"
)

// setOptions forbids broadcast, asks for large buffers and for DF without the kernel's path MTU, and
// notes what came of it.
func (s *UDP) setOptions(fd uintptr) {
	f := int(fd)
	// The standard library allows broadcast on every UDP socket. Endpoints come from others, and one that
	// names a whole subnet must not make us flood it.
	unix.SetsockoptInt(f, unix.SOL_SOCKET, unix.SO_BROADCAST, 0)
	forced := unix.SetsockoptInt(f, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bufferBytes) == nil
	if !forced {
		unix.SetsockoptInt(f, unix.SOL_SOCKET, unix.SO_RCVBUF, bufferBytes)
	}
	if unix.SetsockoptInt(f, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, bufferBytes) != nil {
		forced = false
		unix.SetsockoptInt(f, unix.SOL_SOCKET, unix.SO_SNDBUF, bufferBytes)
	}
	s.granted.Forced = forced
	// "The kernel doubles this value (to allow space for bookkeeping overhead) when it is set using
	// setsockopt(2), and this doubled value is returned by getsockopt(2)." socket(7), SO_RCVBUF
	if n, err := unix.GetsockoptInt(f, unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil {
		s.granted.ReceiveBytes = n / 2
	}
	if n, err := unix.GetsockoptInt(f, unix.SOL_SOCKET, unix.SO_SNDBUF); err == nil {
		s.granted.SendBytes = n / 2
	}
	// The IPv4 option rules the 4-in-6 traffic of an IPv6 socket too.
	probing := true
	if s.family != familyV6 {
		probing = unix.SetsockoptInt(f, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE) == nil
	}
	if s.family != familyV4 {
		probing = unix.SetsockoptInt(f, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE) == nil && probing
	}
	s.granted.Probing = probing
	// So that reads tell what routers on the way have marked. Where it is refused there are no marks.
	unix.SetsockoptInt(f, unix.IPPROTO_IP, unix.IP_RECVTOS, 1)
	if s.family != familyV4 {
		unix.SetsockoptInt(f, unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1)
	}
}

// noIPv6 reports whether a socket could not be opened because the host has no IPv6.
func noIPv6(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EPROTONOSUPPORT)
}
