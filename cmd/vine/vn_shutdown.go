package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/policy"
)

func newVNShutdownCommand(e *Env, plan bool) *cobra.Command {
	a := asking{plan: plan}
	var sure bool
	c := &cobra.Command{
		Use:     "shutdown NAME",
		Short:   "End a virtual network, for good",
		Long:    `Ends a virtual network, for good: it carries nothing any more, and its name is not used again.`,
		Example: "  vine vn shutdown blue\n  vine vn shutdown blue --yes",
		Args:    takes("NAME"),

		ValidArgsFunction: e.completeVNs(1),
		RunE: func(c *cobra.Command, argv []string) error {
			if err := checkName("VN", argv[0]); err != nil {
				return err
			}
			if err := e.confirm(c.Context(), sure || plan, fmt.Sprintf("End the virtual network %s?", argv[0])); err != nil {
				return err
			}
			return e.ask(c.Context(), a, policy.OpVNShutdown, policy.VNArgs{VN: argv[0]})
		},
	}
	if !plan {
		c.Flags().BoolVar(&sure, "yes", false, "do not ask")
	}
	a.flags(c)
	return c
}
