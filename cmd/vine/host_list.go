package main

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/hosts"
	"github.com/vine-mesh/vine/policy"
)

func newHostListCommand(e *Env) *cobra.Command {
	c := look[control.LANHost]{
		name:  "list",
		short: "The hosts of this VR's LAN",
		long: `Lists the machines that have an address of this VR's blocks, with their MAC where it is known and the
virtual networks that they are in. "vine hosts" lists the hosts of all sites.`,
		get:   (*control.Client).LANHosts,
		head:  []string{"NAME", "ADDRESS", "MAC", "VNS"},
		empty: "no hosts; `vine host add NAME` gives one an address",
		row: func(h control.LANHost) []string {
			return []string{h.Name, h.Addr.String(), h.MAC, strings.Join(h.VNs, " ")}
		},
		key: "lan_hosts",
	}.command(e)
	c.Example = "  vine host list\n  vine host list --json"
	return c
}

func newHostAddCommand(e *Env) *cobra.Command {
	var a asking
	var address, mac, vn string
	var ipv6 bool
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Give a host an address of this VR's block",
		Long: `Gives a host the next free address of this VR's block, or with --address the one that is asked for, and
keeps it for the host until "vine host remove". An address that was given back is used again after all
that nobody had. With --mac the VR knows the machine by its network card, and "vine host setup" can tell
a DHCP server.

With --vn it then asks the authority to put the host into a virtual network, as "vine vn join" does.
To add twice what is there already is no error.`,
		Example: `  vine host add desk
  vine host add desk --mac 02:00:5e:10:00:01 --vn blue
  vine host add printer --address 10.192.0.200`,
		Args: takes("NAME"),
		RunE: func(c *cobra.Command, argv []string) error {
			ask := control.HostAsk{Name: argv[0], IPv6: ipv6}
			if err := checkName("host", argv[0]); err != nil {
				return err
			}
			if err := checkOptionalName("VN", vn); err != nil {
				return err
			}
			var err error
			if ask.Addr, err = parseOptionalAddr("--address", address); err != nil {
				return err
			}
			if mac != "" {
				parsed, err := hosts.ParseMAC(mac)
				if err != nil {
					return usage("--mac: %w", err)
				}
				ask.MAC = string(parsed)
			}
			return e.addHost(c.Context(), a, ask, vn)
		},
	}
	a.flags(c)
	f := c.Flags()
	f.StringVar(&address, "address", "", "`ADDRESS` of the block that it is to have (default: the next free one)")
	f.StringVar(&mac, "mac", "", "`MAC` address of its network card")
	f.StringVar(&vn, "vn", "", "`NAME` of a virtual network to put it into")
	f.BoolVar(&ipv6, "ipv6", false, "give it an IPv6 address")
	_ = c.RegisterFlagCompletionFunc("vn", func(c *cobra.Command, _ []string, text string) ([]string, cobra.ShellCompDirective) {
		return e.completeVNs(1)(c, nil, text)
	})
	return c
}

func (e *Env) addHost(ctx context.Context, a asking, ask control.HostAsk, vn string) error {
	vr, err := e.client()
	if err != nil {
		return err
	}
	if vn != "" {
		// Without a key nothing could be asked for afterwards: so nothing is begun.
		if _, err := e.userKey(ctx, a.user); err != nil {
			return err
		}
	}
	h, err := vr.AddHost(ctx, ask)
	if err != nil {
		return err
	}
	if vn != "" && !slices.Contains(h.VNs, vn) {
		e.say("host %s has the address %v", h.Name, h.Addr)
		return e.ask(ctx, a, policy.OpVNJoin, policy.VNHostsArgs{VN: vn, Hosts: []netip.Addr{h.Addr}})
	}
	if e.json {
		return e.printJSON(document{"host": h})
	}
	e.say("`vine host setup %s` prints what the host needs", h.Name)
	return e.pairs("name", h.Name, "address", h.Addr.String(), "mac", h.MAC, "vns", strings.Join(h.VNs, " "))
}

func parseOptionalAddr(flag, text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	a, err := parseAddr(text)
	if err != nil {
		return a, usage("%s: %w", flag, err)
	}
	return a, nil
}

func newHostRemoveCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Take a host off the list and release its address",
		Long: `Takes a host off this VR's list. Its address is given to another host, last of all that are free. A host
that is in a virtual network stays there until "vine vn leave"; its address is not given away before.`,
		Example:           `  vine host remove desk`,
		Args:              takes("NAME"),
		ValidArgsFunction: e.completeHost,
		RunE: func(c *cobra.Command, argv []string) error {
			vr, err := e.client()
			if err != nil {
				return err
			}
			h, err := vr.RemoveHost(c.Context(), argv[0])
			if err != nil {
				return err
			}
			for _, vn := range h.VNs {
				e.warn("%v is still in VN %s: `vine vn leave %s %v` takes it out", h.Addr, clean(vn), clean(vn), h.Addr)
			}
			if e.json {
				return e.printJSON(document{"host": h})
			}
			return e.pairs("name", h.Name, "released", h.Addr.String())
		},
	}
}

// completeHost completes the name of a host of this VR.
func (e *Env) completeHost(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(args) == 0 {
		e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
			list, err := vr.LANHosts(ctx)
			for _, h := range list {
				names = append(names, clean(h.Name))
			}
			return err
		})
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
