package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/capture/hostnet"
	"github.com/vine-mesh/vine/node/config"
	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/gateway"
	"github.com/vine-mesh/vine/node/lease"
	"github.com/vine-mesh/vine/tables"
)

// newGateways returns what shares the gateway addresses of the configuration with other VRs of the site.
func newGateways(c config.Config, n *node.Node, log *slog.Logger) ([]*gateway.Gateway, error) {
	id, _ := n.Router()
	var list []*gateway.Gateway
	for _, a := range c.Attachments {
		if len(a.Gateway) == 0 {
			continue
		}
		if err := notOwn(a); err != nil {
			return nil, err
		}
		list = append(list, gateway.New(gateway.Config{
			Interface: a.Interface, Addrs: a.Gateway, Group: lease.GroupOf(n.Federation(), a.Gateway), Self: id,
			// A session begins at most once a second: none of the next start has a number of this one.
			Epoch: n.Boot() << 32, Sign: n.SignLAN, Key: n.Sharer, Fit: n.Fit, Log: log,
			Own: func(on bool) error { return own(c, a, on) },
		}))
	}
	return list, nil
}

// notOwn refuses a gateway address that the interface has anyway: every VR that is given it would answer for it all the time.
func notOwn(a config.Attachment) error {
	link, err := net.InterfaceByName(a.Interface)
	if err != nil {
		return nil // it may come later
	}
	addrs, err := link.Addrs()
	if err != nil {
		return nil
	}
	for _, has := range addrs {
		if p, err := netip.ParsePrefix(has.String()); err == nil && slices.Contains(a.Gateway, p.Addr().Unmap()) {
			return hinted(fmt.Errorf("%s has the address %v, which attachment.gateway says that VRs share", a.Interface, p.Addr()),
				"give every VR an address of its own there, and share another one")
		}
	}
	return nil
}

// own puts the shared gateway addresses of an attachment on its capture device, or takes them off. Where packets are taken off the
// LAN interfaces there is none, and the machine does not have the addresses.
func own(c config.Config, a config.Attachment, on bool) error {
	device := cmp.Or(a.Device, c.Device)
	if _, err := net.InterfaceByName(device); err != nil {
		return nil
	}
	return hostnet.Own(device, a.Gateway, on)
}

// heardEverywhere returns the VRs that are heard on every LAN that has a shared gateway.
func heardEverywhere(gateways []*gateway.Gateway) (list []tables.RouterID) {
	for i, g := range gateways {
		hears := g.State().Hears
		if i == 0 {
			list = slices.Clone(hears)
		}
		list = slices.DeleteFunc(list, func(id tables.RouterID) bool { return !slices.Contains(hears, id) })
	}
	return list
}

// describeGateways says how it stands with the shared addresses.
func describeGateways(n *node.Node, gateways []*gateway.Gateway) []control.Gateway {
	list := []control.Gateway{}
	for _, g := range gateways {
		state := g.State()
		d := control.Gateway{Interface: g.Interface, Addresses: g.Addrs, Held: state.Holds, Hears: []string{}}
		for _, id := range state.Hears {
			d.Hears = append(d.Hears, nameOf(n, id))
		}
		list = append(list, d)
	}
	return list
}

func nameOf(n *node.Node, id tables.RouterID) string {
	if name, ok := n.Name(id); ok {
		return name
	}
	return id.String()
}

// gatewayText says it for people.
func gatewayText(list []control.Gateway) string {
	var parts []string
	for _, g := range list {
		text := join(g.Addresses) + " on " + g.Interface + ", "
		if g.Held {
			text += "held"
		} else {
			text += "not held"
		}
		if len(g.Hears) > 0 {
			text += "; shared with " + strings.Join(g.Hears, ", ")
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}
