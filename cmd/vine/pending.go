package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newPendingCommand(e *Env) *cobra.Command {
	joins := look[control.Pending]{
		name:  "pending",
		short: "Who waits for admission, and what waits for an answer",
		long: `Lists the machines that have asked to join and wait for an administrator's word. Compare the
fingerprint with the one that "vine join" shows on the new machine before you admit it. One that asks to share the blocks
of a VR gets a part of the traffic of that VR's hosts.

Then come the other requests that have no answer yet, and the sites whose consent they wait for: "vine consent" gives
it, or refuses it.`,
		get:   (*control.Client).Pending,
		head:  []string{"FINGERPRINT", "NAME", "SITE", "SHARES BLOCKS WITH", "ASKED", "REASON"},
		empty: "nobody waits for admission",
		row: func(p control.Pending) []string {
			return []string{p.Fingerprint, p.Name, p.Site, p.With, p.Asked.UTC().Format(time.RFC3339), p.Reason}
		},
	}
	c := joins.command(e)
	c.RunE = func(c *cobra.Command, _ []string) error {
		vr, err := e.client()
		if err != nil {
			return err
		}
		requests, err := vr.Requests(c.Context())
		if err != nil {
			return err
		}
		if e.json {
			pending, err := vr.Pending(c.Context())
			if err != nil {
				return err
			}
			return e.printJSON(document{"pending": pending, "requests": requests})
		}
		if err := joins.print(e, c.Context()); err != nil || len(requests) == 0 {
			return err
		}
		fmt.Fprintln(e.Stdout)
		var rows [][]string
		for _, r := range requests {
			rows = append(rows, []string{r.ID[:min(len(r.ID), 16)], r.Op, r.About, r.User, r.Asked.UTC().Format(time.RFC3339), strings.Join(r.WaitsFor, " "), r.Reason})
		}
		return e.table([]string{"REQUEST", "OPERATION", "ABOUT", "USER", "ASKED", "WAITS FOR SITE", "REASON"}, rows)
	}
	return c
}
