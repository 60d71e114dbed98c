package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/policy"
)

func newRevokeCommand(e *Env) *cobra.Command {
	var a asking
	var args policy.RevokeArgs
	var sure bool
	c := &cobra.Command{
		Use:   "revoke VR",
		Short: "End the trust in a VR, for good",
		Long: `Revokes the identity of a VR, for good: every other VR cuts its links with it and drops what it
delivered. Its name and router ID are never used again. A machine that was revoked by mistake joins
anew with a new identity.`,
		Example: `  vine revoke osaka --reason "stolen" --yes`,
		Args:    takes("VR"),
		RunE: func(c *cobra.Command, argv []string) error {
			args.VR = argv[0]
			if err := checkName("VR", args.VR); err != nil {
				return err
			}
			if args.Reason == "" {
				return usage("say why with --reason: it is kept for those who ask later")
			}
			if err := e.confirm(c.Context(), sure, fmt.Sprintf("Revoke the VR %s?", args.VR)); err != nil {
				return err
			}
			return e.ask(c.Context(), a, policy.OpRevoke, args)
		},
	}
	textVar(c.Flags(), &args.Reason, "reason", "`TEXT` that is kept with it")
	c.Flags().BoolVar(&sure, "yes", false, "do not ask")
	a.flags(c)
	return c
}
