package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/tables"
)

// inviteLifeMax is how long an invite may live: it is a secret on its way, not a membership.
const inviteLifeMax = 90 * 24 * time.Hour

func newInviteCommand(e *Env) *cobra.Command {
	var user, site string
	var life time.Duration
	c := &cobra.Command{
		Use:   "invite",
		Short: "Make a ticket by which one machine can join",
		Long: `Makes an invite: a text by which one machine joins at once, without waiting for an administrator.
It counts once, until it expires. It is a secret: send it as you would a password.

It is made offline with your user key, on a machine that has the federation's documents.`,
		Example: `  vine invite --site osaka --expires 24h
  vine invite -q > ticket && scp ticket osaka:`,
		Args: takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOptionalName("site", site); err != nil {
				return err
			}
			if life <= 0 || life > inviteLifeMax {
				return usage("--expires %s is not between 0 and %s", life, inviteLifeMax)
			}
			settings, err := e.loadConfig()
			if err != nil {
				return err
			}
			view, err := e.signingView(c.Context(), settings.State)
			if err != nil {
				return err
			}
			key, err := e.userKey(c.Context(), user)
			if err != nil {
				return err
			}
			if me := tables.PublicOf(key); len(view.Grants(me, e.Now())) == 0 {
				return fmt.Errorf("%w: the user with key %s has no role in this federation", control.ErrRefused, me)
			}
			invite := tables.Invite{Site: site, NotAfter: e.Now().Add(life).Unix()}
			if invite.Authority, err = authorityNow(view, e.Now()); err != nil {
				return err
			}
			token, err := tables.NewToken(e.Rand, invite, key)
			if err != nil {
				return err
			}
			end := time.Unix(invite.NotAfter, 0).UTC().Format(time.RFC3339)
			if e.json {
				return e.printJSON(document{"token": token.Text(), "site": site, "expires": end, "federation_id": view.FederationID().String()})
			}
			e.say("a ticket for one machine, until %s. On that machine:\n  vine join %s@SEED --invite TICKET", end, view.FederationID())
			_, err = fmt.Fprintln(e.Stdout, token.Text())
			return err
		},
	}
	c.Flags().StringVar(&site, "site", "", "`SITE` that the machine will belong to (default: as it says)")
	c.Flags().DurationVar(&life, "expires", 24*time.Hour, "how long the invite counts")
	c.Flags().StringVar(&user, "user", "", "`FILE` with your user key (default: $VINE_USER, or user.key in the state directory)")
	return c
}

// authorityNow returns the authority key that is to redeem an invite: the one that counts longest.
func authorityNow(v *tables.View, now time.Time) (tables.PublicKey, error) {
	root, _ := v.Root()
	var best tables.AuthorityKey
	for _, a := range root.Authorities {
		if v.Authority(a.Key, now) && !v.Revoked(a.Key) && a.NotAfter > best.NotAfter {
			best = a
		}
	}
	if best.Key.IsZero() {
		return best.Key, hinted(fmt.Errorf("every authority key of the federation has expired"),
			"sign the next root document, with a new authority key, by the root key: `vine help sign`")
	}
	return best.Key, nil
}
