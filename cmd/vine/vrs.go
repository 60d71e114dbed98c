package main

import (
	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newVRsCommand(e *Env) *cobra.Command {
	return look[control.VR]{
		name:  "vrs",
		short: "The VRs that are enrolled",
		long: `Lists the enrolled VRs with their blocks of ViNe addresses and their endpoints. "LINKED" says
whether this VR has a link to it now; links are made when packets need them.`,
		get:   (*control.Client).VRs,
		head:  []string{"NAME", "ROUTER", "SITE", "KIND", "LINKED", "BLOCKS", "ENDPOINTS", "EXPIRES", "SOFTWARE"},
		empty: "no VRs",
		row: func(v control.VR) []string {
			return []string{
				v.Name, v.Router.String(), v.Site, v.Kind, yes(v.Linked), join(v.Blocks), join(v.Endpoints),
				day(v.Expires), v.Software,
			}
		},
	}.command(e)
}
