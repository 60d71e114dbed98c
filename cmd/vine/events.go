package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

// errEnough ends a watch after --count events.
var errEnough = errors.New("enough")

func newEventsCommand(e *Env) *cobra.Command {
	var after string
	var count uint
	c := &cobra.Command{
		Use:   "events",
		Short: "What happens, as it happens",
		Long: `Prints what happens at the VR, one line for each event, until it is interrupted: documents stored and
removed, links up, down and moved to another path, VRs that gossip believes alive, failed or gone, and
the outcomes of requests. With --json each line is a JSON document.

Every event has an ID. With --after it begins behind that one, if the VR still knows it: it keeps the last
1,024 of its present run. An event "lost" says that it does not; then read everything again.`,
		Example: "  vine events\n  vine events --json --after 4-1093\n  vine events --count 1",
		Args:    takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			return e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
				left := count
				err := vr.Watch(ctx, after, func(ev control.Event) error {
					if ev.Kind == "" {
						return nil
					}
					if err := e.printEvent(ev); err != nil {
						return err
					}
					if left--; count > 0 && left == 0 {
						return errEnough
					}
					return nil
				})
				if errors.Is(err, errEnough) {
					return nil
				}
				return err
			})
		},
	}
	c.Flags().StringVar(&after, "after", "", "begin behind the event with this `ID`")
	c.Flags().UintVar(&count, "count", 0, "end after so many events; 0: never")
	c.PreRunE = func(*cobra.Command, []string) error {
		if len(after) > 64 {
			return fmt.Errorf("--after %.16q... is no ID of an event", after)
		}
		return nil
	}
	return c
}

// printEvent prints one event on a line of its own.
func (e *Env) printEvent(ev control.Event) error {
	if e.json {
		e.printed = true
		return json.NewEncoder(e.Stdout).Encode(ev)
	}
	version := ""
	if ev.Version > 0 {
		version = fmt.Sprintf(" version %d", ev.Version)
	}
	reason := ""
	if ev.Reason != "" {
		reason = ": " + clean(ev.Reason)
	}
	_, err := fmt.Fprintf(e.Stdout, "%s  %-10s  %-8s  %s %s%s%s\n", ev.Time.UTC().Format(time.RFC3339), clean(ev.ID), clean(ev.Kind), clean(ev.Subject), clean(ev.State), version, reason)
	return err
}
