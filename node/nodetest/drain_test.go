package nodetest_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/nodetest"
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
