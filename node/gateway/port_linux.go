package gateway

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/vine-mesh/vine/node/lease"
)

// A port is a packet socket on one LAN interface.
type port struct {
	mac    lease.MAC
	file   *os.File
	groups *os.File // keeps us in the multicast groups of neighbour discovery; nil: there is no IPv6
}

// frameMax is longer than every frame that package lease reads.
const frameMax = 2048

// openPort opens the interface. It belongs to the network namespace of the thread.
func openPort(name string, addrs []netip.Addr) (wire, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	p := &port{}
	if copy(p.mac[:], link.HardwareAddr) != len(p.mac) || len(link.HardwareAddr) != len(p.mac) {
		return nil, fmt.Errorf("interface %s is no Ethernet", name)
	}
	fd, err := packetSocket(link.Index)
	if err != nil {
		return nil, fmt.Errorf("packet socket on %s: %w", name, err)
	}
	p.file = os.NewFile(uintptr(fd), "packets of "+name)
	p.groups = joinGroups(link.Index, addrs)
	return p, nil
}

func packetSocket(index int) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0) // nothing comes until it is bound
	if err != nil {
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w: run as root or give the program CAP_NET_RAW", err)
		}
		return -1, err
	}
	set := func() error {
		program, err := filter()
		if err != nil {
			return err
		}
		if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}); err != nil {
			return fmt.Errorf("attach the filter: %w", err)
		}
		group := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_MULTICAST, Alen: uint16(len(lease.GroupMAC))}
		copy(group.Address[:], lease.GroupMAC[:])
		if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &group); err != nil {
			return fmt.Errorf("join the group of VRs: %w", err)
		}
		all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index})
	}
	if err := set(); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// filter lets frames pass that package lease reads: that came in, without the tag of a virtual LAN, which another interface has.
func filter() ([]unix.SockFilter, error) {
	const outgoing, icmpv6, solicit, advertise = 4, 58, 135, 136
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: outgoing, SkipTrue: 11},
		bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: 9},
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: lease.EtherType, SkipTrue: 8},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_ARP, SkipTrue: 7},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ETH_P_IPV6, SkipTrue: 5},
		bpf.LoadAbsolute{Off: 14 + 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: icmpv6, SkipTrue: 3},
		bpf.LoadAbsolute{Off: 14 + 40, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: solicit, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: advertise, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: frameMax},
	})
	if err != nil {
		return nil, err
	}
	list := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		list[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return list, nil
}

// joinGroups tells switches that look for it that we are to get the questions who has the addresses. Without IPv6 there are none.
func joinGroups(index int, addrs []netip.Addr) *os.File {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if a.Is6() {
			_ = unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP,
				&unix.IPv6Mreq{Multiaddr: lease.SolicitedNode(a).As16(), Interface: uint32(index)})
		}
	}
	return os.NewFile(uintptr(fd), "multicast groups")
}

func (p *port) address() lease.MAC { return p.mac }

func (p *port) read(out chan<- lease.Frame) error {
	b := make([]byte, frameMax)
	for {
		n, err := p.file.Read(b)
		if err != nil {
			return err
		}
		f := lease.ParseFrame(b[:n])
		if beat, ok := f.(lease.Beat); ok {
			beat.Message = append([]byte(nil), beat.Message...)
			f = beat
		}
		if f == nil {
			continue
		}
		select {
		case out <- f:
		default:
		}
	}
}

func (p *port) write(frame []byte) { _, _ = p.file.Write(frame) }

func (p *port) Close() {
	_ = p.file.Close()
	if p.groups != nil {
		_ = p.groups.Close()
	}
}
