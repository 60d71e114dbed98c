package main

import (
	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/policy"
)

func newRefuseCommand(e *Env) *cobra.Command {
	var a asking
	var args policy.RefuseArgs
	c := &cobra.Command{
		Use:     "refuse FINGERPRINT",
		Short:   "Turn away a machine that has asked to join",
		Long:    `Turns away a machine that has asked to join; "vine pending" lists them. It is told the reason.`,
		Example: `  vine refuse k5yq7hd2mzraw3cslt4exo6vbn2pjf5g --reason "who is this?"`,
		Args:    takes("FINGERPRINT"),
		RunE: func(c *cobra.Command, argv []string) (err error) {
			if args.Fingerprint, err = parseFingerprint(argv[0]); err != nil {
				return err
			}
			return e.ask(c.Context(), a, policy.OpRefuse, args)
		},
	}
	textVar(c.Flags(), &args.Reason, "reason", "`TEXT` that the machine is told")
	a.flags(c)
	return c
}
