package main

import (
	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/policy"
)

func newDisableCommand(e *Env) *cobra.Command {
	return switchCommand(e, &cobra.Command{
		Use:   "disable VR",
		Short: "Keep a VR in the tables and do not use it",
		Long: `Has every VR leave the rows of one VR in the tables out of account: nothing is sent to it or taken from it in
any virtual network, until it is enabled again. It stays a member of the federation, and keeps its addresses.`,
		Example: "  vine disable osaka",
	}, policy.OpVRDisable)
}

func newEnableCommand(e *Env) *cobra.Command {
	return switchCommand(e, &cobra.Command{
		Use:     "enable VR",
		Short:   "Use a VR again that was disabled",
		Long:    `Takes back "vine disable".`,
		Example: "  vine enable osaka",
	}, policy.OpVREnable)
}

func switchCommand(e *Env, c *cobra.Command, op string) *cobra.Command {
	var a asking
	c.Args = takes("VR")
	c.RunE = func(c *cobra.Command, argv []string) error {
		if err := checkName("VR", argv[0]); err != nil {
			return err
		}
		return e.ask(c.Context(), a, op, policy.VRArgs{VR: argv[0]})
	}
	a.flags(c)
	return c
}
