package portmap

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// leaveMax bounds the removal of mappings at the end.
const leaveMax = time.Second

// noteInterval bounds what the log gets of what a gateway sends.
const noteInterval = time.Second

// conn is a UDP socket; *net.UDPConn is one.
type conn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	Close() error
}

// outside is what Run needs of the machine that it runs on. Tests replace it.
type outside struct {
	listen func(local netip.Addr) (conn, error)
	// group opens a socket for the announcements of gateways on the LAN of the address local.
	group func(local netip.Addr) (conn, error)
	dial  dial
	lax   laxity
	every time.Duration // pause between checks of the gateway
}

// system is the machine itself.
func system() outside {
	return outside{
		every: checkInterval,
		listen: func(local netip.Addr) (conn, error) {
			return net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
		},
		group: listenGroup,
		dial: func(ctx context.Context, local netip.Addr, to netip.AddrPort) (net.Conn, error) {
			d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))}
			return d.DialContext(ctx, "tcp", to.String())
		},
	}
}

// listenGroup opens a socket for announcements (RFC 6887 section 14.1.3, RFC 6886 section 3.2.1).
func listenGroup(local netip.Addr) (conn, error) {
	group, network := net.IPv4(224, 0, 0, 1), "udp4"
	if local.Is6() {
		group, network = net.IPv6linklocalallnodes, "udp6"
	}
	iface, err := interfaceOf(local)
	if err != nil {
		return nil, err
	}
	return net.ListenMulticastUDP(network, iface, &net.UDPAddr{IP: group, Port: announcePort})
}

// interfaceOf returns the interface that has an address.
func interfaceOf(local netip.Addr) (*net.Interface, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, iface := range list {
		addrs, err := iface.Addrs()
		if err != nil {
			continue
		}
		if slices.ContainsFunc(addrs, func(a net.Addr) bool {
			n, ok := a.(*net.IPNet)
			return ok && n.IP.Equal(local.AsSlice())
		}) {
			return &iface, nil
		}
	}
	return nil, &net.AddrError{Err: "no interface has this address", Addr: local.String()}
}

// A runner does what the machine wants. Its fields belong to the goroutine of Run.
type runner struct {
	*Portmap
	machine *machine
	// events takes what readers and calls have to say. It is never closed; each send gives up when quit is closed, that of
	// a reader also when its sockets are.
	events chan event
	quit   chan struct{}
	tasks  sync.WaitGroup // readers and calls

	sockets []conn        // first the one that sends
	closed  chan struct{} // closed with the sockets
	calls   context.Context
	cancel  context.CancelFunc // ends the calls

	notedAt    time.Time
	suppressed int
}

// run is Run with a Config that was checked.
func run(ctx context.Context, p *Portmap) error {
	m, err := newMachine(time.Now(), &p.config)
	if err != nil {
		return fmt.Errorf("portmap: %w", err)
	}
	m.lax, m.every = p.outside.lax, p.outside.every
	r := &runner{Portmap: p, machine: m, events: make(chan event), quit: make(chan struct{}), cancel: func() {}}
	r.freshCalls()
	defer r.close()

	timer := time.NewTimer(0)
	defer timer.Stop()
	ended := ctx.Done()
	var limit <-chan time.Time
	for m.state != gone {
		select {
		case <-ended:
			ended, limit = nil, time.After(leaveMax)
			r.freshCalls() // what is out ends; what removes mappings goes on
			r.perform(m.Handle(time.Now(), leave{}))
		case <-limit:
			return context.Cause(ctx)
		case ev := <-r.events:
			r.perform(m.Handle(time.Now(), ev))
		case <-timer.C:
			r.perform(m.Advance(time.Now()))
		}
		timer.Stop()
		if next := m.Next(); !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
	return context.Cause(ctx)
}

// close ends everything and waits for it.
func (r *runner) close() {
	r.cancel()
	r.closeSockets()
	close(r.quit)
	r.tasks.Wait()
}

func (r *runner) closeSockets() {
	if r.closed == nil {
		return
	}
	close(r.closed)
	r.closed = nil
	for _, s := range r.sockets {
		_ = s.Close()
	}
	r.sockets = nil
}

// freshCalls ends the call that is out.
func (r *runner) freshCalls() {
	r.cancel()
	r.calls, r.cancel = context.WithCancel(context.Background())
}

// perform does actions, and those that follow from them.
func (r *runner) perform(actions []action) {
	for len(actions) > 0 {
		a := actions[0]
		actions = actions[1:]
		switch a := a.(type) {
		case lookup:
			var ev located
			ev.gateway, ev.local, ev.err = r.config.Gateway()
			ev.gateway, ev.local = ev.gateway.Unmap(), ev.local.Unmap()
			actions = append(actions, r.machine.Handle(time.Now(), ev)...)
		case reopen:
			r.closeSockets()
			r.freshCalls()
			if a.local.IsValid() {
				if err := r.openSockets(a.local); err != nil {
					actions = append(actions, r.machine.Handle(time.Now(), deaf{err})...)
				}
			}
		case send:
			if len(r.sockets) == 0 {
				continue // the machine has been told
			}
			if _, err := r.sockets[0].WriteToUDPAddrPort(a.bytes, a.to); err != nil {
				r.note(err) // the series sends again
			}
		case tell:
			r.publish(a.list)
			r.config.Log.Info("port mappings changed", "mappings", a.list)
		case note:
			r.note(a.err)
		case mapIGD:
			r.call(a.gateway, a.local, func(ctx context.Context, c *upnpClient) event { return c.mapPorts(ctx, a) })
		case checkIGD:
			r.call(a.gateway, a.local, func(ctx context.Context, c *upnpClient) event { return c.check(ctx, a) })
		case unmapIGD:
			r.call(a.gateway, a.local, func(ctx context.Context, c *upnpClient) event { return c.unmap(ctx, a) })
		}
	}
}

// note logs what was not taken, once a second at most.
func (r *runner) note(err error) {
	if now := time.Now(); now.Sub(r.notedAt) < noteInterval {
		r.suppressed++
	} else {
		r.config.Log.Debug("port mapping", "err", err, "suppressed", r.suppressed)
		r.notedAt, r.suppressed = now, 0
	}
}

// call does something with a UPnP device beside the loop.
func (r *runner) call(gateway, local netip.Addr, f func(context.Context, *upnpClient) event) {
	ctx, cancel := context.WithTimeout(r.calls, callMax)
	client := newUPnPClient(gateway, local, r.outside.dial, r.outside.lax)
	r.tasks.Go(func() {
		defer cancel()
		ev := f(ctx, client)
		select {
		case r.events <- ev:
		case <-r.quit:
		}
	})
}

// openSockets opens the socket that sends and the one that hears announcements, and starts to read them. Without the
// latter a restart is noticed later.
func (r *runner) openSockets(local netip.Addr) error {
	socket, err := r.outside.listen(local)
	if err != nil {
		return err
	}
	r.sockets = []conn{socket}
	if group, err := r.outside.group(local); err != nil {
		r.config.Log.Debug("announcements of the gateway are not heard", "err", err)
	} else {
		r.sockets = append(r.sockets, group)
	}
	r.closed = make(chan struct{})
	for i, s := range r.sockets {
		closed := r.closed
		r.tasks.Go(func() { r.read(s, i > 0, closed) })
	}
	return nil
}

// read reads datagrams until the socket is closed or fails. It reads the next when the loop has taken the last: what comes
// meanwhile waits in the kernel's buffer, which drops.
func (r *runner) read(s conn, announced bool, closed <-chan struct{}) {
	var buf [ssdpBytesMax + 1]byte // one more than the longest that is taken
	for {
		n, from, err := s.ReadFromUDPAddrPort(buf[:])
		var ev event = datagram{from, announced, bytes.Clone(buf[:n])}
		if err != nil {
			select {
			case <-closed:
				return
			default:
			}
			if announced {
				return // a restart is noticed later
			}
			ev = deaf{err}
		}
		select {
		case r.events <- ev:
		case <-closed:
			return
		case <-r.quit:
			return
		}
		if err != nil {
			return
		}
	}
}
