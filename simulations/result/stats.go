package result

import (
	"math"
	"slices"
)

// Quantile returns the smallest value that at least the share q of all are not above, 0 if there is none. q is from 0 to 1.
func (d Distribution) Quantile(q float64) int64 {
	if len(d.Values) == 0 {
		return 0
	}
	at := int(math.Ceil(q*float64(len(d.Values)))) - 1
	return d.Values[min(max(at, 0), len(d.Values)-1)]
}

// Keep makes a Distribution of values, which it sorts: all of them, or ValuesMax evenly spaced by rank, with the least and the most.
func Keep(name, unit string, values []int64) Distribution {
	slices.Sort(values)
	d := Distribution{Name: name, Unit: unit, Count: int64(len(values)), Values: values}
	if n := len(values); n > ValuesMax {
		d.Values = make([]int64, ValuesMax)
		for i := range d.Values {
			d.Values[i] = values[int(int64(i)*int64(n-1)/(ValuesMax-1))]
		}
	}
	return d
}

// Distribution returns the run's distribution of a quantity, and whether it has one.
func (r *Run) Distribution(name string) (Distribution, bool) {
	for _, d := range r.Distributions {
		if d.Name == name {
			return d, true
		}
	}
	return Distribution{}, false
}

// Over returns the run's series of a quantity, and whether it has one.
func (r *Run) Over(name string) (Series, bool) {
	for _, s := range r.Series {
		if s.Name == name {
			return s, true
		}
	}
	return Series{}, false
}

// An Estimate is what several seeds say of one figure.
type Estimate struct {
	Mean float64 `json:"mean"`
	// Half is how far the mean of all seeds is from Mean at most, with 95 % confidence: Student's t over the seeds' figures, which are taken to
	// be independent and about normal. One seed says nothing of that: nil.
	Half *float64 `json:"half,omitempty"`
	N    int      `json:"n"`
}

// student are the quantiles 0.975 of Student's distribution for 1, 2, ... degrees of freedom (any table); beyond, the normal one's.
var student = [...]float64{12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101,
	2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042}

// EstimateOf returns the mean of values, one of each seed, and its confidence interval. Without values N is zero.
func EstimateOf(values []float64) Estimate {
	n := float64(len(values))
	if n == 0 {
		return Estimate{}
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	e := Estimate{Mean: sum / n, N: len(values)}
	if len(values) == 1 {
		return e
	}
	squares := 0.0
	for _, v := range values {
		squares += (v - e.Mean) * (v - e.Mean)
	}
	t := 1.96
	if len(values)-2 < len(student) {
		t = student[len(values)-2]
	}
	half := t * math.Sqrt(squares/(n-1)/n)
	e.Half = &half
	return e
}

// A Summary is the figures of several runs of one scenario by one engine.
type Summary struct {
	Scenario string `json:"scenario"`
	Hash     string `json:"hash"`
	Engine   string `json:"engine"`
	VRs      int    `json:"vrs"`
	Runs     int    `json:"runs"`
	Broken   int    `json:"broken"`  // runs in which an invariant did not hold
	Partial  int    `json:"partial"` // runs that ended early for another reason
	Figures  []Row  `json:"figures"`
}

// A Row is one quantity: what of it, in its unit, over the seeds.
type Row struct {
	Quantity string   `json:"quantity"`
	Figure   string   `json:"figure"` // p50, p99, most, mean, least, sum
	Unit     string   `json:"unit"`
	Over     Estimate `json:"over"`
}

// Summarise makes the figures of runs, which must be of one scenario and engine. A quantity that some runs lack is taken over those that have it.
func Summarise(runs []Run) Summary {
	if len(runs) == 0 {
		return Summary{}
	}
	s := Summary{Scenario: runs[0].Scenario, Hash: runs[0].Hash, Engine: runs[0].Engine, VRs: runs[0].VRs, Runs: len(runs)}
	type key struct{ quantity, figure, unit string }
	values := map[key][]float64{}
	var order []key
	add := func(k key, v float64) {
		if _, ok := values[k]; !ok {
			order = append(order, k)
		}
		values[k] = append(values[k], v)
	}
	for i := range runs {
		r := &runs[i]
		switch {
		case r.Broken != nil:
			s.Broken++
		case !r.Whole:
			s.Partial++
		}
		for _, d := range r.Distributions {
			if d.Count == 0 {
				continue
			}
			for _, q := range []struct {
				figure string
				at     float64
			}{{"p50", 0.5}, {"p99", 0.99}, {"most", 1}} {
				add(key{d.Name, q.figure, d.Unit}, float64(d.Quantile(q.at)))
			}
		}
		for _, x := range r.Series {
			if len(x.Values) == 0 {
				continue
			}
			sum := 0.0
			for _, v := range x.Values {
				sum += float64(v)
			}
			add(key{x.Name, "mean", x.Unit}, sum/float64(len(x.Values)))
			add(key{x.Name, "least", x.Unit}, float64(slices.Min(x.Values)))
			add(key{x.Name, "most", x.Unit}, float64(slices.Max(x.Values)))
		}
		names := make([]string, 0, len(r.Counts))
		for name := range r.Counts {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			add(key{name, "sum", ""}, float64(r.Counts[name]))
		}
	}
	for _, k := range order {
		s.Figures = append(s.Figures, Row{k.quantity, k.figure, k.unit, EstimateOf(values[k])})
	}
	return s
}
