package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newVNCommand(e *Env) *cobra.Command {
	return group(&cobra.Command{
		Use:   "vn",
		Short: "Make, change and show virtual networks",
		Long: `A virtual network (VN) is a set of hosts that reach each other and nobody else. A host is in it
with its ViNe address; the VR of its site delivers to it.`,
		Example: "  vine vn create blue --host 10.192.0.10 --host 10.192.1.10\n  vine vn show blue",
	}, append(vnOperations(e, false),
		newVNListCommand(e), newVNShowCommand(e), newVNLogCommand(e), newVNCompareCommand(e), newVNPlanCommand(e))...)
}

// vnOperations returns the commands that change VNs or, with plan, say what they would change.
func vnOperations(e *Env, plan bool) []*cobra.Command {
	return []*cobra.Command{
		newVNCreateCommand(e, plan), newVNJoinCommand(e, plan), newVNLeaveCommand(e, plan), newVNMergeCommand(e, plan),
		newVNSplitCommand(e, plan), newVNUpdateCommand(e, plan), newVNRestoreCommand(e, plan), newVNShutdownCommand(e, plan),
	}
}

// completeVNs offers the names of VNs for the first arguments of a command.
func (e *Env) completeVNs(first int) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		var names []string
		if len(args) < first {
			e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
				vns, err := vr.VNs(ctx)
				for _, vn := range vns {
					names = append(names, clean(vn.Name))
				}
				return err
			})
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func setText(s control.Set) string {
	text := strings.Join(s.VRs, "+") + ": " + join(s.Prefixes)
	if len(s.Disabled) > 0 {
		text += " (disabled: " + join(s.Disabled) + ")"
	}
	return text
}
