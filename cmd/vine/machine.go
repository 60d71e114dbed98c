package main

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/capture/hostnet"
	"github.com/vine-mesh/vine/node/config"
)

// tableBase is the routing table of the first attachment that has its own device: the port
// number of ViNe, unlikely to be in use.
const tableBase = config.DefaultPort

// A machine is what `vine up` sets up on this machine: capture devices, and the routes and rules that lead
// packets into them and out to the LAN. The routes follow what the VR delivers.
type machine struct {
	config      config.Config
	log         *slog.Logger
	plan        hostnet.Plan // what is wished for; the setup may lag behind
	setup       setup
	failure     string // of the last try, so that it is logged once
	attachments []node.Attachment
	// ports and lan have, for each attachment of the node, how to open its device, and the indexes of its LAN interfaces in
	// the plan.
	ports   []port
	lan     [][]int
	way     string // of capture
	devices []capture.Device
	news    chan [][]netip.Prefix // capacity 1: the newest replaces one that was not taken
	changes chan wayChange        // senders wait for the reply, or until ended is closed
	ended   chan struct{}
	lost    error // nothing is captured any more
	// replace gives the node other devices: node.Node.Replace.
	replace func(swap func(old []capture.Device) ([]capture.Device, error)) error
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
func newMachine(c config.Config, space []netip.Prefix, log *slog.Logger) (*machine, error) {
	m := &machine{
		config: c, log: log, news: make(chan [][]netip.Prefix, 1), changes: make(chan wayChange), ended: make(chan struct{}),
		plan: hostnet.Plan{MTU: c.MTU, Space: space}, way: c.Capture,
	}
	var common []int
	var vns []string
	all := false
	for i, a := range c.Attachments {
		lan := hostnet.Attachment{Interface: a.Interface, Subnets: a.Subnets}
		if a.Device != "" {
			lan.Table = tableBase + i
			m.attach(a.Device, a.VNs, []int{i})
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
	m.attach(c.Device, vns, common)
	if err := m.check(m.way); err != nil {
		return nil, err
	}
	m.plan = m.planOf(m.way)
	if err := m.start(); err != nil {
		return nil, err
	}
	for i, d := range m.devices {
		m.attachments[i].Device = d
	}
	return m, nil
}

// attach notes an attachment of the node.
func (m *machine) attach(device string, vns []string, lan []int) {
	p := port{device: device, mtu: m.config.MTU, lanes: m.config.Lanes, space: m.plan.Space, queue: uint16(queueBase + 2*len(m.ports))}
	for _, i := range lan {
		p.interfaces = append(p.interfaces, m.config.Attachments[i].Interface)
	}
	m.attachments = append(m.attachments, node.Attachment{Name: device, VNs: vns})
	m.ports, m.lan = append(m.ports, p), append(m.lan, lan)
}

// start makes the first set-up: a packet socket is opened after it, other devices before, as in switchTo.
func (m *machine) start() (err error) {
	if m.way != "raw" {
		if m.devices, err = m.open(m.way); err != nil {
			return err
		}
	}
	made, err := hostnet.Apply(m.plan, journalPath(m.config))
	if err != nil {
		closeAll(m.devices)
		return err // and m.setup does not hold a nil *Setup
	}
	m.setup = made
	if m.way == "raw" {
		if m.devices, err = m.open(m.way); err != nil {
			return errors.Join(err, made.Close())
		}
	}
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
	defer close(m.ended)
	timer := time.NewTimer(setupRepair)
	defer timer.Stop()
	for {
		select {
		case prefixes := <-m.news:
			m.follow(prefixes)
		case c := <-m.changes:
			c.reply <- m.switchTo(c.way)
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		again := m.apply()
		if again == setupRepair {
			m.refresh()
		}
		if m.lost != nil {
			return m.lost
		}
		timer.Reset(again)
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
	return errors.Join(err, closeAll(m.devices))
}
