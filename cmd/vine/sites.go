package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newSitesCommand(e *Env) *cobra.Command {
	return look[control.Site]{
		name:  "sites",
		short: "The sites of the federation",
		long:  `Lists the sites of the federation with their contacts, physical subnets and VRs.`,
		get:   (*control.Client).Sites,
		head:  []string{"NAME", "VRS", "CONTACT", "LOCATION", "SUBNETS"},
		empty: "no sites",
		row: func(s control.Site) []string {
			return []string{s.Name, strings.Join(s.VRs, " "), s.Contact, s.Location, join(s.Subnets)}
		},
	}.command(e)
}
