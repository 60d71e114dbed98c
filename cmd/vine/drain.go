package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

const (
	// drainLook is how often the VR is asked how far it is.
	drainLook = 250 * time.Millisecond
	// drainQuiet is for how long nothing may have been relayed when the last limited VR has gone: more than the
	// round trips of packets under way.
	drainQuiet = 2 * time.Second
)

func newDrainCommand(e *Env) *cobra.Command {
	var undo bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "drain",
		Short: "Empty this queue-VR before maintenance",
		Long: `Has this VR take no more limited VRs, asks those that it serves to move to other queue-VRs, and waits
until none is attached and no data has been relayed for 2 seconds. Until then it relays as before, so
that nothing is lost. Then "vine up" may be stopped.

When the time is over, it exits with 1 and names who is left: a limited VR stays as long as it finds
no other queue-VR. The VR goes on draining; call it again to wait on.

Draining is not remembered: a VR that starts anew serves again.`,
		Example: "  vine drain\n  vine drain --timeout 5m\n  vine drain --undo",
		Args:    takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			return e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
				d, err := vr.Drain(ctx, !undo)
				if err == nil && !undo {
					d, err = e.awaitDrained(ctx, vr, d, timeout)
				}
				if err != nil {
					return err
				}
				if e.json {
					return e.printJSON(document{"drain": d})
				}
				if undo {
					e.say("this VR serves limited VRs again, if it did")
				}
				return nil
			})
		},
	}
	c.Flags().BoolVar(&undo, "undo", false, "take it back: serve limited VRs again")
	c.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to wait until the VR is empty")
	c.PreRunE = func(*cobra.Command, []string) error {
		if timeout <= 0 {
			return fmt.Errorf("--timeout %s is not a time to wait", timeout)
		}
		return nil
	}
	return c
}

// drained reports whether a VR that drains may be stopped without loss.
func drained(d control.Drain) bool {
	return len(d.Clients) == 0 && (d.Relayed == 0 || d.Quiet >= drainQuiet.Seconds())
}

// awaitDrained waits until nobody needs the VR, and tells the user how far it is.
func (e *Env) awaitDrained(ctx context.Context, vr *control.Client, d control.Drain, timeout time.Duration) (control.Drain, error) {
	if len(d.Clients) == 0 && d.Relayed == 0 {
		why := "no limited VR is attached to it"
		if !d.Serves {
			why = d.Why
		}
		e.say("this VR serves nobody: %s", clean(why))
		return d, nil
	}
	end := time.NewTimer(timeout)
	defer end.Stop()
	tick := time.NewTicker(drainLook)
	defer tick.Stop()
	most, told := 0, ""
	for !drained(d) {
		most = max(most, len(d.Clients))
		news := fmt.Sprintf("%d of %d limited VRs still here", len(d.Clients), most)
		if len(d.Clients) == 0 {
			news = "no limited VR is here; waiting for the last packets"
		}
		if news != told {
			told = news
			e.say("%s", news)
		}
		select {
		case <-tick.C:
		case <-end.C:
			return d, notDrained(d, timeout)
		case <-ctx.Done():
			return d, ctx.Err()
		}
		var err error
		if d, err = vr.Drained(ctx); err != nil {
			return d, err
		}
		if !d.Draining {
			return d, errors.New("the VR drains no more: somebody has undone it, or it was started anew")
		}
	}
	e.say("drained: nobody is attached and nothing is relayed")
	return d, nil
}

// notDrained is the error of a VR that is not empty in time.
func notDrained(d control.Drain, timeout time.Duration) error {
	err := fmt.Errorf("after %s packets are still relayed", timeout)
	if n := len(d.Clients); n > 0 {
		err = fmt.Errorf("after %s %d limited VRs are still here: %s", timeout, n, clean(strings.Join(d.Clients, ", ")))
	}
	return hinted(err, "the VR goes on draining: run `vine drain` again to wait on, or `vine drain --undo` to serve again")
}
