package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

func newUserRevokeCommand(e *Env) *cobra.Command {
	var a asking
	var role, scope, reason string
	var sure bool
	c := &cobra.Command{
		Use:   "revoke NAME",
		Short: "Take rights back from a user",
		Long: `Takes rights back from a user, who is named by name or fingerprint: all of them, or those that --role
and --scope name. What he has delegated ends with them, and what he has asked for and waits is refused. The rights can
be given again.

What you have delegated yourself you take back at once, without the authority. An administrator of the federation can
also end a key that somebody else has delegated to; that is for good.`,
		Example: `  vine user revoke ann --yes
  vine user revoke bob --role sa --scope site/osaka --reason "moved on" --yes`,
		Args:              takes("NAME"),
		ValidArgsFunction: e.completeUser,
		RunE: func(c *cobra.Command, argv []string) error {
			if role != "" && !tables.ValidRole(tables.Role(role)) {
				return usage("%q is not a role: --role is adm, sa, vna or eu", role)
			}
			if scope != "" && !tables.ValidScope(scope) {
				return usage("%q is not a scope: --scope is federation, site/NAME or vn/NAME", scope)
			}
			return e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
				view, err := e.userView(ctx, vr)
				if err != nil {
					return err
				}
				args := policy.UserRevokeArgs{Role: tables.Role(role), Scope: scope, Reason: reason}
				if args.User, err = findUser(view, argv[0]); err != nil {
					return err
				}
				own, err := e.credential(ctx, a.user)
				if err != nil {
					return err
				}
				mine, others := given(view, own.key, args)
				if len(mine) == 0 || others {
					if err := e.confirm(ctx, sure, fmt.Sprintf("Take the rights of %s back?", argv[0])); err != nil {
						return err
					}
					return e.ask(ctx, a, policy.OpUserRevoke, args)
				}
				return e.takeBack(ctx, vr, own.key, mine)
			})
		},
	}
	c.Flags().StringVar(&role, "role", "", "`ROLE` to take back (default: every)")
	c.Flags().StringVar(&scope, "scope", "", "`SCOPE` of it (default: every)")
	textVar(c.Flags(), &reason, "reason", "`TEXT` that is kept with it")
	c.Flags().BoolVar(&sure, "yes", false, "do not ask")
	c.RegisterFlagCompletionFunc("role", completeRole)
	c.RegisterFlagCompletionFunc("scope", e.completeScope)
	a.flags(c)
	return c
}

// given returns the rights in args that the holder of key has delegated and nobody took back, and
// whether somebody else has given one.
func given(v *tables.View, key ed25519.PrivateKey, args policy.UserRevokeArgs) (mine []tables.Grant, others bool) {
	for _, g := range v.AllGrants() {
		switch {
		case g.User != args.User || g.Revoked || args.Role != "" && g.Role != args.Role || args.Scope != "" && g.Scope != args.Scope:
		case g.Parent == tables.PublicOf(key):
			mine = append(mine, g)
		default:
			others = true
		}
	}
	return mine, others
}

// takeBack signs that what key has delegated is so no longer.
func (e *Env) takeBack(ctx context.Context, vr *control.Client, key ed25519.PrivateKey, grants []tables.Grant) error {
	for _, g := range grants {
		g.Version, g.Revoked = g.Version+1, true
		d, err := tables.Sign(g, key)
		if err == nil {
			_, err = vr.Publish(ctx, d.Bytes())
		}
		if err != nil {
			return fmt.Errorf("take back %s in %s: %w", g.Role, g.Scope, err)
		}
	}
	if e.json {
		return e.printJSON(document{"taken_back": len(grants)})
	}
	return e.pairs("taken back", strconv.Itoa(len(grants)))
}
