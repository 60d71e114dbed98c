package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/capture/hostnet"
	"github.com/vine-mesh/vine/node/config"
)

// tableBase is the routing table of the first attachment that has its own TUN device: the port
// number of ViNe, unlikely to be in use.
const tableBase = config.DefaultPort

// A machine is what `vine up` sets up on this machine: TUN devices, and the routes that lead
// packets into them and out to the LAN. The routes follow what the VR delivers.
type machine struct {
	config      config.Config
	log         *slog.Logger
	plan        hostnet.Plan // what is wished for; the setup may lag behind
	setup       setup
	failure     string // of the last try, so that it is logged once
	attachments []node.Attachment
	// lan has, for each attachment of the node, the indexes of its LAN interfaces in the plan.
	lan  [][]int
	news chan [][]netip.Prefix // capacity 1: the newest replaces one that was not taken
}

// A setup is what newMachine made of the machine: a *hostnet.Setup.
type setup interface {
	Update(hostnet.Plan) error
	Close() error
}

const (
	// setupRetry is how soon a set-up that failed is tried again.
	setupRetry = 5 * time.Second
	// setupRepair is how often the set-up is made again as it is: the kernel takes routes away with
	// an interface that goes down, and does not give them back.
	setupRepair = 30 * time.Second
)

// newMachine opens the devices and makes the first set-up, with the ViNe space guarded.
//
// Attachments with a device of their own come first among the node's, so that they take the VNs they
// name; all others share the common device.
func newMachine(c config.Config, space []netip.Prefix, log *slog.Logger) (result *machine, err error) {
	m := &machine{ // not the result: an error return makes that nil before the devices are closed
		config: c, log: log, news: make(chan [][]netip.Prefix, 1),
		plan: hostnet.Plan{Device: c.Device, MTU: c.MTU, Space: space},
	}
	defer func() {
		if err != nil {
			m.closeDevices()
		}
	}()
	var common []int
	var vns []string
	all := false
	for i, a := range c.Attachments {
		lan := hostnet.Attachment{Interface: a.Interface}
		if a.Device != "" {
			lan.Device, lan.Table = a.Device, tableBase+i
			if err := m.open(a.Device, a.VNs, []int{i}); err != nil {
				return nil, err
			}
		} else {
			common = append(common, i)
			vns = append(vns, a.VNs...)
			all = all || len(a.VNs) == 0
		}
		m.plan.Attachments = append(m.plan.Attachments, lan)
	}
	if all || len(common) == 0 {
		vns = nil
	}
	if err := m.open(c.Device, vns, common); err != nil {
		return nil, err
	}
	made, err := hostnet.Apply(m.plan, journalPath(c))
	if err != nil {
		return nil, err // and not a setup that holds a nil *Setup
	}
	m.setup = made
	return m, nil
}

// open opens one TUN device for an attachment of the node.
func (m *machine) open(name string, vns []string, lan []int) error {
	device, err := openTUN(name, m.config.MTU)
	if err != nil {
		return hinted(fmt.Errorf("open %s: %w", name, err), "a TUN device needs root and /dev/net/tun; with capture.kind = \"none\" a VR runs without hosts")
	}
	m.attachments = append(m.attachments, node.Attachment{Name: name, Device: device, VNs: vns})
	m.lan = append(m.lan, lan)
	return nil
}

// delivers is told by the VR which prefixes each attachment delivers. It never waits.
func (m *machine) delivers(prefixes [][]netip.Prefix) {
	for {
		select {
		case m.news <- prefixes:
			return
		default:
		}
		select {
		case <-m.news:
		default:
		}
	}
}

// run keeps the machine's routes as the VR delivers, until ctx ends.
func (m *machine) run(ctx context.Context) error {
	timer := time.NewTimer(setupRepair)
	defer timer.Stop()
	for {
		select {
		case prefixes := <-m.news:
			m.follow(prefixes)
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		timer.Reset(m.apply())
	}
}

// apply makes the machine as wished and returns when to do that again.
func (m *machine) apply() time.Duration {
	err := m.setup.Update(m.plan)
	if err == nil {
		if m.failure != "" {
			m.log.Info("routes set up after all")
			m.failure = ""
		}
		return setupRepair
	}
	if text := err.Error(); text != m.failure {
		m.log.Error("routes not changed; will try again", "every", setupRetry, "err", err)
		m.failure = text
	}
	return setupRetry
}

// follow wishes for routes of the prefixes of each attachment to its LAN interface. Where one attachment of the
// node has several interfaces, the first has them: which host is on which LAN is not known.
func (m *machine) follow(prefixes [][]netip.Prefix) {
	plan := m.plan
	plan.Attachments = slices.Clone(plan.Attachments)
	for at, list := range prefixes {
		if len(m.lan[at]) > 0 {
			plan.Attachments[m.lan[at][0]].Blocks = outermost(list)
		}
	}
	m.plan = plan
}

// outermost leaves out prefixes that another one of the list contains.
func outermost(list []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range list {
		if !slices.ContainsFunc(list, func(q netip.Prefix) bool { return q.Bits() < p.Bits() && q.Contains(p.Addr()) }) {
			out = append(out, p)
		}
	}
	return out
}

// Close puts the machine back as it was, but for the guard routes.
func (m *machine) Close() error {
	var err error
	if m.setup != nil {
		err = m.setup.Close()
	}
	return errors.Join(err, m.closeDevices())
}

func (m *machine) closeDevices() error {
	var errs []error
	for _, a := range m.attachments {
		errs = append(errs, a.Device.Close())
	}
	return errors.Join(errs...)
}
