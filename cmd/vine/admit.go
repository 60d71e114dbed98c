package main

import (
	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/policy"
)

func newAdmitCommand(e *Env) *cobra.Command {
	var a asking
	var args policy.AdmitArgs
	c := &cobra.Command{
		Use:   "admit FINGERPRINT",
		Short: "Let a machine into the federation",
		Long: `Admits a machine that has asked to join; "vine pending" lists them. Compare the fingerprint with
the one that "vine join" shows on that machine. It works from any member whose user may.`,
		Example: `  vine pending
  vine admit k5yq-7hd2-mzra-w3cs-lt4e-xo6v-bn2p-jf5g
  vine admit k5yq7hd2mzraw3cslt4exo6vbn2pjf5g --name osaka --site west`,
		Args: takes("FINGERPRINT"),
		RunE: func(c *cobra.Command, argv []string) (err error) {
			if args.Fingerprint, err = parseFingerprint(argv[0]); err != nil {
				return err
			}
			if err := checkOptionalName("VR", args.Name); err != nil {
				return err
			}
			if err := checkOptionalName("site", args.Site); err != nil {
				return err
			}
			return e.ask(c.Context(), a, policy.OpAdmit, args)
		},
	}
	c.Flags().StringVar(&args.Name, "name", "", "`NAME` of the VR, instead of the one it asked for")
	c.Flags().StringVar(&args.Site, "site", "", "`SITE`, instead of the one it asked for")
	a.flags(c)
	return c
}
