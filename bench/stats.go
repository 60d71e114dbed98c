package bench

import (
	"math"
	"slices"
)

// A Spread is what is left of several samples of one thing.
type Spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	N      int     `json:"n"` // how many samples; zero: none, and the rest means nothing
}

// spreadOf returns the spread of values, which it does not change.
func spreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	return Spread{Median: Quantile(values, 0.5), Low: slices.Min(values), High: slices.Max(values), N: len(values)}
}

// Quantile returns the value below which the share q of the values lies, between two values in proportion (Hyndman
// and Fan's definition 7). Without values it is not a number.
func Quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
