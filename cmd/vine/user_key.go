package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/internal/durable"
	"github.com/vine-mesh/vine/tables"
)

func newUserKeyCommand(e *Env) *cobra.Command {
	var user string
	c := &cobra.Command{
		Use:   "key",
		Short: "Make or show your user key, and what to send to an administrator",
		Long: `Shows the public half of your user key, and makes a key first if there is none. It prints the command
by which an administrator makes you a user; send it to one. Nothing in it is secret. Compare the fingerprint by
another way than that by which you sent it.

The key file itself stays with you: whoever has it can do what you may.`,
		Example: "  vine user key\n  vine user key --user ~/.vine-key",
		Args:    takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			path, err := e.userPath(user)
			if err != nil {
				return err
			}
			made := false
			key, err := e.readKey(c.Context(), path, "")
			if errors.Is(err, fs.ErrNotExist) {
				if key, err = e.makeUserKey(path); err == nil {
					made = true
					e.say("made a new user key, %s", absolute(path))
				}
			}
			if err != nil {
				return err
			}
			public := tables.PublicOf(key)
			text := hex.EncodeToString(public[:])
			line := "vine user add NAME --key " + text + " --role ROLE --scope SCOPE"
			if e.json {
				return e.printJSON(document{"key": text, "fingerprint": public.Fingerprint(), "file": absolute(path), "made": made, "command": line})
			}
			if err := e.pairs("file", absolute(path), "fingerprint", public.Fingerprint(), "key", text); err != nil {
				return err
			}
			e.say("send this to an administrator:")
			_, err = fmt.Fprintln(e.Stdout, line)
			return err
		},
	}
	c.Flags().StringVar(&user, "user", "", "`FILE` with your user key (default: $VINE_USER, or user.key in the state directory)")
	return c
}

// makeUserKey writes a new key to a file that does not exist yet.
func (e *Env) makeUserKey(path string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(e.Rand)
	if err != nil {
		return nil, fmt.Errorf("make user key: %w", err)
	}
	if err := durable.MkdirAll(durable.OS, filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return key, writeNew(path, credential{key: key}.text(), 0o600)
}
