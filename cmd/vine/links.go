package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newLinksCommand(e *Env) *cobra.Command {
	return look[control.Link]{
		name:  "links",
		short: "The links of this VR to others",
		long: `Lists the links of this VR: authenticated sessions with other VRs, made when packets need them
and dropped when idle. "CHANNELS" are the VNs that data may be sent in.`,
		get:   (*control.Client).Links,
		head:  []string{"PEER", "ROUTER", "STATE", "ENDPOINT", "PATH", "RTT", "KEY AGE", "CHANNELS"},
		empty: "no links",
		row: func(l control.Link) []string {
			return []string{
				l.Peer, l.Router.String(), l.State, endpointText(l.Endpoint), l.Path, seconds(l.RTT), seconds(l.Handshake),
				strings.Join(l.Channels, " "),
			}
		},
	}.command(e)
}
