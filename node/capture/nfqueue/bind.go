//go:build linux

package nfqueue

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// bind returns a netlink socket to which the kernel sends the packets of both queues. It does not wait.
//
// The kernel sends nothing before it has been told how much of a packet: that comes last, and is not waited for, so that no
// packet is taken for an answer.
func bind(number uint16) (fd int, err error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return -1, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetOption(netlink.NoENOBUFS, true) // a full buffer is no error: the kernel counts it
	for which := range uint16(2) {
		flags := uint32(0)
		if which == 0 {
			flags = flagGSO
		}
		if _, err := conn.Execute(config(number+which, netlink.Acknowledge, func(e *netlink.AttributeEncoder) {
			e.Bytes(configCommand, []byte{commandBind, 0, 0, 0})
			e.Uint32(configLength, queueLength)
			e.Uint32(configMask, flagGSO)
			e.Uint32(configFlags, flags)
		})); err != nil {
			return -1, fmt.Errorf("bind queue %d: %w", number+which, err)
		}
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	// The socket lives on in our own descriptor, outside the runtime's poller.
	if e := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
		err = e
	}
	if err != nil {
		return -1, err
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, queueBytes/2) != nil { // the kernel doubles it
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, queueBytes/2)
	}
	for which := range uint16(2) {
		if _, err := conn.Send(config(number+which, 0, func(e *netlink.AttributeEncoder) {
			e.Bytes(configParams, append(binary.BigEndian.AppendUint32(nil, copyBytes), copyPacket))
		})); err != nil {
			_ = unix.Close(fd)
			return -1, fmt.Errorf("have the packets of queue %d: %w", number+which, err)
		}
	}
	return fd, nil
}

// config returns a message that configures a queue.
func config(queue uint16, flags netlink.HeaderFlags, put func(e *netlink.AttributeEncoder)) netlink.Message {
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	put(e)
	b, err := e.Encode()
	if err != nil {
		panic("nfqueue: internal error: " + err.Error()) // of fixed values
	}
	head := binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, queue)
	return netlink.Message{Header: netlink.Header{Type: msgConfig, Flags: netlink.Request | flags}, Data: append(head, b...)}
}
