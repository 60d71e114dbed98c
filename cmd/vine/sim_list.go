package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/simulations"
)

func newSimListCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "The scenarios that come with vine",
		Long:    "Lists the scenarios that come with vine: what runs them, how many VRs they have, the virtual time, what they show.",
		Example: "  vine sim list\n  vine sim show churn-minutes > mine.toml",
		Args:    takes(),
		RunE: func(*cobra.Command, []string) error {
			var rows [][]string
			list := []document{}
			for _, name := range simulations.Names() {
				s, err := loadScenario(name)
				if err != nil {
					return err
				}
				about := strings.Join(strings.Fields(s.About), " ")
				list = append(list, document{"name": s.Name, "about": about, "engine": s.Engine, "vrs": s.VRs(), "duration": s.Duration.String(), "hash": s.Hash})
				rows = append(rows, []string{s.Name, s.Engine, strconv.Itoa(s.VRs()), s.Duration.String(), about})
			}
			if e.json {
				return e.printJSON(document{"scenarios": list})
			}
			return e.table([]string{"NAME", "ENGINE", "VRS", "TIME", "ABOUT"}, rows)
		},
	}
}

func newSimShowCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:     "show SCENARIO",
		Short:   "A scenario's text, after checking it",
		Long:    "Checks a scenario, a file or one that comes with vine, and prints it: a start for one of your own.",
		Example: "  vine sim show churn-minutes > mine.toml\n  vine sim show mine.toml >/dev/null && echo fine",
		Args:    takes("SCENARIO"),
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := loadScenario(args[0])
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(document{"name": s.Name, "hash": s.Hash, "text": string(s.Text)})
			}
			_, err = fmt.Fprint(e.Stdout, string(s.Text))
			return err
		},
	}
}
