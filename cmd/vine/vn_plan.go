package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/tables"
)

func newVNPlanCommand(e *Env) *cobra.Command {
	operations := vnOperations(e, true)
	for _, c := range operations {
		c.Short = "Plan: " + strings.ToLower(c.Short[:1]) + c.Short[1:]
		c.Long = "Says what the operation would do, and changes nothing.\n\n" + c.Long
		var examples []string
		for line := range strings.Lines(c.Example) {
			line = strings.Replace(strings.TrimRight(line, "\n"), "vine vn "+c.Name(), "vine vn plan "+c.Name(), 1)
			if line = strings.TrimSuffix(line, " --yes"); strings.Contains(line, c.CommandPath()) && !slices.Contains(examples, line) {
				examples = append(examples, line)
			}
		}
		c.Example = strings.Join(examples, "\n")
	}
	return group(&cobra.Command{
		Use:   "plan",
		Short: "Say what an operation would change, and change nothing",
		Long: `Says what an operation on virtual networks would do if the authority decided now: whether you may, what stands
in its way, every prefix and host that comes or goes, and every pair of hosts that would reach each other and
does not now, or the other way round. It changes nothing, and nobody but this VR hears of it.`,
		Example: "  vine vn plan merge blue green\n  vine vn plan split blue --into green 10.192.1.11",
	}, operations...)
}

// pairsShown is how many pairs of hosts a plan prints; the JSON has more.
const pairsShown = 20

// plan asks the VR what the request d would do, and prints it. A refusal is an error, as when it is asked for.
func (e *Env) plan(ctx context.Context, vr *control.Client, d *tables.Document) error {
	p, err := vr.Plan(ctx, d.Bytes())
	if err != nil {
		return err
	}
	if p.State == tables.StateRefused {
		return fmt.Errorf("the authority would have %w it: %s", control.ErrRefused, clean(p.Reason))
	}
	if e.json {
		return e.printJSON(document{"plan": p})
	}
	if p.State != tables.StateDone {
		return e.pairs("plan", p.State+": "+p.Reason)
	}
	for _, vn := range p.VNs {
		if _, err := fmt.Fprintf(e.Stdout, "VN %s: %s\n", clean(vn.After.Name), clean(stateText(vn.After))); err != nil {
			return err
		}
		if err := e.printChanges(vn.Before, vn.After, vn.Changes); err != nil {
			return err
		}
	}
	if err := e.printPairs("gained", p.Gained); err != nil {
		return err
	}
	return e.printPairs("lost", p.Lost)
}

func (e *Env) printPairs(what string, p control.Pairs) error {
	if _, err := fmt.Fprintf(e.Stdout, "pairs of hosts %s: %d\n", what, p.Count); err != nil {
		return err
	}
	var rows []string
	for _, pair := range p.First[:min(len(p.First), pairsShown)] {
		rows = append(rows, "  "+pair[0].String(), pair[1].String())
	}
	if err := e.pairs(rows...); err != nil {
		return err
	}
	if rest := p.Count - uint64(len(rows)/2); rest > 0 {
		_, err := fmt.Fprintf(e.Stdout, "  and %d more (--json names %d of all)\n", rest, len(p.First))
		return err
	}
	return nil
}
