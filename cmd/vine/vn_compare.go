package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newVNCompareCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "compare NAME NUMBER [OTHER]",
		Short: "Compare a virtual network after two entries of its log",
		Long: `Shows what a virtual network had after entry OTHER of its log and not after entry NUMBER, with "+", and the
other way round, with "-". Without OTHER it compares with the newest entry. It exits with 0 whether they differ or not.`,
		Example: "  vine vn compare blue 4\n  vine vn compare blue 4 7",
		Args:    takes("NAME", "NUMBER", "[OTHER]"),

		ValidArgsFunction: e.completeVNs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkName("VN", args[0]); err != nil {
				return err
			}
			var numbers []uint64
			for _, text := range args[1:] {
				n, err := parseNumber(text)
				if err != nil {
					return err
				}
				numbers = append(numbers, n)
			}
			return e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
				if len(numbers) == 1 {
					log, err := vr.VNLog(ctx, args[0])
					if err != nil {
						return err
					}
					if len(log) > 0 {
						numbers = append(numbers, log[len(log)-1].Number)
					} else {
						numbers = append(numbers, numbers[0]) // the VR says that there is none
					}
				}
				before, err := vr.VNAt(ctx, args[0], numbers[0])
				if err != nil {
					return err
				}
				after, err := vr.VNAt(ctx, args[0], numbers[1])
				if err != nil {
					return err
				}
				changes := compare(before, after)
				if e.json {
					return e.printJSON(document{"before": before, "after": after, "changes": changes})
				}
				return e.printChanges(before, after, changes)
			})
		},
	}
}

// compare returns what after has and before has not, and the other way round.
func compare(before, after control.VNState) control.Changes {
	return control.Changes{
		Joined: minus(after.Hosts, before.Hosts), Left: minus(before.Hosts, after.Hosts),
		Gained: minusSets(after.Sets, before.Sets), Lost: minusSets(before.Sets, after.Sets),
		Switched: append(minus(after.Disabled, before.Disabled), minus(before.Disabled, after.Disabled)...),
	}
}

func minus[T comparable](a, b []T) []T {
	list := []T{}
	for _, v := range a {
		if !slices.Contains(b, v) {
			list = append(list, v)
		}
	}
	return list
}

func minusSets(a, b []control.Set) []control.Set {
	list := []control.Set{}
	for _, s := range a {
		for _, other := range b {
			if slices.Equal(s.VRs, other.VRs) {
				s.Prefixes = minus(s.Prefixes, other.Prefixes)
			}
		}
		if len(s.Prefixes) > 0 {
			list = append(list, s)
		}
	}
	return list
}

// printChanges prints one line for each host and prefix that comes or goes.
func (e *Env) printChanges(before, after control.VNState, c control.Changes) error {
	var rows []string
	add := func(sign, what string, items []string) {
		for _, item := range items {
			rows = append(rows, sign+" "+what, item)
		}
	}
	if before.State != after.State {
		rows = append(rows, "  state", before.State+" -> "+after.State)
	}
	if before.Seal != after.Seal {
		rows = append(rows, "  seal", before.Seal+" -> "+after.Seal)
	}
	add("+", "prefix", routeTexts(c.Gained))
	add("-", "prefix", routeTexts(c.Lost))
	for _, p := range c.Switched {
		now := "enabled"
		if slices.Contains(after.Disabled, p) {
			now = "disabled"
		}
		rows = append(rows, "~ prefix", p.String()+" "+now)
	}
	add("+", "host", each(c.Joined))
	add("-", "host", each(c.Left))
	if len(rows) == 0 {
		e.say("nothing differs")
		return nil
	}
	return e.pairs(rows...)
}

// stateText says what a VN is to people.
func stateText(s control.VNState) string {
	return strings.Join([]string{s.State, s.Seal}, ", ")
}
