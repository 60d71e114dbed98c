package secure

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"github.com/vine-mesh/vine/transport/frame"
)

// TestLanesOfASession: lanes are the same ones whoever asks first, from however many goroutines; each opens what its own lane has
// sealed, under counters of its own, and nothing else's.
func TestLanesOfASession(t *testing.T) {
	a, b := link(t, SuiteAES128GCM)
	first, _ := a.Lane(0)
	_, receiver := b.Lane(0)
	var senders [32][frame.LanesMax]*Sender
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for lane := range uint8(frame.LanesMax) {
				senders[i][lane] = first.On(lane)
				receiver.On(lane)
			}
		})
	}
	wg.Wait()
	for lane := range uint8(frame.LanesMax) {
		own, _ := a.Lane(lane)
		for i := range senders {
			if senders[i][lane] != own {
				t.Fatalf("lane %d has two Senders", lane)
			}
		}
		sealed, ok := own.Seal(nil, 0x100, [3]byte{}, 7, []byte{lane})
		h, _, err := frame.ParseDataHeader(sealed)
		if !ok || err != nil || h.Lane() != lane || h.Counter != 0 {
			t.Fatalf("lane %d seals %+v, %v, %v", lane, h, ok, err)
		}
		if _, err := receiver.On((lane+1)%frame.LanesMax).Open(nil, bytes.Clone(sealed), 7); !errors.Is(err, ErrOpen) {
			t.Errorf("lane %d opened by the next one: %v", lane, err)
		}
		if got, err := receiver.On(lane).Open(nil, sealed, 7); err != nil || !bytes.Equal(got, []byte{lane}) {
			t.Errorf("lane %d: %v, %v", lane, got, err)
		}
	}
	if r := b.Report(); a.Sent() != frame.LanesMax || r.Packets != frame.LanesMax || r.Highest != frame.LanesMax {
		t.Errorf("%d sent, %+v arrived", a.Sent(), r)
	}
}
