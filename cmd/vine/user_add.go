package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

func newUserAddCommand(e *Env) *cobra.Command {
	var a asking
	var key, role, scope, until string
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Give a user a role",
		Long: `Gives a user a role: in the federation, at a site or in a VN. The user is named by his public key, as
"vine user key" prints it, or, if he has a role already, by its fingerprint. The same role in the same place again
changes when it ends.

You can give what you have: an administrator of the federation gives everything, one of a site or VN the roles
there that are no higher than his own, for no longer than his own.`,
		Example: `  vine user add ann --key 5f3c0e… --role vna --scope vn/blue --until 90d
  vine user add bob --key k5yq7hd2mzraw3cslt4exo6vbn2pjf5g --role sa --scope site/osaka --until 2027-03-31`,
		Args: takes("NAME"),
		RunE: func(c *cobra.Command, argv []string) error {
			if err := checkName("user", argv[0]); err != nil {
				return err
			}
			if err := checkRight(role, scope); err != nil {
				return err
			}
			end, err := parseUntil(e.Now(), until)
			if err != nil {
				return err
			}
			if life := end.Sub(e.Now()); life <= 0 || life > policy.GrantLifeMax {
				return usage("--until %s is not between now and %d days", until, int(policy.GrantLifeMax/(24*time.Hour)))
			}
			args := policy.UserGrantArgs{Name: argv[0], Role: tables.Role(role), Scope: scope, NotAfter: end.Unix()}
			var ok bool
			if args.User, ok = parseUserKey(key); !ok {
				if _, err := parseFingerprint(key); err != nil {
					return usage("--key %q is neither the 64 hexadecimal digits that vine user key prints nor a fingerprint", key)
				}
				err := e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
					view, err := e.userView(ctx, vr)
					if err == nil {
						args.User, err = findUser(view, key)
					}
					return err
				})
				if err != nil {
					return hinted(err, "a fingerprint is enough only of a user who has a role already: ask for the key that `vine user key` prints")
				}
			}
			return e.ask(c.Context(), a, policy.OpUserGrant, args)
		},
	}
	c.Flags().StringVar(&key, "key", "", "public `KEY` of the user, or its fingerprint")
	c.Flags().StringVar(&role, "role", "", "`ROLE`: adm, sa, vna or eu")
	c.Flags().StringVar(&scope, "scope", "", "`SCOPE` in which it counts: federation, site/NAME or vn/NAME")
	c.Flags().StringVar(&until, "until", "365d", "`END`: a day, or a time from now such as 90d")
	c.RegisterFlagCompletionFunc("role", completeRole)
	c.RegisterFlagCompletionFunc("scope", e.completeScope)
	a.flags(c)
	return c
}
