package path

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// train sends one train through a model and returns the report. Arrivals are stamped in batches.
func (m *model) train(packets, size int, batch time.Duration) TrainReport {
	var r TrainRecord
	for i := range packets {
		m.after(time.Duration(i)*10*time.Microsecond, func() {
			m.send(size+overhead, func() {
				at := m.time()
				if batch > 0 {
					at = at.Truncate(batch).Add(batch)
				}
				r.Arrived(at, 1, i, packets, size)
			})
		})
	}
	m.run(5 * time.Second)
	return r.Report()
}

// TestTrain states the error of one train: within 10 % of the path's rate up to 100 Mb/s. Beside
// traffic that takes 30 % it says the same, not the 70 % that are left.
func TestTrain(t *testing.T) {
	for _, mbits := range []float64{1, 5, 20, 60, 100} {
		for _, cross := range []float64{0, 0.3} {
			t.Run(fmt.Sprintf("%vM cross %v", mbits, cross), func(t *testing.T) {
				least, most := 9.0, 0.0
				defer func() { t.Logf("%.2f to %.2f of the path", least, most) }()
				for seed := range uint64(20) {
					m := newModel(mbits*1e6, 20*time.Millisecond, time.Second, seed)
					if cross > 0 {
						m.paced(cross*mbits*1e6, false, true, 10*time.Second)
					}
					m.run(time.Second)
					packets, size := PlanTrain(int64(mbits * 1e6))
					var e Estimator
					e.Trained(m.time(), m.train(packets, size, 50*time.Microsecond))
					q := e.Measure(m.time())
					got := float64(q.Rate.Bits) / (mbits * 1e6 * float64(size) / float64(size+overhead))
					least, most = min(least, got), max(most, got)
					if q.Rate.Kind != RateEstimate || q.Rate.By != ByTrain || got < 0.9 || got > 1.02 {
						t.Errorf("seed %d: %v of the path, %+v", seed, got, q.Rate)
					}
				}
			})
		}
	}
}

func TestTrainClaims(t *testing.T) {
	for _, c := range []struct {
		name string
		t    TrainReport
		want Rate
	}{
		{"all at one instant", TrainReport{64, 64, 0, 0}, Rate{Bits: trainClaim, Kind: RateAtLeast}},
		{"faster than a train can tell", TrainReport{64, 64, 75600, time.Microsecond}, Rate{Bits: trainClaim, Kind: RateAtLeast}},
		{"half is lost", TrainReport{64, 31, 36000, time.Second}, Rate{}},
		{"too few", TrainReport{7, 7, 7200, time.Millisecond}, Rate{}},
		{"more than was sent", TrainReport{16, 17, 19200, time.Millisecond}, Rate{}},
		{"less than nothing", TrainReport{16, 16, -1, time.Millisecond}, Rate{}},
		{"8 Mb/s", TrainReport{20, 16, 15000, 15 * time.Millisecond}, Rate{Bits: 8_000_000, Kind: RateEstimate}},
	} {
		var e Estimator
		e.Trained(epoch, c.t)
		if r := e.Measure(epoch).Rate; r.Bits != c.want.Bits || r.Kind != c.want.Kind {
			t.Errorf("%s: %+v, want %+v", c.name, r, c.want)
		}
	}
}

// TestTrainDoubt checks that one train alone lifts a rate by no more than twice.
func TestTrainDoubt(t *testing.T) {
	var e Estimator
	now := epoch
	at := func(mbits int) int64 {
		now = now.Add(trainRepeat)
		e.Trained(now, TrainReport{64, 64, mbits * 1000, 8 * time.Millisecond})
		return e.Measure(now).Rate.Bits / 1_000_000
	}
	for i, c := range [][2]int{{5, 5}, {60, 5}, {55, 55}, {5, 5}, {9, 9}, {60, 9}, {9, 9}, {60, 9}} {
		if got := at(c[0]); got != int64(c[1]) {
			t.Errorf("train %d of %d Mb/s: %d, want %d", i, c[0], got, c[1])
		}
	}
}

// TestTrainPair checks that of two trains close to each other the higher one counts, and that one alone is not sure.
func TestTrainPair(t *testing.T) {
	var e Estimator
	for i, c := range []struct {
		after  time.Duration
		mbits  int
		want   int64
		unsure bool
	}{
		{0, 40, 40, true}, {5 * time.Second, 5, 40, false}, {time.Minute, 5, 5, false}, {5 * time.Second, 60, 5, true},
		{5 * time.Second, 60, 60, false},
	} {
		now := epoch.Add(time.Duration(i) * time.Minute)
		if i > 0 && c.after < time.Minute {
			now = e.rate.At.Add(c.after)
		}
		e.Trained(now, TrainReport{64, 64, c.mbits * 1000, 8 * time.Millisecond})
		if m := e.Measure(now); m.Rate.Bits/1_000_000 != c.want || m.Unsure != c.unsure {
			t.Errorf("train %d of %d Mb/s: %+v, want %d, unsure: %v", i, c.mbits, m, c.want, c.unsure)
		}
	}
}

// TestTrainPause checks that a program on the way that did not run for a moment makes no line slower.
func TestTrainPause(t *testing.T) {
	for _, cut := range []int{1, 10, 25, 40, 63} {
		var r TrainRecord
		const pause = 54 * time.Millisecond
		for i := range 64 {
			at := time.Duration(i) * 160 * time.Microsecond // 60 Mb/s
			if i >= cut {
				at = max(at, time.Duration(cut)*160*time.Microsecond+pause)
			}
			r.Arrived(epoch.Add(at), 1, i, 64, 1200)
		}
		p := r.Report()
		rate := float64(p.Bytes) * 8 / p.Span.Seconds() / 1e6
		if cut > 1 && (rate < 55 || rate > 65) { // of the rest nothing is known but that it came
			t.Errorf("pause before %d: %+v, %.1f Mb/s, want 60", cut, p, rate)
		}
		if p.Received != 64 {
			t.Errorf("pause before %d: %+v", cut, p)
		}
		t.Logf("pause before %d: %.1f Mb/s", cut, rate)
	}
}

// TestTrainBucket checks that a token bucket's burst does not count.
func TestTrainBucket(t *testing.T) {
	var r TrainRecord
	for i := range 64 {
		at := epoch
		if i > 27 {
			at = at.Add(time.Duration(i-27) * 1200 * 8 * time.Second / 20e6)
		}
		r.Arrived(at.Add(time.Duration(i)*time.Microsecond), 1, i, 64, 1200)
	}
	p := r.Report()
	if rate := float64(p.Bytes) * 8 / p.Span.Seconds(); rate < 19e6 || rate > 21e6 {
		t.Errorf("%.1f Mb/s, want 20", rate/1e6)
	}
}

// TestTrainRecord feeds arrivals at random: a record counts each datagram of one train once.
func TestTrainRecord(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var r TrainRecord
		now := epoch
		seen := map[int]bool{}
		sent := 1 + rng.IntN(trainPackets)
		r.Arrived(now, 9, 0, 1+rng.IntN(trainPackets), 1200) // an older train
		fresh := true
		for range rng.IntN(200) {
			now = now.Add(time.Duration(rng.IntN(3)) * time.Microsecond)
			i := rng.IntN(100) - 10
			r.Arrived(now, 7, i, sent, 1200)
			if i >= 0 && i < sent {
				seen[i], fresh = true, false
			}
		}
		p := r.Report()
		if fresh {
			continue
		}
		if id, ok := r.ID(); !ok || id != 7 || p.Sent != sent || p.Received != len(seen) || p.Bytes > 1200*(len(seen)-1) || r.Complete() != (len(seen) == sent) {
			t.Fatalf("%+v of %d, %d seen", p, sent, len(seen))
		}
	}
}

func TestPlanTrain(t *testing.T) {
	for _, hint := range []int64{-1, 0, 1, 1e5, 1e6, 1e7, 1e9, 1 << 62} {
		n, size := PlanTrain(hint)
		if n < trainLeast || n > trainPackets || n*size > 66_000 {
			t.Errorf("PlanTrain(%d) = %d, %d", hint, n, size)
		}
		if hint >= 10e6 && n != trainPackets {
			t.Errorf("PlanTrain(%d) = %d: a fast path deserves a long train", hint, n)
		}
	}
}
