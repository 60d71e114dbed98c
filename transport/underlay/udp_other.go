//go:build !linux

package underlay

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// sendWaitMax bounds how long WriteBatch waits for room in a full send buffer.
const sendWaitMax = 20 * time.Millisecond

// platform is the standard library's socket: outside Linux a call moves one datagram, and DF is left to the system.
type platform struct {
	conn *net.UDPConn
}

func (s *UDP) open(conn *net.UDPConn) error {
	s.conn = conn
	if s.conn.SetReadBuffer(bufferBytes) == nil {
		s.granted.ReceiveBytes = bufferBytes
	}
	if s.conn.SetWriteBuffer(bufferBytes) == nil {
		s.granted.SendBytes = bufferBytes
	}
	return nil
}

// shut closes the socket. Close of the standard library wakes the waiting calls and returns when the last one has let go of
// the descriptor.
func (s *UDP) shut() error { return s.conn.Close() }

// readErrorsMax is how many errors in a row ReadBatch takes for what ICMP said about earlier packets.
// Each is reported once, so a longer row means that the socket is broken.
const readErrorsMax = 1024

// ReadBatch implements Socket; it reads one datagram a call. Systems that do not report truncation
// give the part that fits.
func (s *UDP) ReadBatch(dgs []Datagram) (int, error) {
	if len(dgs) == 0 {
		return 0, nil
	}
	d := &dgs[0]
	for tries := 0; ; tries++ {
		n, _, flags, addr, err := s.conn.ReadMsgUDPAddrPort(d.Buf, nil)
		switch {
		case err == nil:
			d.N, d.Segment, d.Addr = n, 0, netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
			if flags&msgTrunc != 0 {
				d.N = 0
				s.counts.truncated.Add(1)
			}
			s.counts.received.Add(1)
			return 1, nil
		case s.closed.Load() || errors.Is(err, net.ErrClosed) || tries == readErrorsMax:
			return 0, s.result("read", err)
		}
		s.counts.readErrors.Add(1)
	}
}

// Offload implements Socket.
func (s *UDP) Offload() (Offloads, error) { return Offloads{}, nil }

// TryReadBatch implements Socket: it has never anything.
func (s *UDP) TryReadBatch([]Datagram) (int, error) {
	if s.closed.Load() {
		return 0, net.ErrClosed
	}
	return 0, nil
}

// msgTrunc is MSG_TRUNC of the BSDs and Darwin.
const msgTrunc = 0x10

// WriteBatch implements Socket; it makes one call per datagram.
func (s *UDP) WriteBatch(dgs []Datagram) (int, error) {
	if s.closed.Load() {
		return 0, net.ErrClosed
	}
	if len(dgs) > 0 {
		// The deadline of a whole batch: a full buffer is the only thing a UDP write waits for.
		if err := s.conn.SetWriteDeadline(time.Now().Add(sendWaitMax)); err != nil {
			return 0, s.result("write", err)
		}
	}
	sent := 0
	for i := range dgs {
		d := &dgs[i]
		a := d.Addr.Addr()
		if !s.family.reaches(a) {
			s.counts.unreachable.Add(1)
			continue
		}
		if s.family == familyV4 {
			a = a.Unmap()
		}
		_, err := s.conn.WriteToUDPAddrPort(d.Buf[:d.N], netip.AddrPortFrom(a, d.Addr.Port()))
		switch {
		case err == nil:
			sent++
			s.counts.sent.Add(1)
		case errors.Is(err, net.ErrClosed):
			return sent, s.result("write", err)
		default:
			s.counts.failed(err)
		}
	}
	return sent, nil
}

// failed counts a datagram that could not be sent.
func (c *counts) failed(err error) {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		c.refused.Add(1)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		c.unreachable.Add(1)
	case errors.Is(err, syscall.EMSGSIZE):
		c.tooBig.Add(1)
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		c.filtered.Add(1)
	case errors.Is(err, syscall.ENOBUFS), errors.As(err, &timeout) && timeout.Timeout():
		c.noBuffer.Add(1)
	default:
		c.others.Add(1)
	}
}

// noIPv6 reports whether a socket could not be opened because the host has no IPv6.
func noIPv6(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)
}
