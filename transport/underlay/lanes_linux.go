package underlay

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Beside returns count more sockets on the port of s, one for each further lane: they have one address together, so that what
// a NAT maps for one it maps for all. The kernel gives a data datagram to the socket whose number is the sender's lane, modulo
// how many there are, and everything else to s, which is number 0; where it takes no program for that, it chooses by
// addresses.
//
// Packets of socket i leave with a hop limit that is lower by i than others. Else the kernel would take datagrams of several
// lanes that arrive together for one flow, and give them to one socket.
//
// Nobody may read s before. After an error no more sockets are open, and s is as good as before. s and the sockets are to be
// closed together.
func (s *UDP) Beside(count int) (more []Socket, err error) {
	defer func() {
		if err != nil {
			for _, m := range more {
				err = errors.Join(err, m.Close())
			}
			more = nil
			err = errors.Join(fmt.Errorf("several sockets on %v: %w", s.local, err), s.set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 0))
		}
	}()
	// Only now that it has the port: nobody else can have had it.
	if err := s.set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return nil, err
	}
	network := map[family]string{familyV4: "udp4", familyV6: "udp6", familyDual: "udp"}[s.family]
	for i := range count {
		m, err := listenWith(reusePort, network, s.local, s.family)
		if err != nil {
			return more, err
		}
		more = append(more, m)
		if err := m.lowerHopLimit(i + 1); err != nil {
			return more, err
		}
	}
	// Without the program it is right too, only not spread: datagrams of a peer all come to one socket.
	s.spread = s.byLane(count+1) == nil
	return more, nil
}

// Spread reports whether the kernel chooses among the sockets that Beside has made by lane.
func (s *UDP) Spread() bool { return s.spread }

func (s *UDP) set(level, option, value int) (err error) {
	if !s.fd.Use(func(fd uintptr) {
		err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), level, option, value))
	}) {
		return net.ErrClosed
	}
	return err
}

func reusePort(fd uintptr) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
}

// lowerHopLimit lowers what the system has set by n.
func (s *UDP) lowerHopLimit(n int) (err error) {
	lower := func(level, option int) {
		s.fd.Use(func(fd uintptr) {
			limit, e := unix.GetsockoptInt(int(fd), level, option)
			if e == nil {
				e = unix.SetsockoptInt(int(fd), level, option, max(1, limit-n))
			}
			err = errors.Join(err, os.NewSyscallError("hop limit", e))
		})
	}
	if s.family != familyV6 {
		lower(unix.IPPROTO_IP, unix.IP_TTL)
	}
	if s.family != familyV4 {
		lower(unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS)
	}
	return err
}

// laneProgram returns what the kernel is to choose one of count sockets by. It is given the datagram (socket(7),
// SO_ATTACH_REUSEPORT_CBPF); of one that is too short for a load it returns 0. See frame.DataHeader.
func laneProgram(count int) []bpf.Instruction {
	const typeData, laneAt, laneMask = 1, 7, 15
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeData, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadAbsolute{Off: laneAt, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: laneMask},
		bpf.ALUOpConstant{Op: bpf.ALUOpMod, Val: uint32(count)},
		bpf.RetA{},
	}
}

func (s *UDP) byLane(count int) error {
	raw, err := bpf.Assemble(laneProgram(count))
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if !s.fd.Use(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &program)
	}) {
		return net.ErrClosed
	}
	return err
}
