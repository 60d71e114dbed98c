package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/policy"
)

func newVNMergeCommand(e *Env, plan bool) *cobra.Command {
	a := asking{plan: plan}
	var sure bool
	c := &cobra.Command{
		Use:   "merge NAME OTHER",
		Short: "Merge two virtual networks into the first",
		Long: `Lets the virtual network NAME carry all that OTHER carried too, and ends OTHER, for good. Every VR
changes both at once, and connections within either go on. If one of the two is encrypted, the result is.`,
		Example: "  vine vn plan merge blue green\n  vine vn merge blue green --yes",
		Args:    takes("NAME", "OTHER"),

		ValidArgsFunction: e.completeVNs(2),
		RunE: func(c *cobra.Command, argv []string) error {
			for _, name := range argv {
				if err := checkName("VN", name); err != nil {
					return err
				}
			}
			if err := e.confirm(c.Context(), sure || plan, fmt.Sprintf("Merge the virtual network %s into %s?", argv[1], argv[0])); err != nil {
				return err
			}
			return e.ask(c.Context(), a, policy.OpVNMerge, policy.VNMergeArgs{VN: argv[0], From: argv[1]})
		},
	}
	if !plan {
		c.Flags().BoolVar(&sure, "yes", false, "do not ask")
	}
	a.flags(c)
	return c
}
