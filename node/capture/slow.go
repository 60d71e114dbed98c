package capture

import "time"

// Slowed returns the device with a delay loop behind its read calls: each packet keeps the reader busy for so long, each segment of a
// super-packet as well. It stands for processing that a VR does not do, as in the dissertation's figures 4-12 and 4-13; nothing
// else needs it. What the device can do, the slow one can.
func Slowed(device Device, each time.Duration) Device {
	switch d := device.(type) {
	case Queued:
		q := &slowQueued{slowPollable{d, each}, nil}
		for _, one := range d.Queues() {
			q.queues = append(q.queues, &slowPollable{one, each})
		}
		return q
	case Pollable:
		return &slowPollable{d, each}
	}
	return &slow{device, each}
}

type slow struct {
	Device
	each time.Duration
}

func (s *slow) ReadBatch(bufs [][]byte, pkts []Packet) (n int, err error) {
	n, err = s.Device.ReadBatch(bufs, pkts)
	spin(s.each, pkts[:n])
	return n, err
}

type slowPollable struct {
	Pollable
	each time.Duration
}

func (s *slowPollable) ReadBatch(bufs [][]byte, pkts []Packet) (n int, err error) {
	n, err = s.Pollable.ReadBatch(bufs, pkts)
	spin(s.each, pkts[:n])
	return n, err
}

func (s *slowPollable) TryReadBatch(bufs [][]byte, pkts []Packet) (n int, err error) {
	n, err = s.Pollable.TryReadBatch(bufs, pkts)
	spin(s.each, pkts[:n])
	return n, err
}

type slowQueued struct {
	slowPollable
	queues []Pollable
}

func (s *slowQueued) Queues() []Pollable { return s.queues }

// spin keeps the processor busy: a sleep would be longer than what is asked for, and leave the processor to others.
func spin(each time.Duration, pkts []Packet) {
	segments := 0
	for _, p := range pkts {
		segments += p.Segments()
	}
	for end := time.Now().Add(time.Duration(segments) * each); segments > 0 && time.Now().Before(end); {
	}
}
