package transporttest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/vine-mesh/vine/transport/underlay"
)

// heldMax is how many packets a paused host keeps to send when it goes on.
const heldMax = 1024

// A Host has addresses, one access line, and sockets.
//
// All fields are guarded by Internet.mu; only the promoted methods of the node are exported as well.
type Host struct {
	*node
	addrs   []netip.Addr
	sockets map[uint16]*socket
	port    uint16 // the last one chosen for port 0
	rng     *rand.Rand
	counts  Counters
	paused  bool
	held    []*packet
}

// portDynamic is the first of the dynamic ports (RFC 6335, Section 6).
const portDynamic = 49152

// Listen opens a socket on a port of all addresses of the host; 0 means a free port. Its LocalAddr has
// the first address of the host, so that tests can send to it; a real wildcard socket has none.
func (h *Host) Listen(port uint16) (underlay.Socket, error) {
	in := h.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil, fmt.Errorf("listen on %s: internet is closed", h.name)
	}
	for tries := 0; port == 0; tries++ {
		if tries == 1<<16-portDynamic {
			return nil, fmt.Errorf("listen on %s: no free port", h.name)
		}
		h.port = max(h.port+1, portDynamic)
		if h.sockets[h.port] == nil {
			port = h.port
		}
	}
	if h.sockets[port] != nil {
		return nil, fmt.Errorf("listen on %s: port %d in use", h.name, port)
	}
	s := newSocket(h, port)
	s.paused = h.paused
	h.sockets[port] = s
	return s, nil
}

// Addr returns the first address of the host.
func (h *Host) Addr() netip.Addr {
	h.in.mu.Lock()
	defer h.in.mu.Unlock()
	return h.addrs[0]
}

// SetAddrs gives the host other addresses in the same network, as when it roams. Its sockets stay open.
func (h *Host) SetAddrs(addrs ...netip.Addr) {
	checkAddrs(h.name, addrs)
	h.in.mu.Lock()
	defer h.in.mu.Unlock()
	for _, a := range h.addrs {
		h.release(a)
	}
	h.addrs = slices.Clone(addrs)
	for _, a := range h.addrs {
		h.claim(a)
	}
}

// Pause stops the host as if its programs were stopped: what it gets waits in the receive buffers,
// and what it sends waits too (up to 1,024 packets), until Resume.
func (h *Host) Pause() { h.setPaused(true) }

// Resume ends a Pause.
func (h *Host) Resume() { h.setPaused(false) }

func (h *Host) setPaused(paused bool) {
	h.in.mu.Lock()
	defer h.in.mu.Unlock()
	h.paused = paused
	for _, s := range h.sockets {
		s.setPaused(paused)
	}
	if paused {
		return
	}
	now := h.in.now()
	for i, p := range h.held {
		h.held[i] = nil
		h.in.start(now, p)
	}
	h.held = h.held[:0]
	h.in.rearm()
}

// SendFrom sends one packet with any source address, as a host can in a network that does not check.
func (h *Host) SendFrom(from, to netip.AddrPort, payload []byte) {
	p := newPacket(h, to, payload)
	p.from = from
	h.in.mu.Lock()
	defer h.in.mu.Unlock()
	h.in.start(h.in.now(), p)
	h.in.rearm()
}

// Counters returns the totals of the host so far.
func (h *Host) Counters() Counters {
	h.in.mu.Lock()
	defer h.in.mu.Unlock()
	return h.counts
}

// source returns the host's address for packets to dst.
func (h *Host) source(dst netip.Addr) (netip.Addr, bool) {
	for _, a := range h.addrs {
		if a.Is4() == dst.Is4() {
			return a, true
		}
	}
	return netip.Addr{}, false
}

func checkAddrs(name string, addrs []netip.Addr) {
	if len(addrs) == 0 {
		panic("transporttest: host " + name + " has no address")
	}
	for _, a := range addrs {
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() {
			panic(fmt.Sprintf("transporttest: %v is no address for host %s", a, name))
		}
	}
}
