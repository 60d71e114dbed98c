package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newLinksCommand(e *Env) *cobra.Command {
	return look[control.Link]{
		name:  "links",
		short: "The links of this VR to others, how they go and what they carry",
		long: `Lists the links of this VR: authenticated sessions with other VRs, made when packets need them
and dropped when idle.

  PATH       direct, punched (direct between two VRs that can only dial out), relayed, or stream
             (through TCP or TLS, where UDP does not pass)
  VIA        the queue-VR that relays
  TRANSPORT  of the first hop: udp, tcp or tls
  MTU        the largest packet of a host, in bytes, that goes whole over the path, by probes
  BANDWIDTH  bits per second, how far to believe it, measured by what, how long ago. "estimate": the
             path was full, or a train of packets was spread by it; "at least": more was never asked of it
  USED       bits per second that flow now
  CHANNELS   the VNs that data may be sent in

"vine paths VR" shows all paths of one link.`,
		get:   (*control.Client).Links,
		head:  []string{"PEER", "STATE", "PATH", "VIA", "TRANSPORT", "RTT", "LOSS", "MTU", "BANDWIDTH", "USED", "KEY AGE", "CHANNELS"},
		empty: "no links",
		row: func(l control.Link) []string {
			loss, mtu := "", ""
			if l.MTU > 0 {
				mtu = strconv.Itoa(l.MTU)
			}
			if l.RTT > 0 {
				loss = lossText(l.Loss)
			}
			return []string{
				l.Peer, l.State, l.Path, l.Via, l.Transport, seconds(l.RTT), loss, mtu, rateText(l.Rate, l.RateKind, l.RateBy, l.RateAge),
				bitsText(l.Used), seconds(l.Handshake), strings.Join(l.Channels, " "),
			}
		},
	}.command(e)
}
