package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/config"
	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/gateway"
	"github.com/vine-mesh/vine/node/scale"
)

const (
	// scaleEvery is how often the load is looked at.
	scaleEvery = 5 * time.Second
	// scalePatience is how long the command may take: it may start a machine.
	scalePatience = 10 * time.Minute
	// scaleOutput bounds what is told of its output.
	scaleOutput = 1 << 10
)

// A scaler watches the load of the VR and has a command start and stop others of the site.
type scaler struct {
	config   config.Scale
	lanes    int
	log      *slog.Logger
	node     *node.Node
	gateways []*gateway.Gateway
	watch    *scale.Watch
	present  atomic.Pointer[control.Scale]

	at      time.Time // of the sample before
	cpu     time.Duration
	packets uint64
}

func newScaler(c config.Config, log *slog.Logger) *scaler {
	s := &scaler{config: c.Scale, lanes: min(c.Lanes, runtime.NumCPU()), log: log, watch: scale.New(scale.Policy{
		High: c.Scale.High, Low: c.Scale.Low, GrowAfter: c.Scale.GrowAfter, ShrinkAfter: c.Scale.ShrinkAfter, Rest: c.Scale.Rest,
		Least: c.Scale.Least, Most: c.Scale.Most,
	})}
	s.present.Store(&control.Scale{Measure: c.Scale.Measure, High: c.Scale.High, Low: c.Scale.Low, Least: c.Scale.Least, Most: c.Scale.Most})
	return s
}

// state returns how it stands. It may be called from any goroutine.
func (s *scaler) state() control.Scale { return *s.present.Load() }

// run watches until ctx ends.
func (s *scaler) run(ctx context.Context) error {
	tick := time.NewTicker(scaleEvery)
	defer tick.Stop()
	s.load(time.Now())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.look(ctx, time.Now())
		}
	}
}

// look takes one sample and does what follows from it.
func (s *scaler) look(ctx context.Context, now time.Time) {
	others := heardEverywhere(s.gateways)
	sample := scale.Sample{Load: s.load(now), VRs: len(others) + 1, Leads: s.gateways[0].State().Holds && !s.node.LANSplit()}
	decision := s.watch.See(now, sample)
	next := *s.present.Load()
	next.Load, next.VRs, next.Leads = sample.Load, sample.VRs, sample.Leads
	s.present.Store(&next)
	if decision == scale.Stay {
		return
	}
	var names []string
	for _, id := range others {
		names = append(names, nameOf(s.node, id))
	}
	s.log.Info("changing the number of VRs of this site", "decision", decision, "load", sample.Load, "VRs", sample.VRs)
	_, self := s.node.Router()
	done := next
	done.Last, done.At, done.Outcome = decision.String(), now.UTC(), "done"
	if err := s.act(ctx, decision, self, names); err != nil {
		s.log.Error("the command that changes the number of VRs failed", "decision", decision, "err", err)
		done.Outcome = err.Error()
	}
	s.present.Store(&done)
	s.watch.Acted(time.Now())
}

// act runs the command. others are the other VRs, in the order of their enrolment: the last one is to go.
func (s *scaler) act(ctx context.Context, d scale.Decision, self string, others []string) error {
	ctx, cancel := context.WithTimeout(ctx, scalePatience)
	defer cancel()
	words := append(slices.Clone(s.config.Command), d.String())
	c := exec.CommandContext(ctx, words[0], words[1:]...)
	c.Env = append(os.Environ(), "VINE_VR="+self, "VINE_OTHERS="+strings.Join(others, " "))
	if d == scale.Shrink && len(others) > 0 {
		c.Env = append(c.Env, "VINE_REMOVE="+others[len(others)-1])
	}
	c.WaitDelay = time.Second // for what it leaves behind
	out, err := c.CombinedOutput()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return nil // what it has started may have its output still
	}
	return fmt.Errorf("%s: %w: %s", words[0], err, clean(strings.TrimSpace(string(out[max(0, len(out)-scaleOutput):]))))
}

// load returns the load since the sample before.
func (s *scaler) load(now time.Time) float64 {
	cpu, packets := processorTime(), uint64(0)
	if s.node != nil {
		packets = s.node.Load()
	}
	wall, usedCPU, usedPackets := now.Sub(s.at), cpu-s.cpu, packets-s.packets
	first := s.at.IsZero()
	s.at, s.cpu, s.packets = now, cpu, packets
	switch {
	case first || wall <= 0:
		return 0
	case s.config.Measure == "packets":
		return float64(usedPackets) / wall.Seconds()
	}
	return 100 * usedCPU.Seconds() / wall.Seconds() / float64(s.lanes)
}

func newSiteScaleCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "scale",
		Short: "Whether VRs of this site are started and stopped by load, and how that stands",
		Long: `Shows what the VR of this machine knows of the load of its site, and what was last done about it.

With [scale] in the configuration, the VR that holds the shared gateway address (attachment.gateway)
watches its own load. When that is above scale.high for scale.grow_after, it runs scale.command with
the argument grow, to start one more VR; when it is below scale.low for scale.shrink_after, with
shrink, to stop one. After that it rests for scale.rest. Give all VRs of the site the same section.

The command is run as the user of the VR, without a shell, for at most 10 minutes. It finds in its
environment: VINE_VR, the VR that runs it; VINE_OTHERS, the other VRs, with spaces in between; and
with shrink VINE_REMOVE, the one to stop. To grow it may start a machine that has joined before, by
"vine join --with VR", and runs "vine up"; to shrink it stops that: at SIGTERM "vine up" takes leave.`,
		Example: `  vine site scale
  vine site scale --json`,
		Args: takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			return e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
				s, err := vr.Status(ctx)
				if err != nil {
					return err
				}
				if e.json {
					return e.printJSON(document{"scale": s.Scale})
				}
				if len(s.Scale) == 0 {
					e.say("nothing watches the load of this site: [scale] in the configuration has no command")
					return nil
				}
				return e.pairs(scaleRows(s.Scale[0])...)
			})
		},
	}
}

func scaleRows(s control.Scale) []string {
	unit := " %"
	if s.Measure == "packets" {
		unit = " packets/s"
	}
	last := "nothing yet"
	if s.Last != "" {
		last = fmt.Sprintf("%s at %s: %s", s.Last, s.At.UTC().Format(time.RFC3339), s.Outcome)
	}
	return []string{
		"load", fmt.Sprintf("%.0f%s", s.Load, unit), "marks", fmt.Sprintf("%.0f and %.0f%s", s.Low, s.High, unit),
		"VRs", fmt.Sprintf("%d, of %d to %d", s.VRs, s.Least, s.Most), "decides", yes(s.Leads), "last", last,
	}
}
