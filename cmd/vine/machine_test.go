package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/capture/capturetest"
	"github.com/vine-mesh/vine/node/capture/hostnet"
)

// fakeSetup is a setup that fails while broken is set, and remembers what it was told, and when.
type fakeSetup struct {
	mu     sync.Mutex // guards broken
	broken error
	plans  []hostnet.Plan
	times  []time.Time
}

func (s *fakeSetup) Update(p hostnet.Plan) error {
	s.plans, s.times = append(s.plans, p), append(s.times, time.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

func (s *fakeSetup) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = nil
}

func (s *fakeSetup) Close() error { return nil }

// A change of routes that fails is tried again until it works, with the newest wish, and what
// works is made again now and then.
func TestRoutesAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSetup{broken: errors.New("netlink is out of memory")}
		var log bytes.Buffer
		m := &machine{
			log: slog.New(slog.NewTextHandler(&log, nil)), news: make(chan [][]netip.Prefix, 1), ended: make(chan struct{}), setup: s, lan: [][]int{{0}},
			plan: hostnet.Plan{Device: "vine0", Attachments: []hostnet.Attachment{{Interface: "eth1"}}},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.run(ctx) }()
		first, second := netip.MustParsePrefix("10.192.1.0/24"), netip.MustParsePrefix("10.192.2.0/24")
		start := time.Now()
		m.delivers([][]netip.Prefix{{first}})
		const change = 2*setupRetry + time.Second
		time.Sleep(change)
		m.delivers([][]netip.Prefix{{second}})
		synctest.Wait()
		s.mend()
		time.Sleep(setupRetry + 2*setupRepair)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		var at []time.Duration
		var blocks []netip.Prefix
		for i, p := range s.plans {
			at = append(at, s.times[i].Sub(start))
			blocks = append(blocks, p.Attachments[0].Blocks...)
		}
		if want := []time.Duration{0, setupRetry, 2 * setupRetry, change, change + setupRetry, change + setupRetry + setupRepair, change + setupRetry + 2*setupRepair}; !reflect.DeepEqual(at, want) {
			t.Fatalf("set up at %v, want %v", at, want)
		}
		if want := []netip.Prefix{first, first, first, second, second, second, second}; !reflect.DeepEqual(blocks, want) {
			t.Fatalf("set up %v, want %v", blocks, want)
		}
		if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), "after all") {
			t.Errorf("log:\n%s", log.String())
		}
	})
}

// fakeDevice is a capture device that can be stale.
type fakeDevice struct {
	*capturetest.ChannelDevice
	stale atomic.Bool
}

func (d *fakeDevice) Stale() bool { return d.stale.Load() }

func (d *fakeDevice) closed() bool {
	_, err := d.WriteBatch(nil)
	return errors.Is(err, net.ErrClosed)
}

// A device whose interface is another is opened anew, once; and if that fails, the machine ends with the reason.
func TestStaleDeviceIsOpenedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDevice{ChannelDevice: capturetest.NewChannelDevice("lan0", 1400)}
		var log bytes.Buffer
		m := &machine{
			log: slog.New(slog.NewTextHandler(&log, nil)), news: make(chan [][]netip.Prefix, 1), ended: make(chan struct{}),
			setup: &fakeSetup{}, way: "raw", devices: []capture.Device{d}, ports: []port{{interfaces: []string{"no-such-interface"}}},
		}
		m.replace = func(swap func([]capture.Device) ([]capture.Device, error)) error {
			_, err := swap(m.devices)
			return err
		}
		done := make(chan error)
		go func() { done <- m.run(t.Context()) }()
		time.Sleep(3 * setupRepair)
		synctest.Wait()
		if d.closed() {
			t.Error("a good device was closed")
		}
		d.stale.Store(true)
		time.Sleep(setupRepair)
		if err := <-done; err == nil || !strings.Contains(err.Error(), "no-such-interface") {
			t.Errorf("the machine ended with %v", err)
		}
		if !d.closed() {
			t.Error("the stale device is open")
		}
	})
}
