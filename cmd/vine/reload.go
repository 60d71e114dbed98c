package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newReloadCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Have the running VR read its configuration again",
		Long: `Has the running VR of this machine read its configuration file again and apply what can change
while it runs. A wrong file changes nothing: the VR keeps the configuration it has.`,
		Example: "  vine config check && vine reload",
		Args:    takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			return e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
				if err := vr.Reload(ctx); err != nil {
					return err
				}
				if e.json {
					return e.printJSON(document{"reloaded": true})
				}
				e.say("configuration reloaded")
				return nil
			})
		},
	}
}
