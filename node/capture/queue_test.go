package capture_test

import (
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/vine-mesh/vine/node/capture"
)

func buffers(n, size int) ([][]byte, []capture.Packet) {
	bufs := make([][]byte, n)
	for i := range bufs {
		bufs[i] = make([]byte, size)
	}
	return bufs, make([]capture.Packet, n)
}

func TestQueueDropsWhenFull(t *testing.T) {
	q := capture.NewQueue(2)
	for i, want := range []bool{true, true, false} {
		if got := q.Put([]byte{byte(i)}); got != want {
			t.Errorf("Put %d = %v, want %v", i, got, want)
		}
	}
	bufs, pkts := buffers(4, 10)
	n, err := q.ReadBatch(bufs, pkts)
	if n != 2 || err != nil || bufs[0][0] != 0 || bufs[1][0] != 1 || len(pkts[0].Bytes) != 1 {
		t.Errorf("ReadBatch = %d, %v, %v %v", n, err, bufs, pkts)
	}
	if q.Dropped() != 1 {
		t.Errorf("Dropped = %d, want 1", q.Dropped())
	}
	if !q.Put([]byte{3}) {
		t.Error("Put after reading dropped the packet")
	}
}

func TestQueueDropsWhatDoesNotFit(t *testing.T) {
	q := capture.NewQueue(3)
	q.Put(make([]byte, 11))
	q.Put(make([]byte, 10))
	q.Put(make([]byte, 11))
	bufs, pkts := buffers(3, 10)
	n, err := q.ReadBatch(bufs, pkts)
	if n != 1 || err != nil || len(pkts[0].Bytes) != 10 || q.Dropped() != 2 {
		t.Errorf("ReadBatch = %d, %v, packets %v, dropped %d", n, err, pkts, q.Dropped())
	}
}

func TestQueueClose(t *testing.T) {
	q := capture.NewQueue(3)
	q.Put([]byte{1})
	q.Close()
	q.Close()
	bufs, pkts := buffers(1, 10)
	if n, err := q.ReadBatch(bufs, pkts); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("ReadBatch after Close = %d, %v", n, err)
	}
	if q.Put([]byte{2}) {
		t.Error("Put after Close took the packet")
	}
}

// Every packet is either read or counted as dropped, whatever the interleaving.
func TestQueueLosesNothingUncounted(t *testing.T) {
	q := capture.NewQueue(8)
	const senders, each = 4, 1000
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for range each {
				q.Put([]byte("packet"))
			}
		})
	}
	read := make(chan int)
	go func() {
		bufs, pkts := buffers(3, 10)
		total := 0
		for {
			n, err := q.ReadBatch(bufs, pkts)
			for i := range n {
				if string(pkts[i].Bytes) != "end" {
					total++
					continue
				}
				read <- total
				return
			}
			if err != nil {
				read <- -1
				return
			}
		}
	}()
	wg.Wait()
	dropped := q.Dropped()
	for !q.Put([]byte("end")) {
	}
	if got := <-read; got+int(dropped) != senders*each {
		t.Errorf("%d read + %d dropped, want %d", got, dropped, senders*each)
	}
}

func TestQueueDoesNotAllocate(t *testing.T) {
	q := capture.NewQueue(4)
	bufs, pkts := buffers(4, 100)
	pkt := make([]byte, 100)
	step := func() {
		q.Put(pkt)
		q.Put(pkt)
		if _, err := q.ReadBatch(bufs, pkts); err != nil {
			t.Fatal(err)
		}
	}
	for range 8 {
		step() // until each buffer has been used
	}
	if n := testing.AllocsPerRun(100, step); n != 0 {
		t.Errorf("%v allocations per round", n)
	}
}
