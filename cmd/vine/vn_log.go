package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newVNLogCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "log NAME",
		Short: "Show who changed a virtual network, and what",
		Long: `Shows the signed history of a virtual network, oldest first: when, who asked for what, and what it changed.
Every VR has it. It reaches back 256 changes. "vine vn show NAME --at NUMBER" shows the VN as it was after an
entry.`,
		Example: "  vine vn log blue\n  vine vn log blue --json",
		Args:    takes("NAME"),

		ValidArgsFunction: e.completeVNs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkName("VN", args[0]); err != nil {
				return err
			}
			return e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
				log, err := vr.VNLog(ctx, args[0])
				if err != nil {
					return err
				}
				if e.json {
					return e.printJSON(document{"log": log})
				}
				if len(log) == 0 {
					e.say("VN %s has not been changed since logs are kept", args[0])
					return nil
				}
				var rows [][]string
				for _, entry := range log {
					op := entry.Op
					if entry.With != "" {
						op += " with " + entry.With
					}
					rows = append(rows, []string{
						strconv.FormatUint(entry.Number, 10), entry.Time.UTC().Format(time.DateTime), entry.User, op,
						strconv.FormatUint(entry.Version, 10), summary(entry.Changes),
					})
				}
				return e.table([]string{"NUMBER", "TIME (UTC)", "USER", "OPERATION", "VERSION", "CHANGE"}, rows)
			})
		},
	}
}

// summary makes a cell of changes: a few of them in full, more as numbers.
func summary(c control.Changes) string {
	var parts []string
	part := func(sign, what string, items []string) {
		switch {
		case len(items) == 0:
		case len(items) <= 3:
			parts = append(parts, sign+strings.Join(items, " "+sign))
		default:
			parts = append(parts, fmt.Sprintf("%s%d %s", sign, len(items), what))
		}
	}
	part("+", "hosts", each(c.Joined))
	part("-", "hosts", each(c.Left))
	part("+", "prefixes", routeTexts(c.Gained))
	part("-", "prefixes", routeTexts(c.Lost))
	part("~", "prefixes", each(c.Switched))
	return strings.Join(parts, " ")
}

func each[T fmt.Stringer](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.String()
	}
	return out
}

// routeTexts returns PREFIX@VR for each prefix of the sets.
func routeTexts(sets []control.Set) []string {
	var list []string
	for _, s := range sets {
		for _, p := range s.Prefixes {
			list = append(list, p.String()+"@"+strings.Join(s.VRs, "+"))
		}
	}
	return list
}
