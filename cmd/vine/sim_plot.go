package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/simulations"
	"github.com/vine-mesh/vine/simulations/report"
	"github.com/vine-mesh/vine/simulations/result"
)

// writeReport writes what people read into a directory of results: report.html, runs.csv and the charts one by one.
func writeReport(dir string, s simulations.Source, runs []result.Run) error {
	var table bytes.Buffer
	if err := report.CSV(&table, runs); err != nil {
		return err
	}
	engine, first := runs[0].Engine, slices.MinFunc(runs, func(a, b result.Run) int { return int(min(max(int64(a.Seed)-int64(b.Seed), -1), 1)) }).Seed
	command := fmt.Sprintf("vine sim run %s.toml --engine %s --seed %d --seeds %d", s.Name, engine, first, len(runs))
	files := map[string][]byte{"report.html": report.Page(runs, s.About, string(s.Text), command), "runs.csv": table.Bytes()}
	for name, svg := range report.Charts(runs) {
		files[filepath.Join("charts", name)] = svg
	}
	if err := os.MkdirAll(filepath.Join(dir, "charts"), 0o755); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func newSimPlotCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "plot DIRECTORY",
		Short: "Make the report and the charts of results anew",
		Long: `Writes report.html, runs.csv and charts/*.svg into a directory of results, from its runs.jsonl: as vine sim run --out does, for
results that were merged, or made by another version.`,
		Example: "  vine sim plot results",
		Args:    takes("DIRECTORY"),
		RunE: func(_ *cobra.Command, args []string) error {
			runs, err := readResults(args[0])
			if err != nil {
				return err
			}
			s, err := loadScenario(filepath.Join(args[0], runs[0].Scenario+".toml"))
			if err != nil {
				return err
			}
			if err := writeReport(args[0], s, runs); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(document{"report": filepath.Join(args[0], "report.html")})
			}
			e.say("%s", filepath.Join(args[0], "report.html"))
			return nil
		},
	}
}

func newSimMergeCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "merge NEW DIRECTORY...",
		Short: "Put the runs of several directories of results into a new one",
		Long: `Makes a new directory of results out of others of the same scenario and engine, such as several machines have made with other
seeds. A seed that stands twice counts once, if both runs gave the same; otherwise nothing is written.`,
		Example: "  vine sim run churn-minutes --seed 1 --seeds 50 --out a      # on one machine\n  vine sim run churn-minutes --seed 51 --seeds 50 --out b     # on another\n  vine sim merge all a b",
		Args:    takes("NEW", "DIRECTORY..."),
		RunE: func(_ *cobra.Command, args []string) error {
			var all []result.Run
			bySeed := map[uint64]result.Run{}
			for _, dir := range args[1:] {
				runs, err := readResults(dir)
				if err != nil {
					return err
				}
				for _, r := range runs {
					if len(all) > 0 && (r.Hash != all[0].Hash || r.Engine != all[0].Engine) {
						return fmt.Errorf("%s holds runs of another scenario or engine: %s by %s, not %s by %s", dir, r.Scenario, r.Engine, all[0].Scenario, all[0].Engine)
					}
					if other, ok := bySeed[r.Seed]; ok {
						other.Version = r.Version
						if !result.Same(&other, &r) {
							return fmt.Errorf("the run of seed %d in %s is not the one that was read before", r.Seed, dir)
						}
						continue
					}
					bySeed[r.Seed] = r
					all = append(all, r)
				}
			}
			slices.SortFunc(all, func(a, b result.Run) int { return int(min(max(int64(a.Seed)-int64(b.Seed), -1), 1)) })
			s, err := loadScenario(filepath.Join(args[1], all[0].Scenario+".toml"))
			if err != nil {
				return err
			}
			out, err := newResults(args[0], s)
			if err != nil {
				return err
			}
			defer out.Close()
			var text []byte
			for i := range all {
				if text, err = result.Append(text, &all[i]); err != nil {
					return err
				}
			}
			if _, err := out.Write(text); err != nil {
				return err
			}
			if err := writeReport(args[0], s, all); err != nil {
				return err
			}
			summary := result.Summarise(all)
			if e.json {
				return e.printJSON(document{"summary": summary, "out": args[0]})
			}
			return e.printSummary(summary)
		},
	}
}
