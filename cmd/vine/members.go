package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newMembersCommand(e *Env) *cobra.Command {
	return look[control.Member]{
		name:  "members",
		short: "The VRs that gossip knows, and who seems alive",
		long: `Lists the VRs that gossip knows. It is a hint: any member can say of another that it is dead.
What is certain stands in "vine vrs" (enrolled) and "vine links" (answering).`,
		get:   (*control.Client).Members,
		head:  []string{"NAME", "ROUTER", "STATUS", "TAGS"},
		empty: "no members",
		row: func(m control.Member) []string {
			var tags []string
			for _, k := range slices.Sorted(maps.Keys(m.Tags)) {
				tags = append(tags, k+"="+m.Tags[k])
			}
			return []string{m.Name, m.Router.String(), m.Status, strings.Join(tags, ",")}
		},
	}.command(e)
}
