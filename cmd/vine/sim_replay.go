package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/simulations"
	"github.com/vine-mesh/vine/simulations/result"
)

func newSimReplayCommand(e *Env) *cobra.Command {
	var seed uint64
	c := &cobra.Command{
		Use:   "replay DIRECTORY",
		Short: "Run one of some results again and see whether it comes out the same",
		Long: `Takes a run out of the results that vine sim run --out has left, the first in which an invariant did
not hold or else the first of all, runs it again, and says whether everything that was measured and
the hash over all events are the same. If an invariant does not hold, the last events before that are
shown.

Exit codes: 0, the same. 1, something differs, or the invariant is broken as before.`,
		Example: "  vine sim replay results\n  vine sim replay results --seed 7",
		Args:    takes("DIRECTORY"),
		RunE: func(c *cobra.Command, args []string) error {
			runs, err := readResults(args[0])
			if err != nil {
				return err
			}
			was, err := pick(runs, seed, c.Flags().Changed("seed"))
			if err != nil {
				return err
			}
			s, err := loadScenario(filepath.Join(args[0], was.Scenario+".toml"))
			if err != nil {
				return err
			}
			if s.Hash != was.Hash {
				return fmt.Errorf("%s is not the scenario that was run: its hash is %s, and was %s", s.Name, s.Hash[:16], was.Hash[:min(16, len(was.Hash))])
			}
			engine, err := engineOf(was.Engine, s)
			if err != nil {
				return err
			}
			jobs := []simulations.Job{{Source: s, Engine: engine, Seed: was.Seed}}
			var now result.Run
			p := newSimProgress(e, jobs)
			err = simulations.RunAll(c.Context(), jobs, 1, was.Version, p.tell, func(_ int, r result.Run) error {
				now = r
				return nil
			})
			switch {
			case err != nil:
				return err
			case c.Context().Err() != nil:
				return c.Context().Err()
			}
			same := result.Same(&was, &now)
			if e.json {
				err = e.printJSON(document{"same": same, "was": was, "now": now})
			} else {
				_, err = fmt.Fprintf(e.Stdout, "%s, engine %s, seed %d: %d events, trace %s, then %d, %s\n", was.Scenario, was.Engine, was.Seed, now.Events, now.Trace, was.Events, was.Trace)
			}
			if now.Broken != nil {
				e.printBroken(&now)
			}
			switch {
			case err != nil:
				return err
			case !same && was.Version != versionText():
				return hinted(fmt.Errorf("the run differs"), "it was made by %s, and this is %s", was.Version, versionText())
			case !same:
				return fmt.Errorf("the run differs")
			case now.Broken != nil:
				return fmt.Errorf("the same: %s does not hold", now.Broken.Invariant)
			}
			return nil
		},
	}
	c.Flags().Uint64Var(&seed, "seed", 0, "the run with this seed, a `NUMBER`")
	return c
}

// readResults reads the runs in a directory of results.
func readResults(dir string) ([]result.Run, error) {
	f, err := os.Open(filepath.Join(dir, runsFile))
	if err != nil {
		return nil, &fault{err, exitNotFound, "name a directory that `vine sim run --out` has made"}
	}
	defer f.Close()
	runs, err := result.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	if len(runs) == 0 {
		return nil, fmt.Errorf("%s holds no runs", f.Name())
	}
	return runs, nil
}

// pick returns the run to be replayed.
func pick(runs []result.Run, seed uint64, chosen bool) (result.Run, error) {
	slices.SortFunc(runs, func(a, b result.Run) int { return cmp.Compare(a.Seed, b.Seed) }) // they stand as they ended
	for _, r := range runs {
		if chosen && r.Seed == seed || !chosen && r.Broken != nil {
			return r, nil
		}
	}
	if chosen {
		return result.Run{}, &fault{fmt.Errorf("there is no run with seed %d", seed), exitNotFound, ""}
	}
	return runs[0], nil
}
