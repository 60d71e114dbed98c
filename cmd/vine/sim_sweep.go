package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/internal/tomlfile"
	"github.com/vine-mesh/vine/simulations"
	"github.com/vine-mesh/vine/simulations/result"
)

// A sweep in a directory: plan.csv has one row a run, variants/NNN the scenario of each combination, rows/N.jsonl the run of row N.
const (
	planFile    = "plan.csv"
	rowsMax     = 100_000
	variantsMax = 1000
)

var planHead = []string{"row", "variant", "engine", "seed", "set"}

// A planRow is one run to be made.
type planRow struct {
	variant string // name of its folder
	engine  string
	seed    uint64
	set     string // what the variant changes
}

func newSimSweepCommand(e *Env) *cobra.Command {
	var o simSweep
	c := &cobra.Command{
		Use:   "sweep SCENARIO",
		Short: "Run a scenario with combinations of parameters, here or on a cluster",
		Long: `Runs a scenario once for each combination of the values that --set gives to keys of it, and each seed. A key is dotted, as in
docs/simulations.md; a group, VN or other element is called by its name: group.campus.count.

The directory gets plan.csv, with one row a run. Rows can be run by themselves: vine sim row DIRECTORY NUMBER, on any machine that sees
the directory; a row that is done is not done again, and a result is there whole or not at all. So a sweep that was interrupted goes on
with the same command and --resume. With --plan only the plan is made; with --for it also gets what a scheduler takes: job.sh for
slurm, job.sub for htcondor, job.txt for parallel (GNU). When all rows are done, vine sim collect puts them together.`,
		Example: `  vine sim sweep vn-change-loss --set network.loss=0%,5%,20% --set group.site.count=10,100,1000 --out sweep
  vine sim sweep churn-minutes --set group.home.churn.session=2m,15m,60m --seeds 20 --plan --for slurm --out sweep && sbatch sweep/job.sh
  vine sim collect sweep`,
		Args: takes("SCENARIO"),
		RunE: func(c *cobra.Command, args []string) error {
			return o.run(c.Context(), e, args[0])
		},
	}
	f := c.Flags()
	f.StringArrayVar(&o.set, "set", nil, "`KEY=VALUE,VALUE...` (can be given several times)")
	f.StringVar(&o.engine, "engine", "", "`NAME` of the engine (default: the scenario's)")
	f.Uint64Var(&o.seed, "seed", 1, "the first seed, a `NUMBER`")
	f.IntVar(&o.seeds, "seeds", 0, "how many seeds, a `NUMBER` (default: the scenario's)")
	f.IntVar(&o.parallel, "jobs", runtime.GOMAXPROCS(0), "how many runs at a time, a `NUMBER`")
	f.StringVar(&o.out, "out", "", "`DIRECTORY` of the sweep, which must not exist yet without --resume")
	f.BoolVar(&o.plan, "plan", false, "make the plan and run nothing")
	f.BoolVar(&o.resume, "resume", false, "go on with a sweep that was interrupted")
	f.StringVar(&o.scheduler, "for", "", "also write a job for a `SCHEDULER`: slurm, htcondor or parallel")
	return c
}

type simSweep struct {
	simRun
	set          []string
	plan, resume bool
	scheduler    string
}

func (o *simSweep) run(ctx context.Context, e *Env, name string) error {
	if o.out == "" {
		return usage("--out is missing: name the directory of the sweep")
	}
	if _, ok := jobFiles[o.scheduler]; o.scheduler != "" && !ok {
		return usage("--for %q is not slurm, htcondor or parallel", o.scheduler)
	}
	if o.parallel < 1 {
		return usage("--jobs is at least 1")
	}
	if !o.resume {
		if err := o.prepare(name); err != nil {
			return err
		}
	}
	rows, err := readPlan(o.out)
	if err != nil {
		return err
	}
	if o.plan {
		e.say("%d rows in %s", len(rows), filepath.Join(o.out, planFile))
		if e.json {
			return e.printJSON(document{"rows": len(rows), "out": o.out})
		}
		return nil
	}
	var todo []int
	for i := range rows {
		if _, err := os.Stat(rowFile(o.out, i)); errors.Is(err, os.ErrNotExist) {
			todo = append(todo, i)
		}
	}
	if err := runRows(ctx, e, o.out, rows, todo, o.parallel); err != nil {
		return err
	}
	return collect(e, o.out)
}

// prepare makes the directory with its plan.
func (o *simSweep) prepare(name string) error {
	base, err := loadScenario(name)
	if err != nil {
		return err
	}
	engine, err := engineOf(o.engine, base)
	if err != nil {
		return err
	}
	if o.seeds == 0 {
		o.seeds = base.Seeds
	}
	variants := []simVariant{{text: string(base.Text)}}
	for _, set := range o.set {
		key, values, ok := strings.Cut(set, "=")
		if !ok || key == "" || values == "" {
			return usage("--set %q is not KEY=VALUE,VALUE...", set)
		}
		var more []simVariant
		for _, v := range variants {
			for value := range strings.SplitSeq(values, ",") {
				text, err := tomlfile.Set(v.text, key, value)
				if err != nil {
					return usage("--set %s: %w", key, err)
				}
				more = append(more, simVariant{text, append(append([]string{}, v.set...), key+"="+value)})
			}
		}
		variants = more
		if len(variants) > variantsMax {
			return usage("%d combinations are more than %d", len(variants), variantsMax)
		}
	}
	if o.seeds < 1 || o.seeds*len(variants) > rowsMax {
		return usage("%d combinations of %d seeds: at most %d rows, at least one", len(variants), o.seeds, rowsMax)
	}
	if err := os.Mkdir(o.out, 0o755); err != nil {
		if errors.Is(err, os.ErrExist) {
			return usage("%s is there already: a sweep goes into a new directory, or on with --resume", o.out)
		}
		return err
	}
	var rows []planRow
	for i, v := range variants {
		folder := fmt.Sprintf("%03d", i+1)
		if err := v.write(filepath.Join(o.out, "variants", folder), base); err != nil {
			os.RemoveAll(o.out)
			return err
		}
		for k := range uint64(o.seeds) {
			rows = append(rows, planRow{folder, engine, o.seed + k, strings.Join(v.set, " ")})
		}
	}
	if err := os.Mkdir(filepath.Join(o.out, "rows"), 0o755); err != nil {
		return err
	}
	if err := writePlan(o.out, rows); err != nil {
		return err
	}
	if o.scheduler == "" {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	job := jobFiles[o.scheduler]
	return os.WriteFile(filepath.Join(o.out, job.name), []byte(job.text(self, absolute(o.out), len(rows))), 0o755)
}

// A simVariant is the scenario with one combination of values.
type simVariant struct {
	text string
	set  []string
}

// write checks the variant and puts it into a folder of its own.
func (v simVariant) write(folder string, base simulations.Source) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for name, text := range base.Files {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o644); err != nil {
			return err
		}
	}
	path := filepath.Join(folder, base.Name+".toml")
	if err := os.WriteFile(path, []byte(v.text), 0o644); err != nil {
		return err
	}
	_, err := loadScenario(path)
	return err
}

func rowFile(dir string, i int) string {
	return filepath.Join(dir, "rows", strconv.Itoa(i+1)+".jsonl")
}

func writePlan(dir string, rows []planRow) error {
	f, err := os.Create(filepath.Join(dir, planFile))
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	w.Write(planHead) //nolint:errcheck // Error tells
	for i, r := range rows {
		w.Write([]string{strconv.Itoa(i + 1), r.variant, r.engine, strconv.FormatUint(r.seed, 10), r.set}) //nolint:errcheck // Error tells
	}
	w.Flush()
	return errors.Join(w.Error(), f.Close())
}

func readPlan(dir string) (rows []planRow, err error) {
	f, err := os.Open(filepath.Join(dir, planFile))
	if err != nil {
		return nil, &fault{err, exitNotFound, "name a directory that `vine sim sweep` has made"}
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil || len(lines) < 2 {
		return nil, fmt.Errorf("%s is no plan: %w", f.Name(), err)
	}
	for _, l := range lines[1:] {
		seed, err := strconv.ParseUint(l[3], 10, 64)
		if err != nil || !filepath.IsLocal(l[1]) {
			return nil, fmt.Errorf("%s: row %s is damaged", f.Name(), l[0])
		}
		rows = append(rows, planRow{l[1], l[2], seed, l[4]})
	}
	return rows, nil
}

// scenarioOf reads the scenario of a row.
func scenarioOf(dir string, r planRow) (simulations.Source, error) {
	list, err := filepath.Glob(filepath.Join(dir, "variants", r.variant, "*.toml"))
	if err != nil || len(list) != 1 {
		return simulations.Source{}, fmt.Errorf("%s has %d scenarios, not one", filepath.Join(dir, "variants", r.variant), len(list))
	}
	return loadScenario(list[0])
}

// runRows makes the runs of rows. Each result gets its name when it is whole.
func runRows(ctx context.Context, e *Env, dir string, rows []planRow, todo []int, parallel int) error {
	var jobs []simulations.Job
	for _, i := range todo {
		s, err := scenarioOf(dir, rows[i])
		if err != nil {
			return err
		}
		if _, err := engineOf(rows[i].engine, s); err != nil {
			return err
		}
		jobs = append(jobs, simulations.Job{Source: s, Engine: rows[i].engine, Seed: rows[i].seed})
	}
	p := newSimProgress(e, jobs)
	err := simulations.RunAll(ctx, jobs, parallel, versionText(), p.tell, func(j int, r result.Run) error {
		p.end(j)
		if ctx.Err() != nil && r.Broken == nil {
			return nil // not whole: the row is to be run again
		}
		if r.Broken != nil {
			e.printBroken(&r)
		}
		line, err := result.Append(nil, &r)
		if err != nil {
			return err
		}
		path := rowFile(dir, todo[j])
		if err := os.WriteFile(path+".part", line, 0o644); err != nil {
			return err
		}
		return os.Rename(path+".part", path)
	})
	if err != nil {
		return err
	}
	return ctx.Err()
}
