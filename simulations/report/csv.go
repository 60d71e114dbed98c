package report

import (
	"encoding/csv"
	"io"
	"strconv"

	"github.com/vine-mesh/vine/simulations/result"
)

// CSV writes runs as rows of one value each, with where it comes from: of a series at is the seconds since the warm-up, of a distribution the share of
// values that are not above, of a count it is empty.
func CSV(w io.Writer, runs []result.Run) error {
	out := csv.NewWriter(w)
	row := func(r *result.Run, quantity, sort, unit, at string, value int64) {
		out.Write([]string{r.Scenario, r.Hash, r.Engine, strconv.FormatUint(r.Seed, 10), r.Version, strconv.Itoa(r.VRs), quantity, sort, unit, at, strconv.FormatInt(value, 10)}) //nolint:errcheck // Error tells
	}
	out.Write([]string{"scenario", "hash", "engine", "seed", "version", "vrs", "quantity", "sort", "unit", "at", "value"}) //nolint:errcheck // Error tells
	for i := range runs {
		r := &runs[i]
		for _, s := range r.Series {
			for k, v := range s.Values {
				row(r, s.Name, "series", s.Unit, strconv.FormatFloat(float64(k+1)*s.Every.Seconds(), 'g', -1, 64), v)
			}
		}
		for _, d := range r.Distributions {
			for k, v := range d.Values {
				row(r, d.Name, "distribution", d.Unit, strconv.FormatFloat(float64(k+1)/float64(len(d.Values)), 'g', 6, 64), v)
			}
		}
		for _, name := range sortedKeys(r.Counts) {
			row(r, name, "count", "", "", r.Counts[name])
		}
	}
	out.Flush()
	return out.Error()
}
