package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newVNShowCommand(e *Env) *cobra.Command {
	var at uint64
	c := &cobra.Command{
		Use:   "show NAME",
		Short: "Show one virtual network",
		Long: `Shows a virtual network: its version, who delivers which prefixes, and its hosts. With --at, as it was
after an entry of its log.`,
		Example: "  vine vn show blue\n  vine vn show blue --json\n  vine vn show blue --at 4",
		Args:    takes("NAME"),

		ValidArgsFunction: e.completeVNs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkName("VN", args[0]); err != nil {
				return err
			}
			return e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
				if at > 0 {
					s, err := vr.VNAt(ctx, args[0], at)
					if err != nil {
						return err
					}
					if e.json {
						return e.printJSON(document{"vn": s})
					}
					return e.printVNState(s)
				}
				vn, err := vr.VN(ctx, args[0])
				if err != nil {
					return err
				}
				if e.json {
					return e.printJSON(document{"vn": vn})
				}
				return e.printVN(vn)
			})
		},
	}
	c.Flags().Uint64Var(&at, "at", 0, "`NUMBER` of an entry of its log")
	return c
}

func (e *Env) printVNState(s control.VNState) error {
	rows := []string{"name", s.Name, "after entry", strconv.FormatUint(s.Entry, 10), "state", s.State, "seal", s.Seal}
	for _, set := range s.Sets {
		rows = append(rows, "delivers", setText(set))
	}
	for _, p := range s.Disabled {
		rows = append(rows, "disabled", p.String())
	}
	for _, h := range s.Hosts {
		rows = append(rows, "host", h.String())
	}
	return e.pairs(rows...)
}

func (e *Env) printVN(vn control.VN) error {
	rows := []string{
		"name", vn.Name, "ID", vn.ID.String(), "state", vn.State, "seal", vn.Seal,
		"version", strconv.FormatUint(vn.Version, 10),
		"installed", strconv.FormatUint(vn.Installed, 10),
	}
	for _, s := range vn.Sets {
		rows = append(rows, "delivers", setText(s))
	}
	if err := e.pairs(rows...); err != nil || len(vn.Hosts) == 0 {
		return err
	}
	fmt.Fprintln(e.Stdout)
	var hosts [][]string
	for _, h := range vn.Hosts {
		hosts = append(hosts, []string{h.Addr.String(), h.Site, h.VR})
	}
	return e.table([]string{"ADDRESS", "SITE", "VR"}, hosts)
}
