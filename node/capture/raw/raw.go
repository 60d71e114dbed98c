//go:build linux

package raw

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vine-mesh/vine/internal/poll"
	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/capture/vnet"
)

// queueBytes is how much waits in the kernel for the reader, by the kernel's own account of it: thousands of small packets, as
// many as wait in a TUN interface, and hundreds of super-packets.
const queueBytes = 16 << 20

// sendBytes is how much of what was sent may be on its way out of the machine: more than the queue of a network card holds.
const sendBytes = 8 << 20

// packetIgnoreOutgoing is PACKET_IGNORE_OUTGOING of linux/if_packet.h: what is sent is not looked at at all. Kernels before
// 4.20 do not have it; there the filter throws it away.
const packetIgnoreOutgoing = 23

// A Device captures on LAN interfaces. The kernel queues up to queueBytes for the reader and drops what comes when the queue is
// full; `ss -0 -m` shows it. The Device has no goroutine. It belongs to the network namespace of the thread that called Open,
// and may be used from any thread.
//
// An interface that goes down and comes back is captured on again. One that is removed gives nothing any more, also not when
// another one takes its name: see Stale.
type Device struct {
	fd       *poll.FD
	reader   vnet.Reader
	injector *Injector
}

var _ capture.Pollable = (*Device)(nil)

// Open captures what hosts on the LAN interfaces send to the prefixes of the space; without interfaces, nothing. The
// error says what to do if a right is missing or an interface does not exist. After an error nothing is left open.
func Open(interfaces []string, space []netip.Prefix) (d *Device, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("capture on %s by a packet socket: %w%s", strings.Join(interfaces, ", "), err, advice(err))
		}
	}()
	injector, err := NewInjector(interfaces)
	if err != nil {
		return nil, err
	}
	d = &Device{injector: injector}
	bound, protocol := 0, uint16(unix.ETH_P_ALL) // all interfaces, and the filter chooses
	switch len(interfaces) {
	case 0:
		protocol = 0
	case 1:
		bound = injector.ports[0].index
	}
	program, err := filter(injector.indexes(), space)
	fd := -1
	if err == nil {
		fd, err = packetSocket(bound, protocol, program)
	}
	if err != nil {
		_ = injector.Close()
		return nil, err
	}
	d.fd = poll.New(fd)
	d.reader = vnet.Reader{FD: d.fd, Vnet: true, Ethernet: true, Passing: unix.ENETDOWN}
	d.reader.From = func(mac [6]byte, index int, packet []byte) { injector.Learn(index, mac, packet) }
	return d, nil
}

// packetSocket returns a packet socket with vnet_hdr for the interface. It gets nothing with protocol zero, else what the
// filter lets pass, from the first packet on.
func packetSocket(index int, protocol uint16, filter []unix.SockFilter) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	set := func() error {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
			return fmt.Errorf("ask for super-packets: %w", err)
		}
		_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, packetIgnoreOutgoing, 1)
		if protocol == 0 {
			// What waits for the network card counts too. Where that is slow its queue is to be full first, and lose packets, for
			// else the lane would wait.
			if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBytes/2) != nil { // the kernel doubles it
				_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBytes/2)
			}
		} else {
			if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, queueBytes/2) != nil { // the kernel doubles it
				_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, queueBytes/2)
			}
			program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
			if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
				return fmt.Errorf("attach the filter: %w", err)
			}
		}
		big := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, protocol))
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: big, Ifindex: index})
	}
	if err := set(); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func advice(err error) string {
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return ": run as root or give the program CAP_NET_RAW and CAP_NET_ADMIN, or use the user-space capture"
	case errors.Is(err, unix.EAFNOSUPPORT):
		return ": the kernel has no packet sockets: choose another way"
	}
	return ""
}

// FD implements capture.Pollable.
func (d *Device) FD() *poll.FD { return d.fd }

// ReadBatch implements capture.Device.
func (d *Device) ReadBatch(bufs [][]byte, pkts []capture.Packet) (int, error) {
	n, err := d.reader.ReadBatch(bufs, pkts)
	return n, d.explain("read", err)
}

// TryReadBatch implements capture.Pollable.
func (d *Device) TryReadBatch(bufs [][]byte, pkts []capture.Packet) (int, error) {
	n, err := d.reader.TryReadBatch(bufs, pkts)
	return n, d.explain("read", err)
}

// Clipped returns how many packets ReadBatch dropped because they were longer than its buffers, or not what the kernel said
// of them.
func (d *Device) Clipped() uint64 { return d.reader.Clipped() }

// WriteBatch implements capture.Device: see Injector.WriteBatch.
func (d *Device) WriteBatch(pkts []capture.Packet) (int, error) {
	n, err := d.injector.WriteBatch(pkts)
	return n, d.explain("write", err)
}

func (d *Device) explain(doing string, err error) error {
	if err == nil || err == net.ErrClosed {
		return err
	}
	return fmt.Errorf("%s packets of %s: %w", doing, d.Name(), err)
}

// MTU implements capture.Device. It is the smallest of the interfaces' at the time of Open.
func (d *Device) MTU() int { return d.injector.MTU() }

// Name implements capture.Device. It is the interfaces' names, with commas in between.
func (d *Device) Name() string { return d.injector.Name() }

// Stale is Injector.Stale: the Device should be opened anew.
func (d *Device) Stale() bool { return d.injector.Stale() }

// Close implements capture.Device.
func (d *Device) Close() error {
	if err := errors.Join(d.fd.Close(), d.injector.Close()); err != nil {
		return fmt.Errorf("close the capture on %s: %w", d.Name(), err)
	}
	return nil
}
