//go:build linux

package netns_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tests/netns"
)

// flowRate is of the flows in these tests, packets per second each way: a gap is known to 5 ms.
const flowRate = 200

// TestQueueDies: a queue-VR that carries traffic is killed without a goodbye, again and again.
func TestQueueDies(t *testing.T) {
	p := relayed(t)
	dir := t.TempDir()
	netns.RandomFile(t, filepath.Join(dir, "page"), 1000)
	netns.ServeHTTP(t, p.b.LAN.Hosts[1], p.b.Addr4(t, 1), dir)
	repeats := 2 // some 10 s each
	if night() {
		repeats = 100
	}
	var gaps, fresh []time.Duration
	for i := range repeats {
		q := p.carrying(t)
		gap, first := p.kill(t, q)
		gaps, fresh = append(gaps, gap), append(fresh, first)
		t.Logf("NUMBER %d of %d: %s killed, data gap %s, a new flow's first data after %s", i+1, repeats, q.Name, inSeconds(gap), inSeconds(first))
		q.Up(t)
	}
	p50, p99 := quantile(gaps, 0.5), quantile(gaps, 0.99)
	t.Logf("NUMBER a killed queue-VR, %d times: data gap p50 %s, p99 %s, most %s; a flow that starts after the kill: p50 %s, most %s",
		repeats, inSeconds(p50), inSeconds(p99), inSeconds(slices.Max(gaps)), inSeconds(quantile(fresh, 0.5)), inSeconds(slices.Max(fresh)))
	if p50 > time.Second || p99 > 2*time.Second {
		t.Errorf("data gap p50 %v, p99 %v, want at most 1 s and 2 s", p50, p99)
	}
	if most := slices.Max(fresh); most > 3*time.Second {
		t.Errorf("a flow that starts just after the kill waits %v, want at most 3 s", most)
	}
}

// kill kills the queue-VR under a UDP and a TCP flow and returns the longest gap, of either way, and how long a
// flow takes that starts just afterwards.
func (p *relayedPair) kill(t *testing.T, q netns.QueueVR) (gap, first time.Duration) {
	t.Helper()
	flow := netns.StartFlow(t, p.a.Host(t, 0), p.b.Host(t, 0), flowRate)
	tcp := netns.StartTCP(t, p.a.Host(t, 0), p.b.Host(t, 0), 9*time.Second, "-b", "2M")
	netns.Pause(2 * time.Second)
	killed := time.Now()
	q.Kill()
	netns.Fetch(t, p.a.LAN.Hosts[1], p.b.Addr4(t, 1), "page")
	first = time.Since(killed)
	netns.Pause(max(5*time.Second-time.Since(killed), 0))
	flow.Stop()
	for way, d := range map[string]*netns.Direction{"there": flow.There, "back": flow.Back} {
		r := d.Between(killed, killed.Add(5*time.Second))
		t.Logf("%s: %v", way, r)
		gap = max(gap, r.Gap)
	}
	if r := tcp.Report(t, 20*time.Second); !r.Survived {
		t.Errorf("a TCP flow is lost with its queue-VR: %v", r)
	}
	return gap, first
}

// quantile returns the smallest value that at least the share q of all are not above.
func quantile(list []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(list))
	n := int(q*float64(len(sorted)) + 0.999999)
	return sorted[min(max(n, 1), len(sorted))-1]
}

// noReturn is how long the traffic must not go back to a queue-VR that has failed it.
const noReturn = 30 * time.Second

// TestQueuePaused: the queue-VR's process stands still for five seconds; nobody sends an error.
func TestQueuePaused(t *testing.T) {
	waits(t)
	p := relayed(t)
	q := p.carrying(t)
	flow := netns.StartFlow(t, p.a.Host(t, 0), p.b.Host(t, 0), flowRate)
	netns.Pause(2 * time.Second)
	paused := time.Now()
	q.Freeze()
	netns.Pause(5 * time.Second)
	q.Thaw()
	moved := p.awaitMove(t, q, paused, 10*time.Second)
	p.stays(t, q, noReturn)
	flow.Stop()
	for way, d := range map[string]*netns.Direction{"there": flow.There, "back": flow.Back} {
		r := d.Between(paused, paused.Add(10*time.Second))
		t.Logf("NUMBER a queue-VR paused for 5 s, %s: %v; seen moved after %s", way, r, inSeconds(moved))
		if r.Gap > 2*time.Second {
			t.Errorf("%s: the traffic has moved after %v, want at most 2 s", way, r.Gap)
		}
	}
}

// TestQueueLoses: the queue-VR's wire loses every other packet.
func TestQueueLoses(t *testing.T) {
	waits(t)
	p := relayed(t)
	p.degrades(t, "50 % loss", flowRate, func(q netns.QueueVR) { q.Lose(t, 50) }, func(q netns.QueueVR) { q.Lose(t, 0) })
}

// TestQueueShaped: the queue-VR's wire carries 100 kbit/s, the flow makes more than twice that.
func TestQueueShaped(t *testing.T) {
	waits(t)
	p := relayed(t)
	p.degrades(t, "shaped to 100 kbit/s", flowRate, func(q netns.QueueVR) { q.Shape(t, 100) }, func(q netns.QueueVR) { q.Shape(t, 0) })
}

// degrades makes the queue-VR in use a bad one, and wants the traffic moved in 10 s and well afterwards, and
// staying away though the queue-VR is good again.
func (p *relayedPair) degrades(t *testing.T, what string, rate int, bad, good func(netns.QueueVR)) {
	t.Helper()
	q := p.carrying(t)
	flow := netns.StartFlow(t, p.a.Host(t, 0), p.b.Host(t, 0), rate)
	tcp := netns.StartTCP(t, p.a.Host(t, 0), p.b.Host(t, 0), 50*time.Second, "-b", "2M")
	netns.Pause(5 * time.Second)
	begins := time.Now()
	bad(q)
	moved := p.awaitMove(t, q, begins, 10*time.Second)
	t.Logf("NUMBER a queue-VR %s: moved after %s", what, inSeconds(moved))
	netns.Pause(max(12*time.Second-time.Since(begins), 0))
	good(q)
	p.stays(t, q, noReturn)
	flow.Stop()
	for way, d := range map[string]*netns.Direction{"there": flow.There, "back": flow.Back} {
		// Both ways have moved: two seconds are for the one that follows.
		after := d.Between(begins.Add(12*time.Second), begins.Add(40*time.Second))
		t.Logf("NUMBER %s, %s: before the move %v; afterwards %v", what, way, d.Between(begins, begins.Add(moved)), after)
		if after.Lost*100 > after.Sent {
			t.Errorf("%s, %s: afterwards %v", what, way, after)
		}
	}
	r := tcp.Report(t, 30*time.Second)
	t.Logf("NUMBER %s, TCP: %v", what, r)
	if !r.Survived {
		t.Errorf("%s: a TCP flow is lost: %v", what, r)
	}
}

// TestDrain: `vine drain` empties a queue-VR that carries 1,000 packets per second each way, and none is lost,
// even if the VR goes afterwards.
func TestDrain(t *testing.T) {
	waits(t)
	p := relayed(t)
	q := p.carrying(t)
	flow := netns.StartFlow(t, p.a.Host(t, 0), p.b.Host(t, 0), 1000)
	netns.Pause(3 * time.Second)
	begins := time.Now()
	q.Vine(t, "drain")
	drained := time.Since(begins)
	moved := p.awaitMove(t, q, begins, 30*time.Second)
	netns.Pause(time.Second)
	q.Stop(t)
	netns.Pause(3 * time.Second)
	flow.Stop()
	for way, d := range map[string]*netns.Direction{"there": flow.There, "back": flow.Back} {
		r := d.All()
		t.Logf("NUMBER drain, %s: %v; vine drain took %s, moved after %s", way, r, inSeconds(drained), inSeconds(moved))
		if r.Lost > 0 {
			t.Errorf("%s: %d of %d packets are lost to a drain", way, r.Lost, r.Sent)
		}
	}
}
