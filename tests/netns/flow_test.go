//go:build linux

package netns_test

import (
	"testing"
	"time"

	"github.com/vine-mesh/vine/tests/impair"
	"github.com/vine-mesh/vine/tests/netns"
)

// TestFlow: what measures failover sees losses, gaps, reordering and broken connections, and none where
// there are none. No ViNe is in it: the VRs' machines talk to each other.
func TestFlow(t *testing.T) {
	waits(t)
	f := netns.New(t)
	a, b := f.AddSite(t, netns.SiteOption{}), f.AddSite(t, netns.SiteOption{})
	q := netns.QueueVR{Site: b}
	from, to := netns.End{NS: a.Namespace, Addr: a.WAN.V4}, netns.End{NS: b.Namespace, Addr: b.WAN.V4}
	const rate = 1000

	t.Run("good", func(t *testing.T) {
		flow := netns.StartFlow(t, from, to, rate)
		tcp := netns.StartTCP(t, from, to, 2*time.Second, "-b", "5M")
		netns.Pause(2 * time.Second)
		flow.Stop()
		for _, d := range []*netns.Direction{flow.There, flow.Back} {
			r := d.All()
			t.Log(r)
			if r.Sent < rate || r.Lost > 0 || r.Reordered > 0 || r.Duplicates > 0 || r.Gap > time.Second {
				t.Errorf("a good wire: %v", r)
			}
		}
		r := tcp.Report(t, 10*time.Second)
		t.Log(r)
		if !r.Survived || r.Mean < 3 || r.Mean > 7 || r.Stall > time.Second || len(r.Mbits) < 15 {
			t.Errorf("TCP at 5 Mbit/s over a good wire: %v, %v", r, r.Mbits)
		}
	})
	t.Run("half lost", func(t *testing.T) {
		q.Lose(t, 50)
		defer q.Lose(t, 0)
		flow := netns.StartFlow(t, from, to, rate)
		netns.Pause(2 * time.Second)
		flow.Stop()
		for _, d := range []*netns.Direction{flow.There, flow.Back} {
			r := d.All()
			t.Log(r)
			if share := float64(r.Lost) / float64(r.Sent); share < 0.4 || share > 0.6 {
				t.Errorf("half should be lost: %v", r)
			}
		}
	})
	t.Run("dead for a second", func(t *testing.T) {
		flow := netns.StartFlow(t, from, to, rate)
		tcp := netns.StartTCP(t, from, to, 5*time.Second, "-b", "5M")
		netns.Pause(time.Second)
		dies := time.Now()
		q.Lose(t, 100)
		netns.Pause(time.Second)
		q.Lose(t, 0)
		lives := time.Now()
		netns.Pause(time.Second)
		flow.Stop()
		for _, d := range []*netns.Direction{flow.There, flow.Back} {
			r := d.Between(dies, lives.Add(500*time.Millisecond))
			t.Log(r)
			if r.Gap < 900*time.Millisecond || r.Gap > lives.Sub(dies)+200*time.Millisecond || r.Lost < rate*8/10 {
				t.Errorf("dead for %v: %v", lives.Sub(dies), r)
			}
			if before := d.Between(dies.Add(-500*time.Millisecond), dies.Add(-50*time.Millisecond)); before.Lost > 0 {
				t.Errorf("before: %v", before)
			}
		}
		r := tcp.Report(t, 10*time.Second)
		t.Log(r)
		if !r.Survived || r.Stall < 500*time.Millisecond {
			t.Errorf("TCP whose wire was dead for a second: %v", r)
		}
	})
	t.Run("dead for good", func(t *testing.T) {
		tcp := netns.StartTCP(t, from, to, 2*time.Second, "-b", "5M")
		netns.Pause(time.Second)
		q.Lose(t, 100)
		defer q.Lose(t, 0)
		if r := tcp.Report(t, 3*time.Second); r.Survived {
			t.Errorf("TCP has survived a dead wire: %v", r)
		}
	})
	t.Run("shaped", func(t *testing.T) {
		q.Shape(t, 1000)
		tcp := netns.StartTCP(t, from, to, 3*time.Second)
		r := tcp.Report(t, 20*time.Second)
		t.Log(r)
		if !r.Survived || r.Mean > 1.2 || r.Mean < 0.3 {
			t.Errorf("TCP over 1 Mbit/s: %v", r)
		}
		q.Shape(t, 0)
		flow := netns.StartFlow(t, from, to, rate)
		netns.Pause(time.Second)
		flow.Stop()
		if r := flow.There.All(); r.Lost > 0 {
			t.Errorf("after the shaping: %v", r)
		}
	})
	t.Run("reordered", func(t *testing.T) {
		c := f.AddSite(t, netns.SiteOption{Middle: true})
		c.Impair(t, impair.Settings{Delay: 5 * time.Millisecond, Reorder: 0.1})
		flow := netns.StartFlow(t, from, netns.End{NS: c.Namespace, Addr: c.WAN.V4}, rate)
		netns.Pause(2 * time.Second)
		flow.Stop()
		r := flow.There.All()
		t.Log(r)
		// One in ten overtakes some five others, which then are late.
		if r.Lost > 0 || r.Reordered < r.Sent/20 || r.Reordered > r.Sent*9/10 {
			t.Errorf("one in ten overtakes: %v", r)
		}
	})
}
