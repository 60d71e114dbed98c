package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/capture/netstack"
	"github.com/vine-mesh/vine/node/config"
	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/transport/underlay"
)

// hostsPerSite is how many hosts each of the demo's LANs has.
const hostsPerSite = 2

// A demoSite is one site of the demo: its VR, made by newVR like any other, and its hosts.
type demoSite struct {
	d      *demo
	name   string
	config config.Config
	blocks []netip.Prefix
	vr     *vr // nil while it does not run
	wire   *wire
	hosts  []*netstack.Host
	cancel context.CancelFunc
	ended  chan error
}

// site prepares a site's directory and configuration.
func (d *demo) site(name string) (*demoSite, error) {
	s := &demoSite{d: d, name: name}
	c := config.Default()
	c.State = filepath.Join(d.dir, name)
	c.Control = filepath.Join(d.dir, name+".sock")
	c.Listen = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	c.RPC = c.Listen
	c.AutoAdmit = "open"
	c.Streams, c.Mapping = nil, false
	s.config = c
	d.sites = append(d.sites, s)
	return s, os.MkdirAll(c.State, 0o700)
}

func (s *demoSite) found() error {
	dir, err := state.Open(s.config.State)
	if err != nil {
		return err
	}
	defer dir.Close()
	f, err := node.Found(time.Now(), node.Founding{Name: "demo", VR: s.name, Site: s.name, UserName: "you", Rand: s.d.e.Rand})
	if err != nil {
		return err
	}
	s.blocks = f.Enrolment.Blocks
	return f.Store(dir) // the root key dies with the demo
}

// join enrols the site through the VR at seed, of which only the address is known.
func (s *demoSite) join(ctx context.Context, seed netip.AddrPort) error {
	dir, err := state.Open(s.config.State)
	if err != nil {
		return err
	}
	defer dir.Close()
	socket, err := underlay.ListenUDP(s.config.Listen)
	if err != nil {
		return err
	}
	defer socket.Close()
	joined, err := node.Join(ctx, node.Joining{
		State: dir, Socket: socket, Seeds: []netip.AddrPort{seed}, Name: s.name, Site: s.name,
		Rand: s.d.e.Rand, Log: s.d.log, Progress: func(string) {},
	})
	s.blocks = joined.Blocks
	return err
}

// start runs the VR and boots the site's hosts.
func (s *demoSite) start(context.Context) error {
	lan, err := netstack.New("lan", s.config.MTU)
	if err != nil {
		return err
	}
	s.hosts = nil
	for i := range hostsPerSite {
		a := s.blocks[0].Addr().As4()
		a[3] = byte(10 * (i + 1))
		h, err := lan.AddHost(netip.AddrFrom4(a))
		if err != nil {
			return err
		}
		s.hosts = append(s.hosts, h)
	}
	s.wire = &wire{}
	v, err := newVR(vrPlan{
		Config: s.config, Devices: []node.Attachment{{Name: "lan", Device: lan}},
		Log: s.d.log.With("at", s.name), Rand: s.d.e.Rand, Wrap: s.wire.around,
	})
	if err != nil {
		lan.Close()
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	s.config.Listen = v.Endpoint // the same port after a restart
	ctx, cancel := context.WithCancel(context.Background())
	s.vr, s.cancel, s.ended = v, cancel, make(chan error, 1)
	go func() { s.ended <- v.run(ctx) }()
	return nil
}

func (s *demoSite) describe() string {
	id, _ := s.vr.Node.Router()
	return fmt.Sprintf("%v at %v, hosts in %v", id, s.vr.Endpoint, s.blocks[0])
}

// stop ends the VR as SIGTERM does.
func (s *demoSite) stop() {
	if s.vr == nil {
		return
	}
	s.cancel()
	<-s.ended
	s.vr = nil
}

// kill ends the VR without a word to anybody: from now on its wire is dead.
func (s *demoSite) kill() {
	s.mute(true)
	s.stop()
}

// mute cuts the VR's wire, or mends it.
func (s *demoSite) mute(dead bool) { s.wire.dead.Store(dead) }

// A wire is the cable of a VR's socket, which can be cut.
type wire struct {
	underlay.Socket
	dead atomic.Bool
}

// around puts the wire between a VR and its socket.
func (w *wire) around(s underlay.Socket) underlay.Socket {
	w.Socket = s
	return w
}

// ReadBatch implements underlay.Socket: what arrives on a dead wire is lost.
func (w *wire) ReadBatch(dgs []underlay.Datagram) (int, error) {
	n, err := w.Socket.ReadBatch(dgs)
	return w.arrived(dgs, n), err
}

// TryReadBatch implements underlay.Socket, likewise.
func (w *wire) TryReadBatch(dgs []underlay.Datagram) (int, error) {
	n, err := w.Socket.TryReadBatch(dgs)
	return w.arrived(dgs, n), err
}

func (w *wire) arrived(dgs []underlay.Datagram, n int) int {
	if w.dead.Load() {
		for i := range n {
			dgs[i].N = 0
		}
	}
	return n
}

// WriteBatch implements underlay.Socket.
func (w *wire) WriteBatch(dgs []underlay.Datagram) (int, error) {
	if w.dead.Load() {
		return len(dgs), nil
	}
	return w.Socket.WriteBatch(dgs)
}
