package bench

import (
	"slices"
	"strings"
	"testing"
)

// TestReproductions makes every table of a report in which each run gave something: as many cells as the head says, and
// none empty that should have been measured.
func TestReproductions(t *testing.T) {
	for _, p := range Reproductions {
		var r Report
		if p.Plan != nil {
			const rounds = 2
			stages := p.Plan(rounds)
			for _, name := range PartiesOf(stages) {
				r.Parties = append(r.Parties, Party{Name: name})
			}
			type key struct {
				Regime
				measure, party string
			}
			times := map[key]int{}
			for _, s := range stages {
				for _, run := range s.Runs {
					times[key{s.Regime, run.Measure.Name, run.Party}]++
					name := run.Measure.Name
					values := map[string]float64{name: 1000, name + "-size": 1028, name + "-p50": 0.5, "cpu": 3}
					r.Samples = append(r.Samples, Sample{Regime: s.Regime, Measure: name, Party: run.Party, Round: run.Round, Values: values})
				}
				if s.Estimate(2e9) <= 0 {
					t.Errorf("%s takes no time", p.Name)
				}
			}
			for k, n := range times {
				if n != rounds {
					t.Errorf("%s: %v is measured %d times in %d rounds", p.Name, k, n, rounds)
				}
			}
		}
		table := p.Table(r)
		if len(table.Rows) < 3 {
			t.Errorf("%s has %d rows", p.Name, len(table.Rows))
		}
		for _, row := range table.Rows {
			if len(row) != len(table.Head) {
				t.Errorf("%s: %q under %q", p.Name, row, table.Head)
			}
			if slices.ContainsFunc(row, func(c string) bool { return strings.Contains(c, "NaN") || c == "" }) {
				t.Errorf("%s: %q", p.Name, row)
			}
		}
		// 1,000 packets of 1,000 bytes a second are 8 Mb/s.
		if p.Plan != nil && p.Name != "3-17" && p.Name != "4-4" && p.Name != "4-5" && p.Name != "4-13" && table.Rows[0][1] != "8.00 (8.00 to 8.00)" {
			t.Errorf("%s: %q", p.Name, table.Rows[0])
		}
	}
}
