package impair

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// OpenPort opens an Ethernet interface of the calling thread's network namespace, such as one end of a
// veth pair. Whoever sends to it from the other end must finish its checksums and send no packet
// larger than the MTU: turn the offloads off there.
func OpenPort(iface string) (Port, error) {
	fd, err := openPacketSocket(iface)
	if err != nil {
		return nil, err
	}
	return &port{os.NewFile(uintptr(fd), iface)}, nil
}

// etherHeader is the size of an Ethernet header.
const etherHeader = 14

// openPacketSocket opens a packet socket, which does not block, for all that comes in by an interface.
func openPacketSocket(iface string) (fd int, err error) {
	i, err := net.InterfaceByName(iface)
	if err != nil {
		return 0, fmt.Errorf("impair: interface %q: %w", iface, err)
	}
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("impair: packet socket: %w", err)
	}
	err = errors.Join(
		// Nothing is to wait in a queue other than the line's.
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1),
		// Without it the port would read what it has written.
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 8<<20),
		unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
			&unix.PacketMreq{Ifindex: int32(i.Index), Type: unix.PACKET_MR_PROMISC}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: swap16(unix.ETH_P_ALL), Ifindex: i.Index}),
	)
	if err != nil {
		_ = unix.Close(fd)
		return 0, fmt.Errorf("impair: open %s: %w", iface, err)
	}
	return fd, nil
}

// swap16 returns n in network order.
func swap16(n uint16) uint16 { return n<<8 | n>>8 }

// A port is a packet socket. The runtime waits for it, so Close wakes a Read.
type port struct{ file *os.File }

func (*port) header() int { return etherHeader }

// Read implements Port. An interface that is down for a while is no error.
func (p *port) Read(b []byte) (int, error) {
	for {
		n, err := p.file.Read(b)
		if errors.Is(err, unix.ENETDOWN) {
			time.Sleep(time.Millisecond)
			continue
		}
		return n, err
	}
}

// Write implements Port.
func (p *port) Write(b []byte) (int, error) { return p.file.Write(b) }

// Close implements Port.
func (p *port) Close() error { return p.file.Close() }
