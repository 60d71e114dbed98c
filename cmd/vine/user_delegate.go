package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/tables"
)

// delegateMax is how long --for may be: longer takes --until, so that nobody does it by accident.
const delegateMax = 24 * time.Hour

func newUserDelegateCommand(e *Env) *cobra.Command {
	var user, role, scope, life, until, out, name string
	c := &cobra.Command{
		Use:   "delegate",
		Short: "Let a program act for you, for a while and within bounds",
		Long: `Makes a new key with a part of your rights: a role that is no higher than yours, in the same scope or a
narrower one, for a short time. It is for middleware, which then asks for VNs without your own key. You sign it
yourself; no authority is needed.

FILE gets the key and what you signed. It is a secret. Any command takes it with --user FILE, also at a VR that has
not heard of the delegation. A holder can delegate again, three steps in all. No delegation gives rights to users,
takes any back, revokes VRs or changes what a site consents to.

It ends by itself, when you take it back with "vine user revoke", and with your own right.`,
		Example: `  vine user delegate --role eu --scope vn/blue --for 12h --out job.key
  vine vn join blue 10.192.0.10 --user job.key`,
		Args: takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkRight(role, scope); err != nil {
				return err
			}
			if err := checkOptionalName("user", name); err != nil {
				return err
			}
			if out == "" {
				return usage("say with --out where the key goes")
			}
			end, err := delegationEnd(e.Now(), life, until)
			if err != nil {
				return err
			}
			own, err := e.credential(c.Context(), user)
			if err != nil {
				return err
			}
			view, err := e.viewWith(c.Context(), own)
			if err != nil {
				return err
			}
			held, err := e.delegate(view, own, tables.Grant{Name: name, Role: tables.Role(role), Scope: scope, NotAfter: end.Unix()})
			if err != nil {
				return err
			}
			if err := writeNew(out, held.text(), 0o600); err != nil {
				return err
			}
			told := e.call(c.Context(), func(ctx context.Context, vr *control.Client) error { return held.introduce(ctx, vr) })
			if errors.Is(told, control.ErrUnreachable) {
				e.say("no VR runs here: the others hear of it with the first request that the key signs")
			} else if told != nil {
				e.warn("%v", told)
			}
			public := tables.PublicOf(held.key)
			ends := end.UTC().Format(time.RFC3339)
			if e.json {
				return e.printJSON(document{"file": absolute(out), "fingerprint": public.Fingerprint(), "key": hex.EncodeToString(public[:]), "role": role, "scope": scope, "until": ends})
			}
			return e.pairs("file", absolute(out), "fingerprint", public.Fingerprint(), "role", role, "scope", scope, "until", ends)
		},
	}
	c.Flags().StringVar(&role, "role", "eu", "`ROLE`: adm, sa, vna or eu")
	c.Flags().StringVar(&scope, "scope", "", "`SCOPE` in which it counts: federation, site/NAME or vn/NAME")
	c.Flags().StringVar(&life, "for", "12h", "how long it counts, at most 24h")
	c.Flags().StringVar(&until, "until", "", "`END` instead of --for: a day, or a time from now such as 7d; at most 30 days")
	c.Flags().StringVarP(&out, "out", "o", "", "`FILE` to write, which must not exist yet")
	c.Flags().StringVar(&name, "name", "", "`NAME` of the holder (default: yours with a part of the fingerprint)")
	c.Flags().StringVar(&user, "user", "", "`FILE` with your user key (default: $VINE_USER, or user.key in the state directory)")
	c.MarkFlagsMutuallyExclusive("for", "until")
	c.RegisterFlagCompletionFunc("role", completeRole)
	c.RegisterFlagCompletionFunc("scope", e.completeScope)
	return c
}

// delegationEnd works out when a delegation is to end.
func delegationEnd(now time.Time, life, until string) (time.Time, error) {
	if until == "" {
		d, err := parseSpan(life)
		if err != nil || d <= 0 || d > delegateMax {
			return time.Time{}, usage("--for %s is not a time up to 24h; longer takes --until", life)
		}
		return now.Add(d), nil
	}
	end, err := parseUntil(now, until)
	if err == nil && (!end.After(now) || end.After(now.Add(tables.DelegationLifeMax*time.Second))) {
		err = usage("--until %s is not within the next 30 days", until)
	}
	return end, err
}

// viewWith returns the documents that say who may sign, with those that come with a credential.
func (e *Env) viewWith(ctx context.Context, own credential) (*tables.View, error) {
	settings, err := e.loadConfig()
	if err != nil {
		return nil, err
	}
	// The running VR knows the latest; the state directory serves where none runs.
	var raw [][]byte
	err = e.call(ctx, func(ctx context.Context, vr *control.Client) (err error) {
		raw, err = vr.Documents(ctx)
		return err
	})
	if err != nil {
		view, err := e.signingView(ctx, settings.State)
		if err != nil {
			return nil, err
		}
		raw = nil
		for d := range view.Documents() {
			raw = append(raw, d.Bytes())
		}
	}
	return viewOf(append(raw, own.delegations...), "the VR's answer", e.Now())
}

// delegate makes a key that holds g, a part of the rights of own, or says why that cannot be.
func (e *Env) delegate(view *tables.View, own credential, g tables.Grant) (credential, error) {
	me := tables.PublicOf(own.key)
	mine := view.Grants(me, e.Now())
	if len(mine) == 0 {
		return credential{}, fmt.Errorf("%w: the user with key %s has no role in this federation", control.ErrRefused, me)
	}
	// A wrong role or place is told apart from a wrong end.
	i := slices.IndexFunc(mine, func(have tables.Grant) bool { return have.Covers(g) })
	if i < 0 {
		brief := g
		brief.NotAfter = 0
		if i = slices.IndexFunc(mine, func(have tables.Grant) bool { return have.Covers(brief) }); i >= 0 {
			return credential{}, fmt.Errorf("%w: your own right ends at %s: delegate it for a shorter time", control.ErrRefused, time.Unix(mine[i].NotAfter, 0).UTC().Format(time.RFC3339))
		}
		return credential{}, fmt.Errorf("%w: you are not %s in %s, nor more than that: vine user list shows what you are", control.ErrRefused, g.Role, g.Scope)
	}
	_, key, err := ed25519.GenerateKey(e.Rand)
	if err != nil {
		return credential{}, fmt.Errorf("make key: %w", err)
	}
	g.Version, g.User, g.Parent = 1, tables.PublicOf(key), me
	if g.Name == "" {
		short := g.User.Fingerprint()[:8]
		g.Name = mine[i].Name[:min(len(mine[i].Name), 63-1-len(short))] + "-" + short
	}
	d, err := tables.Sign(g, own.key)
	if err != nil {
		return credential{}, err
	}
	store := tables.NewStore(view.FederationID())
	store.Load(e.Now(), slices.Collect(view.Documents()), tables.FromDisk)
	if outcome, err := store.Put(e.Now(), d, tables.FromDisk); outcome != tables.Kept {
		return credential{}, fmt.Errorf("%w: no VR would take this delegation: %w", control.ErrRefused, err)
	}
	return credential{key, append(slices.Clone(own.delegations), d.Bytes())}, nil
}
