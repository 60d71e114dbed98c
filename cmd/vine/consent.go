package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

func newConsentCommand(e *Env) *cobra.Command {
	var a asking
	var args policy.ConsentArgs
	var withdraw, sure bool
	c := &cobra.Command{
		Use:   "consent REQUEST | --withdraw SITE VN",
		Short: "Agree, for a site, to hosts of it being put into a VN",
		Long: `Answers for a site to a request that waits for its consent; "vine pending" lists those. The beginning of
the request's name is enough. The consent is to this one request.

With --withdraw consent is taken back: everything of SITE leaves VN, in one new version, and is not put back into it
unasked, until "vine site set" says what holds from then on.`,
		Example: `  vine consent 3f9a01c2
  vine consent 3f9a01c2 --refuse --reason "not before March"
  vine consent --withdraw osaka blue --yes`,
		Args: func(c *cobra.Command, argv []string) error {
			if withdraw {
				return takes("SITE", "VN")(c, argv)
			}
			return takes("REQUEST")(c, argv)
		},
		ValidArgsFunction: func(c *cobra.Command, argv []string, text string) ([]string, cobra.ShellCompDirective) {
			switch {
			case !withdraw:
				return e.completeWaiting(c, argv)
			case len(argv) == 1:
				return e.completeVNs(1)(c, nil, text)
			}
			return e.completeSite(c, argv, text)
		},
		RunE: func(c *cobra.Command, argv []string) error {
			if withdraw {
				if err := checkName("site", argv[0]); err != nil {
					return err
				}
				if err := checkName("VN", argv[1]); err != nil {
					return err
				}
				if args.Refuse || args.Site != "" || args.Reason != "" {
					return usage("--withdraw goes with none of --site, --refuse and --reason")
				}
				if err := e.confirm(c.Context(), sure, fmt.Sprintf("Take every host of site %s out of the VN %s?", argv[0], argv[1])); err != nil {
					return err
				}
				return e.ask(c.Context(), a, policy.OpWithdraw, policy.WithdrawArgs{Site: argv[0], VN: argv[1]})
			}
			if args.Reason != "" && !args.Refuse {
				return usage("--reason goes with --refuse")
			}
			if err := checkOptionalName("site", args.Site); err != nil {
				return err
			}
			if !requestRE.MatchString(argv[0]) {
				return usage("%q does not name a request: give 8 to 64 hexadecimal digits, as vine pending shows them", argv[0])
			}
			err := e.call(c.Context(), func(ctx context.Context, vr *control.Client) (err error) {
				args.Request, args.Site, err = waiting(ctx, vr, argv[0], args.Site)
				return err
			})
			if err != nil {
				return err
			}
			return e.ask(c.Context(), a, policy.OpConsent, args)
		},
	}
	c.Flags().StringVar(&args.Site, "site", "", "`SITE` to answer for (default: the one that it waits for)")
	c.Flags().BoolVar(&args.Refuse, "refuse", false, "say no; the request is refused")
	textVar(c.Flags(), &args.Reason, "reason", "`TEXT` that who asked is told with a refusal")
	c.Flags().BoolVar(&withdraw, "withdraw", false, "take consent back: SITE leaves VN")
	c.Flags().BoolVar(&sure, "yes", false, "do not ask")
	c.RegisterFlagCompletionFunc("site", func(c *cobra.Command, _ []string, text string) ([]string, cobra.ShellCompDirective) {
		return e.completeSite(c, nil, text)
	})
	a.flags(c)
	return c
}

var requestRE = regexp.MustCompile(`^[0-9a-f]{8,64}$`)

// waiting returns the request whose name begins with text, and the site whose consent it is given.
func waiting(ctx context.Context, vr *control.Client, text, site string) (tables.Hash, string, error) {
	requests, err := vr.Requests(ctx)
	if err != nil {
		return tables.Hash{}, "", err
	}
	var found []control.OpenRequest
	for _, r := range requests {
		if strings.HasPrefix(r.ID, text) {
			found = append(found, r)
		}
	}
	switch {
	case len(found) == 0:
		return tables.Hash{}, "", fmt.Errorf("open request %s: %w", text, control.ErrNotFound)
	case len(found) > 1:
		return tables.Hash{}, "", usage("%d requests begin with %s: give more of the name", len(found), text)
	}
	if site == "" {
		switch waits := found[0].WaitsFor; len(waits) {
		case 0:
			return tables.Hash{}, "", fmt.Errorf("request %s waits for no site's consent: %w", text, control.ErrRefused)
		case 1:
			site = waits[0]
		default:
			return tables.Hash{}, "", usage("it waits for the sites %s: say with --site for which you answer", strings.Join(waits, ", "))
		}
	}
	id, err := hex.DecodeString(found[0].ID)
	if err != nil || len(id) != len(tables.Hash{}) {
		return tables.Hash{}, "", fmt.Errorf("the VR names a request %q", clean(found[0].ID))
	}
	return tables.Hash(id), site, nil
}

// completeWaiting offers the requests that wait for a consent.
func (e *Env) completeWaiting(c *cobra.Command, argv []string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(argv) == 0 {
		e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
			requests, err := vr.Requests(ctx)
			for _, r := range requests {
				if len(r.WaitsFor) > 0 && requestRE.MatchString(r.ID) {
					names = append(names, r.ID[:min(len(r.ID), 16)]+"\t"+clean(r.Op+" "+r.About))
				}
			}
			return err
		})
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
