package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/policy"
)

func newVNRestoreCommand(e *Env, plan bool) *cobra.Command {
	a := asking{plan: plan}
	c := &cobra.Command{
		Use:   "restore NAME NUMBER",
		Short: "Make a virtual network what it was after an entry of its log",
		Long: `Gives a virtual network the hosts, prefixes and seal that it had after entry NUMBER of its log, as a new
version. What only VRs delivered that have been revoked since stays away.`,
		Example: "  vine vn log blue\n  vine vn plan restore blue 4\n  vine vn restore blue 4",
		Args:    takes("NAME", "NUMBER"),

		ValidArgsFunction: e.completeVNs(1),
		RunE: func(c *cobra.Command, argv []string) error {
			if err := checkName("VN", argv[0]); err != nil {
				return err
			}
			number, err := parseNumber(argv[1])
			if err != nil {
				return err
			}
			return e.ask(c.Context(), a, policy.OpVNRestore, policy.VNRestoreArgs{VN: argv[0], Number: number})
		},
	}
	a.flags(c)
	return c
}

// parseNumber reads the number of an entry of a log.
func parseNumber(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return 0, usage("%q is not the number of an entry: vine vn log NAME shows them", text)
	}
	return n, nil
}
