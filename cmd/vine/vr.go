package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/vine-mesh/vine/mesh/serfrpc"
	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/capture/hostnet"
	"github.com/vine-mesh/vine/node/config"
	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/gateway"
	"github.com/vine-mesh/vine/node/hostpage"
	"github.com/vine-mesh/vine/node/notify"
	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/secure/gcm"
	"github.com/vine-mesh/vine/transport/underlay"
)

// A vr is a VR made from a configuration: what `vine up` runs, and each site of `vine demo`.
type vr struct {
	Node *node.Node
	// Endpoint is where its socket listens, RPC where the stock serf command finds it.
	Endpoint netip.AddrPort
	RPC      net.Addr
	API      string   // for --api; empty: not over the network
	machine  *machine // nil: nothing was set up
	notifier *notify.Notifier
	mapping  func(ctx context.Context) error // nil: the gateway is not asked
	page     func(ctx context.Context) error // for hosts; nil: there is none
	gateways []*gateway.Gateway              // shared with other VRs of the site
	scale    func(ctx context.Context) error // nil: nothing watches the load
}

// A vrPlan says how to make a vr.
type vrPlan struct {
	Config config.Config
	// Devices are given to the VR instead of opening what Config says.
	Devices []node.Attachment
	// Load reads the configuration again; nil: there is none.
	Load func() (config.Config, error)
	Log  *slog.Logger
	Logs *serfrpc.Ring // what "serf monitor" shows; may be nil
	Rand io.Reader     // nil: crypto/rand
	// Wrap, if set, is put around the socket: the demo's way to cut a cable.
	Wrap func(underlay.Socket) underlay.Socket
}

// newVR opens what the VR runs on and makes its Node. On an error nothing stays open.
func newVR(p vrPlan) (made *vr, err error) {
	c := p.Config
	if p.Rand == nil {
		p.Rand = rand.Reader
	}
	var open []io.Closer
	defer func() {
		if err != nil {
			for _, c := range open {
				c.Close()
			}
		}
	}()
	dir, err := state.Open(c.State)
	if err != nil {
		return nil, err
	}
	open = append(open, dir)
	space, err := spaceOf(dir, p.Log)
	if err != nil {
		return nil, err
	}
	if err := checkEndpoints(c.Endpoints, space); err != nil {
		return nil, err
	}
	socket, err := underlay.ListenUDP(c.Listen)
	if err != nil {
		return nil, hinted(fmt.Errorf("listen on %v: %w", c.Listen, err), "is another VR running here? Choose another address with underlay.listen")
	}
	open = append(open, socket)
	endpoint := socket.LocalAddr()
	more := listenLanes(c, p, socket)
	for _, s := range more {
		open = append(open, s)
	}
	if p.Wrap != nil {
		socket = p.Wrap(socket)
	}
	streams := underlay.NewStreams(underlay.StreamsConfig{Rand: p.Rand, Log: p.Log})
	open = append(open, streams)
	listens := listenStreams(c, streams, p.Log)
	settings := func(c config.Config) node.Settings {
		s := settingsOf(c)
		s.Listens = listens // they stay as they are until the next start
		return s
	}
	gcm.Use(c.FastGCM)
	o := node.Options{
		State: dir, Socket: socket, More: more, Offload: c.Offload, Streams: streams, Proxy: proxyOf(c), Fresh: freshSocket,
		Attachments: p.Devices, Settings: settings(c), SerfToken: c.RPCToken, SerfLogs: p.Logs,
		Rand: p.Rand, Log: p.Log, Software: softwareText(),
	}
	notifier, err := notifierOf(c.Alerts, p.Log)
	if err != nil {
		return nil, err
	}
	o.Alerts = notifier
	var m *machine
	if p.Load != nil {
		o.Reload = func() (node.Settings, error) {
			fresh, err := p.Load()
			switch {
			case err != nil:
			case m != nil && fresh.Capture != "none":
				err = m.change(fresh.Capture)
			case fresh.Capture != c.Capture:
				err = errWayNone
			}
			return settings(fresh), err
		}
	}
	if p.Devices == nil && c.Capture != "none" {
		if m, err = newMachine(c, space, p.Log); err != nil {
			return nil, err
		}
		open = append(open, m)
		o.Attachments = m.attachments
		o.Delivers = m.delivers
	}
	var gateways []*gateway.Gateway
	var scaler *scaler // nil: nothing watches the load
	for _, a := range c.Attachments {
		o.Shared = append(o.Shared, a.Gateway...)
	}
	if len(o.Shared) > 0 {
		o.Gateways = func() []control.Gateway { return describeGateways(made.Node, gateways) }
		if len(c.Scale.Command) > 0 {
			scaler = newScaler(c, p.Log)
			o.Scale = scaler.state
		}
		o.Hears = func() []tables.RouterID { return heardEverywhere(gateways) }
	}
	if o.Control, err = control.Listen(c.Control); err != nil {
		return nil, err
	}
	open = append(open, o.Control)
	if c.API.IsValid() {
		if o.Remote, err = net.Listen("tcp", c.API.String()); err != nil {
			return nil, hinted(fmt.Errorf("listen for the management API: %w", err), "choose another address with api.listen, or \"\" for none")
		}
		o.RemoteNames = c.APINames
		open = append(open, o.Remote)
	}
	if c.RPC.IsValid() {
		if o.SerfRPC, err = net.Listen("tcp", c.RPC.String()); err != nil {
			return nil, hinted(fmt.Errorf("listen for serf: %w", err), "choose another address with gossip.rpc, or \"\" for none")
		}
		open = append(open, o.SerfRPC)
	}
	n, err := node.New(o)
	if err != nil {
		return nil, err
	}
	if m != nil {
		m.replace = n.Replace
	}
	made = &vr{Node: n, Endpoint: endpoint, machine: m, notifier: notifier}
	if m != nil {
		if gateways, err = newGateways(c, n, p.Log); err != nil {
			return nil, err
		}
		made.gateways = gateways
		if scaler != nil {
			scaler.node, scaler.gateways = n, gateways
			made.scale = scaler.run
		}
	}
	if o.Remote != nil {
		made.API = fmt.Sprintf("https://%s#%s", o.Remote.Addr(), n.Identity().Fingerprint())
	}
	if c.Mapping && c.Kind == "auto" && len(c.Endpoints) == 0 && !endpoint.Addr().IsLoopback() {
		made.mapping = func(ctx context.Context) error {
			return mapPorts(ctx, n, endpoint.Port(), n.Secret("port mapping"), p.Log)
		}
	}
	if c.HostPage.Port() != 0 && m != nil && len(c.Attachments) > 0 {
		page := hostpage.Config{At: c.HostPage, VR: n, Neighbour: hostnet.Neighbour, Log: p.Log, Shared: map[string][]netip.Addr{}}
		for _, a := range c.Attachments {
			page.Interfaces = append(page.Interfaces, a.Interface)
			page.Shared[a.Interface] = a.Gateway
		}
		made.page = hostpage.New(page).Run
	}
	if o.SerfRPC != nil {
		made.RPC = o.SerfRPC.Addr()
	}
	return made, nil
}

// listenLanes opens the sockets of further lanes beside the first. Where there cannot be any, one lane carries everything. So it
// does for a site of a demonstration, whose devices have no queues.
func listenLanes(c config.Config, p vrPlan, first underlay.Socket) []underlay.Socket {
	udp, ok := first.(*underlay.UDP)
	if !ok || c.Lanes <= 1 || p.Devices != nil || p.Wrap != nil {
		return nil
	}
	more, err := udp.Beside(c.Lanes - 1)
	if err != nil {
		p.Log.Warn("one lane carries all packets", "err", err)
	} else if !udp.Spread() {
		p.Log.Warn("the system does not spread what a peer sends over the lanes")
	}
	return more
}

// run runs the VR until ctx ends, and puts the machine back as it was.
func (v *vr) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var beside []func(context.Context) error
	if v.machine != nil {
		beside = append(beside, v.machine.run)
	}
	if v.mapping != nil {
		beside = append(beside, v.mapping)
	}
	beside = append(beside, v.notifier.Run)
	if v.page != nil {
		beside = append(beside, v.page)
	}
	if v.scale != nil {
		beside = append(beside, v.scale)
	}
	for _, g := range v.gateways {
		beside = append(beside, g.Run)
	}
	failed := make(chan error, len(beside))
	for _, run := range beside {
		go func() {
			defer cancel()
			failed <- run(ctx)
		}()
	}
	errs := []error{v.Node.Run(ctx)}
	cancel()
	for range beside {
		errs = append(errs, <-failed)
	}
	if v.machine != nil {
		errs = append(errs, v.machine.Close())
	}
	return errors.Join(errs...)
}

func settingsOf(c config.Config) node.Settings {
	polls := map[string]node.Poll{"udp-poll": node.PollUDP, "tcp-poll": node.PollTCP}
	return node.Settings{
		Endpoints: c.Endpoints, Kind: c.Kind, Joinable: c.Joinable, PathMTU: c.PathMTU, AutoAdmit: c.AutoAdmit,
		Queues: c.QueueUse, Serve: c.QueueServe, Rate: c.QueueRate, Capacity: c.QueueCapacity,
		Poll: polls[c.QueueMode], Interval: c.QueueInterval,
	}
}

// spaceOf returns the ViNe space of the federation that a state directory belongs to.
func spaceOf(dir *state.Dir, log *slog.Logger) ([]netip.Prefix, error) {
	store, err := node.LoadStore(dir, time.Now(), log)
	if err != nil {
		if errors.Is(err, node.ErrNotEnrolled) {
			return nil, hinted(err, "run `vine join SEED` to join a federation, or `vine init --name NAME` to make one")
		}
		return nil, err
	}
	root, ok := store.Root()
	if !ok {
		return nil, node.ErrNotEnrolled
	}
	return root.Space, nil
}

// checkEndpoints refuses an endpoint inside the ViNe space: packets to it would go into the very
// VN that they carry.
func checkEndpoints(endpoints []netip.AddrPort, space []netip.Prefix) error {
	for _, at := range endpoints {
		for _, p := range space {
			if p.Contains(at.Addr()) {
				return hinted(fmt.Errorf("endpoint %v is inside the ViNe space %v", at, p), "underlay.endpoints are addresses on the underlay network")
			}
		}
	}
	return nil
}

// softwareText is the version in the link record, for the other sites' operators.
func softwareText() string {
	text := readVersion().version
	return text[:min(len(text), 32)]
}

// journalPath is where the machine's set-up is recorded.
func journalPath(c config.Config) string { return filepath.Join(c.State, "machine.journal") }
