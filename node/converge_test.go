package node_test

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/transport/transporttest"
)

// night reports whether statistical tests run at full size.
func night() bool { return os.Getenv("VINE_NIGHT") == "1" }

// scaled returns full at night and quick otherwise.
func scaled(quick, full int) int {
	if night() {
		return full
	}
	return quick
}

// changes makes count changes of a VN, one after the other, and returns how long each took to be
// installed at each VR, sorted.
func changes(w *nodetest.World, count int, bound time.Duration, sites []*nodetest.Site) []time.Duration {
	w.T.Helper()
	var took []time.Duration
	for i := range count {
		// Three hosts at sites that the VN did not have: a new version of all its parts.
		var hosts []netip.Addr
		for k := range 3 {
			hosts = append(hosts, sites[(3*i+k+1)%len(sites)].NewHost())
		}
		start := time.Now()
		w.Must(sites[0], policy.OpVNJoin, policy.VNHostsArgs{VN: "physics", Hosts: hosts})
		asked := time.Since(start)
		for _, d := range w.UntilInstalled("physics", uint64(i)+2, bound, sites...) {
			took = append(took, asked+d)
		}
		time.Sleep(3 * time.Second)
	}
	slices.Sort(took)
	return took
}

func percentiles(d []time.Duration) string {
	return fmt.Sprintf("p50 %v, p99 %v, max %v of %d", d[len(d)/2], d[len(d)*99/100], d[len(d)-1], len(d))
}

// TestChangeReachesAll: with 5 % loss a VN change is installed within 5 s of the request: at 99 of 100 VRs at night, and in short, with
// two changes at 50 VRs, at all but one, which may have to wait for its next comparison with another VR.
func TestChangeReachesAll(t *testing.T) {
	inWorld(t, 70, func(t *testing.T, w *nodetest.World) {
		sites := w.Prepared(50)
		w.Must(sites[0], policy.OpVNCreate, policy.VNCreateArgs{Name: "physics", Hosts: []netip.Addr{sites[0].NewHost(), sites[1].NewHost()}})
		w.UntilInstalled("physics", 1, time.Minute, sites...)
		time.Sleep(15 * time.Second)
		w.Net.SetLoss(0.05)
		took := changes(w, scaled(2, 16), 30*time.Second, sites) // 16: then every site is in the VN
		t.Logf("VN change at 50 VRs, 5 %% loss, from the request on: %s", percentiles(took))
		if late := took[len(took)*scaled(98, 99)/100]; late > 5*time.Second {
			t.Errorf("a change took %v", late)
		}
		if worst := took[len(took)-1]; worst > 15*time.Second {
			t.Errorf("a change took %v", worst)
		}
	})
}

// TestWithoutRumours: with rumours off altogether, anti-entropy alone brings every change to all.
func TestWithoutRumours(t *testing.T) {
	inWorld(t, 71, func(t *testing.T, w *nodetest.World) {
		w.Prepare = func(n *node.Node) { n.Mute() }
		sites := w.Prepared(50)
		w.Must(sites[0], policy.OpVNCreate, policy.VNCreateArgs{Name: "physics", Hosts: []netip.Addr{sites[0].NewHost(), sites[1].NewHost()}})
		took := w.UntilInstalled("physics", 1, 10*time.Minute, sites...)
		slices.Sort(took)
		t.Logf("a new VN at 50 VRs without rumours: %s", percentiles(took))
		w.Net.SetLoss(0.05)
		t.Logf("a change, 5 %% loss, without rumours: %s", percentiles(changes(w, 1, 10*time.Minute, sites)))
		w.Eventually("all hold the same documents", 10*time.Minute, func() bool { return nodetest.Same(sites...) })
	})
}

// hostsOf returns where sites lie.
func hostsOf(sites []*nodetest.Site) (list []transporttest.Node) {
	for _, s := range sites {
		list = append(list, s.Host)
	}
	return list
}

// TestSplitHeals: the federation splits in two for thirty hours (by day for seven: longer than the
// six that serf remembers who is gone), at night for one too, and the authority's side
// changes what there is. Traffic inside each side goes on; afterwards both sides find each other and all
// hold the same, by themselves.
func TestSplitHeals(t *testing.T) {
	for _, tc := range []struct {
		name  string
		sites int
		split time.Duration
	}{
		{"long", scaled(4, 12), time.Duration(scaled(7, 30)) * time.Hour},
		{"1 h", 20, time.Hour},
	} {
		if tc.name == "1 h" && scaled(0, 1) == 0 {
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			inWorld(t, 72, func(t *testing.T, w *nodetest.World) {
				sites := w.Prepared(tc.sites)
				half := tc.sites / 2
				near, far := sites[:half], sites[half:]
				h := make([]netip.Addr, tc.sites)
				for i, s := range sites {
					h[i] = s.NewHost()
				}
				createVN(w, "physics", h...)
				pairs := [][2]int{{0, 1}, {half, half + 1}, {1, half}}
				var flows []*nodetest.Flow
				for _, p := range pairs {
					if !w.Reaches(sites[p[0]], h[p[0]], sites[p[1]], h[p[1]], 10*time.Second) {
						t.Fatalf("no traffic between %v", p)
					}
					flows = append(flows, w.NewFlow(sites[p[0]], h[p[0]], sites[p[1]], h[p[1]]))
				}
				w.Settle(time.Minute)

				w.Net.Partition(hostsOf(near), hostsOf(far))
				start := time.Now()
				w.Run(5*time.Minute, time.Second, flows...)
				newcomer := sites[0].NewHost()
				w.Must(sites[0], policy.OpVNJoin, policy.VNHostsArgs{VN: "physics", Hosts: []netip.Addr{newcomer}})
				w.Must(sites[0], policy.OpVNCreate, policy.VNCreateArgs{Name: "biology", Hosts: []netip.Addr{sites[0].NewHost(), sites[half].NewHost()}})
				w.Run(time.Until(start.Add(tc.split)), 10*time.Second, flows[:2]...)
				w.Settle(time.Second)
				if n := flows[0].Lost(start) + flows[1].Lost(start); n > 0 {
					t.Errorf("%d of %d packets lost inside the sides", n, flows[0].Sent()+flows[1].Sent())
				}
				if n := flows[2].Lost(start); n != flows[2].Sent() {
					t.Errorf("%d packets crossed the split, so the test proves nothing", flows[2].Sent()-n)
				}
				if v := far[0].Installed("biology"); v != 0 {
					t.Error("the change crossed the split, so the test proves nothing")
				}

				w.Net.Heal()
				took := w.Eventually("all hold the same documents", 10*time.Minute, func() bool { return nodetest.Same(sites...) })
				w.UntilInstalled("biology", 1, time.Minute, sites...)
				t.Logf("%d VRs hold the same %v after a split of %v", tc.sites, took, tc.split)
				took = w.Eventually("gossip knows all again", 10*time.Minute, func() bool {
					return !slices.ContainsFunc(sites, func(s *nodetest.Site) bool { return s.Status().Members != tc.sites })
				})
				t.Logf("and gossip knows all %v later", took)
				if !w.Reaches(sites[0], newcomer, far[0], h[half], 10*time.Second) {
					t.Error("no traffic across")
				}
			})
		})
	}
}
