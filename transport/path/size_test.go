package path

import (
	"math/rand/v2"
	"testing"
	"time"
)

// A pipeline carries datagrams up to a size, after a round trip, and loses some.
type pipeline struct {
	carries int
	rtt     time.Duration
	loss    float64
	dead    bool
	random  *rand.Rand
	coming  []sizeAnswer
}

// A sizeAnswer is on its way; size is zero for that to a companion.
type sizeAnswer struct {
	at   time.Time
	size int
}

// drive lets a Sizer probe a path for a while, from a time on, and returns when its size was last changed and how many
// probes it took.
func drive(s *Sizer, p *pipeline, now time.Time, d time.Duration, most int, busy bool) (end, changed time.Time, probes int) {
	size := s.Size()
	for end = now.Add(d); now.Before(end); now = now.Add(10 * time.Millisecond) {
		for len(p.coming) > 0 && !p.coming[0].at.After(now) {
			if p.coming[0].size == 0 {
				s.Companion()
			} else {
				s.Answered(now, p.coming[0].size)
			}
			p.coming = p.coming[1:]
		}
		if due := s.Due(now, busy); s.most != most || !due.IsZero() && !now.Before(due) {
			if n := s.Advance(now, most, busy, 10_000_000, p.rtt); n > 0 {
				probes++
				if !p.dead && p.random.Float64() >= p.loss {
					p.coming = append(p.coming, sizeAnswer{now.Add(p.rtt), 0})
				}
				if n <= p.carries && !p.dead && p.random.Float64() >= p.loss {
					p.coming = append(p.coming, sizeAnswer{now.Add(p.rtt), n})
				}
			}
		}
		if s.Size() != size {
			size, changed = s.Size(), now
		}
	}
	return end, changed, probes
}

// TestSizer: whatever a path carries is found to within a step, in seconds, and never more than it carries; a path that
// shrinks under data is noticed within three seconds and two round trips; one that grows is found after a while.
func TestSizer(t *testing.T) {
	start := time.Unix(1e9, 0)
	for _, rtt := range []time.Duration{time.Millisecond, 30 * time.Millisecond, 200 * time.Millisecond} {
		for _, loss := range []float64{0, 0.05} {
			for _, carries := range []int{SizeMin, 1040, 1096, 1199, 1200, 1204, 1252, 1300, 1392, 1444, 1464, 1472, 2000, 8972, 9000} {
				for _, most := range []int{1472, 8972} {
					p := &pipeline{carries: carries, rtt: rtt, loss: loss, random: rand.New(rand.NewPCG(uint64(carries), uint64(rtt)))}
					var s Sizer
					now, changed, probes := drive(&s, p, start, 2*time.Minute, most, true)
					best := min(carries, most)
					if loss == 0 && (s.Size() > best || s.Size() < best-sizeStep) {
						t.Errorf("%d of at most %d, %v: found %d", carries, most, rtt, s.Size())
					}
					if took := changed.Sub(start); loss == 0 && took > 20*time.Second {
						t.Errorf("%d of at most %d, %v: found after %v", carries, most, rtt, took)
					}
					if loss > 0 && s.Size() > best {
						t.Errorf("%d of at most %d, %v, losing: %d", carries, most, rtt, s.Size())
					}
					if probes > 250 {
						t.Errorf("%d of at most %d, %v: %d probes in two minutes", carries, most, rtt, probes)
					}
					if loss > 0 || best < 1300 {
						continue
					}
					p.carries = 1252
					shrinks := now
					now, _, _ = drive(&s, p, now, 3*time.Second+2*rtt, most, true)
					if s.Size() > p.carries {
						t.Errorf("%d shrinks to %d, %v: %d after %v", carries, p.carries, rtt, s.Size(), now.Sub(shrinks))
					}
					p.carries = 9000
					now, _, _ = drive(&s, p, now, 2*sizeRaise, most, false)
					if s.Size() != most {
						t.Errorf("%d grows, %v: %d of at most %d", carries, rtt, s.Size(), most)
					}
				}
			}
		}
	}
}

// TestSizerDead: a path that carries nothing at all is no matter of size.
func TestSizerDead(t *testing.T) {
	start := time.Unix(1e9, 0)
	p := &pipeline{carries: 1472, rtt: 10 * time.Millisecond, random: rand.New(rand.NewPCG(1, 1))}
	var s Sizer
	now, _, _ := drive(&s, p, start, 10*time.Second, 1472, true)
	p.dead = true
	now, _, _ = drive(&s, p, now, time.Minute, 1472, true)
	if s.Size() != 1472 {
		t.Errorf("%d", s.Size())
	}
	p.dead = false
	_, _, probes := drive(&s, p, now, time.Minute, 1472, false)
	if s.Size() != 1472 || probes > 1 {
		t.Errorf("%d, %d probes while idle", s.Size(), probes)
	}
}

// TestSizerCongested: a path that is so full that it loses much, of all sizes, for hours keeps its size; and where
// large ones are lost besides, that is still found. Without companions it would lose its size within a minute.
func TestSizerCongested(t *testing.T) {
	start := time.Unix(1e9, 0)
	for _, loss := range []float64{0.1, 0.3, 0.6, 0.9} {
		p := &pipeline{carries: 1472, rtt: 30 * time.Millisecond, random: rand.New(rand.NewPCG(2, uint64(100*loss)))}
		var s Sizer
		now, _, _ := drive(&s, p, start, 10*time.Second, 1472, true)
		p.loss = loss
		now, changed, _ := drive(&s, p, now, 3*time.Hour, 1472, true)
		if !changed.IsZero() {
			t.Errorf("loss of %.0f %%: the size is changed", 100*loss)
		}
		p.carries = 1300
		drive(&s, p, now, time.Minute, 1472, true)
		if loss < 0.5 && s.Size() > 1300 {
			t.Errorf("loss of %.0f %%: %d of 1300", 100*loss, s.Size())
		}
	}
}

// TestSizerAtLeast: where the configuration allows no more than a handshake there is nothing to find.
func TestSizerAtLeast(t *testing.T) {
	var s Sizer
	now := time.Unix(1e9, 0)
	if n := s.Advance(now, SizeMin, true, 0, 0); n != 0 || s.Size() != SizeMin || !s.Due(now, true).IsZero() {
		t.Errorf("probe of %d, size %d", n, s.Size())
	}
}
