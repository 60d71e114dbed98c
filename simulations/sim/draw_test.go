package sim

import (
	"math"
	"slices"
	"testing"
)

// TestTables compares the tables with package math.
func TestTables(t *testing.T) {
	for i := range log2Table {
		if d := float64(log2Table[i])/one - math.Log2(1+float64(i)/256); math.Abs(d) > 1e-9 {
			t.Errorf("log2Table[%d] is off by %g", i, d)
		}
		if d := float64(exp2Table[i])/one - math.Exp2(float64(i)/256); math.Abs(d) > 1e-9 {
			t.Errorf("exp2Table[%d] is off by %g", i, d)
		}
	}
	for i := range normalTable {
		tail := 0.5 * math.Erfc(float64(normalTable[i])/one/math.Sqrt2)
		if got, want := -math.Log2(tail), 1+float64(i)/8; math.Abs(got-want) > 1e-6 {
			t.Errorf("normalTable[%d]: the tail is 2^-%g, want 2^-%g", i, got, want)
		}
	}
}

func TestFixedPoint(t *testing.T) {
	s := source{1}
	for range 100_000 {
		x := s.next() >> s.below(63)
		if x == 0 {
			continue
		}
		if d := float64(log2(x))/one - math.Log2(float64(x)); math.Abs(d) > 1e-5 {
			t.Fatalf("log2(%d) is off by %g", x, d)
		}
		if r := sqrt(x >> 2); r*r > x>>2 || (r+1)*(r+1) <= x>>2 {
			t.Fatalf("sqrt(%d) = %d", x>>2, r)
		}
		e := s.below(20*one) - 10*one
		want := 1e9 * math.Exp2(float64(e)/one)
		if got := float64(exp2of(1e9, e, drawMost)); math.Abs(got-want) > want*1e-5+1 {
			t.Fatalf("1e9*2^%g = %g, want %g", float64(e)/one, got, want)
		}
	}
	if exp2of(1e9, 100*one, drawMost) != drawMost || exp2of(1e9, -100*one, drawMost) != 0 {
		t.Error("exp2of at its ends")
	}
}

// TestDistributions compares quantiles of 40,000 draws with those of the distributions.
func TestDistributions(t *testing.T) {
	const n, median = 40_000, 60e9
	quantiles := []float64{0.05, 0.25, 0.5, 0.75, 0.95, 0.99}
	for _, c := range []struct {
		name     string
		draw     func(s *source) int64
		quantile func(p float64) float64
	}{
		{"exponential", func(s *source) int64 { return s.exponential(median) }, func(p float64) float64 { return -math.Log2(1-p) * median }},
		{"weibull", func(s *source) int64 { return s.weibull(median, 600) }, func(p float64) float64 { return math.Pow(-math.Log2(1-p), 1/0.6) * median }},
		{"pareto", func(s *source) int64 { return s.pareto(median, 1500) }, func(p float64) float64 { return math.Pow(2*(1-p), -1/1.5) * median }},
		{"lognormal", func(s *source) int64 { return lognormal(median, 800, s.normal()) }, func(p float64) float64 { return math.Exp(0.8*math.Sqrt2*math.Erfinv(2*p-1)) * median }},
	} {
		s := source{7}
		all := make([]int64, n)
		for i := range all {
			all[i] = c.draw(&s)
		}
		slices.Sort(all)
		for _, p := range quantiles {
			got, want := float64(all[int(p*n)]), c.quantile(p)
			if math.Abs(got-want) > want*0.08 {
				t.Errorf("%s: the %g quantile is %.3g, want %.3g", c.name, p, got, want)
			}
		}
	}
}

func TestBelow(t *testing.T) {
	s := source{3}
	var counts [7]int
	for range 70_000 {
		counts[s.below(7)]++
	}
	for i, c := range counts {
		if c < 9_600 || c > 10_400 {
			t.Errorf("%d was drawn %d times of 10,000", i, c)
		}
	}
	hits := 0
	for range 100_000 {
		hits += b2i(s.hits(50_000))
	}
	if hits < 4_700 || hits > 5_300 {
		t.Errorf("5 %% happened %d times of 100,000", hits)
	}
	if s.hits(0) || !s.hits(1e6) {
		t.Error("hits at its ends")
	}
}
