package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newRoutesCommand(e *Env) *cobra.Command {
	return look[control.Route]{
		name:  "routes",
		short: "The global network description tables as installed here",
		long: `Lists what is installed here of each VN's global network description table (GNDT): which VR
delivers a prefix, and the endpoint that its packets go to now.`,
		get:   (*control.Client).Routes,
		head:  []string{"VN", "PREFIX", "VRS", "VIA"},
		empty: "no routes: no VN is installed",
		row: func(r control.Route) []string {
			via := "no link"
			switch {
			case r.Local:
				via = "local"
			case r.Endpoint != nil:
				via = r.Endpoint.String()
			}
			return []string{r.VN, r.Prefix.String(), strings.Join(r.VRs, " "), via}
		},
	}.command(e)
}
