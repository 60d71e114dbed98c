package simulations

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/vine-mesh/vine/simulations/real"
	"github.com/vine-mesh/vine/simulations/result"
	"github.com/vine-mesh/vine/simulations/sim"
)

// An Engine runs a scenario with one seed. If ctx ends first it returns what there is until then, as a run that is not whole, and no error.
type Engine func(ctx context.Context, s Source, seed uint64, p result.Progress) (result.Run, error)

// Engines are all of them by name.
var Engines = map[string]Engine{"model": model, "real": production}

// model runs the model engine.
func model(ctx context.Context, s Source, seed uint64, p result.Progress) (result.Run, error) {
	e, err := sim.New(s.Scenario, seed)
	if err != nil {
		return result.Run{}, err
	}
	began, used := time.Now(), processorTime()
	r := e.Run(func() bool { return ctx.Err() != nil }, p)
	r.Cost.Wall, r.Cost.CPU = time.Since(began), processorTime()-used
	r.Cost.Memory = mostMemory()
	return r, nil
}

// production runs the engine real.
func production(ctx context.Context, s Source, seed uint64, p result.Progress) (result.Run, error) {
	if err := real.Check(s.Scenario); err != nil {
		return result.Run{}, err
	}
	return real.Run(ctx, s.Scenario, seed, p)
}

// A Job is a run to be made.
type Job struct {
	Source Source
	Engine string
	Seed   uint64
}

// Progress tells how far a job is. It is called from the jobs' goroutines, one call at a time.
type Progress func(job int, virtual time.Duration, events uint64)

// RunAll makes runs, some at a time, each in a thread of its own, and gives each to done as it ends, one call at a time. It returns when all have
// ended. If ctx ends, runs that have begun give what they have, and no others begin. An error of done or of an engine ends all.
func RunAll(ctx context.Context, jobs []Job, parallel int, version string, p Progress, done func(job int, r result.Run) error) error {
	inner, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var mu sync.Mutex // guards p and done
	var wait sync.WaitGroup
	next := make(chan int)
	for range max(1, min(parallel, len(jobs))) {
		wait.Go(func() {
			runtime.LockOSThread() // so that the thread's processor time is the run's
			defer runtime.UnlockOSThread()
			for i := range next {
				job := jobs[i]
				r, err := Engines[job.Engine](inner, job.Source, job.Seed, func(virtual time.Duration, events uint64) {
					mu.Lock()
					defer mu.Unlock()
					p(i, virtual, events)
				})
				r.Version = version
				mu.Lock()
				if err == nil {
					err = done(i, r)
				}
				mu.Unlock()
				if err != nil {
					stop(fmt.Errorf("%s, seed %d: %w", job.Source.Name, job.Seed, err))
				}
			}
		})
	}
	for i := range jobs {
		select {
		case next <- i:
			continue
		case <-inner.Done():
		}
		break
	}
	close(next)
	wait.Wait()
	if ctx.Err() == nil && inner.Err() != nil {
		return context.Cause(inner)
	}
	return nil
}
