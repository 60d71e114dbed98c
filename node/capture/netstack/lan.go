package netstack

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/segment"
)

// queueLength is how many packets of hosts wait for the router: the length of a Linux transmit
// queue (txqueuelen 1,000), at the default MTU at most 1.5 MB.
const queueLength = 1000

// mtuMax is the largest MTU: an IPv4 total length.
const mtuMax = 65535

// A LAN is a capture.Device with user-space hosts behind it. What the hosts send waits in one
// queue of 1,000 packets, which drops what comes when it is full. WriteBatch hands packets to the
// host that has the destination address and refuses those that no host has. All methods may be
// called concurrently, as far as capture.Device allows.
type LAN struct {
	name  string
	mtu   int
	queue *capture.Queue

	finisher segment.Finisher // of the one that writes

	// mu guards the fields below.
	mu     sync.RWMutex
	hosts  map[netip.Addr]*Host
	closed bool
}

var _ capture.Device = (*LAN)(nil)

// New returns a LAN without hosts. mtu is in bytes, capture.MTUMin to 65,535. It starts nothing.
func New(name string, mtu int) (*LAN, error) {
	if mtu < capture.MTUMin || mtu > mtuMax {
		return nil, fmt.Errorf("open user-space lan %q: MTU %d is not between %d and %d", name, mtu, capture.MTUMin, mtuMax)
	}
	return &LAN{
		name:  name,
		mtu:   mtu,
		queue: capture.NewQueue(queueLength),
		hosts: make(map[netip.Addr]*Host),
	}, nil
}

// AddHost puts a host with these addresses, at least one, on the LAN. Its default routes lead
// into the device. It fails if another host has one of the addresses or the LAN is closed.
func (l *LAN) AddHost(addrs ...netip.Addr) (*Host, error) {
	if len(addrs) == 0 {
		return nil, fmt.Errorf("add host to lan %q: no address", l.name)
	}
	for _, a := range addrs {
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsMulticast() || a.IsUnspecified() || a.IsLoopback() {
			return nil, fmt.Errorf("add host to lan %q: %v cannot be a host's address", l.name, a)
		}
	}
	h, err := newHost(l, addrs)
	if err != nil {
		return nil, fmt.Errorf("add host %v to lan %q: %w", addrs[0], l.name, err)
	}
	if err := l.register(h); err != nil {
		h.discard()
		return nil, fmt.Errorf("add host %v to lan %q: %w", addrs[0], l.name, err)
	}
	return h, nil
}

func (l *LAN) register(h *Host) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	for _, a := range h.addrs {
		if l.hosts[a] != nil {
			return fmt.Errorf("%v is another host's address", a)
		}
	}
	for _, a := range h.addrs {
		l.hosts[a] = h
	}
	return nil
}

// forget removes h and reports whether it was there.
func (l *LAN) forget(h *Host) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hosts[h.addrs[0]] != h {
		return false
	}
	for _, a := range h.addrs {
		delete(l.hosts, a)
	}
	return true
}

// ReadBatch implements capture.Device.
func (l *LAN) ReadBatch(bufs [][]byte, pkts []capture.Packet) (int, error) {
	return l.queue.ReadBatch(bufs, pkts)
}

// Reasons why WriteBatch refuses a packet. They are variables: hostile input must not allocate.
var (
	errFormat = errors.New("write to user-space lan: not an IP packet")
	errSize   = errors.New("write to user-space lan: packet longer than the MTU")
	errNoHost = errors.New("write to user-space lan: no host has the destination address")
)

// WriteBatch implements capture.Device.
func (l *LAN) WriteBatch(pkts []capture.Packet) (n int, err error) {
	if l.queue.Closed() {
		return 0, net.ErrClosed
	}
	for _, p := range pkts {
		refused := l.finish(p)
		switch {
		case refused == nil:
			n++
		case errors.Is(refused, net.ErrClosed):
			return n, refused
		case err == nil:
			err = refused
		}
	}
	return n, err
}

// finish writes the packets of the wire that p stands for: the hosts know no super-packets.
func (l *LAN) finish(p capture.Packet) error {
	if !l.finisher.Start(p) {
		return errFormat
	}
	for b, ok := l.finisher.Next(); ok; b, ok = l.finisher.Next() {
		if err := l.write(b); err != nil {
			return err
		}
	}
	return nil
}

func (l *LAN) write(p []byte) error {
	var dst netip.Addr
	switch {
	case len(p) >= 20 && p[0]>>4 == 4:
		dst = netip.AddrFrom4([4]byte(p[16:20]))
	case len(p) >= 40 && p[0]>>4 == 6:
		dst = netip.AddrFrom16([16]byte(p[24:40]))
	default:
		return errFormat
	}
	if len(p) > l.mtu {
		return errSize
	}
	l.mu.RLock()
	h, closed := l.hosts[dst], l.closed
	l.mu.RUnlock()
	switch {
	case closed:
		return net.ErrClosed
	case h == nil:
		return errNoHost
	}
	h.link.deliver(p)
	return nil
}

// Dropped returns how many packets of hosts were lost because the router did not read them.
func (l *LAN) Dropped() uint64 { return l.queue.Dropped() }

// MTU implements capture.Device.
func (l *LAN) MTU() int { return l.mtu }

// Name implements capture.Device.
func (l *LAN) Name() string { return l.name }

// Close implements capture.Device. It also closes every host: connections are aborted, and their
// goroutines have ended when Close returns.
func (l *LAN) Close() error {
	l.queue.Close()
	l.mu.Lock()
	l.closed = true
	hosts := make([]*Host, 0, len(l.hosts))
	for a, h := range l.hosts {
		if a == h.addrs[0] {
			hosts = append(hosts, h)
		}
	}
	l.mu.Unlock()
	for _, h := range hosts {
		_ = h.Close() // it returns no error
	}
	return nil
}
