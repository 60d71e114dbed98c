package main

import (
	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/policy"
)

func newVNSplitCommand(e *Env, plan bool) *cobra.Command {
	a := asking{plan: plan}
	var args policy.VNSplitArgs
	c := &cobra.Command{
		Use:   "split NAME --into NEW ADDRESS...",
		Short: "Move hosts of a virtual network into a new one",
		Long: `Moves hosts, given by their ViNe addresses, out of a virtual network into a new one. From then on they
reach each other and not the hosts that stay, nor these them. Every VR changes both at once. Who administers
the old one administers the new one too.`,
		Example: "  vine vn plan split blue --into green 10.192.1.11 10.192.1.12\n  vine vn split blue --into green 10.192.1.11 10.192.1.12",
		Args:    takes("NAME", "ADDRESS..."),

		ValidArgsFunction: e.completeVNs(1),
		RunE: func(c *cobra.Command, argv []string) (err error) {
			if args.VN = argv[0]; args.Into == "" {
				return usage("say with --into what the new VN is to be called")
			}
			for _, name := range []string{args.VN, args.Into} {
				if err := checkName("VN", name); err != nil {
					return err
				}
			}
			if args.Hosts, err = parseAddrs(argv[1:]); err != nil {
				return err
			}
			return e.ask(c.Context(), a, policy.OpVNSplit, args)
		},
	}
	c.Flags().StringVar(&args.Into, "into", "", "`NAME` of the new VN")
	a.flags(c)
	return c
}
