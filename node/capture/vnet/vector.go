//go:build linux

package vnet

import (
	"encoding/binary"
	"fmt"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// EthernetLen is the length of an Ethernet header: where to 6, where from 6, what follows 2.
const EthernetLen = 14

// SetKind writes into an Ethernet header that an IP packet follows.
func SetKind(header *[EthernetLen]byte, packet []byte) {
	kind := uint16(unix.ETH_P_IP)
	if packet[0]>>4 == 6 {
		kind = unix.ETH_P_IPV6
	}
	binary.BigEndian.PutUint16(header[12:], kind)
}

// AddressOf returns the Ethernet address of an interface of the thread's network namespace.
func AddressOf(name string) (address [6]byte, err error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return address, fmt.Errorf("interface %s: %w", name, err)
	}
	if len(i.HardwareAddr) != len(address) {
		return address, fmt.Errorf("interface %s is no Ethernet", name)
	}
	copy(address[:], i.HardwareAddr)
	return address, nil
}

// A vector is the parts that one system call moves.
type vector struct {
	parts [3]unix.Iovec
	n     int
}

func (v *vector) add(b []byte) {
	v.parts[v.n].Base = unsafe.SliceData(b)
	v.parts[v.n].SetLen(len(b))
	v.n++
}

// transfer is readv or writev, without the list that package unix would make for each call. It does not wait, for the
// descriptor does not, so Go's scheduler is not told of it: see theKernel of transport/underlay.
func (v *vector) transfer(call uintptr, fd int) (int, error) {
	n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&v.parts)), uintptr(v.n))
	*v = vector{}
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// receive is transfer with recvmsg, which also says where the packet came from. msg is room to work in.
func (v *vector) receive(fd int, from *unix.RawSockaddrLinklayer, msg *unix.Msghdr) (int, error) {
	*msg = unix.Msghdr{Name: (*byte)(unsafe.Pointer(from)), Namelen: unix.SizeofSockaddrLinklayer, Iov: &v.parts[0]}
	msg.SetIovlen(v.n)
	n, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(msg)), unix.MSG_DONTWAIT)
	*v = vector{}
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
