package capture

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
)

// A Queue is the bounded packet queue of the Devices that live in user space: many senders put
// packets in, one reader takes them out by ReadBatch or Get. It copies on both sides, so that nobody
// shares a buffer, and reuses its own buffers, so that it does not allocate once it has been full.
//
// All methods may be called concurrently. When the queue is
// full, Put drops the packet it was given and counts it.
type Queue struct {
	// waiting and idle hold the same fixed set of buffers between them, and each has room for all:
	// who holds a buffer can always put it into either without waiting.
	waiting chan []byte
	idle    chan []byte
	done    chan struct{}
	close   sync.Once
	dropped atomic.Uint64
}

// NewQueue returns an empty queue with room for length packets, at least one.
func NewQueue(length int) *Queue {
	length = max(length, 1)
	q := &Queue{
		waiting: make(chan []byte, length),
		idle:    make(chan []byte, length),
		done:    make(chan struct{}),
	}
	for range length {
		q.idle <- nil
	}
	return q
}

// Put appends a copy of pkt. It never waits: it reports false if the queue was full or closed, and
// then the packet is lost.
func (q *Queue) Put(pkt []byte) bool {
	if q.Closed() {
		return false
	}
	select {
	case b := <-q.idle:
		q.waiting <- append(b[:0], pkt...)
		return true
	default:
		q.dropped.Add(1)
		return false
	}
}

// ReadBatch is Device.ReadBatch. A packet longer than its buffer is dropped and counted.
func (q *Queue) ReadBatch(bufs [][]byte, pkts []Packet) (int, error) {
	_ = bufs[0]
	for n := 0; ; {
		if q.Closed() {
			return 0, net.ErrClosed
		}
		select {
		case b := <-q.waiting:
			n = q.take(b, bufs, pkts, n)
		case <-q.done:
			return 0, net.ErrClosed
		}
		for more := true; more && n < len(bufs); {
			select {
			case b := <-q.waiting:
				n = q.take(b, bufs, pkts, n)
			default:
				more = false
			}
		}
		if n > 0 {
			return n, nil
		}
	}
}

// take copies b to buffer n and gives b back; it returns the number of filled buffers.
func (q *Queue) take(b []byte, bufs [][]byte, pkts []Packet, n int) int {
	if len(b) > len(bufs[n]) {
		q.dropped.Add(1)
	} else {
		pkts[n] = Packet{Bytes: bufs[n][:copy(bufs[n], b)]}
		n++
	}
	q.idle <- b
	return n
}

// Get waits for the next packet and returns a copy that belongs to the caller. The error is that
// of ctx, or net.ErrClosed.
func (q *Queue) Get(ctx context.Context) ([]byte, error) {
	if q.Closed() {
		return nil, net.ErrClosed
	}
	select {
	case b := <-q.waiting:
		pkt := bytes.Clone(b)
		q.idle <- b
		return pkt, nil
	case <-q.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Dropped returns how many packets were lost because the queue was full or the reader's buffer
// too short.
func (q *Queue) Dropped() uint64 { return q.dropped.Load() }

// Closed reports whether Close has been called.
func (q *Queue) Closed() bool {
	select {
	case <-q.done:
		return true
	default:
		return false
	}
}

// Done returns a channel that is closed by Close.
func (q *Queue) Done() <-chan struct{} { return q.done }

// Close unblocks ReadBatch. Packets in the queue are lost.
func (q *Queue) Close() { q.close.Do(func() { close(q.done) }) }
