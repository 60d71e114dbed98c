package main

import (
	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newHostsCommand(e *Env) *cobra.Command {
	return look[control.Host]{
		name:  "hosts",
		short: "The hosts of all VNs",
		long:  `Lists the hosts of every VN, and the VR that delivers to each.`,
		get:   (*control.Client).Hosts,
		head:  []string{"ADDRESS", "VN", "SITE", "VR"},
		empty: "no hosts; `vine vn create` makes a VN with some",
		row:   hostRow,
	}.command(e)
}

func hostRow(h control.Host) []string { return []string{h.Addr.String(), h.VN, h.Site, h.VR} }
