package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vine-mesh/vine/bench"
)

// A runner does the runs of a plan.
type runner struct {
	options  bench.Options
	carriers map[string]carrier
	programs map[string]map[string]string // of each party, by their first name
	progress func(string)
	report   bench.Report
	dir      string
	labs     int
	waited   time.Duration // for other programs

	started       time.Time
	planned, done time.Duration // by the estimates
}

// Peers returns the names of the other tunnels that are installed, and for each that is not, why and how to get it.
func Peers() (installed, absent []string) {
	for _, c := range peers {
		if _, err := c.find(); err != nil {
			absent = append(absent, err.Error())
		} else {
			installed = append(installed, c.name)
		}
	}
	return installed, absent
}

// Check reports why the stages' runs could not be made here.
func Check(stages []bench.Stage) error {
	if os.Geteuid() != 0 {
		return ErrNotRoot
	}
	if list := missing(stages); len(list) > 0 {
		return fmt.Errorf("%w: %s", ErrMissing, strings.Join(list, ", "))
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return fmt.Errorf("%w: %w", ErrMissing, err)
	}
	return nil
}

// Run makes the runs of the stages; of the options it takes the length of a run, the rest is for the report. Builds are the
// programs of ViNe's parties, by the party's name. Progress is told what is done, in lines. When ctx ends, so does Run,
// soon, with the context's error and what it has so far; that is a report like any other. Everything that Run has made
// is gone when it returns.
func Run(ctx context.Context, o bench.Options, stages []bench.Stage, builds map[string]string, progress func(string)) (bench.Report, error) {
	r := &runner{options: o, carriers: map[string]carrier{}, programs: map[string]map[string]string{}, progress: progress, started: time.Now()}
	r.report = bench.Report{Started: r.started.Format(time.RFC3339), Options: o, Machine: describeMachine()}
	if err := Check(stages); err != nil {
		return r.report, err
	}
	for _, name := range bench.PartiesOf(stages) {
		if err := r.enrol(name, builds); err != nil {
			return r.report, err
		}
	}
	dir, err := os.MkdirTemp("", "vine-bench-")
	if err != nil {
		return r.report, err
	}
	defer os.RemoveAll(dir)
	defer sweepWireGuard()
	r.dir = dir

	for _, s := range stages {
		r.planned += s.Estimate(o.Length)
	}
	r.say("about %v", r.planned.Round(time.Second))
	for _, s := range stages {
		if err = r.stage(ctx, s); err != nil {
			break
		}
	}
	r.report.Seconds = time.Since(r.started).Seconds()
	r.report.Interrupted = err != nil
	return r.report, err
}

// enrol finds the programs of a party.
func (r *runner) enrol(name string, builds map[string]string) error {
	base, variant, _ := strings.Cut(name, "/")
	c := kernel
	if program, ok := builds[base]; ok {
		c = vine(program, variant)
	} else if base != bench.Kernel {
		i := slices.IndexFunc(peers, func(p carrier) bool { return p.name == base })
		if i < 0 {
			return fmt.Errorf("there is no party %q", base)
		}
		if c = peers[i]; variant != "" {
			if c.variant == nil {
				return fmt.Errorf("party %q has no variants", base)
			}
			c = c.variant(variant)
		}
	}
	c.name = name
	programs, err := c.find()
	if err != nil {
		return err
	}
	r.carriers[name], r.programs[name] = c, programs
	r.report.Parties = append(r.report.Parties, c.describe(programs))
	return nil
}

// say tells about the progress, with what is left by the estimates and how they have fared so far.
func (r *runner) say(format string, args ...any) {
	share := float64(r.done) / float64(max(r.planned, 1))
	left := r.planned - r.done
	if took := time.Since(r.started); r.done > 10*time.Second {
		left = time.Duration(float64(took) / float64(r.done) * float64(left))
	}
	r.progress(fmt.Sprintf("[%3.0f %%, %v left] %s", 100*share, max(0, left).Round(time.Second), fmt.Sprintf(format, args...)))
}

// stage sets up what a stage needs, does its runs, and takes all down.
func (r *runner) stage(ctx context.Context, stage bench.Stage) error {
	begun := r.done
	defer func() { r.done = begun + stage.Estimate(r.options.Length) }()
	labs := map[bench.Place]*sites{}
	defer func() {
		for _, s := range labs {
			s.close()
		}
	}()
	for _, place := range stage.Labs() {
		r.say("%s: setting up %v", stage.Regime, place)
		s, err := r.open(ctx, place, stage.Regime)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			err = fmt.Errorf("set up %v, %s: %w", place, stage.Regime, err)
			r.report.Missing = append(r.report.Missing, err.Error())
			r.say("%v", err)
			continue
		}
		labs[place] = s
	}
	rounds := stage.Runs[len(stage.Runs)-1].Round + 1
	for _, run := range stage.Runs {
		s := labs[bench.Place{Party: run.Party, Topology: run.Measure.Topology}]
		if s == nil {
			continue
		}
		sample, err := r.quietly(ctx, stage.Regime, run, s)
		if err != nil {
			return err
		}
		r.report.Samples = append(r.report.Samples, sample)
		r.done += run.Estimate(r.options.Length)
		r.say("%s, round %d of %d, %s, %s: %s", stage.Regime, run.Round+1, rounds, run.Measure.Name, run.Party, sample.Line())
	}
	return nil
}

// quietly makes a run while other programs are quiet, as far as the time to wait for that reaches. A failed run gives a
// sample too.
func (r *runner) quietly(ctx context.Context, regime bench.Regime, run bench.Run, s *sites) (bench.Sample, error) {
	for {
		if err := r.awaitQuiet(ctx); err != nil {
			return bench.Sample{}, err
		}
		begun := time.Now()
		sample := bench.Sample{Regime: regime, Measure: run.Measure.Name, Party: run.Party, Round: run.Round}
		err := r.measure(ctx, s, run.Measure, &sample)
		if ctx.Err() != nil {
			return sample, ctx.Err()
		}
		if err != nil {
			sample.Error, sample.Values = err.Error()+s.said(), nil
		}
		if !sample.Disturbed || r.waited >= r.options.Wait {
			return sample, nil
		}
		r.waited += time.Since(begun)
	}
}

// awaitQuiet waits until others leave the machine alone for a moment.
func (r *runner) awaitQuiet(ctx context.Context) error {
	const moment = 500 * time.Millisecond
	for r.waited < r.options.Wait {
		before, err := snapshot()
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(moment):
		}
		after, err := snapshot()
		if err != nil {
			return err
		}
		r.waited += moment
		if !bench.LoadBetween(before, after, os.Getpid()).Disturbed() {
			return nil
		}
	}
	return nil
}

// open builds the sites of a party and starts its routers.
func (r *runner) open(ctx context.Context, place bench.Place, regime bench.Regime) (*sites, error) {
	r.labs++
	dir := filepath.Join(r.dir, fmt.Sprint(r.labs))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	s, err := build(place, regime, dir)
	if err != nil {
		return nil, err
	}
	c, programs := r.carriers[place.Party], r.programs[place.Party]
	err = c.open(ctx, s, func(name string) string { return programs[name] })
	if err == nil {
		err = s.await(ctx, max(c.patience, 5*time.Second))
	}
	if err != nil {
		s.close()
		return nil, err
	}
	if s.mtu == 0 {
		s.mtu = c.mtu
	}
	for i := range r.report.Parties {
		if p := &r.report.Parties[i]; p.Name == place.Party {
			p.MTU = s.mtu
		}
	}
	return s, nil
}
