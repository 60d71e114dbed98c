package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/capture/hostnet"
	"github.com/vine-mesh/vine/node/config"
	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/hosts"
	"github.com/vine-mesh/vine/tables"
)

// A hostSetup holds the flags of `vine host setup`.
type hostSetup struct {
	gateway, iface string
	space          []netip.Prefix
	apply, lasting bool
	system         string // --for
	router, mac    string
	lan            string
	name           string // of the host, if it was named so
}

// The targets of --for: systems of hosts, and DHCP servers.
var (
	hostSystems = []string{hosts.Linux, hosts.MacOS, hosts.Windows}
	dhcpServers = []string{"dnsmasq", "isc", "kea"}
)

func newHostSetupCommand(e *Env) *cobra.Command {
	var h hostSetup
	c := &cobra.Command{
		Use:   "setup [ADDRESS[/LENGTH]|NAME]",
		Short: "Print, or run, the commands that put a host into the ViNe space",
		Long: `Prints what gives a host its ViNe address and its route, to be run on that host as root (on Windows as
administrator, in PowerShell). A host of "vine host list" can be named instead of its address. On the
VR's machine it asks the running VR for the ViNe space and the length of its block, and finds the
gateway among the addresses of the LAN interfaces. Elsewhere, say --space and --gateway.

The settings last until the host restarts, or with --lasting until they are taken away: by way of
NetworkManager, netplan, systemd-networkd or ifupdown on Linux, launchd on macOS, the persistent store
on Windows. With --apply it does on this machine what the commands say; that must be the host itself.

With --for dnsmasq, isc or kea it prints what a DHCP server on the LAN is to say: the routes as option
121 (RFC 3442), to all its clients. A client that takes them ignores the router of option 3, so --router
says it again. With --mac one host leases the ViNe address instead of an address of the LAN; the server
then has to know its subnet (--lan for isc and kea) or its interface (--interface for dnsmasq).`,
		Example: `  vine host setup 10.192.0.10
  vine host setup desk --lasting --gateway 192.168.1.2 | ssh root@desk sh
  vine host setup 10.192.0.10 --for windows > setup.ps1
  vine host setup --for dnsmasq --router 192.168.1.1 > /etc/dnsmasq.d/vine.conf
  vine host setup desk --for kea --router none --lan 192.168.1.0/24`,
		Args: takes("[ADDRESS]"),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{""}
			}
			return h.run(c, e, args[0])
		},
		ValidArgsFunction: e.completeHost,
	}
	f := c.Flags()
	f.StringVar(&h.gateway, "gateway", "", "`ADDRESS` of the VR on the LAN")
	f.StringVar(&h.iface, "interface", "", "`NAME` of the host's LAN interface (default: the one that leads to the gateway)")
	list(f, &h.space, "space", "`PREFIX` of the ViNe space (default: ask the running VR)", parsePrefix)
	f.BoolVar(&h.apply, "apply", false, "set up this machine, instead of printing how")
	f.BoolVar(&h.lasting, "lasting", false, "settings that outlive a restart of the host")
	f.StringVar(&h.system, "for", hosts.Linux, "`SYSTEM` of the host, or DHCP server: "+strings.Join(slices.Concat(hostSystems, dhcpServers), ", "))
	f.StringVar(&h.router, "router", "", "with a DHCP server: `ADDRESS` of the LAN's default router, or none")
	f.StringVar(&h.mac, "mac", "", "with a DHCP server: `MAC` of the host that leases the address")
	f.StringVar(&h.lan, "lan", "", "with a DHCP server and --mac: `PREFIX` of the LAN")
	_ = c.RegisterFlagCompletionFunc("for", cobra.FixedCompletions(slices.Concat(hostSystems, dhcpServers), cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (h hostSetup) run(c *cobra.Command, e *Env, text string) error {
	dhcp := slices.Contains(dhcpServers, h.system)
	if err := h.check(dhcp, text); err != nil {
		return err
	}
	addr, err := h.address(c.Context(), e, text)
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
			if addr.IsValid() && b.Contains(addr.Addr()) && addr.IsSingleIP() {
				addr = netip.PrefixFrom(addr.Addr(), b.Bits())
			}
		}
	}
	if !gateway.IsValid() {
		settings, err := e.loadConfig()
		if err != nil {
			return err
		}
		if gateway = lanAddress(settings, h.space, !addr.IsValid() || addr.Addr().Is4()); !gateway.IsValid() {
			return usage("say with --gateway what address the VR has on the LAN: the configuration names no LAN interface of this machine that has one")
		}
	}
	if dhcp {
		return h.dhcp(e, addr, gateway)
	}
	host, err := hostnet.HostSetup(addr, gateway, h.space...)
	if err != nil {
		return usage("%w", err)
	}
	if h.iface != "" {
		host.Interface = h.iface
	}
	return h.host(e, host)
}

// check refuses flags that do not go together.
func (h hostSetup) check(dhcp bool, text string) error {
	switch {
	case !dhcp && !slices.Contains(hostSystems, h.system):
		return usage("--for %q is not one of %s", h.system, strings.Join(slices.Concat(hostSystems, dhcpServers), ", "))
	case h.apply && (h.system != hosts.Linux || h.lasting):
		return usage("--apply makes settings of this Linux machine that last until it restarts: run the script that is printed without it")
	case !dhcp && text == "":
		return usage("ADDRESS is missing")
	case !dhcp && (h.router != "" || h.mac != "" || h.lan != ""):
		return usage("--router, --mac and --lan are for DHCP servers: --for dnsmasq, isc or kea")
	case dhcp && h.lasting:
		return usage("--lasting is for hosts: what a DHCP server says comes again with every lease")
	case dhcp && h.router == "":
		return usage("say with --router what default router the DHCP server gives: a client that takes the routes of ViNe takes no other; --router none if there is none")
	}
	return nil
}

// address returns the address that text says, or that the host of that name has; none for an empty text.
func (h *hostSetup) address(ctx context.Context, e *Env, text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, nil
	}
	addr, err := parseHostAddress(text)
	if err == nil || !tables.ValidName(text) {
		return addr, err
	}
	vr, err := e.client()
	if err != nil {
		return addr, err
	}
	list, err := vr.LANHosts(ctx)
	if err != nil {
		return addr, hintUnreachable(err)
	}
	i := slices.IndexFunc(list, func(l control.LANHost) bool { return l.Name == text })
	if i < 0 {
		return addr, hinted(fmt.Errorf("host %q: %w", text, control.ErrNotFound), "`vine host list` shows the hosts of this VR")
	}
	if h.name = text; h.mac == "" && slices.Contains(dhcpServers, h.system) {
		h.mac = list[i].MAC
	}
	return netip.PrefixFrom(list[i].Addr, list[i].Addr.BitLen()), nil
}

// host prints what sets a host up, or does it.
func (h hostSetup) host(e *Env, host hostnet.Host) error {
	if h.apply {
		if err := host.Apply(); err != nil {
			return err
		}
		e.say("this machine has the address %s now", host.Address)
	}
	text, err := host.Script(h.system, h.lasting)
	if err != nil {
		return usage("%w", err)
	}
	commands, remove := host.Commands(), host.RemoveCommands()
	if plain := h.system == hosts.Linux && !h.lasting; plain {
		text = strings.Join(commands, "\n") + "\n"
	} else {
		commands, remove = strings.Split(strings.TrimRight(text, "\r\n"), "\n"), []string{}
	}
	if e.json {
		return e.printJSON(document{
			"address": host.Address, "gateway": host.Gateway, "space": host.Space, "interface": host.Interface,
			"commands": commands, "remove_commands": remove, "applied": h.apply, "for": h.system, "lasting": h.lasting,
		})
	}
	if h.apply {
		return nil
	}
	if h.system == hosts.Windows {
		e.say("run this on the host, in PowerShell as administrator:")
	} else {
		e.say("run this on the host, as root:")
	}
	_, err = fmt.Fprint(e.Stdout, text)
	return err
}

// dhcp prints the configuration of a DHCP server.
func (h hostSetup) dhcp(e *Env, addr netip.Prefix, gateway netip.Addr) error {
	d := hosts.DHCP{Gateway: gateway, Name: h.name, Interface: h.iface}
	var err error
	if h.router != "none" {
		if d.Router, err = netip.ParseAddr(h.router); err != nil {
			return usage("--router %q is not an IP address, nor none", h.router)
		}
	}
	if h.mac != "" {
		if d.MAC, err = hosts.ParseMAC(h.mac); err != nil {
			return usage("--mac: %w", err)
		}
		if d.Address = addr; !addr.IsValid() {
			return usage("say which address the host of that MAC leases")
		}
		if h.lan != "" {
			if d.LAN, err = parsePrefix(h.lan); err != nil {
				return usage("--lan: %w", err)
			}
		}
		switch {
		case h.system == "dnsmasq" && h.iface == "":
			return usage("say with --interface by what interface dnsmasq meets the LAN")
		case h.system != "dnsmasq" && h.lan == "":
			return usage("say with --lan what subnet the LAN has, such as 192.168.1.0/24")
		}
	}
	if d, err = hosts.NewDHCP(d, h.space...); err != nil {
		return usage("%w", err)
	}
	text := map[string]func() string{"dnsmasq": d.Dnsmasq, "isc": d.ISC, "kea": d.Kea}[h.system]()
	if e.json {
		return e.printJSON(document{"for": h.system, "gateway": gateway, "space": d.Space, "configuration": text})
	}
	_, err = fmt.Fprint(e.Stdout, text)
	return err
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
		// One that VRs share outlives each of them.
		if at := slices.IndexFunc(a.Gateway, func(g netip.Addr) bool { return g.Is4() == ipv4 }); at >= 0 {
			return a.Gateway[at]
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
