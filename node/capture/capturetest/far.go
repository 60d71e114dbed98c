package capturetest

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Far returns the far side of d for the contract test: one host per family. The sockets take
// turns in Receive, so they are good for lock step tests only.
func (d *ChannelDevice) Far() Far {
	return Far{
		Host4: netip.MustParseAddr("10.192.1.5"),
		Host6: netip.MustParseAddr("fd00:192:1::5"),
		ListenPacket: func(addr netip.AddrPort) (net.PacketConn, error) {
			return &socket{dev: d, local: addr}, nil
		},
	}
}

// A socket is a UDP socket of the host behind a ChannelDevice. It throws away what is not for it.
type socket struct {
	dev   *ChannelDevice
	local netip.AddrPort

	mu       sync.Mutex // guards deadline
	deadline time.Time
}

func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	ctx := context.Background()
	s.mu.Lock()
	deadline := s.deadline
	s.mu.Unlock()
	if !deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	for {
		pkt, err := s.dev.Receive(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			err = os.ErrDeadlineExceeded
		}
		if err != nil {
			return 0, nil, err
		}
		if src, dst, payload, ok := ParseUDP(pkt); ok && dst == s.local {
			return copy(b, payload), net.UDPAddrFromAddrPort(src), nil
		}
	}
}

func (s *socket) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, &net.AddrError{Err: "not a UDP address", Addr: to.String()}
	}
	port := addr.AddrPort()
	port = netip.AddrPortFrom(port.Addr().Unmap(), port.Port())
	s.dev.Send(AppendUDP(nil, s.local, port, b)) // a full queue is a lost datagram, as with UDP
	return len(b), nil
}

func (s *socket) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	return nil
}

func (s *socket) SetDeadline(t time.Time) error    { return s.SetReadDeadline(t) }
func (s *socket) SetWriteDeadline(time.Time) error { return nil }
func (s *socket) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(s.local) }
func (s *socket) Close() error                     { return nil }
