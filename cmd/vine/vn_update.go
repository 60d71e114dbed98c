package main

import (
	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

func newVNUpdateCommand(e *Env, plan bool) *cobra.Command {
	a := asking{plan: plan}
	var args policy.VNUpdateArgs
	var seal string
	c := &cobra.Command{
		Use:   "update NAME",
		Short: "Change the prefixes or the seal of a virtual network",
		Long: `Changes which prefixes a virtual network has and which VRs deliver them, or how its packets are
protected. A prefix that is disabled stays in the tables and is not used, until it is enabled.`,
		Example: `  vine vn update lab --add 10.200.0.32/28@kyoto
  vine vn update lab --disable 10.200.0.16/28
  vine vn update lab --seal auth`,
		Args: takes("NAME"),

		ValidArgsFunction: e.completeVNs(1),
		RunE: func(c *cobra.Command, argv []string) error {
			args.VN, args.Seal = argv[0], tables.Seal(seal)
			if err := checkName("VN", args.VN); err != nil {
				return err
			}
			if len(args.Add)+len(args.Remove)+len(args.Disable)+len(args.Enable) == 0 && seal == "" {
				return usage("say what is to change: --add, --remove, --disable, --enable or --seal")
			}
			if seal != "" && args.Seal != tables.SealEncrypt && args.Seal != tables.SealAuth {
				return usage("--seal %q is neither encrypt nor auth", seal)
			}
			return e.ask(c.Context(), a, policy.OpVNUpdate, args)
		},
	}
	list(c.Flags(), &args.Add, "add", "`PREFIX@VR`: a prefix and the VR that delivers it", parsePrefixAt)
	list(c.Flags(), &args.Remove, "remove", "`PREFIX` that goes; no host may be left in it", parsePrefix)
	list(c.Flags(), &args.Disable, "disable", "`PREFIX` to keep and not to use", parsePrefix)
	list(c.Flags(), &args.Enable, "enable", "`PREFIX` to use again", parsePrefix)
	c.Flags().StringVar(&seal, "seal", "", "`SEAL` of packets: encrypt, or auth (only authenticated)")
	a.flags(c)
	return c
}
