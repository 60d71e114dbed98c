package path

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// TestHerd lets 100 limited VRs with greedy traffic share four relays, evenly at first; a relay that n of them
// use gives each an n-th, while a train finds all of it. They stay. Then one relay dies: only its VRs
// move, and they spread.
func TestHerd(t *testing.T) {
	const relays, capacity = 4, 100e6
	rng := rand.New(rand.NewPCG(4, 4))
	var vrs [100]struct {
		chooser Chooser
		paths   [relays]Candidate
		at      int
		moves   int
	}
	users := [relays]int{}
	for i := range vrs {
		v := &vrs[i]
		v.at = i % relays
		users[v.at]++
		for k := range v.paths {
			v.paths[k] = Candidate{Path: Relay(tables.RouterID(k+1), 9), Validated: true}
			v.paths[k].Measure.RTTMin = 20 * time.Millisecond
		}
	}
	dead := -1
	second := func(now time.Time) {
		for i := range vrs {
			v := &vrs[i]
			for k := range v.paths {
				c := &v.paths[k]
				if k == dead {
					c.Unanswered = silentProbes
				} else {
					c.Heard = now
				}
				c.Measure.Full = k == v.at
				if k == v.at {
					noise := 0.9 + 0.2*rng.Float64()
					c.Measure.Rate = Rate{int64(noise * capacity / float64(users[k])), RateEstimate, ByTraffic, now}
				}
			}
			used := v.paths[v.at].Measure.Rate.Bits
			d := v.chooser.Choose(now, v.paths[v.at].Path, used, v.paths[:], rng.Uint64())
			for k := range v.paths {
				if v.paths[k].Path == d.Path && k != v.at {
					users[v.at]--
					users[k]++
					v.at = k
					v.moves++
				}
			}
			train, ok := v.chooser.NeedTrain(now, v.paths[:])
			for k := range v.paths {
				c := &v.paths[k]
				if !ok || c.Path != train || k == dead {
					continue
				}
				if k == v.at {
					c.Measure.Share, c.Measure.ShareAt = float64(used)/capacity, now
				} else {
					c.Measure.Rate = Rate{capacity, RateEstimate, ByTrain, now}
				}
			}
		}
	}
	play := func(from, to time.Duration) (moved, most int) {
		for i := range vrs {
			vrs[i].moves = 0
		}
		for at := from; at < to; at += time.Second {
			second(epoch.Add(at))
		}
		for i := range vrs {
			moved += vrs[i].moves
			most = max(most, vrs[i].moves)
		}
		return moved, most
	}
	if moved, _ := play(0, 10*time.Minute); moved != 0 {
		t.Errorf("%d moves in ten quiet minutes, now %v", moved, users)
	}
	dead = 3
	moved, most := play(10*time.Minute, 11*time.Minute)
	t.Logf("after the death of a relay: %v", users)
	if moved != 25 || most != 1 || users[3] != 0 || min(users[0], users[1], users[2]) < 27 {
		t.Errorf("%d moves, at most %d of one, now %v", moved, most, users)
	}
	if moved, most = play(11*time.Minute, 21*time.Minute); most > 1 {
		t.Errorf("%d moves in ten minutes, at most %d of one, now %v", moved, most, users)
	}
	t.Logf("ten minutes later: %v, %d moves", users, moved)
}
