package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/capture/hostnet"
	"github.com/vine-mesh/vine/node/config"
)

// queueBase is the first netfilter queue: the port number of ViNe, unlikely to be in use.
const queueBase = config.DefaultPort

// A port is what is needed to open the device of one attachment of the node, whatever way packets are captured.
type port struct {
	device     string // of TUN or TAP
	mtu        int
	lanes      int      // queues of a TUN device
	interfaces []string // of the LAN
	space      []netip.Prefix
	queue      uint16 // of TCP packets; the next one is of others
}

// routed reports whether the kernel routes packets into an interface of ours; else they are taken off the LAN's.
func routed(way string) bool { return way == "tun" || way == "tap" }

// planOf returns the plan for another way of capture, which differs from m.plan in nothing else.
func (m *machine) planOf(way string) hostnet.Plan {
	plan := m.plan
	plan.Device = ""
	if routed(way) {
		plan.Device = m.config.Device
	}
	plan.Attachments = slices.Clone(plan.Attachments)
	for at, list := range m.lan {
		for _, i := range list {
			a := &plan.Attachments[i]
			a.Device, a.Queue = "", 0
			if routed(way) {
				a.Device = m.config.Attachments[i].Device
			}
			if way == "nfqueue" {
				a.Queue = m.ports[at].queue
			}
		}
	}
	return plan
}

// check refuses a way that this configuration cannot have.
func (m *machine) check(way string) error {
	if !routed(way) && len(m.config.Attachments) == 0 {
		return hinted(fmt.Errorf("capture.kind = %q takes packets off LAN interfaces, and none is named", way), "name them in [[attachment]]")
	}
	return nil
}

// open opens the devices of all attachments.
func (m *machine) open(way string) (devices []capture.Device, err error) {
	for _, p := range m.ports {
		d, err := p.open(way)
		if err != nil {
			for _, d := range devices {
				d.Close()
			}
			return nil, hinted(err, "capture needs root and, for tun and tap, /dev/net/tun; with capture.kind = \"none\" a VR runs without hosts")
		}
		// For `vine bench --table 4-12,4-13`, and not a knob for anybody else.
		if each, err := time.ParseDuration(os.Getenv("VINE_PROCESSING")); err == nil && each > 0 {
			d = capture.Slowed(d, each)
		}
		devices = append(devices, d)
	}
	return devices, nil
}

// A wayChange asks the machine's goroutine to capture in another way.
type wayChange struct {
	way   string
	reply chan error
}

// errWayNone is why a VR without capture cannot begin one while it runs, and the other way round.
var errWayNone = errors.New(`capture.kind = "none" begins and ends with the VR: restart it`)

// change has the VR capture in another way. It returns when that is done, or has failed and all is as it was.
func (m *machine) change(way string) error {
	c := wayChange{way, make(chan error, 1)}
	select {
	case m.changes <- c:
		return <-c.reply
	case <-m.ended:
		return errors.New("the VR is stopping")
	}
}

// switchTo captures in another way.
//
// Two orders keep a packet from being there twice or leaving in the clear. A packet socket gets copies, so the kernel has to stop
// dealing with the packets before one is opened, and one is closed before another way begins. All else is opened before the kernel
// sends packets there. A TAP interface that takes the TUN interface's name has to wait until that is gone; the guard
// routes hold meanwhile.
func (m *machine) switchTo(way string) error {
	if way == m.way {
		return nil
	}
	if err := m.check(way); err != nil {
		return err
	}
	was := m.way
	err := m.replace(func(old []capture.Device) ([]capture.Device, error) {
		if was == "raw" || routed(was) && routed(way) {
			closeAll(old)
		}
		plan := m.planOf(way)
		devices, err := m.enter(way, plan)
		if err == nil {
			m.way, m.plan, m.devices = way, plan, devices
			return devices, nil
		}
		err = fmt.Errorf("capture by %s: %w", way, err)
		if was != "raw" && !(routed(was) && routed(way)) {
			return nil, errors.Join(err, m.setup.Update(m.plan))
		}
		again, e := m.enter(was, m.plan)
		if e != nil {
			m.lost = fmt.Errorf("%w; then capture by %s again: %w", err, was, e)
			return nil, m.lost
		}
		m.devices = again
		return again, err
	})
	if err == nil {
		m.log.Info("packets are captured in another way", "before", was, "now", way)
	}
	return err
}

// refresh opens the devices anew whose LAN interface is another by now.
func (m *machine) refresh() {
	stale := slices.ContainsFunc(m.devices, func(d capture.Device) bool {
		s, can := d.(interface{ Stale() bool })
		return can && s.Stale()
	})
	if !stale {
		return
	}
	err := m.replace(func(old []capture.Device) ([]capture.Device, error) {
		closeAll(old)
		devices, err := m.enter(m.way, m.plan)
		if err != nil {
			m.lost = fmt.Errorf("capture by %s again: %w", m.way, err)
			return nil, m.lost
		}
		m.devices = devices
		return devices, nil
	})
	if err == nil {
		m.log.Info("LAN interfaces have changed; packets are captured again")
	}
}

// enter opens the devices of a way and makes the machine's routes and rules those of its plan.
func (m *machine) enter(way string, plan hostnet.Plan) (devices []capture.Device, err error) {
	if way == "raw" {
		if err := m.setup.Update(plan); err != nil {
			return nil, err
		}
		return m.open(way)
	}
	if devices, err = m.open(way); err != nil {
		return nil, err
	}
	if err := m.setup.Update(plan); err != nil {
		closeAll(devices)
		return nil, err
	}
	return devices, nil
}

func closeAll(devices []capture.Device) error {
	var errs []error
	for _, d := range devices {
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}
