package cost

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/vine-mesh/vine/bench"
)

// A Reproduction is a table of the dissertation's that is measured here.
type Reproduction struct {
	Name, Title string
	// Table measures. Each cell takes about length.
	Table func(ctx context.Context, length time.Duration) (bench.Table, error)
}

// Reproductions are all of them.
var Reproductions = []Reproduction{
	{"4-6", "Figure 4-6: looking up an address, ns", lookups},
	{"4-8", "Figure 4-8: encryption of a packet, us", encryption},
	{"4-9", "Figure 4-9: digest or tag of a packet, us", digests},
	{"4-10", "Figure 4-10: compression of a packet by DEFLATE", compression},
}

// repeats is how often a step's time is taken.
const repeats = 9

// perCall returns how many nanoseconds a call of f takes, in about length altogether.
func perCall(ctx context.Context, length time.Duration, f func()) (ns float64, err error) {
	n, each := 1, length/(repeats+2)
	var took time.Duration
	for {
		took = timed(n, f)
		if took >= each/2 {
			break
		}
		n *= 2
	}
	n = max(1, int(float64(n)*float64(each)/float64(took)))
	var list []float64
	for range repeats {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		list = append(list, float64(timed(n, f))/float64(n))
	}
	return slices.Min(list), nil
}

func timed(n int, f func()) time.Duration {
	start := time.Now()
	for range n {
		f()
	}
	return time.Since(start)
}

// microseconds makes a cell of nanoseconds.
func microseconds(ns float64) string { return strconv.FormatFloat(ns/1000, 'f', 3, 64) }

// nanoseconds makes a cell of nanoseconds.
func nanoseconds(ns float64) string { return strconv.FormatFloat(ns, 'f', 1, 64) }
