package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/simulations"
	"github.com/vine-mesh/vine/simulations/result"
)

func newSimRunCommand(e *Env) *cobra.Command {
	var o simRun
	c := &cobra.Command{
		Use:   "run SCENARIO",
		Short: "Run a scenario with some seeds",
		Long: `Runs a scenario, a file or one that comes with vine, once for each of some seeds, and prints what the
runs gave: of each quantity the mean over the seeds, and how far the mean of all seeds is from it at
most, with 95 % confidence (Student's t).

With --out the runs go into a new directory: report.html, a page to look at; charts/*.svg; runs.csv; and
runs.jsonl, one run a line, which holds the scenario's name and hash, the engine, the seed and the
version of vine; and the scenario itself. Ctrl-C ends the
runs that are under way; what they have is kept, marked as not whole.

Exit codes: 0, all runs are whole and every invariant held. 1, an invariant did not hold: running again
will not help. 130, interrupted: run it again. 2, 3, 78, there is something wrong with the call or the
scenario.`,
		Example: "  vine sim run churn-minutes\n  vine sim run mine.toml --seeds 20 --out results",
		Args:    takes("SCENARIO"),
		RunE: func(c *cobra.Command, args []string) error {
			return o.run(c.Context(), e, args[0])
		},
	}
	f := c.Flags()
	f.StringVar(&o.engine, "engine", "", "`NAME` of the engine (default: the scenario's)")
	f.Uint64Var(&o.seed, "seed", 1, "the first seed, a `NUMBER`")
	f.IntVar(&o.seeds, "seeds", 0, "how many seeds, a `NUMBER` (default: the scenario's)")
	f.IntVar(&o.parallel, "jobs", runtime.GOMAXPROCS(0), "how many runs at a time, a `NUMBER`")
	f.StringVar(&o.out, "out", "", "new `DIRECTORY` for the results")
	return c
}

type simRun struct {
	engine   string
	seed     uint64
	seeds    int
	parallel int
	out      string
}

func (o *simRun) run(ctx context.Context, e *Env, name string) error {
	s, err := loadScenario(name)
	if err != nil {
		return err
	}
	engine, err := engineOf(o.engine, s)
	if err != nil {
		return err
	}
	if o.seeds == 0 {
		o.seeds = s.Seeds
	}
	if o.seeds < 1 || o.seeds > 100_000 || o.parallel < 1 {
		return usage("--seeds is 1 to 100000, --jobs at least 1")
	}
	var out *os.File
	if o.out != "" {
		if out, err = newResults(o.out, s); err != nil {
			return err
		}
		defer out.Close()
	}
	var jobs []simulations.Job
	for i := range uint64(o.seeds) {
		jobs = append(jobs, simulations.Job{Source: s, Engine: engine, Seed: o.seed + i})
	}
	var runs []result.Run
	p := newSimProgress(e, jobs)
	err = simulations.RunAll(ctx, jobs, o.parallel, versionText(), p.tell, func(i int, r result.Run) error {
		p.end(i)
		runs = append(runs, r)
		if r.Broken != nil {
			e.printBroken(&r)
		}
		if out == nil {
			return nil
		}
		line, err := result.Append(nil, &r)
		if err == nil {
			_, err = out.Write(line)
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(runs) == 0 {
		return ctx.Err()
	}
	if out != nil {
		if err := writeReport(o.out, s, runs); err != nil {
			return err
		}
	}
	summary := result.Summarise(runs)
	if e.json {
		err = e.printJSON(document{"summary": summary, "out": o.out})
	} else {
		err = e.printSummary(summary)
	}
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case summary.Broken > 0:
		return hinted(fmt.Errorf("an invariant did not hold in %d of %d runs", summary.Broken, len(runs)), "`vine sim replay` runs one of them again")
	}
	return nil
}

// newResults makes a directory for the results of a scenario, with the scenario in it, and opens the file of its runs.
func newResults(dir string, s simulations.Source) (*os.File, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		if errors.Is(err, os.ErrExist) {
			return nil, usage("%s is there already: results go into a new directory", dir)
		}
		return nil, err
	}
	write := func(name string, text []byte) error {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, text, 0o644)
	}
	if err := write(s.Name+".toml", s.Text); err != nil {
		return nil, err
	}
	for name, text := range s.Files {
		if err := write(name, text); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(filepath.Join(dir, runsFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
}

// runsFile is what a directory of results has its runs in.
const runsFile = "runs.jsonl"

// A simProgress tells every two seconds how far the runs are, and how long they will take.
type simProgress struct {
	e      *Env
	jobs   []simulations.Job
	at     []time.Duration // of each job, virtual
	ended  int
	events []uint64
	began  time.Time
	next   time.Time
}

const progressEvery = 2 * time.Second

func newSimProgress(e *Env, jobs []simulations.Job) *simProgress {
	now := e.Now()
	return &simProgress{e: e, jobs: jobs, at: make([]time.Duration, len(jobs)), events: make([]uint64, len(jobs)), began: now, next: now.Add(progressEvery)}
}

func (p *simProgress) whole(i int) time.Duration {
	return p.jobs[i].Source.Warmup + p.jobs[i].Source.Duration
}

func (p *simProgress) end(i int) {
	p.at[i] = p.whole(i)
	p.ended++
}

func (p *simProgress) tell(i int, virtual time.Duration, events uint64) {
	p.at[i], p.events[i] = virtual, events
	now := p.e.Now()
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(progressEvery)
	var done, all float64
	var count uint64
	for j := range p.jobs {
		done += p.at[j].Seconds()
		all += p.whole(j).Seconds()
		count += p.events[j]
	}
	left := "some time"
	if done > 0 {
		left = brief(time.Duration(float64(now.Sub(p.began)) * (all - done) / done))
	}
	p.e.say("[%3.0f %%, %s left] %d of %d runs ended; %s of virtual time, %.1f million events", 100*done/all, left, p.ended, len(p.jobs),
		brief(time.Duration(done*1e9)), float64(count)/1e6)
}
