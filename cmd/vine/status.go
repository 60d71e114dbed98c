package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newStatusCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "What the VR of this machine is and does",
		Long: `Shows the running VR of this machine: who it is, what it carries, and under "problem" what an
operator should look at.`,
		Example: "  vine status\n  vine status --json",
		Args:    takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			return e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
				s, err := vr.Status(ctx)
				if err != nil {
					return err
				}
				if e.json {
					return e.printValue(s)
				}
				return e.printStatus(s)
			})
		},
	}
}

// kindText says what the VR is, and whether that is sure.
func kindText(s control.Status) string {
	sure := "confirmed"
	if !s.Confirmed {
		sure = "not confirmed"
	}
	if s.Why != "" {
		sure += ": " + s.Why
	}
	return s.Kind + " (" + sure + ")"
}

func (e *Env) printStatus(s control.Status) error {
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	rows := []string{
		"federation", s.Federation,
		"fingerprint", s.FederationID,
		"space", join(s.Space),
		"VR", fmt.Sprintf("%s (%s)", s.Name, s.Router),
		"site", s.Site,
		"identity", s.Identity,
		"blocks", join(s.Blocks),
		"kind", kindText(s),
		"NAT", "mapping " + s.Mapping + ", filtering " + s.Filtering,
		"endpoints", join(s.Endpoints),
		"port maps", join(s.PortMappings),
		"streams", strings.Join(s.Streams, " "),
		"queue-VRs", strings.Join(s.Queues, " "),
		"gateway", gatewayText(s.Gateways),
		"serves", strconv.Itoa(s.Clients) + " limited VRs",
		"draining", yes(s.Draining),
		"joinable", yes(s.Joinable),
		"authority", yes(s.Serving),
		"software", s.Software,
		"AES", s.AES,
		"process", fmt.Sprintf("%d goroutines, %d descriptors", s.Goroutines, s.Descriptors),
		"started", s.Started.UTC().Format(time.RFC3339) + ", boot " + number(s.Boot),
		"members", strconv.Itoa(s.Members),
		"links", strconv.Itoa(s.Links),
		"VNs", strconv.Itoa(s.VNs),
		"documents", strconv.Itoa(s.Documents),
		"sent", number(s.Packets.Sent),
		"received", number(s.Packets.Received),
		"local", number(s.Packets.Local),
	}
	if lanes := s.Packets.Lanes; len(lanes) > 1 {
		for i, l := range lanes {
			rows = append(rows, "lane "+strconv.Itoa(i), number(l.Sent)+" sent, "+number(l.Received)+" received")
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(s.Packets.Drops)) {
		rows = append(rows, "dropped", number(s.Packets.Drops[reason])+" "+reason)
	}
	for _, p := range s.Problems {
		rows = append(rows, "problem", p)
	}
	return e.pairs(rows...)
}
