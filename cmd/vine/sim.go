package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/simulations"
	"github.com/vine-mesh/vine/simulations/result"
)

func newSimCommand(e *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "sim",
		Short: "Simulate federations: churn, partitions, changes, in virtual time",
		Long: `Runs scenarios: federations of some to a hundred thousand VRs, behind these translators, on these
links, which come and go, are cut off and change their VNs, in virtual time. No root, no network.

A scenario is a TOML file; docs/simulations.md says what stands in it. Some come with vine: vine sim list.
The model is fast, and the same seed gives the same run on every machine.`,
	}
	c.AddCommand(newSimListCommand(e), newSimShowCommand(e), newSimRunCommand(e), newSimReplayCommand(e), newSimPlotCommand(e), newSimMergeCommand(e),
		newSimSweepCommand(e), newSimRowCommand(e), newSimCollectCommand(e))
	return c
}

// loadScenario reads a scenario by its file or the name of one that comes with vine.
func loadScenario(name string) (simulations.Source, error) {
	s, err := simulations.Load(name)
	var wrong *simulations.BadScenario
	switch {
	case errors.As(err, &wrong):
		return s, &fault{err, exitConfig, "docs/simulations.md says what stands in a scenario"}
	case errors.Is(err, fs.ErrNotExist):
		return s, &fault{fmt.Errorf("there is no scenario %q", name), exitNotFound, "name a file, or one of those that `vine sim list` shows"}
	}
	return s, err
}

// engineOf checks the name of an engine; without one it is the scenario's.
func engineOf(name string, s simulations.Source) (string, error) {
	if name == "" {
		name = s.Engine
	}
	if simulations.Engines[name] == nil {
		var known []string
		for n := range simulations.Engines {
			known = append(known, n)
		}
		slices.Sort(known)
		return "", usage("there is no engine %q: %s", name, strings.Join(known, ", "))
	}
	return name, nil
}

// inUnit writes a figure as people read it.
func inUnit(v float64, unit string) string {
	switch unit {
	case "ns":
		return brief(time.Duration(v))
	case "ppm":
		return strconv.FormatFloat(v/1e4, 'g', 4, 64) + " %"
	case "bytes":
		for _, u := range []string{"B", "kB", "MB"} {
			if math.Abs(v) < 1000 {
				return strconv.FormatFloat(v, 'g', 3, 64) + " " + u
			}
			v /= 1000
		}
		return strconv.FormatFloat(v, 'g', 4, 64) + " GB"
	}
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// brief writes a duration with three digits.
func brief(d time.Duration) string {
	for _, unit := range []time.Duration{time.Hour, time.Minute, time.Second, time.Millisecond, time.Microsecond} {
		if d.Abs() >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}

// printSummary prints what the runs of a scenario gave.
func (e *Env) printSummary(s result.Summary) error {
	say := fmt.Sprintf("%s: %d VRs, %d runs by %s", s.Scenario, s.VRs, s.Runs, s.Engine)
	if s.Partial > 0 {
		say += fmt.Sprintf(", %d of them ended early", s.Partial)
	}
	if s.Broken > 0 {
		say += fmt.Sprintf(", in %d an invariant did not hold", s.Broken)
	}
	if _, err := fmt.Fprintln(e.Stdout, say); err != nil {
		return err
	}
	var rows [][]string
	never := map[string]bool{} // what has been zero in all runs
	for _, f := range s.Figures {
		if f.Figure == "most" || f.Figure == "sum" {
			never[f.Quantity] = f.Over.Mean == 0
		}
	}
	for _, f := range s.Figures {
		if never[f.Quantity] {
			continue
		}
		half := ""
		if f.Over.Half != nil {
			half = "± " + inUnit(*f.Over.Half, f.Unit)
		}
		rows = append(rows, []string{f.Quantity, f.Figure, inUnit(f.Over.Mean, f.Unit), half})
	}
	return e.table([]string{"QUANTITY", "FIGURE", "MEAN", "95 %"}, rows)
}

// printBroken says which invariant a run broke, and how it came to it.
func (e *Env) printBroken(r *result.Run) {
	b := r.Broken
	fmt.Fprintf(e.Stderr, "BROKEN: %s, engine %s, seed %d, %v after the warm-up: %s: %s\n", r.Scenario, r.Engine, r.Seed, b.At, b.Invariant, clean(b.Detail))
	for _, line := range b.Last {
		fmt.Fprintf(e.Stderr, "    %s\n", clean(line))
	}
}
