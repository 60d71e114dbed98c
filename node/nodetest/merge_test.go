package nodetest_test

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy"
)

// TestMergeAndSplit: two VNs become one, and one becomes two, while their hosts talk. A merge loses no packet of a flow within
// either VN, though the VRs install it at different moments. A split cuts exactly the pairs it should; flows within either part go on. Who reads the tables of a VR never sees one of the two VNs changed without the other.
func TestMergeAndSplit(t *testing.T) {
	inWorld(t, 55, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		b, c, d := w.Join("beta", a), w.Join("gamma", a), w.Join("delta", a)
		ha, hb, hb2, hc, hd := a.NewHost(), b.NewHost(), b.NewHost(), c.NewHost(), d.NewHost()
		w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "red", Hosts: []netip.Addr{ha, hb}})
		w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "blue", Hosts: []netip.Addr{hb2, hc, hd}})
		sites := []*nodetest.Site{a, b, c, d}
		w.UntilInstalled("blue", 1, 10*time.Second, sites...)
		w.UntilInstalled("red", 1, 10*time.Second, sites...)

		inside := []*nodetest.Flow{
			w.NewFlow(a, ha, b, hb), w.NewFlow(b, hb, a, ha), w.NewFlow(b, hb2, c, hc), w.NewFlow(c, hc, b, hb2), w.NewFlow(c, hc, d, hd), w.NewFlow(d, hd, c, hc),
		}
		across := []*nodetest.Flow{w.NewFlow(a, ha, c, hc), w.NewFlow(c, hc, a, ha), w.NewFlow(d, hd, a, ha), w.NewFlow(b, hb, d, hd)}
		all := append(append([]*nodetest.Flow{}, inside...), across...)
		const every = 5 * time.Millisecond
		w.Run(2*time.Second, every, inside...)
		w.Run(time.Second, every, across...)
		for _, f := range across {
			if got := f.Sent() - f.Lost(time.Time{}); got > 0 {
				t.Fatalf("%d packets crossed from %v to %v before the merge", got, f.Src, f.Dst)
			}
		}

		readers := watch(t, sites)
		begun := time.Now()
		ask := func(op string, args any) {
			var asked sync.WaitGroup
			asked.Go(func() { w.Must(a, op, args) })
			w.Run(5*time.Second, every, all...)
			asked.Wait()
		}
		ask(policy.OpVNMerge, policy.VNMergeArgs{VN: "red", From: "blue"})
		w.Run(70*time.Second, 20*time.Millisecond, all...) // the old VN is gone, in which they were sent until then
		for _, s := range sites {
			if s.Installed("red") != 2 || s.Installed("blue") != 0 {
				t.Errorf("%s has version %d of red, %d of blue", s.Name, s.Installed("red"), s.Installed("blue"))
			}
		}
		now := time.Now().Add(-time.Second) // what was sent since may be on its way
		for _, f := range inside {
			if lost, sent := f.LostBetween(begun, now); lost > 0 || sent < 1000 || f.Twice > 0 {
				t.Errorf("merge: from %v to %v %d of %d packets were lost, %d came twice", f.Src, f.Dst, lost, sent, f.Twice)
			}
		}
		for _, f := range across {
			first, ok := f.FirstAfter(begun)
			t.Logf("from %v to %v: the first packet %v after the request", f.Src, f.Dst, first)
			if lost, sent := f.LostBetween(begun.Add(5*time.Second), now); !ok || first > 3*time.Second || lost > 0 {
				t.Errorf("merge: from %v to %v the first packet came after %v, then %d of %d were lost", f.Src, f.Dst, first, lost, sent)
			}
		}

		begun = time.Now()
		ask(policy.OpVNSplit, policy.VNSplitArgs{VN: "red", Into: "green", Hosts: []netip.Addr{hc, hd}})
		w.Run(5*time.Second, every, all...)
		now = time.Now().Add(-time.Second)
		for _, f := range all {
			same := (f.Src == hc || f.Src == hd) == (f.Dst == hc || f.Dst == hd)
			lost, sent := f.LostBetween(begun.Add(3*time.Second), now)
			if same && lost > 0 || !same && lost < sent {
				t.Errorf("split: from %v to %v %d of %d packets were lost", f.Src, f.Dst, lost, sent)
			}
			if same {
				t.Logf("from %v to %v: without a packet for %v at most", f.Src, f.Dst, f.Gap(begun))
			}
		}
		readers.stop()
	})
}

// A watcher reads the tables of sites again and again.
type watcher struct {
	done  chan struct{}
	group sync.WaitGroup
}

// watch fails the test when a VR shows red and blue, or red and green, of versions that do not go together. Of the two ways to
// read, the routes in use are the stricter: they come from one snapshot.
func watch(t *testing.T, sites []*nodetest.Site) *watcher {
	r := &watcher{done: make(chan struct{})}
	for _, s := range sites {
		r.group.Go(func() {
			seen := map[string]bool{}
			for {
				select {
				case <-r.done:
					if len(seen) < 3 {
						t.Errorf("%s: only %v were seen: the test shows little", s.Name, seen)
					}
					return
				case <-time.After(time.Millisecond):
				}
				routes, err := s.API().Routes(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				state := together(routes)
				if state == "" {
					t.Errorf("%s: mixed routes: %+v", s.Name, routes)
					return
				}
				seen[state] = true
			}
		})
	}
	return r
}

func (r *watcher) stop() {
	close(r.done)
	r.group.Wait()
}

// together names what the routes of the three VNs of TestMergeAndSplit show; nothing if they do not go together.
func together(routes []control.Route) string {
	count := map[string]int{}
	for _, r := range routes {
		count[r.VN]++
	}
	switch [3]int{count["red"], count["blue"], count["green"]} {
	case [3]int{2, 3, 0}:
		return "two"
	case [3]int{4, 0, 0}:
		return "merged"
	case [3]int{2, 0, 2}:
		return "split"
	}
	return ""
}
