package node

import (
	"errors"
	"net"
	"sync"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/transport/frame"
)

// An attachment is one capture device and the lock that keeps its writers apart: the receiving
// lane, and the sending lanes when they answer a host or deliver locally.
type attachment struct {
	write    sync.Mutex // guards the device's writer, and the rest. Close of a device may wait for a lane that waits for it
	device   capture.Device
	queues   [frame.LanesMax]laneQueue // of the lanes but the first, where the device has them
	swapping chan struct{}             // closed when the device has been replaced, or has not after all; nil: it is not being replaced
	closed   bool
	clipped  uint64 // what devices before this one have dropped on reading
}

// clips returns how many packets the attachment's devices dropped because they were longer than the buffers, or not what the
// kernel said of them.
func (a *attachment) clips() uint64 {
	a.write.Lock()
	defer a.write.Unlock()
	return a.clipped + clipsOf(a.device)
}

func clipsOf(device capture.Device) (count uint64) {
	if d, ok := device.(interface{ Clipped() uint64 }); ok {
		count = d.Clipped()
	}
	if d, ok := device.(capture.Queued); ok {
		for _, q := range d.Queues() {
			count += clipsOf(q)
		}
	}
	return count
}

// A laneQueue is the queue of a device that one lane writes to: the kernel then gives it the other direction of these flows.
type laneQueue struct {
	write sync.Mutex
	queue capture.Device // nil: the lane writes to the device
	_     [40]byte       // each has a cache line of its own
}

func newAttachment(device capture.Device) *attachment {
	a := &attachment{device: device}
	a.share()
	return a
}

// share gives the lanes the device's queues.
func (a *attachment) share() {
	for i := 1; i < len(a.queues); i++ {
		q := &a.queues[i]
		q.write.Lock()
		q.queue = queueOf(a.device, i)
		q.write.Unlock()
	}
}

// queueOf returns what a lane reads of a device, nil if nothing.
func queueOf(device capture.Device, lane int) capture.Device {
	if lane == 0 {
		return device
	}
	if d, ok := device.(capture.Queued); ok {
		if queues := d.Queues(); lane <= len(queues) {
			return queues[lane-1]
		}
	}
	return nil
}

// inject writes packets to the device, by a lane's queue if it has one.
func (a *attachment) inject(lane int, packets []capture.Packet) {
	if lane > 0 {
		q := &a.queues[lane]
		q.write.Lock()
		defer q.write.Unlock()
		if q.queue != nil {
			q.queue.WriteBatch(packets)
			return
		}
	}
	a.write.Lock()
	defer a.write.Unlock()
	a.device.WriteBatch(packets)
}

// current returns the attachment's device. A lane that finds its device closed asks for it: if it is still that one, that is
// the end. While the device is being replaced it waits.
func (a *attachment) current() capture.Device {
	a.write.Lock()
	device, swapping := a.device, a.swapping
	a.write.Unlock()
	if swapping == nil {
		return device
	}
	<-swapping
	return a.current()
}

func (a *attachment) close() error {
	a.write.Lock()
	a.closed = true
	device := a.device
	a.write.Unlock()
	return device.Close()
}

// begin begins to replace the device, and returns it.
func (a *attachment) begin() capture.Device {
	a.write.Lock()
	defer a.write.Unlock()
	a.swapping = make(chan struct{})
	return a.device
}

// end has the attachment go on with a device, which may be the old one. It reports false if the attachment was closed meanwhile.
func (a *attachment) end(device capture.Device) bool {
	a.write.Lock()
	defer a.write.Unlock()
	close(a.swapping)
	a.swapping = nil
	if !a.closed {
		if a.device != device {
			a.clipped += clipsOf(a.device)
		}
		a.device = device
		a.share()
	}
	return !a.closed
}

// Replace has the attachments go on with other devices, which swap returns, in the order of Options.Attachments. Sessions, links
// and tables do not notice. swap is given the old devices and may close them, if the new ones could not be opened else: the lanes
// wait meanwhile. Afterwards Replace closes those that are not among the new.
//
// If swap fails, the attachments go on with what they had, or with the devices that swap returns beside its error, for it may have
// had to open the old ones again. The error is that of swap, or net.ErrClosed when the Node has ended; then the new devices are
// closed. Replace may be called from any goroutine, but one at a time.
func (n *Node) Replace(swap func(old []capture.Device) ([]capture.Device, error)) error {
	var old []capture.Device
	for _, a := range n.attachments {
		old = append(old, a.begin())
	}
	fresh, err := swap(old)
	if fresh == nil {
		fresh = old
	}
	for at, a := range n.attachments {
		_, was := old[at].(capture.Pollable)
		if _, is := fresh[at].(capture.Pollable); is != was {
			panic("node: internal error: a device was replaced by one that lanes read in another way")
		}
		if !a.end(fresh[at]) {
			err = errors.Join(err, net.ErrClosed, fresh[at].Close())
		}
		if fresh[at] != old[at] {
			err = errors.Join(err, old[at].Close()) // the lanes wake up by that
		}
	}
	for i := range n.waits { // or by this, if they had no queue
		if set := n.waits[i].Load(); set != nil {
			set.Close()
		}
	}
	return err
}
