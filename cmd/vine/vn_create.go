package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

func newVNCreateCommand(e *Env, plan bool) *cobra.Command {
	a := asking{plan: plan}
	var args policy.VNCreateArgs
	var authOnly bool
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a virtual network",
		Long: `Makes a virtual network of the hosts given by their ViNe addresses. A host brings the block of the
VR that its address belongs to. --prefix names prefixes of your own and the VR that delivers them, as
PREFIX@VR. Both flags can be given several times, or with commas.

Packets are encrypted; with --auth-only they are only authenticated, and can be read on the way.`,
		Example: `  vine vn create blue --host 10.192.0.10 --host 10.192.1.10
  vine vn create lab --prefix 10.200.0.0/28@tokyo,10.200.0.16/28@osaka --host 10.200.0.2,10.200.0.18`,
		Args: takes("NAME"),
		RunE: func(c *cobra.Command, argv []string) error {
			args.Name = argv[0]
			if err := checkName("VN", args.Name); err != nil {
				return err
			}
			if len(args.Hosts) == 0 && len(args.Prefixes) == 0 {
				return usage("a VN needs hosts: give --host, or --prefix")
			}
			args.Seal = tables.SealEncrypt
			if authOnly {
				args.Seal = tables.SealAuth
			}
			return e.ask(c.Context(), a, policy.OpVNCreate, args)
		},
	}
	list(c.Flags(), &args.Hosts, "host", "`ADDRESS` of a host, in the ViNe space", parseAddr)
	list(c.Flags(), &args.Prefixes, "prefix", "`PREFIX@VR`: a prefix and the VR that delivers it", parsePrefixAt)
	c.Flags().BoolVar(&authOnly, "auth-only", false, "authenticate packets, do not encrypt them")
	a.flags(c)
	return c
}

func parsePrefixAt(text string) (policy.PrefixAt, error) {
	prefix, vr, ok := strings.Cut(text, "@")
	if !ok || !tables.ValidName(vr) {
		return policy.PrefixAt{}, fmt.Errorf("%q is not PREFIX@VR, such as 10.200.0.0/28@tokyo", text)
	}
	p, err := parsePrefix(prefix)
	return policy.PrefixAt{Prefix: p, VR: vr}, err
}
