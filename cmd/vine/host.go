package main

import "github.com/spf13/cobra"

func newHostCommand(e *Env) *cobra.Command {
	return group(&cobra.Command{
		Use:   "host",
		Short: "Machines on the LAN: their addresses, and what they need",
		Long: `A host on the LAN needs no software: an alias address in the ViNe space and one static route. The VR
keeps the list of which host has which address of its block.`,
		Example: `  vine host add desk
  vine host setup desk`,
	}, newHostSetupCommand(e), newHostAddCommand(e), newHostListCommand(e), newHostRemoveCommand(e),
		newHostRequestsCommand(e), newHostApproveCommand(e), newHostDenyCommand(e))
}
