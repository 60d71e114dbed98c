package nodetest_test

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// pair makes a VN of one host at each of two sites and returns a flow each way, which works.
func pair(w *nodetest.World, name string, a, b *nodetest.Site) (there, back *nodetest.Flow) {
	w.T.Helper()
	ha, hb := a.NewHost(), b.NewHost()
	w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: name, Hosts: []netip.Addr{ha, hb}})
	if !w.Reaches(a, ha, b, hb, 10*time.Second) || !w.Reaches(b, hb, a, ha, 10*time.Second) {
		w.T.Fatalf("%s: no traffic between %s and %s", name, a.Name, b.Name)
	}
	w.Settle(time.Second)
	return w.NewFlow(a, ha, b, hb), w.NewFlow(b, hb, a, ha)
}

// TestAuthorityAway: with the authority stopped, traffic, rekeying and restarts go on; what is
// asked for meanwhile is done when it is back.
func TestAuthorityAway(t *testing.T) {
	inWorld(t, 20, func(t *testing.T, w *nodetest.World) {
		a := w.Found("authority")
		b, c := w.Join("beta", a), w.Join("gamma", a)
		there, back := pair(w, "physics", b, c)
		a.Stop()

		start := time.Now()
		var inits atomic.Int64
		w.Net.OnSend(func(_ time.Time, _, to netip.AddrPort, p []byte) {
			if p[0] == 2 && (to == b.Endpoint() || to == c.Endpoint()) {
				inits.Add(1)
			}
		})
		w.Run(10*time.Minute, 100*time.Millisecond, there, back)
		w.Net.OnSend(nil)
		w.Settle(time.Second)
		if n := there.Lost(start) + back.Lost(start); n != 0 {
			t.Errorf("%d of %d packets lost while keys changed", n, there.Sent()+back.Sent())
		}
		if n := inits.Load(); n < 4 {
			t.Errorf("%d handshakes in ten minutes, so keys hardly changed", n)
		}

		// A VR restarts without it.
		c.Kill()
		c.Start()
		start = time.Now()
		w.Run(5*time.Second, 10*time.Millisecond, there, back)
		for _, f := range []*nodetest.Flow{there, back} {
			if d, ok := f.FirstAfter(start); !ok || d > time.Second {
				t.Errorf("after a restart without the authority the first packet came after %v, %v", d, ok)
			}
		}

		// What is asked for meanwhile waits, accepted, through a restart of the VR that took it.
		hosts := []netip.Addr{b.NewHost(), c.NewHost()}
		d, err := policy.NewRequest(time.Now(), &counted{}, a.User(), policy.OpVNCreate, policy.VNCreateArgs{Name: "later", Hosts: hosts})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.API().Submit(context.Background(), d.Bytes()); err != nil {
			t.Fatal(err)
		}
		if r, err := b.API().Request(context.Background(), d.Hash(), 5*time.Second); err != nil || r.State != "accepted" {
			t.Fatalf("without the authority: %+v, %v", r, err)
		}
		b.Kill()
		b.Start()
		a.Start()
		r, err := b.API().Request(context.Background(), d.Hash(), 30*time.Second)
		if err != nil || r.State != tables.StateDone {
			t.Fatalf("with the authority back: %+v, %v", r, err)
		}
		if !w.Reaches(b, hosts[0], c, hosts[1], 5*time.Second) {
			t.Error("the VN that was asked for carries nothing")
		}
	})
}

// TestAlone: two VRs restart with the authority and all seeds gone, and carry traffic from disk.
func TestAlone(t *testing.T) {
	inWorld(t, 21, func(t *testing.T, w *nodetest.World) {
		a := w.Found("authority")
		seed := w.Join("seed", a)
		b, c := w.Join("beta", seed), w.Join("gamma", seed)
		there, back := pair(w, "physics", b, c)
		for _, s := range []*nodetest.Site{a, seed, b, c} {
			s.Kill()
		}
		time.Sleep(time.Hour)
		b.Start()
		w.Run(3*time.Second, 10*time.Millisecond, there)
		c.Start()
		start := time.Now()
		w.Run(5*time.Second, 10*time.Millisecond, there, back)
		for _, f := range []*nodetest.Flow{there, back} {
			d, ok := f.FirstAfter(start)
			if !ok || d > time.Second {
				t.Errorf("first packet after %v, %v", d, ok)
			}
			t.Logf("first packet %v after the second VR was back", d)
		}
	})
}
