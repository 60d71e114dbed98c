package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/policy"
)

func newHostRequestsCommand(e *Env) *cobra.Command {
	c := look[control.HostRequest]{
		name:  "requests",
		short: "What hosts on the LAN have asked for",
		long: `Lists what machines on this VR's LAN have asked for at its page (curl -X POST http://GATEWAY/join -d
vn=blue): to be in a virtual network. "vine host approve" and "vine host deny" answer them.`,
		get:   (*control.Client).HostRequests,
		head:  []string{"ID", "NAME", "MAC", "FROM", "VN", "ASKED", "STATE", "ADDRESS"},
		empty: "no host asks for anything",
		row: func(r control.HostRequest) []string {
			state, addr := r.State, ""
			if r.Reason != "" {
				state += ": " + r.Reason
			}
			if r.Addr.IsValid() {
				addr = r.Addr.String()
			}
			return []string{strconv.FormatUint(r.ID, 10), r.Name, r.MAC, r.Seen.String(), r.VN, day(r.Asked), state, addr}
		},
		key: "host_requests",
	}.command(e)
	c.Example = "  vine host requests\n  vine host requests --json"
	return c
}

func newHostApproveCommand(e *Env) *cobra.Command {
	var a asking
	var address, name string
	c := &cobra.Command{
		Use:   "approve ID",
		Short: "Give a host what it has asked for",
		Long: `Gives the machine of a request an address of this VR's block, if it has none, and asks the authority to
put it into the virtual network, as "vine vn join" does: that takes your key. Run it again if the
authority could not be reached.`,
		Example: `  vine host approve 3
  vine host approve 3 --name printer --address 10.192.0.200`,
		Args:              takes("ID"),
		ValidArgsFunction: e.completeHostRequest,
		RunE: func(c *cobra.Command, argv []string) error {
			id, err := parseRequestID(argv[0])
			if err != nil {
				return err
			}
			v := control.HostVerdict{Approve: true, Name: name}
			if err := checkOptionalName("host", name); err != nil {
				return err
			}
			if v.Addr, err = parseOptionalAddr("--address", address); err != nil {
				return err
			}
			return e.approveHost(c.Context(), a, id, v)
		},
	}
	a.flags(c)
	c.Flags().StringVar(&address, "address", "", "`ADDRESS` of the block that it is to have (default: the next free one)")
	c.Flags().StringVar(&name, "name", "", "`NAME` of the host instead of the one that it asked for")
	return c
}

func (e *Env) approveHost(ctx context.Context, a asking, id uint64, v control.HostVerdict) error {
	if _, err := e.userKey(ctx, a.user); err != nil {
		return err // before anything is given away
	}
	vr, err := e.client()
	if err != nil {
		return err
	}
	r, err := vr.AnswerHost(ctx, id, v)
	if err != nil {
		return err
	}
	e.say("host %s has the address %v", clean(r.Name), r.Addr)
	return e.ask(ctx, a, policy.OpVNJoin, policy.VNHostsArgs{VN: r.VN, Hosts: []netip.Addr{r.Addr}})
}

func newHostDenyCommand(e *Env) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "deny ID...",
		Short: "Turn requests of hosts down",
		Long: `Turns requests of hosts down. The host sees it, with the reason, at the page of the VR for a week, and
may ask again after an hour.`,
		Example:           `  vine host deny 3 --reason "ask at room 214"`,
		Args:              takes("ID..."),
		ValidArgsFunction: e.completeHostRequest,
		RunE: func(c *cobra.Command, argv []string) error {
			var ids []uint64
			for _, text := range argv {
				id, err := parseRequestID(text)
				if err != nil {
					return err
				}
				ids = append(ids, id)
			}
			vr, err := e.client()
			if err != nil {
				return err
			}
			var denied []control.HostRequest
			var rows [][]string
			for _, id := range ids {
				r, err := vr.AnswerHost(c.Context(), id, control.HostVerdict{Reason: reason})
				if err != nil {
					return err
				}
				denied = append(denied, r)
				rows = append(rows, []string{strconv.FormatUint(r.ID, 10), r.Name, r.VN, r.State, r.Reason})
			}
			if e.json {
				return e.printJSON(document{"host_requests": denied})
			}
			return e.table([]string{"ID", "NAME", "VN", "STATE", "REASON"}, rows)
		},
	}
	textVar(c.Flags(), &reason, "reason", "`TEXT` that the host is shown")
	return c
}

func parseRequestID(text string) (uint64, error) {
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, usage("%q is not the number of a request: `vine host requests` shows them", text)
	}
	return id, nil
}

// completeHostRequest completes the number of a request that waits.
func (e *Env) completeHostRequest(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var ids []string
	if len(args) == 0 {
		e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
			list, err := vr.HostRequests(ctx)
			for _, r := range list {
				ids = append(ids, fmt.Sprintf("%d\t%s wants %s", r.ID, clean(r.Name), clean(r.VN)))
			}
			return err
		})
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
