package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newPathsCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "paths [A] B",
		Short: "The paths between two VRs, and why one of them was chosen",
		Long: `Shows every path between the VRs A and B, as this VR knows them. A and B are names or router IDs, and
one of them is this VR: only the two at the ends know their paths, by measuring. With one name, the
paths between this VR and that one.

One of the two VRs leads: it chooses by what it measures, the other follows. Asked at the leader, this
says why the path in use was chosen, and what it and the runner-up scored: the bits per second that a
transfer is expected to get over each.

  NAT        mapping/filtering of what stands before a VR, in the words of RFC 4787. Of the other VR it
             is a hint: what that VR says of itself by gossip
  STATE      in use; valid: an answer has come over it; no answer; not tried
  BANDWIDTH  as in "vine links"`,
		Example: "  vine paths osaka\n  vine paths tokyo osaka --json\n  vine paths vr3",
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return errors.New("B is missing")
			case len(args) > 2:
				return fmt.Errorf("unexpected argument %q", args[2])
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			from, to := "", args[len(args)-1]
			if len(args) == 2 {
				from = args[0]
			}
			for _, name := range args {
				if err := checkName("VR", name); err != nil {
					return err
				}
			}
			if from == to {
				return usage("there are no paths from %s to itself", to)
			}
			return e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
				p, err := vr.Paths(ctx, from, to)
				if err != nil {
					return err
				}
				if e.json {
					return e.printJSON(document{"paths": p})
				}
				return e.printPaths(p)
			})
		},
	}
}

func (e *Env) printPaths(p control.Paths) error {
	var ends [][]string
	for _, end := range p.Ends {
		leads := ""
		if end.Peer == p.Leads {
			leads = "leads"
		}
		ends = append(ends, []string{end.Peer, end.Router.String(), end.Site, end.Kind, end.NAT, strings.Join(end.Queues, " "), leads})
	}
	if err := e.table([]string{"VR", "ROUTER", "SITE", "KIND", "NAT", "QUEUE-VRS", "CHOICE"}, ends); err != nil {
		return err
	}
	fmt.Fprintln(e.Stdout)
	rows := []string{"link", p.State}
	if p.Reason != "" {
		rows = append(rows, "chosen", p.Reason)
		for _, w := range p.Paths {
			what := "score"
			if w.RunnerUp {
				what = "runner-up"
			}
			if w.RunnerUp || w.Score > 0 {
				rows = append(rows, what, fmt.Sprintf("%s, %s", scoreText(w), wayText(w)))
			}
		}
	} else if p.State != "none" && p.Leads != "" {
		rows = append(rows, "chosen", "by "+p.Leads)
	}
	if err := e.pairs(rows...); err != nil || len(p.Paths) == 0 {
		return err
	}
	fmt.Fprintln(e.Stdout)
	var paths [][]string
	for _, w := range p.Paths {
		loss := ""
		if w.RTT > 0 {
			loss = lossText(w.Loss)
		}
		endpoint := endpointText(w.Endpoint)
		if w.Proxy != "" {
			endpoint += " by " + w.Proxy
		}
		paths = append(paths, []string{
			w.Kind, w.Via, w.Transport, endpoint, wayState(w), millisText(w.RTT), loss,
			rateText(w.Rate, w.RateKind, w.RateBy, w.RateAge), bitsText(w.Used), ageText(w.Heard),
		})
	}
	return e.table([]string{"PATH", "VIA", "TRANSPORT", "ENDPOINT", "STATE", "RTT", "LOSS", "BANDWIDTH", "USED", "HEARD"}, paths)
}

// scoreText is what a path scored. Its sign of doubt is that of the rate that the score comes from.
func scoreText(w control.Path) string {
	text := orDash(bitsText(w.Score))
	if w.Score > 0 && w.RateKind == "at least" {
		return "at least " + text
	}
	return text
}

// wayText names a path in a few words.
func wayText(w control.Path) string {
	switch {
	case w.Via != "":
		return w.Kind + " via " + w.Via
	case w.Endpoint != nil:
		return w.Kind + " " + w.Endpoint.String()
	}
	return w.Kind
}

// wayState says whether a path can be used.
func wayState(w control.Path) string {
	switch {
	case w.InUse:
		return "in use"
	case w.Validated:
		return "valid"
	case w.Heard >= 0 || w.Asked:
		return "no answer"
	}
	return "not tried"
}
