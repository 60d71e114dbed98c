package nodetest_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/transport/transporttest"
)

// queuesOf returns what a site's VR says of queue-VRs.
func queuesOf(t *testing.T, s *nodetest.Site) control.Queues {
	t.Helper()
	q, err := s.API().Queues(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// TestDrainSeen: three queue-VRs and a limited VR that is attached to two of them. One of the two is drained: the limited
// VR moves to the third, all say so, and draining is taken back. What the paths between the VRs are is told at both
// ends and nowhere else.
func TestDrainSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := nodetest.New(t, 5)
		defer w.Close()
		a := w.Found("alpha")
		b := w.Join("beta", a)
		c := w.Join("gamma", a)
		d := w.Behind("delta", transporttest.Symmetric).JoinAs(a)
		byName := map[string]*nodetest.Site{"alpha": a, "beta": b, "gamma": c}
		attached := func() (names []string) {
			for _, at := range queuesOf(t, d).Attached {
				if at.Accepted {
					names = append(names, at.Peer)
				}
			}
			return names
		}
		serves := func(s *nodetest.Site) bool {
			return slices.ContainsFunc(queuesOf(t, s).Clients, func(c control.Served) bool { return c.Peer == "delta" })
		}
		w.Eventually("delta is attached to two queue-VRs", 2*time.Minute, func() bool { return len(attached()) == 2 })
		first := attached()[0]
		s := byName[first]
		w.Eventually("it says so itself", 10*time.Second, func() bool { return serves(s) && s.Status().Clients == 1 })

		drain, err := s.API().Drain(ctx, true)
		if err != nil || !drain.Draining || !drain.Serves || !slices.Equal(drain.Clients, []string{"delta"}) {
			t.Fatalf("drain: %+v, %v", drain, err)
		}
		start := time.Now()
		w.Eventually("nobody is attached to it", time.Minute, func() bool {
			drain, err = s.API().Drain(ctx, true) // the same again
			return err == nil && len(drain.Clients) == 0 && drain.Quiet >= 2
		})
		t.Logf("drained after %v", time.Since(start))
		if now := attached(); len(now) != 2 || slices.Contains(now, first) {
			t.Errorf("delta is attached to %v, not to %s", now, first)
		}
		if q := queuesOf(t, s); !q.Draining || q.Elected || !q.Serves || !s.Status().Draining {
			t.Errorf("the drained one says %+v", q)
		}
		if q := queuesOf(t, d); !slices.ContainsFunc(q.Candidates, func(c control.QueueVR) bool {
			return c.Peer == first && c.Draining && !c.Elected && c.Use == ""
		}) {
			t.Errorf("delta says %+v", q.Candidates)
		}
		tagged := func(want string) bool {
			members, err := d.API().Members(ctx)
			return err == nil && slices.ContainsFunc(members, func(m control.Member) bool { return m.Name == first && m.Tags["draining"] == want })
		}
		w.Eventually("serf members shows it", 30*time.Second, func() bool { return tagged("yes") })
		if _, err := s.API().Drain(ctx, false); err != nil {
			t.Fatal(err)
		}
		w.Eventually("it is elected again", 30*time.Second, func() bool { return tagged("") && queuesOf(t, s).Elected && !s.Status().Draining })

		for _, at := range []*nodetest.Site{s, d} {
			for _, names := range [][2]string{{first, "delta"}, {"delta", first}, {"delta", s.Joined.Router.String()}} {
				p, err := at.API().Paths(ctx, names[0], names[1])
				if err != nil || len(p.Ends) != 2 || len(p.Paths) == 0 || p.Leads != "delta" || p.Ends[0].Self == p.Ends[1].Self {
					t.Errorf("%s: paths %v: %+v, %v", at.Name, names, p, err)
				}
			}
		}
		if _, err := s.API().Paths(ctx, "delta", ""); err == nil {
			t.Error("there is no VR without a name")
		}
		var other *nodetest.Site
		for name, at := range byName {
			if name != first {
				other = at
			}
		}
		if _, err := other.API().Paths(ctx, first, "delta"); err == nil || !strings.Contains(err.Error(), "ask at "+first+" or at delta") {
			t.Errorf("at %s: %v", other.Name, err)
		}
		if _, err := d.API().Paths(ctx, "", "delta"); err == nil {
			t.Error("delta has paths to itself")
		}
	})
}

// TestDrainTakenBack: with two queue-VRs, a limited VR is back at the one that was drained soon after that is taken back.
func TestDrainTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := nodetest.New(t, 5)
		defer w.Close()
		a := w.Found("alpha")
		b := w.Join("beta", a)
		d := w.Behind("delta", transporttest.Symmetric).JoinAs(a)
		attached := func(n int) func() bool { return func() bool { return len(queuesOf(t, d).Attached) == n } }
		w.Eventually("delta is attached to both", 2*time.Minute, attached(2))
		if _, err := b.API().Drain(ctx, true); err != nil {
			t.Fatal(err)
		}
		w.Eventually("delta has left beta", time.Minute, attached(1))
		time.Sleep(time.Minute)
		if _, err := b.API().Drain(ctx, false); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		w.Eventually("delta is attached to both again", time.Minute, attached(2))
		t.Logf("back after %v", time.Since(start))
	})
}

// TestDrainLosesNothing: two limited VRs, and the queue-VR between them is drained while a host sends 1,000 packets a
// second through it, in each direction. None is lost, and none comes twice.
func TestDrainLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := nodetest.New(t, 6)
		defer w.Close()
		a := w.Found("alpha")
		b := w.Join("beta", a)
		c := w.Join("gamma", a)
		d := w.Behind("delta", transporttest.Symmetric).JoinAs(a)
		e := w.Behind("epsilon", transporttest.Symmetric).JoinAs(a)
		byName := map[string]*nodetest.Site{"alpha": a, "beta": b, "gamma": c}
		for _, s := range []*nodetest.Site{d, e} {
			w.Eventually("two queue-VRs", 2*time.Minute, func() bool { return len(queuesOf(t, s).Attached) == 2 })
		}
		here, there := d.NewHost(), e.NewHost()
		w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "physics", Hosts: []netip.Addr{here, there}})
		if !w.Reaches(d, here, e, there, 20*time.Second) {
			t.Fatal("delta does not reach epsilon")
		}
		flows := []*nodetest.Flow{w.NewFlow(d, here, e, there), w.NewFlow(e, there, d, here)}
		w.Run(30*time.Second, time.Millisecond, flows...)
		kind, via := link(t, d, e)
		if kind != "relayed" {
			t.Fatalf("delta reaches epsilon %s", kind)
		}
		s := byName[via]
		begun := time.Now()
		var took time.Duration
		for time.Since(begun) < 40*time.Second && took == 0 {
			drain, err := s.API().Drain(ctx, true)
			if err != nil {
				t.Fatal(err)
			}
			if len(drain.Clients) == 0 && drain.Quiet >= 2 {
				took = time.Since(begun)
			}
			w.Run(250*time.Millisecond, time.Millisecond, flows...)
		}
		if took == 0 {
			t.Errorf("%s is not empty", via)
		}
		s.Stop() // the maintenance
		w.Run(10*time.Second, time.Millisecond, flows...)
		w.Settle(time.Second)
		kind, next := link(t, d, e)
		t.Logf("from %s to %s %s, drained after %v", via, kind, next, took)
		for _, f := range flows {
			if n := f.Lost(begun); n > 0 || f.Twice > 0 {
				t.Errorf("%d of %d packets lost, %d came twice", n, f.Sent(), f.Twice)
			}
		}
	})
}
