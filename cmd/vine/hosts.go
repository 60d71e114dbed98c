package main

import (
	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newHostsCommand(e *Env) *cobra.Command {
	return look[control.Host]{
		name:  "hosts",
		short: "The hosts of all sites",
		long: `Lists the hosts of every VN, and the VR that delivers to each; of this VR's own hosts ("vine host list")
the names, and those that are in no VN.`,
		get:   (*control.Client).Hosts,
		head:  []string{"ADDRESS", "VN", "SITE", "VR", "NAME"},
		empty: "no hosts; `vine vn create` makes a VN with some",
		row:   hostRow,
	}.command(e)
}

func hostRow(h control.Host) []string { return []string{h.Addr.String(), h.VN, h.Site, h.VR, h.Name} }
