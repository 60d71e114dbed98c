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
	}, newVNListCommand(e), newVNShowCommand(e), newVNCreateCommand(e), newVNJoinCommand(e), newVNLeaveCommand(e), newVNShutdownCommand(e))
}

// completeVN offers the names of VNs for the first argument of a command.
func (e *Env) completeVN(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(args) == 0 {
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

func setText(s control.Set) string { return strings.Join(s.VRs, "+") + ": " + join(s.Prefixes) }
