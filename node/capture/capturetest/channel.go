package capturetest

import (
	"context"
	"errors"
	"net"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/segment"
)

// QueueLength is how many packets a ChannelDevice holds in each direction: more than the largest
// batch any test uses, so that a test loses packets only if it means to.
const QueueLength = 256

// A ChannelDevice is a capture.Device in memory. The test plays the LAN: it sends packets into
// the device with Send and gets those that the router wrote with Receive.
//
// Each direction is a queue of QueueLength packets that drops what comes when it is full.
// Made inside a testing/synctest bubble, all its waiting is durable. It has no goroutine. All
// methods may be called concurrently, as far as capture.Device allows.
type ChannelDevice struct {
	name     string
	mtu      int
	outbound *capture.Queue // from the LAN to the router
	inbound  *capture.Queue // from the router to the LAN
}

var _ capture.Device = (*ChannelDevice)(nil)

// NewChannelDevice returns an open device. mtu is at least capture.MTUMin, or 0 for 1500.
func NewChannelDevice(name string, mtu int) *ChannelDevice {
	if mtu == 0 {
		mtu = 1500
	}
	return &ChannelDevice{
		name:     name,
		mtu:      max(mtu, capture.MTUMin),
		outbound: capture.NewQueue(QueueLength),
		inbound:  capture.NewQueue(QueueLength),
	}
}

// ReadBatch implements capture.Device.
func (d *ChannelDevice) ReadBatch(bufs [][]byte, pkts []capture.Packet) (int, error) {
	return d.outbound.ReadBatch(bufs, pkts)
}

var (
	errFull   = errors.New("write to channel device: queue is full")
	errFormat = errors.New("write to channel device: not an IP packet of at most the MTU")
)

// WriteBatch implements capture.Device. Like a TUN device it refuses what is not IP by its first
// four bits, and it refuses what is longer than the MTU. The LAN gets super-packets as their segments.
func (d *ChannelDevice) WriteBatch(pkts []capture.Packet) (n int, err error) {
	for _, p := range pkts {
		refused := d.write(p)
		switch {
		case d.inbound.Closed():
			return n, net.ErrClosed
		case refused != nil:
			err = first(err, refused)
		default:
			n++
		}
	}
	if len(pkts) == 0 && d.inbound.Closed() {
		return 0, net.ErrClosed
	}
	return n, err
}

func (d *ChannelDevice) write(p capture.Packet) error {
	var f segment.Finisher
	if !f.Start(p) {
		return errFormat
	}
	for b, ok := f.Next(); ok; b, ok = f.Next() {
		if len(b) == 0 || len(b) > d.mtu || b[0]>>4 != 4 && b[0]>>4 != 6 {
			return errFormat
		}
		if !d.inbound.Put(b) {
			return errFull
		}
	}
	return nil
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// MTU implements capture.Device.
func (d *ChannelDevice) MTU() int { return d.mtu }

// Name implements capture.Device.
func (d *ChannelDevice) Name() string { return d.name }

// Close implements capture.Device.
func (d *ChannelDevice) Close() error {
	d.outbound.Close()
	d.inbound.Close()
	return nil
}

// Send makes the LAN send a copy of pkt. It reports false if the packet was lost: the device is
// closed or its queue full.
func (d *ChannelDevice) Send(pkt []byte) bool { return d.outbound.Put(pkt) }

// Receive waits for the next packet that the router wrote and returns a copy that belongs to the
// caller. The error is that of ctx, or net.ErrClosed.
func (d *ChannelDevice) Receive(ctx context.Context) ([]byte, error) {
	return d.inbound.Get(ctx)
}

// Dropped returns how many packets were lost to full queues: those the LAN sent, and those the
// router wrote.
func (d *ChannelDevice) Dropped() (sent, written uint64) {
	return d.outbound.Dropped(), d.inbound.Dropped()
}
