package main

import (
	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/policy"
)

func newVNLeaveCommand(e *Env, plan bool) *cobra.Command {
	a := asking{plan: plan}
	c := &cobra.Command{
		Use:     "leave NAME ADDRESS...",
		Short:   "Take hosts out of a virtual network",
		Long:    `Takes hosts out of a virtual network. One that loses its last host stays.`,
		Example: "  vine vn leave blue 10.192.1.11 10.192.1.12",
		Args:    takes("NAME", "ADDRESS..."),

		ValidArgsFunction: e.completeVNs(1),
		RunE: func(c *cobra.Command, argv []string) error {
			if err := checkName("VN", argv[0]); err != nil {
				return err
			}
			hosts, err := parseAddrs(argv[1:])
			if err != nil {
				return err
			}
			return e.ask(c.Context(), a, policy.OpVNLeave, policy.VNHostsArgs{VN: argv[0], Hosts: hosts})
		},
	}
	a.flags(c)
	return c
}
