package scale

import (
	"testing"
	"time"
)

var policy = Policy{High: 80, Low: 20, GrowAfter: 30 * time.Second, ShrinkAfter: 10 * time.Minute, Rest: 5 * time.Minute, Least: 1, Most: 3}

// TestWatch plays a day: each step is a sample every five seconds for some time, and what came of it.
func TestWatch(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"a peak is not a load", []step{{100, 1, 25 * time.Second, nil}, {50, 1, 5 * time.Second, nil}, {100, 1, 25 * time.Second, nil}}},
		{"load", []step{{100, 1, 35 * time.Second, []Decision{Grow}}}},
		{"the new one has time to come", []step{{100, 1, 35 * time.Second, []Decision{Grow}}, {100, 1, 4 * time.Minute, nil}, {100, 2, 2 * time.Minute, []Decision{Grow}}}},
		{"not more than the most", []step{{100, 3, time.Hour, nil}}},
		{"idle", []step{{5, 2, 11 * time.Minute, []Decision{Shrink}}, {5, 1, time.Hour, nil}}},
		{"idle for a moment", []step{{5, 2, 9 * time.Minute, nil}, {30, 2, 5 * time.Second, nil}, {5, 2, 9 * time.Minute, nil}}},
		{"in between", []step{{50, 2, 24 * time.Hour, nil}}},
		{"one by one", []step{{5, 3, 11 * time.Minute, []Decision{Shrink}}, {8, 2, 11 * time.Minute, []Decision{Shrink}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, now := New(policy), time.Unix(1_800_000_000, 0)
			for i, s := range c.steps {
				got := []Decision{}
				for end := now.Add(s.long); now.Before(end); now = now.Add(5 * time.Second) {
					if d := w.See(now, Sample{s.load, s.vrs, true}); d != Stay {
						got = append(got, d)
						w.Acted(now)
					}
				}
				if len(got) != len(s.want) || len(got) > 0 && got[0] != s.want[0] {
					t.Errorf("step %d: %v, not %v", i+1, got, s.want)
				}
			}
		})
	}
}

type step struct {
	load float64
	vrs  int
	long time.Duration
	want []Decision
}

// Who does not decide for all does nothing, and what it saw before it does counts for nothing.
func TestOthersDecide(t *testing.T) {
	w, now := New(policy), time.Unix(1_800_000_000, 0)
	for range 100 {
		now = now.Add(5 * time.Second)
		if d := w.See(now, Sample{100, 1, false}); d != Stay {
			t.Fatal(d)
		}
	}
	if d := w.See(now, Sample{100, 1, true}); d != Stay {
		t.Fatal(d)
	}
}

// Whatever the load is, what one action leads to does not lead to its opposite: the load of a site that shares it equally.
func TestDoesNotFlap(t *testing.T) {
	for load := 1.0; load < 400; load++ {
		w, now, vrs := New(policy), time.Unix(1_800_000_000, 0), 1
		actions := 0
		for range 24 * 720 {
			now = now.Add(5 * time.Second)
			switch d := w.See(now, Sample{load / float64(vrs), vrs, true}); d {
			case Grow:
				vrs++
			case Shrink:
				vrs--
			default:
				continue
			}
			actions++
			w.Acted(now)
		}
		if actions > 2 {
			t.Fatalf("at a load of %v there are %d actions in a day", load, actions)
		}
	}
}
