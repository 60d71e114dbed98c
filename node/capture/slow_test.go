package capture_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/vine-mesh/vine/internal/poll"
	"github.com/vine-mesh/vine/node/capture"
)

// A three is a device with queues, which gives three segments and two packets at a time.
type three struct{ capture.Device }

func (three) ReadBatch(_ [][]byte, pkts []capture.Packet) (int, error) {
	pkts[0], pkts[1] = capture.Packet{Bytes: superPacket(2500), GSOSize: 1000}, capture.Packet{Bytes: make([]byte, 60)}
	return 2, nil
}
func (d three) TryReadBatch(bufs [][]byte, pkts []capture.Packet) (int, error) {
	return d.ReadBatch(bufs, pkts)
}
func (three) FD() *poll.FD               { return nil }
func (three) Queues() []capture.Pollable { return []capture.Pollable{three{}} }

// superPacket returns an IPv4 TCP packet with so many bytes of payload.
func superPacket(payload int) []byte {
	b := make([]byte, 40+payload)
	b[0], b[9], b[32] = 0x45, 6, 0x50
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

// TestSlowed: each segment takes its time, in every queue, and the device can do what it could.
func TestSlowed(t *testing.T) {
	const each = time.Millisecond
	took := func(read func([][]byte, []capture.Packet) (int, error)) {
		t.Helper()
		bufs, pkts := buffers(4, 10)
		begin := time.Now()
		if n, err := read(bufs, pkts); n != 2 || err != nil || time.Since(begin) < 4*each {
			t.Errorf("%d packets, %v, in %v", n, err, time.Since(begin))
		}
	}
	d := capture.Slowed(three{}, each)
	took(d.ReadBatch)
	q, ok := d.(capture.Queued)
	if !ok {
		t.Fatal("its queues are gone")
	}
	took(q.TryReadBatch)
	took(q.Queues()[0].TryReadBatch)
	if _, ok := capture.Slowed(struct{ capture.Device }{}, each).(capture.Pollable); ok {
		t.Error("it can more than before")
	}
}
