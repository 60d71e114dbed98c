package capture

import (
	"github.com/vine-mesh/vine/internal/poll"
	"github.com/vine-mesh/vine/node/segment"
)

// A Packet is an IP packet, the header first, or a super-packet that stands for several.
type Packet = segment.Packet

// Packets makes single packets with whole checksums of their bytes.
func Packets(list ...[]byte) []Packet {
	pkts := make([]Packet, len(list))
	for i, b := range list {
		pkts[i].Bytes = b
	}
	return pkts
}

// MTUMin is the smallest MTU a Device may have: the IPv6 minimum (RFC 8200, Section 5). An inner
// packet of this size passes every path of the mesh, so a smaller device would only hide that.
const MTUMin = 1280

// A Device is where packets of the LAN enter and leave the virtual router.
//
// # Ownership
//
// A packet that ReadBatch returned belongs to the caller alone: the machine has no other copy, or drops it, and
// will not forward it by itself, so a packet that the caller drops is gone. Buffers always belong
// to the caller: a Device keeps no reference to bufs or pkts after the call returns, and does
// not change the bytes of what it is to write. Of bufs, those that were not reported as filled may hold rubbish.
//
// # Concurrency
//
// One goroutine may call ReadBatch while another calls WriteBatch. Two concurrent ReadBatch calls
// (or two WriteBatch calls) are a misuse. Close, MTU and Name may be called from any goroutine at
// any time.
//
// # Errors
//
// After Close, ReadBatch and WriteBatch return an error that wraps net.ErrClosed. Any other error
// of ReadBatch is final: the device is broken or has been taken away; close it, and open a new one.
// Any other error of WriteBatch is about single packets; the device is still good.
//
// Back ends may hold packets in queues; each says how long its queue is and what it drops when that
// is full. A Device never blocks a host and never grows without bound.
type Device interface {
	// ReadBatch waits until the LAN has sent at least one packet, then takes up to len(bufs)
	// packets without waiting again. It returns their number n; pkts[i] lies at the begin of bufs[i],
	// in the order sent. A device may give super-packets, longer than its MTU, whose segments are not.
	//
	// bufs must not be empty, pkts must be at least as long, and each buffer should have
	// segment.LengthMax bytes, or MTU bytes where no super-packets are expected: a packet longer
	// than its buffer is dropped, never truncated. n is 0 if and only if the error is not nil. The
	// packet's content is not checked: it is hostile input. What a Packet says beside its bytes is.
	ReadBatch(bufs [][]byte, pkts []Packet) (n int, err error)

	// WriteBatch puts packets into the LAN, in order. Every device takes super-packets and partial
	// checksums; one that has no use for them segments and sums itself. It tries every packet. It returns the number n that were taken, and if that is fewer than
	// len(pkts), the reason for the first that was not; the others are lost, and retrying is
	// useless. After Close it stops at once with net.ErrClosed.
	WriteBatch(pkts []Packet) (n int, err error)

	// MTU returns the length in bytes of the longest IP packet that the device carries. It is at
	// least MTUMin and constant.
	MTU() int

	// Name returns the name of the interface, such as "vine0". It is constant.
	Name() string

	// Close releases the device. It unblocks a waiting ReadBatch at once, and returns after the
	// device's last goroutine has ended, if it has any. The second and later calls do nothing and
	// return nil.
	Close() error
}

// A Pollable is a Device behind one descriptor, which a lane can wait for together with others.
type Pollable interface {
	Device
	// TryReadBatch is ReadBatch that does not wait: it returns 0, nil when nothing is there.
	TryReadBatch(bufs [][]byte, pkts []Packet) (n int, err error)
	// FD returns the descriptor. It belongs to the device.
	FD() *poll.FD
}

// A Queued is a Pollable with several queues, for a lane each. The kernel puts packets of one flow into one queue: the one that
// packets of the flow's other direction were written to last, if any were.
type Queued interface {
	Pollable
	// Queues returns the further queues; the device itself is the first. They are as different devices are, but belong to
	// the device: closing it closes them, and they are not to be closed by themselves. It is constant.
	Queues() []Pollable
}
