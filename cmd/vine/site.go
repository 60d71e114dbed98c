package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

func newSiteCommand(e *Env) *cobra.Command {
	return group(&cobra.Command{
		Use:   "site",
		Short: "What a site says of itself and lets its hosts do",
		Long: `A site says who may put its hosts into which VNs. As long as it has said nothing it wants to be asked
each time; see "vine consent". "vine sites" lists the sites.`,
		Example: "  vine site show osaka\n  vine site set osaka --consent ask --allow-vn blue",
	}, newSiteShowCommand(e), newSiteSetCommand(e), newSiteScaleCommand(e))
}

// completeSite offers the names of sites for the first argument of a command.
func (e *Env) completeSite(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(args) == 0 {
		e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
			sites, err := vr.Sites(ctx)
			for _, s := range sites {
				names = append(names, clean(s.Name))
			}
			return err
		})
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// site returns the site so called.
func site(ctx context.Context, vr *control.Client, name string) (control.Site, error) {
	sites, err := vr.Sites(ctx)
	for _, s := range sites {
		if s.Name == name {
			return s, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("site %q: %w", name, control.ErrNotFound)
	}
	return control.Site{}, err
}

func newSiteShowCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:               "show NAME",
		Short:             "Show a site",
		Long:              `Shows a site: its VRs, and into which VNs its hosts may go without asking it.`,
		Example:           "  vine site show osaka\n  vine site show osaka --json",
		Args:              takes("NAME"),
		ValidArgsFunction: e.completeSite,
		RunE: func(c *cobra.Command, argv []string) error {
			return e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
				s, err := site(ctx, vr, argv[0])
				if err != nil {
					return err
				}
				if e.json {
					return e.printJSON(document{"site": s})
				}
				words := func(list []string) string { return strings.Join(list, " ") }
				return e.pairs("name", s.Name, "contact", s.Contact, "location", s.Location, "subnets", join(s.Subnets), "VRs", words(s.VRs),
					"consent", s.Consent, "without asking: VNs", words(s.AllowVNs), "  with sites", words(s.With), "  by users", words(s.Users),
					"has left", words(s.Withdrawn))
			})
		},
	}
}

func newSiteSetCommand(e *Env) *cobra.Command {
	var a asking
	var args policy.SiteSetArgs
	var users []string
	var contact, location string
	c := &cobra.Command{
		Use:   "set NAME",
		Short: "Say what a site consents to",
		Long: `Says who may put the hosts of a site into VNs: with --consent open everybody whose role allows it, with
never nobody, with ask only after the site's administrator has agreed to the request. With ask, --allow-vn, --with and
--by-user name what needs no asking; of the flags that are given all must fit. --with means VNs that have hosts of
these other sites only, and has the site asked again when another one is to enter.

The policy is replaced as a whole. It is about what is to come: hosts that are in a VN stay there, until "vine
consent --withdraw". Each flag for lists can be given several times, or with commas.`,
		Example: `  vine site set osaka --consent ask --allow-vn blue --with tokyo,kyoto
  vine site set osaka --consent open
  vine site set osaka --contact "ops@osaka.example"`,
		Args:              takes("NAME"),
		ValidArgsFunction: e.completeSite,
		RunE: func(c *cobra.Command, argv []string) error {
			args.Site = argv[0]
			if err := checkName("site", args.Site); err != nil {
				return err
			}
			conditions := len(args.AllowVNs) + len(args.With) + len(users)
			switch {
			case args.Consent != "" && args.Consent != "ask" && args.Consent != "open" && args.Consent != "never":
				return usage("--consent %q is none of ask, open and never", args.Consent)
			case conditions > 0 && args.Consent != "ask":
				return usage("--allow-vn, --with and --by-user go with --consent ask")
			}
			if c.Flags().Changed("contact") {
				args.Contact = &contact
			}
			if c.Flags().Changed("location") {
				args.Location = &location
			}
			if args.Consent == "" && args.Contact == nil && args.Location == nil {
				return usage("say what to change: --consent, --contact or --location")
			}
			if len(users) > 0 {
				err := e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
					view, err := e.userView(ctx, vr)
					for _, name := range users {
						if err != nil {
							break
						}
						var key tables.PublicKey
						key, err = findUser(view, name)
						args.Users = append(args.Users, key)
					}
					return err
				})
				if err != nil {
					return err
				}
			}
			return e.ask(c.Context(), a, policy.OpSiteSet, args)
		},
	}
	name := func(what string) func(string) (string, error) {
		return func(text string) (string, error) { return text, checkName(what, text) }
	}
	c.Flags().StringVar(&args.Consent, "consent", "", "`POLICY`: ask, open or never")
	list(c.Flags(), &args.AllowVNs, "allow-vn", "`VN` that needs no asking", name("VN"))
	list(c.Flags(), &args.With, "with", "`SITE` with whose hosts a VN needs no asking", name("site"))
	list(c.Flags(), &users, "by-user", "`NAME` or fingerprint of a user who need not ask", func(text string) (string, error) { return text, nil })
	textVar(c.Flags(), &contact, "contact", "`TEXT`: how to reach the people of the site")
	textVar(c.Flags(), &location, "location", "`TEXT`: where it is")
	c.RegisterFlagCompletionFunc("consent", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"ask\teach time", "open\tto everything", "never"}, cobra.ShellCompDirectiveNoFileComp
	})
	a.flags(c)
	return c
}
