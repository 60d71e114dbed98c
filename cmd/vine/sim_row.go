package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/simulations/result"
)

func newSimRowCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "row DIRECTORY NUMBER",
		Short: "Run one row of a sweep's plan",
		Long: `Runs one row of the plan that vine sim sweep has made, and leaves its result in the directory. A row whose result is there is not run
again, so a job may be started twice.

Exit codes for a scheduler: 0, the result is there, also of a run in which an invariant did not hold. 1, 2, 3, 78, it will not work the
next time either. 130, interrupted: try again.`,
		Example: "  vine sim row sweep 17\n  seq 1 900 | parallel vine sim row sweep",
		Args:    takes("DIRECTORY", "NUMBER"),
		RunE: func(c *cobra.Command, args []string) error {
			rows, err := readPlan(args[0])
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(args[1])
			if err != nil || n < 1 || n > len(rows) {
				return usage("%q is not a row: there are 1 to %d", args[1], len(rows))
			}
			if _, err := os.Stat(rowFile(args[0], n-1)); err == nil {
				e.say("row %d is done already", n)
				return nil
			}
			return runRows(c.Context(), e, args[0], rows, []int{n - 1}, 1)
		},
	}
}

func newSimCollectCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "collect DIRECTORY",
		Short: "Put the results of a sweep's rows together",
		Long: `Puts the rows of a sweep that are done together: each variant gets runs.jsonl and a report, and sweep.csv has the figures of all
variants. It can be called while rows are still missing, and says how many.`,
		Example: "  vine sim collect sweep",
		Args:    takes("DIRECTORY"),
		RunE:    func(_ *cobra.Command, args []string) error { return collect(e, args[0]) },
	}
}

// collect puts a sweep's rows together and prints the figures.
func collect(e *Env, dir string) error {
	rows, err := readPlan(dir)
	if err != nil {
		return err
	}
	runs, sets := map[string][]result.Run{}, map[string]string{}
	var order []string
	missing := 0
	for i, r := range rows {
		if _, ok := sets[r.variant]; !ok {
			sets[r.variant] = r.set
			order = append(order, r.variant)
		}
		text, err := os.ReadFile(rowFile(dir, i))
		if os.IsNotExist(err) {
			missing++
			continue
		}
		if err != nil {
			return err
		}
		one, err := result.Read(bytes.NewReader(text))
		if err != nil {
			return fmt.Errorf("%s: %w", rowFile(dir, i), err)
		}
		runs[r.variant] = append(runs[r.variant], one...)
	}
	var table bytes.Buffer
	fmt.Fprintln(&table, "variant,set,quantity,figure,unit,mean,half_95,n")
	var shown [][]string
	summaries := []document{}
	for _, variant := range order {
		list := runs[variant]
		if len(list) == 0 {
			continue
		}
		folder := filepath.Join(dir, "variants", variant)
		var text []byte
		for i := range list {
			if text, err = result.Append(text, &list[i]); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(folder, runsFile), text, 0o644); err != nil {
			return err
		}
		s, err := loadScenario(filepath.Join(folder, list[0].Scenario+".toml"))
		if err != nil {
			return err
		}
		if err := writeReport(folder, s, list); err != nil {
			return err
		}
		summary := result.Summarise(list)
		summaries = append(summaries, document{"variant": variant, "set": sets[variant], "summary": summary})
		for _, f := range summary.Figures {
			half := ""
			if f.Over.Half != nil {
				half = strconv.FormatFloat(*f.Over.Half, 'g', 6, 64)
			}
			fmt.Fprintf(&table, "%s,%q,%s,%s,%s,%g,%s,%d\n", variant, sets[variant], f.Quantity, f.Figure, f.Unit, f.Over.Mean, half, f.Over.N)
			if f.Figure == "p99" || f.Quantity == result.ControlRate && f.Figure == "mean" {
				shown = append(shown, []string{sets[variant], f.Quantity, f.Figure, inUnit(f.Over.Mean, f.Unit)})
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "sweep.csv"), table.Bytes(), 0o644); err != nil {
		return err
	}
	if missing > 0 {
		e.warn("%d of %d rows are missing: vine sim sweep --resume, or vine sim row", missing, len(rows))
	}
	if e.json {
		return e.printJSON(document{"variants": summaries, "missing": missing})
	}
	return e.table([]string{"SET", "QUANTITY", "FIGURE", "MEAN"}, shown)
}

// jobFiles are what schedulers take.
var jobFiles = map[string]struct {
	name string
	text func(program, dir string, rows int) string
}{
	"slurm": {"job.sh", func(program, dir string, rows int) string {
		return fmt.Sprintf(`#!/bin/sh
#SBATCH --job-name=vine-sim
#SBATCH --array=1-%d
#SBATCH --cpus-per-task=1
#SBATCH --requeue
#SBATCH --output=%s/rows/%%a.log
# A cluster that takes fewer tasks: sbatch --array=1-1000 and so on. A row that is done ends at once.
exec %q -q sim row %q "$SLURM_ARRAY_TASK_ID"
`, rows, dir, program, dir)
	}},
	"htcondor": {"job.sub", func(program, dir string, rows int) string {
		return fmt.Sprintf(`# condor_submit job.sub, where the machines see the directory
executable = %s
row = $(Process) + 1
arguments = "-q sim row %s $INT(row)"
log = %s/rows/condor.log
error = %s/rows/$INT(row).log
request_cpus = 1
# 130 is an interruption: again.
on_exit_remove = ExitCode =!= 130
queue %d
`, program, dir, dir, dir, rows)
	}},
	"parallel": {"job.txt", func(program, dir string, rows int) string {
		text := fmt.Sprintf("# parallel --joblog %s/rows/parallel.log --retries 3 < job.txt\n", dir)
		for i := range rows {
			text += fmt.Sprintf("%s -q sim row %s %d\n", program, dir, i+1)
		}
		return text
	}},
}
