package real

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/vine-mesh/vine/simulations/scenario"
)

// latency draws that of one pair: VRs number i and k of n, which lie dx and dy apart in the unit square.
func latency(l scenario.Latency, rng *rand.Rand, dx, dy float64, i, k, n int, regionA, regionB string) time.Duration {
	span := float64(l.Most - l.Least)
	switch l.Kind {
	case "uniform":
		return l.Least + time.Duration(rng.Float64()*span)
	case "coordinates":
		return l.Least + time.Duration(math.Hypot(dx, dy)/math.Sqrt2*span)
	case "ring":
		apart := min(k-i, n-(k-i))
		return l.Least + time.Duration(2*float64(apart)/float64(n)*span)
	case "lognormal":
		return time.Duration(float64(l.Median) * math.Exp(rng.NormFloat64()*float64(l.SigmaThousands)/1000))
	case "matrix":
		return l.Matrix[slices.Index(l.Regions, regionA)][slices.Index(l.Regions, regionB)]
	}
	return l.Least
}

// spell draws how long a VR stays up or away: median is that of the draw.
func spell(c *scenario.Churn, rng *rand.Rand, median time.Duration, elapsed time.Duration) time.Duration {
	u, shape := 1-rng.Float64(), float64(c.ShapeThousands)/1000 // u is in (0, 1]
	m := float64(median)
	switch c.Kind {
	case "weibull":
		return time.Duration(m * math.Pow(-math.Log(u)/math.Ln2, 1/shape))
	case "pareto": // the least value is such that half are above median
		return time.Duration(m * math.Pow(2, -1/shape) * math.Pow(u, -1/shape))
	case "diurnal":
		// Four times a day the pace goes from once to four times and back.
		phase := math.Mod(float64(elapsed), float64(c.Period)/4) / (float64(c.Period) / 4)
		pace := 1 + 3*(1-math.Cos(2*math.Pi*phase))/2
		return time.Duration(m / pace * -math.Log(u) / math.Ln2)
	}
	return time.Duration(m * -math.Log(u) / math.Ln2)
}
