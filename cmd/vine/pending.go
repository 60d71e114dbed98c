package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newPendingCommand(e *Env) *cobra.Command {
	return look[control.Pending]{
		name:  "pending",
		short: "Who waits for admission",
		long: `Lists the machines that have asked to join and wait for an administrator's word. Compare the
fingerprint with the one that "vine join" shows on the new machine before you admit it.`,
		get:   (*control.Client).Pending,
		head:  []string{"FINGERPRINT", "NAME", "SITE", "ASKED", "REASON"},
		empty: "nobody waits for admission",
		row: func(p control.Pending) []string {
			return []string{p.Fingerprint, p.Name, p.Site, p.Asked.UTC().Format(time.RFC3339), p.Reason}
		},
	}.command(e)
}
