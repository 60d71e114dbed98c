package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newUserListCommand(e *Env) *cobra.Command {
	c := look[control.User]{
		name:  "users",
		short: "List who may do what",
		long: `Lists every right that a user has or had: role, where it counts, until when, and who gave it. "delegated
by" says that the user himself signed it; the others the authority has signed at his request.`,
		get:   (*control.Client).Users,
		head:  []string{"NAME", "ROLE", "SCOPE", "UNTIL", "STATE", "GIVEN BY", "FINGERPRINT"},
		empty: "no users",
		row: func(u control.User) []string {
			by := u.By
			if u.Delegated {
				by = "delegated by " + by
			}
			return []string{u.Name, u.Role, u.Scope, u.Until.UTC().Format(time.RFC3339), u.State, by, u.Fingerprint}
		},
	}.command(e)
	c.Use, c.Aliases = "list", []string{"ls"}
	c.Example = "  vine user list\n  vine user list --json"
	return c
}
