package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newQueuesCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "queues",
		Short: "The queue-VRs that this VR uses, or whom it serves as one",
		Long: `A limited VR, which can only dial out, is attached to queue-VRs that relay for it. This shows them
in order of preference: since when, why, what this VR has measured through each (SCORE, bits per
second to the VRs that it talks to; "-": not measured yet), and what the best of the others scored.
Then every queue-VR that is elected, or that it may choose: LIST is the place in its own short list.

On a queue-VR it shows the limited VRs that are served: since when, how they get their packets, and
what was relayed from and to each since the start.

No choice follows what a queue-VR says of its own capacity.`,
		Example: "  vine queues\n  vine queues --json",
		Args:    takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			return e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
				q, err := vr.Queues(ctx)
				if err != nil {
					return err
				}
				if e.json {
					return e.printJSON(document{"queues": q})
				}
				return e.printQueues(q)
			})
		},
	}
}

func (e *Env) printQueues(q control.Queues) error {
	rows := []string{"kind", q.Kind}
	if q.Wanted > 0 {
		rows = append(rows, "attached", fmt.Sprintf("%d of %d", len(q.Attached), q.Wanted))
	}
	rows = append(rows, "serves", servesText(q))
	if err := e.pairs(rows...); err != nil {
		return err
	}
	var attached, candidates, clients [][]string
	for _, a := range q.Attached {
		channel := "asked"
		if a.Accepted {
			channel = a.Mode
		}
		runnerUp := a.RunnerUp
		if runnerUp != "" {
			runnerUp += " " + orDash(bitsText(a.RunnerUpScore))
		}
		attached = append(attached, []string{
			a.Peer, a.Site, sinceText(e.Now(), a.Since), channel, millisText(a.RTT), bitsText(a.Score), a.Reason, runnerUp,
		})
	}
	for _, c := range q.Candidates {
		place := ""
		if c.Shortlist > 0 {
			place = strconv.Itoa(c.Shortlist)
		}
		candidates = append(candidates, []string{c.Peer, c.Site, yes(c.Elected), place, millisText(c.RTT), bitsText(c.Score), notes(c)})
	}
	for _, c := range q.Clients {
		clients = append(clients, []string{
			c.Peer, c.Site, sinceText(e.Now(), c.Since), c.Mode, c.Transport, bytesText(c.From), bytesText(c.To),
			strconv.FormatUint(c.Dropped, 10), strconv.FormatUint(c.Refused, 10),
		})
	}
	for _, t := range []struct {
		head []string
		rows [][]string
	}{
		{[]string{"ATTACHED", "SITE", "FOR", "CHANNEL", "RTT", "SCORE", "WHY", "RUNNER-UP"}, attached},
		{[]string{"QUEUE-VR", "SITE", "ELECTED", "LIST", "RTT", "SCORE", "NOTE"}, candidates},
		{[]string{"CLIENT", "SITE", "FOR", "MODE", "TRANSPORT", "FROM", "TO", "DROPPED", "REFUSED"}, clients},
	} {
		if len(t.rows) == 0 {
			continue
		}
		fmt.Fprintln(e.Stdout)
		if err := e.table(t.head, t.rows); err != nil {
			return err
		}
	}
	return nil
}

// servesText says whether a VR serves limited ones.
func servesText(q control.Queues) string {
	if !q.Serves {
		return "no: " + q.Why
	}
	words := []string{fmt.Sprintf("%d of at most %d limited VRs", len(q.Clients), q.ClientsMax)}
	if !q.Elected {
		words = append(words, "not elected")
	}
	if q.Full {
		words = append(words, "full")
	}
	if q.Draining {
		words = append(words, "draining")
	}
	return strings.Join(words, ", ")
}

// notes says what else is to be known of a queue-VR.
func notes(c control.QueueVR) string {
	var words []string
	if c.Use != "" {
		words = append(words, c.Use)
	}
	for _, n := range []struct {
		is   bool
		word string
	}{{c.Draining, "draining"}, {c.Full, "full"}, {c.Refused, "refused us"}} {
		if n.is {
			words = append(words, n.word)
		}
	}
	return strings.Join(words, ", ")
}
