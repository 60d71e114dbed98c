package capturetest

import (
	"bytes"
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/node/capture"
)

func TestChannelDevice(t *testing.T) {
	Test(t, func(t *testing.T) (capture.Device, Far) {
		d := NewChannelDevice("fake0", 0)
		return d, d.Far()
	})
}

// A goroutine that waits for a packet lets virtual time pass.
func TestChannelDeviceInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewChannelDevice("fake0", 0)
		done := make(chan int)
		go func() {
			n, _ := d.ReadBatch([][]byte{make([]byte, 1500)}, make([]capture.Packet, 1))
			done <- n
		}()
		start := time.Now()
		time.Sleep(time.Hour)
		if !d.Send([]byte{0x45}) {
			t.Error("Send lost the packet")
		}
		if n := <-done; n != 1 || time.Since(start) != time.Hour {
			t.Errorf("read %d packets after %v", n, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := d.Receive(ctx); err != context.DeadlineExceeded {
			t.Errorf("Receive = %v, want the deadline", err)
		}
	})
}

func TestChannelDeviceCountsDrops(t *testing.T) {
	d := NewChannelDevice("fake0", 0)
	pkt := AppendUDP(nil, netip.AddrPortFrom(Remote4, 1), netip.AddrPortFrom(Remote4, 2), nil)
	for range QueueLength {
		if n, err := d.WriteBatch(capture.Packets(pkt)); n != 1 || err != nil || !d.Send(pkt) {
			t.Fatalf("WriteBatch = %d, %v", n, err)
		}
	}
	if n, err := d.WriteBatch(capture.Packets(pkt, pkt)); n != 0 || err == nil {
		t.Errorf("WriteBatch into a full queue = %d, %v", n, err)
	}
	if d.Send(pkt) {
		t.Error("Send into a full queue took the packet")
	}
	if sent, written := d.Dropped(); sent != 1 || written != 2 {
		t.Errorf("Dropped = %d, %d, want 1, 2", sent, written)
	}
}

func FuzzParseUDP(f *testing.F) {
	p4 := AppendUDP(nil, netip.AddrPortFrom(Remote4, 1), netip.AddrPortFrom(Remote4, 2), []byte("odd"))
	p6 := AppendUDP(nil, netip.AddrPortFrom(Remote6, 1), netip.AddrPortFrom(Remote6, 2), []byte("even"))
	for _, p := range [][]byte{p4, p6} {
		f.Add(p)
		for n := range p {
			if _, _, _, ok := ParseUDP(p[:n]); ok {
				f.Fatalf("ParseUDP accepts the first %d of %d bytes", n, len(p))
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		src, dst, payload, ok := ParseUDP(b)
		if !ok {
			return
		}
		_, _, again, ok := ParseUDP(AppendUDP(nil, src, dst, payload))
		if !ok || !bytes.Equal(again, payload) {
			t.Errorf("payload %x became %x, %v", payload, again, ok)
		}
	})
}
