package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/capture/hostnet"
	"github.com/vine-mesh/vine/node/config"
)

func newHostCommand(e *Env) *cobra.Command {
	return group(&cobra.Command{
		Use:     "host",
		Short:   "What a machine on the LAN needs",
		Long:    `A host on the LAN needs no software: an alias address in the ViNe space and one static route.`,
		Example: "  vine host setup 10.192.0.10",
	}, newHostSetupCommand(e))
}

// A hostSetup holds the flags of `vine host setup`.
type hostSetup struct {
	gateway, iface string
	space          []netip.Prefix
	apply          bool
}

func newHostSetupCommand(e *Env) *cobra.Command {
	var h hostSetup
	c := &cobra.Command{
		Use:   "setup ADDRESS[/LENGTH]",
		Short: "Print, or run, the commands that put a host into the ViNe space",
		Long: `Prints the commands that give a host its ViNe address and its route, to be run on that host as
root. On the VR's machine it asks the running VR for the ViNe space and the length of its block, and
finds the gateway among the addresses of the LAN interfaces. Elsewhere, say --space and --gateway.

With --apply it does on this machine what the commands say; that must be the host itself.
The settings last until the host restarts.`,
		Example: `  vine host setup 10.192.0.10
  vine host setup 10.192.0.10 --gateway 192.168.1.2 | ssh root@desk sh
  vine host setup 10.192.0.10 --space 10.192.0.0/10 --gateway 192.168.1.2 --apply`,
		Args: takes("ADDRESS"),
		RunE: func(c *cobra.Command, args []string) error { return h.run(c, e, args[0]) },
	}
	c.Flags().StringVar(&h.gateway, "gateway", "", "`ADDRESS` of the VR on the LAN")
	c.Flags().StringVar(&h.iface, "interface", "", "`NAME` of the host's LAN interface (default: the one that leads to the gateway)")
	list(c.Flags(), &h.space, "space", "`PREFIX` of the ViNe space (default: ask the running VR)", parsePrefix)
	c.Flags().BoolVar(&h.apply, "apply", false, "set up this machine, instead of printing how")
	return c
}

func (h hostSetup) run(c *cobra.Command, e *Env, text string) error {
	addr, err := parseHostAddress(text)
	if err != nil {
		return err
	}
	var gateway netip.Addr
	if h.gateway != "" {
		if gateway, err = netip.ParseAddr(h.gateway); err != nil {
			return usage("--gateway %q is not an IP address", h.gateway)
		}
	}
	if len(h.space) == 0 {
		vr, err := e.client()
		if err != nil {
			return err
		}
		s, err := vr.Status(c.Context())
		if err != nil {
			return hintUnreachable(err)
		}
		h.space = s.Space
		for _, b := range s.Blocks {
			if b.Contains(addr.Addr()) && addr.IsSingleIP() {
				addr = netip.PrefixFrom(addr.Addr(), b.Bits())
			}
		}
	}
	if !gateway.IsValid() {
		settings, err := e.loadConfig()
		if err != nil {
			return err
		}
		if gateway = lanAddress(settings, h.space, addr.Addr().Is4()); !gateway.IsValid() {
			return usage("say with --gateway what address the VR has on the LAN: the configuration names no LAN interface of this machine that has one")
		}
	}
	host, err := hostnet.HostSetup(addr, gateway, h.space...)
	if err != nil {
		return usage("%w", err)
	}
	if h.iface != "" {
		host.Interface = h.iface
	}
	if h.apply {
		if err := host.Apply(); err != nil {
			return err
		}
		e.say("this machine has the address %s now", host.Address)
	}
	if e.json {
		return e.printJSON(document{
			"address": host.Address, "gateway": host.Gateway, "space": host.Space, "interface": host.Interface,
			"commands": host.Commands(), "remove_commands": host.RemoveCommands(), "applied": h.apply,
		})
	}
	if h.apply {
		return nil
	}
	e.say("run this on the host, as root:")
	for _, line := range host.Commands() {
		if _, err := fmt.Fprintln(e.Stdout, line); err != nil {
			return err
		}
	}
	return nil
}

func hintUnreachable(err error) error {
	if codeOf(err) != exitUnreachable {
		return err
	}
	return hinted(err, "run it on the VR's machine while `vine up` runs there, or say --space and --gateway")
}

// parseHostAddress reads ADDRESS or ADDRESS/LENGTH. Without a length it is the whole address, so that
// the host reaches everybody through the VR.
func parseHostAddress(text string) (netip.Prefix, error) {
	if a, err := parseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return p, usage("%q is not an address, with or without a length", text)
	}
	return p, nil
}

// lanAddress returns an address that this machine has on a LAN interface of the configuration, not
// itself in the ViNe space.
func lanAddress(c config.Config, space []netip.Prefix, ipv4 bool) netip.Addr {
	for _, a := range c.Attachments {
		i, err := net.InterfaceByName(a.Interface)
		if err != nil {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			continue
		}
		for _, text := range addrs {
			p, err := netip.ParsePrefix(text.String())
			inSpace := slices.ContainsFunc(space, func(s netip.Prefix) bool { return s.Contains(p.Addr()) })
			if err == nil && p.Addr().Is4() == ipv4 && p.Addr().IsGlobalUnicast() && !inSpace {
				return p.Addr()
			}
		}
	}
	return netip.Addr{}
}
