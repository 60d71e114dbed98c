package bench

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestQuantile(t *testing.T) {
	for _, c := range []struct {
		values []float64
		q      float64
		want   float64
	}{
		{[]float64{3}, 0.5, 3},
		{[]float64{3}, 0.99, 3},
		{[]float64{4, 1}, 0.5, 2.5},
		{[]float64{5, 1, 3}, 0.5, 3},
		{[]float64{5, 1, 3}, 0, 1},
		{[]float64{5, 1, 3}, 1, 5},
		{[]float64{0, 10, 20, 30, 40}, 0.9, 36},
	} {
		if got := Quantile(c.values, c.q); got != c.want {
			t.Errorf("Quantile(%v, %v) = %v, want %v", c.values, c.q, got, c.want)
		}
	}
	if got := Quantile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("the median of nothing is %v", got)
	}
}

func TestSpread(t *testing.T) {
	if got := spreadOf(nil); got != (Spread{}) {
		t.Errorf("the spread of nothing is %+v", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(-1e6, 1e6), 1, 30).Draw(t, "values")
		before := slices.Clone(values)
		s := spreadOf(values)
		if !slices.Equal(values, before) {
			t.Fatal("the values were changed")
		}
		if s.N != len(values) || s.Low > s.Median || s.Median > s.High {
			t.Fatalf("%v gives %+v", values, s)
		}
		below, above := 0, 0
		for _, v := range values {
			if v < s.Median {
				below++
			}
			if v > s.Median {
				above++
			}
		}
		if 2*below > len(values) || 2*above > len(values) {
			t.Fatalf("%d below and %d above the median of %d", below, above, len(values))
		}
	})
}
