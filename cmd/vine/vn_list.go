package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newVNListCommand(e *Env) *cobra.Command {
	c := look[control.VN]{
		name:  "vns",
		short: "List the virtual networks",
		long:  `Lists the virtual networks. "INSTALLED" is the version that this VR uses; "-" if it serves no host of it.`,
		get:   (*control.Client).VNs,
		head:  []string{"NAME", "ID", "STATE", "SEAL", "VERSION", "INSTALLED", "SETS", "HOSTS"},
		empty: "no VNs; `vine vn create` makes one",
		row: func(v control.VN) []string {
			installed := ""
			if v.Installed > 0 {
				installed = strconv.FormatUint(v.Installed, 10)
			}
			return []string{
				v.Name, v.ID.String(), v.State, v.Seal, strconv.FormatUint(v.Version, 10), installed,
				strconv.Itoa(len(v.Sets)), strconv.Itoa(len(v.Hosts)),
			}
		},
	}.command(e)
	c.Use, c.Aliases = "list", []string{"ls"}
	c.Example = "  vine vn list\n  vine vn list --json"
	return c
}
