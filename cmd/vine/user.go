package main

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/tables"
)

func newUserCommand(e *Env) *cobra.Command {
	return group(&cobra.Command{
		Use:   "user",
		Short: "Who may do what: users, their rights, delegations",
		Long: `A user is a key, and has rights by grants: a role, where it counts, until when. There is no account to
make: whoever wants to be a user makes a key with "vine user key" and gives its public half to an administrator.

  adm   administrator of the federation
  sa    administrator of a site: its VRs, its hosts, what it consents to
  vna   administrator of a VN
  eu    end user: puts hosts into VNs and takes them out

A role counts in the whole federation, at a site (site/NAME) or in a VN (vn/NAME).`,
		Example: "  vine user key\n  vine user add ann --key FINGERPRINT-OR-KEY --role vna --scope vn/blue --until 90d\n  vine user list",
	}, newUserKeyCommand(e), newUserAddCommand(e), newUserListCommand(e), newUserRevokeCommand(e), newUserDelegateCommand(e))
}

// A credential is a key that signs for a user, with the delegations that its rights rest on where no
// VR may know them yet: the nearest to the authority first.
type credential struct {
	key         ed25519.PrivateKey
	delegations [][]byte // envelopes
}

// delegationLine begins the lines of a key file that hold delegations.
const delegationLine = "delegation "

// text returns the credential as a key file has it: the seed as 64 hexadecimal digits on the first
// line, and each delegation in base64url on one of its own.
func (c credential) text() []byte {
	b := append(hex.AppendEncode(nil, c.key.Seed()), '\n')
	for _, d := range c.delegations {
		b = append(b, delegationLine...)
		b = append(base64.RawURLEncoding.AppendEncode(b, d), '\n')
	}
	return b
}

// parseDelegations reads the lines of a key file after the first.
func parseDelegations(text string) ([][]byte, error) {
	var list [][]byte
	for n, line := range strings.Split(strings.TrimSpace(text), "\n") {
		encoded, ok := strings.CutPrefix(strings.TrimSpace(line), delegationLine)
		if n == 0 {
			continue
		}
		envelope, err := base64.RawURLEncoding.DecodeString(encoded)
		if !ok || err != nil {
			return nil, fmt.Errorf("line %d is no delegation", n+1)
		}
		if _, err := tables.ParseDocument(envelope); err != nil {
			return nil, fmt.Errorf("line %d is no delegation: %w", n+1, err)
		}
		list = append(list, envelope)
	}
	return list, nil
}

// userPath returns the file with the user's key.
func (e *Env) userPath(path string) (string, error) {
	if path == "" {
		path = os.Getenv("VINE_USER")
	}
	if path != "" {
		return path, nil
	}
	c, err := e.loadConfig()
	return filepath.Join(c.State, "user.key"), err
}

// credential returns what signs for the user: the key file at path, $VINE_USER or in the state
// directory.
func (e *Env) credential(ctx context.Context, path string) (credential, error) {
	path, err := e.userPath(path)
	if err != nil {
		return credential{}, err
	}
	key, err := e.readKey(ctx, path, "")
	if errors.Is(err, fs.ErrNotExist) {
		return credential{}, hinted(fmt.Errorf("there is no user key %s", path),
			"this takes the key of a user of the federation; `vine init` made the first one on its machine, and `vine user key` makes another. Name the file with --user or in $VINE_USER")
	}
	if err != nil {
		return credential{}, err
	}
	text, err := readSecret(path)
	if err != nil {
		return credential{}, err
	}
	c := credential{key: key}
	if !strings.HasPrefix(string(text), "-----BEGIN") {
		if c.delegations, err = parseDelegations(string(text)); err != nil {
			return c, fmt.Errorf("key file %s: %w", path, err)
		}
	}
	return c, nil
}

// introduce tells the VR of the delegations that come with a key: it may be the first to hear of
// them.
func (c credential) introduce(ctx context.Context, vr *control.Client) error {
	for _, d := range c.delegations {
		if _, err := vr.Publish(ctx, d); err != nil {
			return fmt.Errorf("the delegation that comes with this key does not count: %w", err)
		}
	}
	return nil
}

// userView returns what the running VR says about who may sign, and what of it comes with a credential.
func (e *Env) userView(ctx context.Context, vr *control.Client) (*tables.View, error) {
	raw, err := vr.Documents(ctx)
	if err != nil {
		return nil, err
	}
	return viewOf(raw, "the VR's answer", e.Now())
}

// completeRole and completeScope offer what the flags of that name take.
func completeRole(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"adm\tof the federation", "sa\tof a site", "vna\tof a VN", "eu\tend user"}, cobra.ShellCompDirectiveNoFileComp
}

func (e *Env) completeScope(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	scopes := []string{"federation"}
	e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
		sites, err := vr.Sites(ctx)
		for _, s := range sites {
			scopes = append(scopes, "site/"+clean(s.Name))
		}
		if err != nil {
			return err
		}
		vns, err := vr.VNs(ctx)
		for _, vn := range vns {
			scopes = append(scopes, "vn/"+clean(vn.Name))
		}
		return err
	})
	return scopes, cobra.ShellCompDirectiveNoFileComp
}

// completeUser offers the names of users.
func (e *Env) completeUser(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(args) == 0 {
		e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
			users, err := vr.Users(ctx)
			for _, u := range users {
				if u.State == "active" {
					names = append(names, clean(u.Name))
				}
			}
			return err
		})
	}
	slices.Sort(names)
	return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
}

// checkRight refuses what is no role or no scope.
func checkRight(role, scope string) error {
	if !tables.ValidRole(tables.Role(role)) {
		return usage("%q is not a role: --role is adm, sa, vna or eu", role)
	}
	if !tables.ValidScope(scope) {
		return usage("%q is not a scope: --scope is federation, site/NAME or vn/NAME", scope)
	}
	if role == string(tables.RoleEU) && scope == "federation" {
		return usage("an end user's role counts at a site or in a VN only: give --scope site/NAME or vn/NAME")
	}
	return nil
}

// parseUntil reads an end: a day such as 2027-03-31 (its end, in UTC), a time in RFC 3339, or a span
// from now such as 90d or 12h.
func parseUntil(now time.Time, text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t.AddDate(0, 0, 1), nil
	}
	if d, err := parseSpan(text); err == nil {
		return now.Add(d), nil
	}
	return time.Time{}, usage("%q is neither a day such as 2027-03-31 nor a time from now such as 90d or 12h", text)
}

// parseSpan is time.ParseDuration that knows days.
func parseSpan(text string) (time.Duration, error) {
	const daysMax = 36500
	if number, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(number, 10, 31); err == nil && n <= daysMax {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	return time.ParseDuration(text)
}

// parseUserKey reads a user's public key as "vine user key" prints it.
func parseUserKey(text string) (key tables.PublicKey, ok bool) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(key) {
		return key, false
	}
	return tables.PublicKey(b), true
}

// findUser returns the key of the user so called, by name, fingerprint or key.
func findUser(v *tables.View, text string) (tables.PublicKey, error) {
	if key, ok := parseUserKey(text); ok {
		return key, nil
	}
	fingerprint, err := parseFingerprint(text)
	if err != nil && !tables.ValidName(text) {
		return tables.PublicKey{}, usage("%q is neither a name nor a fingerprint nor a key of a user", text)
	}
	// The names that the authority knows are unique; those of delegations are what somebody chose.
	for _, delegated := range []bool{false, true} {
		var keys []tables.PublicKey
		for _, g := range v.AllGrants() {
			if g.Parent.IsZero() != delegated && !g.Revoked && (g.Name == text || g.User.Fingerprint() == fingerprint) && !slices.Contains(keys, g.User) {
				keys = append(keys, g.User)
			}
		}
		switch len(keys) {
		case 0:
		case 1:
			return keys[0], nil
		default:
			return tables.PublicKey{}, usage("%d keys are called %s: give the fingerprint, which vine user list shows", len(keys), text)
		}
	}
	return tables.PublicKey{}, fmt.Errorf("user %q: %w", text, control.ErrNotFound)
}
