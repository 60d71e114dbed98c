package nodetest_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/transport/transporttest"
)

// TestKilledAndStarted: a VR that is killed and started again carries packets within a second,
// also those of a one-way flow: there the sending VR hears of the restart by nothing but the link's
// own packets, and never sees data come back.
func TestKilledAndStarted(t *testing.T) {
	for _, tc := range []struct {
		name   string
		oneWay bool
		down   time.Duration
	}{
		{"both ways, at once", false, 0},
		{"both ways, down for 3 s", false, 3 * time.Second},
		{"both ways, down for 10 min", false, 10 * time.Minute},
		{"one way, at once", true, 0},
		{"one way, down for 3 s", true, 3 * time.Second},
		{"one way, down for 10 min", true, 10 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inWorld(t, 30, func(t *testing.T, w *nodetest.World) {
				a := w.Found("alpha")
				b, c := w.Join("beta", a), w.Join("gamma", a)
				there, back := pair(w, "physics", b, c)
				flows := []*nodetest.Flow{there, back}
				if tc.oneWay {
					flows = flows[:1]
				}
				w.Run(time.Minute, 20*time.Millisecond, flows...)
				c.Kill()
				w.Run(tc.down, 20*time.Millisecond, flows...)
				c.Start()
				start := time.Now()
				w.Run(10*time.Second, 10*time.Millisecond, flows...)
				w.Settle(time.Second)
				for _, f := range flows {
					d, ok := f.FirstAfter(start)
					t.Logf("%s to %s: gap %v, %d packets lost", f.From.Name, f.To.Name, d, f.Lost(start))
					if !ok || d > time.Second {
						t.Errorf("first packet %v after the start (%v), want 1 s", d, ok)
					}
					if n := f.Lost(start.Add(time.Second)); n > 0 {
						t.Errorf("%d packets lost later than 1 s after the start", n)
					}
				}
			})
		})
	}
}

// TestCleanStop: a VR that is stopped says goodbye, and its link is gone at once.
func TestCleanStop(t *testing.T) {
	inWorld(t, 31, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		b := w.Join("beta", a)
		there, back := pair(w, "physics", a, b)
		b.Stop()
		w.Settle(100 * time.Millisecond)
		if n := a.Status().Links; n != 0 {
			t.Errorf("%d links with a VR that has left", n)
		}
		b.Start()
		start := time.Now()
		w.Run(2*time.Second, 10*time.Millisecond, there, back)
		for _, f := range []*nodetest.Flow{there, back} {
			if d, ok := f.FirstAfter(start); !ok || d > time.Second {
				t.Errorf("first packet after %v, %v", d, ok)
			}
		}
	})
}

// TestHalfArrivedVersion: a VN version of which only some documents have come is not used, before
// and after a restart; the version before it is. Then the rest comes.
func TestHalfArrivedVersion(t *testing.T) {
	inWorld(t, 32, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		b, c := w.Join("beta", a), w.Join("gamma", a)
		there, back := pair(w, "physics", b, c)
		w.UntilInstalled("physics", 1, 10*time.Second, a, b, c)
		w.Settle(time.Second)

		// The next version reaches beta only as its header, by hand. Alpha, which has it whole, is
		// cut off.
		w.Net.Partition([]nodeOf{a.Host}, []nodeOf{b.Host}, []nodeOf{c.Host})
		w.Must(a, policy.OpVNJoin, policy.VNHostsArgs{VN: "physics", Hosts: []netip.Addr{a.NewHost(), c.NewHost()}})
		b.Stop()
		giveHeader(t, a, b, "physics")
		b.Start()
		half := func(when string) {
			t.Helper()
			v, err := b.API().VN(t.Context(), "physics")
			if err != nil || v.Version != 2 {
				t.Errorf("%s: the header is of version %d, so the test proves nothing: %v", when, v.Version, err)
			}
			if v.Installed != 1 {
				t.Errorf("%s: version %d is installed of which there is only the header", when, v.Installed)
			}
		}
		half("after a restart")
		b.Kill()
		b.Start()
		half("after two")
		w.Net.Partition([]nodeOf{a.Host}, []nodeOf{b.Host, c.Host})
		w.Settle(10 * time.Second) // they find each other again, and the header goes to gamma too
		start := time.Now()
		w.Run(2*time.Second, 10*time.Millisecond, there, back)
		w.Settle(time.Second)
		if n := there.Lost(start) + back.Lost(start); n > 0 {
			t.Errorf("%d packets lost in the old version", n)
		}
		half("among themselves")
		w.Net.Heal()
		w.UntilInstalled("physics", 2, time.Minute, a, b, c)
	})
}

// TestClockADayBehind: every clock but the founder's is a day behind, as that of a VR that comes up
// after its battery has died. Enrolments from the future are enrolments: VRs join, link, attach to queue-VRs, restart
// and carry packets all the same, since no handshake and no link is ordered by a wall clock.
func TestClockADayBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.New(t, 24)
		defer w.Close()
		w.Ahead = 24 * time.Hour
		a := w.Found("alpha")
		b := w.Join("beta", a)
		c := w.Behind("gamma", transporttest.Symmetric).JoinAs(a)
		d := w.Behind("delta", transporttest.Symmetric).JoinAs(a)
		ha, hb, hc, hd := a.NewHost(), b.NewHost(), c.NewHost(), d.NewHost()
		w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "physics", Hosts: []netip.Addr{ha, hb, hc, hd}})
		reach := func(when string) {
			t.Helper()
			if !w.Reaches(a, ha, b, hb, 5*time.Second) || !w.Reaches(c, hc, d, hd, 20*time.Second) || !w.Reaches(d, hd, a, ha, 5*time.Second) {
				t.Fatal("no packet arrives ", when)
			}
		}
		reach("at first")
		w.Eventually("both limited VRs are attached to both queue-VRs", time.Minute, func() bool {
			return len(queuesOf(t, c).Attached) == 2 && len(queuesOf(t, d).Attached) == 2
		})
		for _, s := range []*nodetest.Site{b, c} {
			s.Kill()
			s.Start()
			reach("after the restart of " + s.Name)
		}
	})
}
