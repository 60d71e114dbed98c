package result

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"
)

func TestQuantiles(t *testing.T) {
	values := make([]int64, 10_001)
	for i := range values {
		values[len(values)-1-i] = int64(i)
	}
	d := Keep("x", "ns", values)
	if d.Count != 10_001 || len(d.Values) != ValuesMax || d.Values[0] != 0 || d.Quantile(1) != 10_000 {
		t.Errorf("%d values of %d, from %d to %d", len(d.Values), d.Count, d.Values[0], d.Quantile(1))
	}
	if p := d.Quantile(0.5); p < 4995 || p > 5005 {
		t.Errorf("median %d", p)
	}
	for q, want := range map[float64]int64{0: 1, 0.25: 1, 0.26: 2, 0.5: 2, 0.99: 4, 1: 4} {
		if got := Keep("x", "", []int64{4, 3, 2, 1}).Quantile(q); got != want {
			t.Errorf("quantile %v: %d, want %d", q, got, want)
		}
	}
	if (Distribution{}).Quantile(0.5) != 0 {
		t.Error("a quantile of nothing")
	}
}

// TestEstimate: the interval of 1, 2, 3, 4, 5 is 3 and 2.776 times 0.7071, as in any book.
func TestEstimate(t *testing.T) {
	e := EstimateOf([]float64{1, 2, 3, 4, 5})
	if e.Mean != 3 || e.Half == nil || math.Abs(*e.Half-1.963) > 0.001 || e.N != 5 {
		t.Errorf("%+v", e)
	}
	if e := EstimateOf([]float64{7}); e.Mean != 7 || e.Half != nil {
		t.Errorf("%+v", e)
	}
	if e := EstimateOf(make([]float64, 100)); e.Half == nil || *e.Half != 0 {
		t.Errorf("%+v", e)
	}
}

func TestSummariseAndLines(t *testing.T) {
	run := func(seed uint64, most int64) Run {
		return Run{Scenario: "s", Engine: "model", Seed: seed, VRs: 3, Whole: true,
			Series:        []Series{{Up, "", time.Second, []int64{1, 2, 3}}},
			Distributions: []Distribution{Keep(Converge, "ns", []int64{1, most})}, Counts: map[string]int64{Crashes: most}}
	}
	broken := run(3, 4)
	broken.Whole, broken.Broken = false, &Broken{Invariant: "relay"}
	runs := []Run{run(1, 2), run(2, 4), broken}
	s := Summarise(runs)
	if s.Runs != 3 || s.Broken != 1 || s.Partial != 0 {
		t.Errorf("%+v", s)
	}
	found := map[string]float64{}
	for _, f := range s.Figures {
		found[f.Quantity+" "+f.Figure] = f.Over.Mean
	}
	for what, want := range map[string]float64{"up mean": 2, "up most": 3, "converge p50": 1, "converge most": 10. / 3, "crashes sum": 10. / 3} {
		if got, ok := found[what]; !ok || math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	var b []byte
	for i := range runs {
		var err error
		if b, err = Append(b, &runs[i]); err != nil {
			t.Fatal(err)
		}
	}
	back, err := Read(bytes.NewReader(append(b, '\n')))
	if err != nil || len(back) != 3 || !Same(&back[2], &broken) || Same(&back[0], &back[1]) {
		t.Errorf("%+v, %v", back, err)
	}
	back[0].Cost.Wall = 1
	if !Same(&back[0], &runs[0]) {
		t.Error("what a run costs makes it another")
	}
	for _, text := range []string{"{", "{}", "[]"} {
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.HasPrefix(err.Error(), "line 1") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
