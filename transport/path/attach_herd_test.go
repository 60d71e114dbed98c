package path

import (
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// judge runs a scenario with all defences, which must go well, and without one of them, which must
// not, or the scenario proves nothing.
func judge(t *testing.T, scenario func(seed uint64, off attachDefences) *crowd, without attachDefences, ok func(*crowd) bool) {
	t.Helper()
	for seed := range uint64(2) {
		if c := scenario(seed, attachDefences{}); !ok(c) {
			t.Errorf("seed %d: loads %v, %.0f %% from fair, at most %d changes in 10 minutes", seed, c.loads(), 100*c.unfairness(), c.busiest(c.mark, switchEvery))
		} else {
			t.Logf("seed %d: loads %v, %.0f %% from fair, at most %d changes in 10 minutes", seed, c.loads(), 100*c.unfairness(), c.busiest(c.mark, switchEvery))
		}
	}
	if c := scenario(0, without); ok(c) {
		t.Errorf("without %+v: loads %v, %.0f %% from fair, at most %d changes in 10 minutes, and all is well", without, c.loads(), 100*c.unfairness(), c.busiest(c.mark, switchEvery))
	}
}

func queuesOf(capacities ...float64) (queues []*crowdQueue) {
	for _, c := range capacities {
		queues = append(queues, &crowdQueue{capacity: c})
	}
	return queues
}

// fairAndCalm wants loads within 20 % of a fair share, and at most one change of each VR in the last
// 10 minutes.
func fairAndCalm(c *crowd) bool {
	return c.unfairness() <= 0.2 && c.busiest(c.now.Add(-switchEvery), switchEvery) <= 1
}

// TestNoHerd: 100 limited VRs and 4 queue-VRs end within 20 % of a fair share, and stay there.
func TestNoHerd(t *testing.T) {
	for _, c := range []struct {
		name       string
		capacities []float64
	}{
		{"equal", []float64{1e9, 1e9, 1e9, 1e9}},
		{"unequal", []float64{4e8, 2e8, 1e8, 1e8}},
	} {
		t.Run(c.name, func(t *testing.T) {
			judge(t, func(seed uint64, off attachDefences) *crowd {
				c := newCrowd(seed, 100, off, queuesOf(c.capacities...)...)
				c.run(90 * time.Minute)
				return c
			}, attachDefences{hysteresis: true}, fairAndCalm)
		})
	}
}

// TestNoStampede: all limited VRs are attached to both queue-VRs, one of them falls to a quarter, and all
// learn of it at the same moment. If all acted at the same moment, the other would be overrun.
func TestNoStampede(t *testing.T) {
	judge(t, func(seed uint64, off attachDefences) *crowd {
		c := newCrowd(seed, 100, off, queuesOf(1e9, 1e9)...)
		c.noise = 0
		c.run(30 * time.Minute)
		c.queues[0].capacity /= 4
		c.run(30 * time.Minute)
		return c
	}, attachDefences{random: true}, fairAndCalm)
}

// TestCrowdFollows: what was slow gets its share back when it is fast again, and nobody stays with the
// dead.
func TestCrowdFollows(t *testing.T) {
	c := newCrowd(1, 100, attachDefences{}, queuesOf(1e9, 1e9, 1e9, 1e9)...)
	c.run(time.Hour)
	c.queues[0].capacity /= 4
	c.run(time.Minute)
	if got := c.queues[0].serves; got > 15 {
		t.Errorf("a minute after its rate fell to a quarter %d use it", got)
	}
	c.run(time.Hour)
	c.queues[0].capacity *= 4
	c.run(time.Hour)
	if c.unfairness() > 0.2 {
		t.Errorf("an hour after it is fast again: %v", c.loads())
	}
	c.queues[1].dead = true
	c.run(2 * crowdStep)
	if got := c.loads(); got[1] != 0 {
		t.Errorf("10 s after its death %v", got)
	}
	c.run(time.Hour)
	if got := c.loads(); slices.Max(got) > 40 {
		t.Errorf("an hour after its death %v", got)
	}
}

// TestClaims: 2 of 8 queue-VRs say that they have ten times their capacity.
func TestClaims(t *testing.T) {
	run := func(seed uint64, believe bool) *crowd {
		c := newCrowd(seed, 100, attachDefences{}, queuesOf(1e9, 1e9, 1e9, 1e9, 1e9, 1e9, 1e9, 1e9)...)
		c.queues[0].claim, c.queues[1].claim = 1e10, 1e10
		c.believe = believe
		c.run(2 * time.Hour)
		return c
	}
	for seed := range uint64(2) {
		c := run(seed, false)
		if !c.holds(2) {
			t.Errorf("seed %d: loads %v", seed, c.loads())
		}
		t.Logf("seed %d: liars alone serve %d of 100, loads %v", seed, c.solely(2), c.loads())
	}
	if c := run(0, true); c.holds(2) {
		t.Errorf("believed: loads %v, and all is well", c.loads())
	}
}

// TestTrainsFavoured: 2 of 8 queue-VRs have a fifth of the others' capacity, but carry what looks like a
// measurement at ten times what they have. Each is believed at first, after a quarter of an hour, after an
// hour, and so on.
func TestTrainsFavoured(t *testing.T) {
	judge(t, func(seed uint64, off attachDefences) *crowd {
		c := newCrowd(seed, 100, off, queuesOf(2e8, 2e8, 1e9, 1e9, 1e9, 1e9, 1e9, 1e9)...)
		c.queues[0].trains, c.queues[1].trains = 10, 10
		c.run(time.Hour)
		c.mark = c.now
		c.run(time.Hour)
		t.Logf("without %+v liars alone serve %d of 100, and are first of %d; %.1f changes per VR and hour",
			off, c.solely(2), c.queues[0].serves+c.queues[1].serves, c.perHour())
		return c
	}, attachDefences{letDown: true}, func(c *crowd) bool { return c.holds(2) && c.perHour() <= 5 })
}

// TestAttachNoise: measurements that err by 15 %, for moments or for minutes, over 24 hours: at most one
// change per VR and hour.
func TestAttachNoise(t *testing.T) {
	for _, stays := range []time.Duration{crowdStep, time.Minute, 5 * time.Minute} {
		run := func(off attachDefences, d time.Duration) *crowd {
			c := newCrowd(1, 20, off, queuesOf(1e9, 1e9, 1e9, 1e9)...)
			c.noise, c.noiseFor = 0.15, stays
			c.run(time.Hour)
			c.mark = c.now
			c.run(d)
			return c
		}
		c := run(attachDefences{}, 24*time.Hour)
		if n := c.busiest(c.mark, time.Hour); n > 1 {
			t.Errorf("noise that stays for %v: %d changes of one VR in an hour", stays, n)
		} else {
			t.Logf("noise that stays for %v: %.2f changes per VR and day, at most %d in an hour", stays, 24*c.perHour(), n)
		}
		if n := run(attachDefences{hysteresis: true}, 2*time.Hour); n.busiest(n.mark, time.Hour) <= 1 {
			t.Errorf("noise that stays for %v, without hysteresis, and all is well", stays)
		}
	}
}

// solely returns how many limited VRs have nobody but the first k queue-VRs.
func (c *crowd) solely(k int) (n int) {
	for _, v := range c.limited {
		if len(v.announce) > 0 && !slices.ContainsFunc(v.announce, func(r tables.RouterID) bool { return r > tables.RouterID(k) }) {
			n++
		}
	}
	return n
}

// holds reports whether k liars, the first k queue-VRs, serve alone, or first, no more than their share
// of the limited VRs and 5 %.
func (c *crowd) holds(k int) bool {
	most := (float64(k)/float64(len(c.queues)) + 0.05) * float64(len(c.limited))
	first := 0
	for _, q := range c.queues[:k] {
		first += q.serves
	}
	return float64(c.solely(k)) <= most && float64(first) <= most
}

// perHour is how often a limited VR has changed its set since the mark, in the mean.
func (c *crowd) perHour() float64 {
	n := 0
	for _, v := range c.limited {
		for _, t := range v.changes {
			if !t.Before(c.mark) {
				n++
			}
		}
	}
	return float64(n) / float64(len(c.limited)) / c.now.Sub(c.mark).Hours()
}
